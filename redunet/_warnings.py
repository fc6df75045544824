"""Warnings of the package. Each names the line of the user's program that led to it."""

import sys
import warnings
from pathlib import Path

import sklearn
import torch

# Decorators of torch and scikit-learn stand between the user's line and ours.
_INSIDE = tuple(
    str(Path(file).parent) + "/" for file in (__file__, torch.__file__, sklearn.__file__)
)


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
