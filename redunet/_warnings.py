"""Warnings of the package. Each names the line of the user's program that led to it."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

# Decorators of torch and scikit-learn stand between the user's line and ours.
_SPECS = [find_spec(name) for name in ("redunet", "torch", "sklearn")]
_INSIDE = tuple(str(Path(spec.origin).parent) + "/" for spec in _SPECS if spec and spec.origin)


class ReduNetWarning(UserWarning):
    """A doubt about what was meant. The message says what to write.

    ``warnings.simplefilter("ignore", redunet.ReduNetWarning)`` silences the warnings of redunet and
    no others. With ``"error"`` they stop the program.
    """


def warn(message: str) -> None:
    """Warn about the line outside of the package that called it, however deep the doubt arises."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, ReduNetWarning, stacklevel=level)
