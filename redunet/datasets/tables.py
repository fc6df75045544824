"""Tables in text files, with a row for each sample."""

import csv
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from redunet.datasets.labels import labels_from_text
from redunet.datasets.samples import LabelledSamples

# Cells of missing values, in lower case.
MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}

# Cells of missing labels. A class may have the name "none" or "NA".
MISSING_LABELS = {"", "?"}

# Errors list at most this many lines or columns.
LISTED = 5


class Column(NamedTuple):
    """A column of a table."""

    name: str
    cells: Sequence[str]


class Table(NamedTuple):
    """A table without its header. ``lines`` are the lines of the rows in the file."""

    columns: list[Column]
    lines: list[int]
    has_header: bool


def read_table(
    path: str | os.PathLike[str], label: str = "last", *, allow_missing: bool = False
) -> LabelledSamples:
    """Samples and labels from a table in a text file, such as a CSV file.

    Columns are separated by tabs, semicolons or commas. The first of these three that is in the
    first line counts. The first row is a header if ``label`` is one of its cells, if none of its
    cells is a number, if a column contains only numbers below the first row, but not in it, or if
    the row is 0, 1, 2, …, as pandas writes it for columns without names.

    Parameters
    ----------
    path : str or path
        Text in UTF-8, with a row for each sample.
    label : str
        The column of the labels: ``"last"``, ``"first"`` or its name in the header.
    allow_missing : bool
        Whether missing values become NaN, so that you can fill them, for example with
        ``sklearn.impute.SimpleImputer``. By default they are refused. A value is missing if its
        cell is empty or contains ``?``, ``NA``, ``N/A``, ``NaN``, ``null`` or ``None``.

    Returns
    -------
    X : Tensor of shape (m, n), float64
        All columns except the labels. Double precision keeps all digits, for example those of time
        stamps.
    labels : numpy array (m,)
        int64 if all labels are integers, and str otherwise.

    The pair has attributes ``columns`` and ``label``: the names in the header, or None without one.

    Raises
    ------
    ValueError
        If there is no column of this name, labels are missing or fractions, values are missing or
        not numbers, or rows have different numbers of cells.
    """
    try:
        table = _read(Path(path), label)
        names = [column.name for column in table.columns]
        positions = {"last": -1, "first": 0}
        column = table.columns.pop(positions[label] if label in positions else names.index(label))
        labels = _labels(column, table.lines)
        X = _features(table, allow_missing)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    if not table.has_header:
        return LabelledSamples(X, labels)
    names = [column.name for column in table.columns]
    return LabelledSamples(X, labels, columns=names, label=column.name)


def _read(path: Path, label: str) -> Table:
    """The cells of a file, with the names of the columns from its header, if it has one."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        first_line = file.readline()
        file.seek(0)
        delimiter = next((mark for mark in "\t;" if mark in first_line), ",")
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader if row]
    if not rows:
        raise ValueError("the table is empty")
    first = [cell.strip() for cell in rows[0][1]]
    for line, row in rows:
        if len(row) != len(first):
            raise ValueError(f"line {line} has {len(row)} cells, the first row has {len(first)}")
    if len(first) == 1:
        raise ValueError("expected columns separated by tabs, semicolons or commas, got one column")
    lines = [line for line, _ in rows]
    columns = list(zip(*(row for _, row in rows), strict=True))
    by_name = label not in ("last", "first")
    if by_name and label not in first:
        raise ValueError(
            f"label must be 'last', 'first' or the name of a column, got {label!r}; the first row "
            f"has {_listed(first)}"
        )
    if not (by_name or _has_header(columns)):
        names = [f"column {number}" for number in range(1, len(first) + 1)]
        return Table([Column(*pair) for pair in zip(names, columns, strict=True)], lines, False)
    if len(lines) == 1:
        raise ValueError("the table has a header, but no samples")
    named = zip(first, (column[1:] for column in columns), strict=True)
    return Table([Column(*pair) for pair in named], lines[1:], True)


def _has_header(columns: list[tuple[str, ...]]) -> bool:
    """Whether the first cells of columns are names."""
    first = [column[0] for column in columns]
    if len(first) > 2 and first == [str(number) for number in range(len(first))]:
        return True  # pandas writes such names for columns without a name
    texts = [column for column in columns if _numbers(column[:1]) is None]
    return len(texts) == len(columns) or any(
        len(column) > 1 and _numbers(column[1:]) is not None for column in texts
    )


def _features(table: Table, allow_missing: bool) -> Tensor:
    """All columns as numbers ``(m, n)``."""
    names = [column.name for column in table.columns]
    if "" in names:
        raise ValueError(
            f"column {names.index('') + 1} of the features has no name: if it holds the numbers of "
            "the rows, leave it out (pandas does with index=False), or else give it a name"
        )
    numbers: list[np.ndarray] = []
    texts: list[Column] = []
    for column in table.columns:
        values = _numbers(column.cells)
        if values is None:
            texts.append(column)
        else:
            numbers.append(values)
    if texts:
        line, cell = next(
            (line, cell)
            for line, cell in zip(table.lines, texts[0].cells, strict=True)
            if _numbers([cell]) is None
        )
        raise ValueError(
            f"{_listed(column.name for column in texts)} must contain numbers, got {cell!r} in "
            f"line {line}: convert categories to numbers, for example with "
            "pandas.get_dummies(…, dtype=float), or leave them out"
        )
    X = np.column_stack(numbers)
    if not allow_missing:
        _check_complete(X, names, table.lines)
    return torch.from_numpy(X)


def _check_complete(X: np.ndarray, names: list[str], lines: list[int]) -> None:
    """Raise ValueError with the columns and lines of missing values."""
    rows, places = np.isnan(X).nonzero()
    if len(rows) == 0:
        return
    bad_names = [names[place] for place in np.unique(places)]
    bad_lines = [lines[row] for row in np.unique(rows)]
    raise ValueError(
        f"{len(rows)} values are missing, in {_listed(bad_names)} and in {len(bad_lines)} of "
        f"{len(X)} rows (lines {_listed(bad_lines)}): delete them, or read the table with "
        "read_table(…, allow_missing=True) and fill them, for example with "
        "sklearn.impute.SimpleImputer"
    )


def _labels(column: Column, lines: list[int]) -> np.ndarray:
    """A column as labels ``(m,)``."""
    cells = [cell.strip() for cell in column.cells]
    missing = [line for line, cell in zip(lines, cells, strict=True) if cell in MISSING_LABELS]
    if missing:
        raise ValueError(f"labels are missing in {len(missing)} rows (lines {_listed(missing)})")
    numbers = _numbers(cells)
    if numbers is not None and (numbers % 1 > 0).any():
        fraction = cells[(numbers % 1 > 0).argmax()]
        raise ValueError(
            f"labels must be integers or names of classes, got {fraction} in {column.name!r}: "
            "say with label= which column holds the labels"
        )
    return labels_from_text(cells)


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Cells as numbers, with NaN for missing values. None if a cell is not a number."""
    try:
        return np.array([_number(cell) for cell in cells])
    except ValueError:
        return None


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return math.nan
        raise


def _listed(values: Iterable[str] | Iterable[int]) -> str:
    """The first few values, and dots if there are more."""
    shown = [repr(value) for value in values]
    return ", ".join(shown[:LISTED] + ["…"] * (len(shown) > LISTED))
