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
        if values.dtype.kind not in "biufO":
            raise TypeError(f"memberships must be numbers, got {values.dtype}")
        return values.astype(np.float64) if values.dtype == object else values
    unknown = plain(unknown)
    if not partial and hidden.any():
        raise ValueError(
            f"{hidden.sum()} of {len(hidden)} labels are masked, but here all must be known: leave "
            "these samples out"
        )
    if unknown is not None:
        hidden = hidden | _equals(values, unknown)
    if hidden.any():
        values = values.copy()
        values[hidden] = 0 if hidden.all() else values[~hidden][0]
    values = _plain(_of_one_kind(values) if values.dtype == object else values)
    texts = classes if classes is not None and classes.dtype.kind == "U" else None
    if texts is not None:
        values = values.astype(str)
    if values.dtype.kind == "U":
        values = _spelled(values, texts)
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
        return (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy()
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


def _of_one_kind(values: np.ndarray) -> np.ndarray:
    """An array of objects as one of integers, floats, strings or bytes."""
    items = [x.item() if isinstance(x, np.generic) else x for x in values.tolist()]
    _check_present(np.array([_is_missing(x) for x in items], bool))
    if not any(all(isinstance(x, kind) for x in items) for kind in (str, int | float, bytes)):
        examples = {type(x).__name__: x for x in items[::-1]}
        got = " and ".join(f"{x!r} ({name})" for name, x in reversed(examples.items()))
        raise TypeError(
            f"labels must be all integers or all strings, got {got}: convert them, or pass "
            "unknown= if one of them stands for classes that are not known"
        )
    return np.array(items)


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
    """Where labels are the label ``unknown``."""
    if values.dtype == object:
        return np.array([not _is_missing(x) and x == unknown for x in values.tolist()], bool)
    if values.dtype.kind == "U":
        return values == str(unknown)
    if isinstance(unknown, str):
        raise TypeError(f"unknown is the string {unknown!r}, but labels are {values.dtype}")
    return values == unknown


def _plain(values: np.ndarray) -> np.ndarray:
    """Labels in the order of bytes of this machine: integers, booleans, whole floats or strings."""
    kind = values.dtype.kind
    if kind not in "biufU":
        raise TypeError(
            f"labels must be integers or strings, got {values.dtype}: pass labels.astype(str)"
        )
    if kind == "f":
        _check_present(np.isnan(values))
        wrong = ~np.isfinite(values) | (np.floor(values) != values)
        if wrong.any():
            raise ValueError(
                f"labels must be integers or strings, got {values[wrong.argmax()]} for sample "
                f"{wrong.argmax()}; continuous values are no classes"
            )
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _spelled(values: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """Strings, spelled as the classes that look like them.

    Without classes, no string may occur with composed and with decomposed characters.
    """
    names, places = np.unique(values, return_inverse=True)
    forms = [unicodedata.normalize("NFC", name) for name in names.tolist()]
    known = names if classes is None else classes
    spelled = {unicodedata.normalize("NFC", name): name for name in known.tolist()}
    if classes is None and len(spelled) < len(names):
        twice = next(form for form in forms if forms.count(form) > 1)
        raise ValueError(
            f"the class {twice!r} is written with composed and with decomposed characters: pass "
            '[unicodedata.normalize("NFC", label) for label in labels]'
        )
    return np.array([spelled.get(form, form) for form in forms], str)[places]
