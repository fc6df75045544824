"""Pickles that contain only numbers, strings, lists, dictionaries and numpy arrays."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle without executing code from it.

    A pickle may name any function of any module, and unpickling calls it. Here only the functions
    that rebuild numpy arrays and byte strings may be named.

    Parameters
    ----------
    path : Path
        A pickle of protocol 4 or less, possibly written by Python 2, whose strings become bytes.

    Raises
    ------
    ValueError
        If the pickle names any other function or class, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            return _PlainUnpickler(file, encoding="bytes").load()
        except Exception as error:  # damaged pickles raise errors of many kinds
            raise ValueError(f"cannot read the pickle {path}: {error}") from error


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    """Bytes as protocols 0 to 2 of Python 3 store them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are encoded as {encoding!r}, expected 'latin1'")
    return text.encode(encoding)


_reconstruct: Any = np.zeros(0).__reduce__()[0]  # private, and its module depends on the version

_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, and only numbers, strings, lists, dictionaries and "
                "numpy arrays are allowed"
            )
        return _ALLOWED[module, name]
