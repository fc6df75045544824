"""Time series, whose lengths may differ."""

import math
import os
from collections.abc import Iterable
from io import StringIO
from itertools import takewhile
from numbers import Real
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, as_samples, as_tensor, check_count, plain
from redunet.datasets.text import as_numbers, labels_from_text, read_text

# What continues a short series: a value, or its own mean.
Fill: TypeAlias = float | Literal["mean"]


def pad_series(series: Iterable[Array], length: int | None = None, *, fill: Fill = 0.0) -> Tensor:
    """Time series of different lengths as one tensor.

    A short series is continued by zeros, as is usual for archives of series. Kernels whose entries
    sum to zero respond with zero inside the padding. They respond to the two joints: the end of the
    series, and its beginning, which follows the padding cyclically. The height of the joints shows
    the level of the series, and the share of the padding its length. A network uses both.

    If the level of a series means nothing, pass ``fill="mean"``. Each channel of a series is then
    continued by its own mean, so that a constant added to the series is a constant added to the
    padded series, which such kernels do not see.

    Parameters
    ----------
    series : iterable of array-like or Tensor, of shape (T_i,) or (C, T_i)
        Series of one channel, or of C channels.
    length : int, optional
        Length T of the result; by default the length of the longest series. Pass the length that a
        network was constructed for when you prepare new series for it.
    fill : float or "mean"
        The value that continues short series, or the mean of each series. Pass the same ``fill``
        when you prepare new series.

    Returns
    -------
    Tensor of shape (m, C, T)
        float64 if a series is, and float32 otherwise.

    Raises
    ------
    ValueError
        If there are no series, values are missing or infinite, numbers of channels differ, a series
        is longer than ``length``, or ``fill`` is not finite.

    Examples
    --------
    >>> pad_series([[1.0, 2.0, 3.0, 4.0], [1.0, 5.0]]).tolist()
    [[[1.0, 2.0, 3.0, 4.0]], [[1.0, 5.0, 0.0, 0.0]]]
    """
    length = check_count(length=length)
    parts = [_checked(one, number) for number, one in enumerate(series)]
    if not parts:
        raise ValueError("expected at least one series, got none")
    shapes = [tuple(part.shape) for part in parts]
    other = next((shape for shape in shapes if shape[0] != shapes[0][0]), None)
    if other is not None:
        raise ValueError(
            f"series must have shape (C, T_i) with the same number of channels C, got {shapes[0]} "
            f"for series 0 and {other} for series {shapes.index(other)}: if channels come last, "
            "pass datasets.pad_series([series.T for series in X])"
        )
    lengths = [shape[1] for shape in shapes]
    longest = max(lengths)
    if length is not None and longest > length:
        raise ValueError(
            f"series {lengths.index(longest)} has {longest} values, but length is {length}: pass a "
            f"length of at least {longest}, also for the samples of the construction, or cut the "
            "series"
        )
    fill = plain(fill)
    is_value = isinstance(fill, Real) and math.isfinite(fill)
    if not (is_value or (isinstance(fill, str) and fill == "mean")):
        raise ValueError(f'fill must be a finite number or "mean", got {fill!r}')
    return torch.stack([_padded(part, length or longest, fill) for part in parts])


def _checked(one: Array, number: int) -> Tensor:
    """A series as a finite tensor ``(C, T)``."""
    values = as_tensor(one)
    if values.ndim not in (1, 2):
        raise ValueError(
            f"series must have shape (T_i,) or (C, T_i), got {tuple(values.shape)} for series "
            f"{number}"
        )
    return as_samples(torch.atleast_2d(values)[None], name=f"series {number}")[0]


def _padded(values: Tensor, length: int, fill: Fill) -> Tensor:
    """Channels ``(C, T_i)``, continued to ``(C, T)`` by a value or by their means."""
    padded = values.new_empty(len(values), length)
    padded[:] = values.mean(1, keepdim=True) if fill == "mean" else fill
    padded[:, : values.shape[1]] = values
    return padded


def read_ts(
    path: str | os.PathLike[str],
    *,
    length: int | None = None,
    fill: Fill = 0.0,
    encoding: str | None = None,
) -> tuple[Tensor, np.ndarray]:
    """Time series and their labels from a ``.ts`` file of the UCR and UEA archives.

    Parameters
    ----------
    path : str or path
        A line behind ``@data`` holds the channels of a series and its label, separated by colons.
        The line ``@classLabel`` names the classes. Other lines that begin with ``@``, and comments,
        are ignored.
    length, fill : optional
        How :func:`pad_series` continues short series.
    encoding : str, optional
        For example ``"latin-1"``. The default is UTF-8, or UTF-16 after its byte order mark.

    Returns
    -------
    X : Tensor of shape (m, C, T), float32 or float64
        float64 if float32 would round a series, or the differences between series, by more than 1 %
        of their range, as it does near 1e9.
    labels : numpy array (m,)
        int64 if all labels are integers, and str otherwise.

    Raises
    ------
    ValueError
        If the file is damaged or has another encoding, it has no class labels, values are missing,
        or a series is longer than ``length``.
    """
    path = Path(path)
    try:
        series, labels = _parse_ts(path, encoding)
        X = pad_series(series, length, fill=fill)
        return X if _needs_double(series) else X.float(), labels_from_text(labels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _needs_double(series: list[np.ndarray]) -> bool:
    """Whether float32 rounds series, or the differences of their means, by over 1 % of them."""
    means = np.stack([one.mean(1) for one in series], 1)
    for values in (*series, means):  # (C, T_i), and (C, m)
        rounding, ranges = np.abs(values).max(1) * np.finfo(np.float32).eps / 2, np.ptp(values, 1)
        if ((rounding > 0.01 * ranges) & (ranges > 0)).any():
            return True
    return False


def _parse_ts(path: Path, encoding: str | None = None) -> tuple[list[np.ndarray], list[str]]:
    """Series ``(C, T_i)`` in float64, with NaN for question marks, and their class labels.

    Of the lines before ``@data``, only ``@classLabel`` and ``@timeStamps`` are used. Keywords may
    be written in any case.
    """
    series, labels = [], []
    text = StringIO(read_text(path, encoding), newline=None)
    lines = ((number, line.strip()) for number, line in enumerate(text, 1))
    lines = ((number, line) for number, line in lines if line and line[0] not in "#%")
    above = takewhile(lambda line: line[0].lower() != "@data", (line.split() for _, line in lines))
    classes = _classes({keyword.lower(): values for keyword, *values in above})
    for number, line in lines:
        *channels, label = (part.strip() for part in line.split(":"))
        try:
            if not channels or label not in classes:
                raise ValueError(
                    f"expected channels and one of the classes {', '.join(classes)}, separated by "
                    f"colons, got the class {label[:20]!r}"
                )
            series.append(_channels(channels))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        labels.append(label)
    if not series:
        raise ValueError("expected series in the lines after @data, found none")
    return series, labels


def _classes(header: dict[str, list[str]]) -> list[str]:
    """The classes that a header declares."""
    if [value.lower() for value in header.get("@timestamps", [])] == ["true"]:
        raise ValueError("the series have time stamps: expected values at equal distances in time")
    declared = header.get("@classlabel", ["no such line"])
    if declared[0].lower() != "true" or len(declared) == 1:
        raise ValueError(
            "expected the names of the classes before @data, in a line such as '@classLabel true "
            f"walk run', got {' '.join(declared)}"
        )
    return declared[1:]


def _channels(texts: list[str]) -> np.ndarray:
    """Channels ``(C, T)``, whose values are separated by commas."""
    rows = []
    for cells in (text.split(",") for text in texts):
        values = as_numbers(cells)
        if values is None:
            bad = next(cell for cell in cells if as_numbers([cell]) is None)
            raise ValueError(f"expected numbers, got {bad!r}")
        rows.append(values)
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise ValueError(f"all channels of a sample must have the same length, got {lengths}")
    return np.stack(rows)
