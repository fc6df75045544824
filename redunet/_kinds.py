"""Kinds of values that samples must not have, because a conversion to numbers would be wrong."""

from typing import Any

import numpy as np
from torch import Tensor

from redunet._shapes import check_equal_shapes

# Kinds of numpy types that are no numbers, and what to write instead.
REFUSED = {
    "M": ("dates", "(X - X.min()) / numpy.timedelta64(1, 's')"),
    "m": ("durations", "X / numpy.timedelta64(1, 's')"),
    "V": ("records", "numpy.lib.recfunctions.structured_to_unstructured(X)"),
}


def check_array(X: Any) -> None:
    """Check an array, a frame or a list of samples before it is converted to numbers.

    Raises
    ------
    ValueError
        If values are masked, or samples have different shapes.
    TypeError
        If values are dates, durations or records.
    """
    if np.ma.isMaskedArray(X) and np.ma.getmaskarray(X).any():
        raise ValueError(
            f"{np.ma.getmaskarray(X).sum()} values are masked, but samples must be complete: fill "
            "them, for example with sklearn.impute.SimpleImputer on X.filled(numpy.nan)"
        )
    types = [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", ())
    for kind in (getattr(each, "kind", "") for each in types):
        if kind in REFUSED:
            name, instead = REFUSED[kind]
            raise TypeError(f"expected an array of numbers, got {name}: pass {instead}")
    check_equal_shapes(X)


def check_real(X: Tensor, name: str) -> None:
    """Raise TypeError if values are complex."""
    if X.is_complex():
        raise TypeError(
            f"{name} must be real, got {X.dtype}: pass real and imaginary parts as channels"
        )
