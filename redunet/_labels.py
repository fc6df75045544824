"""Labels as users pass them: everything in the package reads them with :func:`as_labels`."""

import unicodedata
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from redunet._checks import plain

# The label of samples whose class is not known.
Label: TypeAlias = int | str

# Kinds of numpy types that are no labels, and what to pass instead.
REFUSED = {
    "S": ("bytes", "numpy.char.decode(labels)"),
    "M": ("dates", "labels.astype(str)"),
    "m": ("durations", "labels.astype(str)"),
    "c": ("complex numbers", "integers or strings"),
    "V": ("records", "one field of them"),
}

# Characters below this code are composed.
COMBINING = 0x300


def as_labels(
    labels: ArrayLike | Tensor,
    num_samples: int | None = None,
    *,
    classes: np.ndarray | None = None,
    unknown: Label | None = None,
    partial: bool = False,
    memberships: bool = False,
) -> np.ndarray:
    """Labels as integers, booleans, whole floats or strings, ``(m,)``.

    Parameters
    ----------
    labels : array-like or Tensor
        Lists, arrays of any kind, series of pandas, and tensors on any device.
    num_samples : int, optional
        The number m of samples.
    classes : numpy array, optional
        Classes that are known. Labels that differ from one of them only in composed and decomposed
        characters become equal to it, and integers become strings if the classes are.
    unknown : int or str, optional
        The label of samples whose class is not known. It may be a number among strings.
    partial : bool
        Whether labels may be missing: those equal to ``unknown``, and masked ones. They are masked
        in the result.
    memberships : bool
        Whether soft memberships ``(m, k)`` are allowed. Their values are not checked.

    Raises
    ------
    ValueError
        If the shape is wrong, labels are missing (None, NaN, NA or masked) or fractions, or a class
        is written with composed and with decomposed characters.
    TypeError
        If numbers and strings are mixed, or labels are of another kind, such as bytes or dates.
    """
    values = as_array(labels)
    _check_shape(values, num_samples, memberships)
    values, hidden = np.ma.getdata(values), np.ma.getmaskarray(values)
    if values.ndim == 2:
        if hidden.any():
            raise ValueError("memberships must not be masked: mask labels of shape (m,) instead")
        return _memberships(values)
    unknown = plain(unknown)
    if not partial and hidden.any():
        raise ValueError(
            f"{hidden.sum()} of {len(hidden)} labels are masked, but here all must be known: leave "
            "these samples out"
        )
    if values.dtype == object:
        values, hidden = _from_objects(values, hidden, unknown)
    elif unknown is not None:
        hidden = hidden | _equals(values, unknown)
    values = _plain(values, ~hidden, classes)
    return np.ma.masked_array(values, hidden) if hidden.any() else values


def as_array(labels: ArrayLike | Tensor) -> np.ndarray:
    """Labels as a numpy array, whose mask is kept. An array of objects if it holds several kinds.

    Raises
    ------
    ValueError
        If parts of the labels have different shapes.
    """
    if isinstance(labels, list | tuple) and labels and all(isinstance(x, Tensor) for x in labels):
        labels = torch.stack(labels)
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        half = labels.dtype in (torch.float16, torch.bfloat16)
        return (labels.float() if half else labels).numpy()
    if isinstance(labels, np.ma.MaskedArray):
        return labels
    try:
        values = np.asarray(labels)
    except ValueError as error:
        raise ValueError(f"labels must have shape (m,): {error}") from error
    if values.dtype.kind == "U" and isinstance(labels, Sequence) and values.ndim == 1:
        # NumPy makes strings of numbers that stand among strings, and of NaN.
        kinds = {type(label) for label in labels}
        if not all(issubclass(kind, str | np.ndarray) for kind in kinds):
            return np.array(labels, dtype=object)
    return values.astype(object) if values.dtype.kind == "T" else values


def _check_shape(values: np.ndarray, num_samples: int | None, memberships: bool) -> None:
    shape, ndim = values.shape, values.ndim
    if (ndim == 1 or (ndim == 2 and memberships)) and num_samples in (None, len(values)):
        return
    m = "m" if num_samples is None else num_samples
    hint = ""
    if ndim == 2 and not memberships:
        hint = ": pass labels.ravel()" if shape[1] == 1 else ": pass labels.argmax(1) if one-hot"
    also = f", or ({m}, k) for soft memberships" if memberships else ""
    of = "" if num_samples is None else f" for {num_samples} samples"
    raise ValueError(f"labels must have shape ({m},){also}: got {shape}{of}{hint}")


def _memberships(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        values = values.astype(np.float64)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"memberships must be numbers, got {values.dtype}")
    return values


def _from_objects(
    values: np.ndarray, hidden: np.ndarray, unknown: Label | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels in an array of objects, which must be of one kind, and those that are not known."""
    items = [x.item() if isinstance(x, np.generic) else x for x in values.tolist()]
    if unknown is not None:
        is_text = isinstance(unknown, str)
        same = [isinstance(x, str) == is_text and x == unknown for x in items]
        hidden = hidden | np.array(same, bool)
    shown = [x for x, is_hidden in zip(items, hidden, strict=True) if not is_hidden]
    missing = np.array([_is_missing(x) for x in items], bool) & ~hidden
    _check_present(missing)
    if not any(all(isinstance(x, kind) for x in shown) for kind in (str, int | float, bytes)):
        first = {type(x).__name__: x for x in reversed(shown)}  # the first of each type
        got = " and ".join(f"{x!r} ({name})" for name, x in list(first.items())[:-3:-1])
        raise TypeError(
            f"labels must be all integers or all strings, got {got}: convert them, or pass "
            "unknown= if one of them stands for classes that are not known"
        )
    filler = shown[0] if shown else 0
    filled = [filler if h else x for x, h in zip(items, hidden, strict=True)]
    return np.array(filled), hidden


def _is_missing(item: object) -> bool:
    """Whether an object stands for a missing value: None, NaN, or NA and NaT of pandas."""
    return item is None or type(item).__name__ in ("NAType", "NaTType") or item != item


def _check_present(missing: np.ndarray) -> None:
    if missing.any():
        raise ValueError(
            f"{missing.sum()} of {len(missing)} labels are missing (NaN, NA or None), the first is "
            f"that of sample {missing.argmax()}: leave these samples out, or mask their labels "
            "with numpy.ma.masked_array where labels may be unknown"
        )


def _equals(values: np.ndarray, unknown: Label) -> np.ndarray:
    """Where labels of one kind are the label ``unknown``."""
    if values.dtype.kind == "U":
        return values == str(unknown)
    if isinstance(unknown, str):
        raise TypeError(f"unknown is the string {unknown!r}, but labels are {values.dtype}")
    return values == unknown


def _plain(values: np.ndarray, shown: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """Labels of one kind, checked where they are shown, and filled with others elsewhere."""
    kind = values.dtype.kind
    if kind in REFUSED:
        name, instead = REFUSED[kind]
        raise TypeError(f"labels must be integers or strings, got {name}: pass {instead}")
    if kind not in "biufU":
        raise TypeError(f"labels must be integers or strings, got {values.dtype}")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if not shown.all():
        values = np.where(shown, values, values[shown][0] if shown.any() else values.dtype.type())
    if kind == "f":
        _check_present(np.isnan(values))
        wrong = ~np.isfinite(values) | (np.floor(values) != values)
        if wrong.any():
            raise ValueError(
                f"labels must be integers or strings, got {values[wrong.argmax()]} for sample "
                f"{wrong.argmax()}; continuous values are no classes"
            )
    if classes is not None and classes.dtype.kind == "U":
        values = _matched(values.astype(str), classes)
    return _uniformly_written(values) if values.dtype.kind == "U" else values


def _uniformly_written(values: np.ndarray) -> np.ndarray:
    """Strings, none of which occurs with composed and with decomposed characters."""
    codes = np.ascontiguousarray(values).view(np.uint32)
    if codes.size == 0 or codes.max() < COMBINING:
        return values
    seen: dict[str, str] = {}
    for name in np.unique(values).tolist():
        other = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise ValueError(
                f"the class {name!r} is written with composed and with decomposed characters: pass "
                '[unicodedata.normalize("NFC", label) for label in labels]'
            )
    return values


def _matched(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Strings, spelled as the classes that look like them."""
    absent = ~np.isin(values, classes)
    if not absent.any():
        return values
    spelled = {unicodedata.normalize("NFC", name): name for name in classes.tolist()}
    return np.array([spelled.get(unicodedata.normalize("NFC", x), x) for x in values.tolist()])
