"""Tables in text files, with a row for each sample."""

import csv
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_count, quoted
from redunet._names import check_distinct
from redunet._warnings import warn
from redunet.datasets.text import (
    MISSING_TEXTS,
    NUMBERS,
    THOUSANDS,
    as_numbers,
    bare,
    labels_from_text,
    read_text,
)

# The positions of columns by words.
POSITIONS = {"first": 0, "last": -1}

# A column that counts at least so many rows is probably their number.
COUNTED = 10

# What stands in quotes, where delimiters are text, and how much text a header has at most.
_QUOTED = re.compile('"[^"]*"')
MOST_OF_HEADER = 2**20


class LabelledSamples(tuple[Tensor, np.ndarray]):
    """A pair of samples and labels: ``X, labels = datasets.load(path)``.

    Attributes
    ----------
    columns : tuple of str or None
        The names of the columns of ``X``, in their order. None if the file does not name them.
    label : str or None
        The name of the column of the labels. None if the file does not name it.
    """

    columns: tuple[str, ...] | None = None
    label: str | None = None

    def __new__(cls, X: Tensor, labels: np.ndarray | None) -> "LabelledSamples":
        """The pair ``(X, labels)``. Labels that are not known are masked."""
        return super().__new__(
            cls, (X, np.ma.masked_all(len(X), int) if labels is None else labels)
        )


class Column(NamedTuple):
    """A column of a table."""

    name: str
    cells: Sequence[str]


class Table(NamedTuple):
    """The columns of a table without its header, and the lines of its rows in the file."""

    columns: list[Column]
    lines: list[int]
    decimal: str


def read_table(
    path: str | os.PathLike[str],
    label: str | int | None = "last",
    *,
    header: bool | Literal["auto"] = "auto",
    drop: Sequence[str] = (),
    decimal: Literal[".", ",", "auto"] = "auto",
    encoding: str | None = None,
    allow_missing: bool = False,
) -> LabelledSamples:
    """Samples and labels from a table in a text file, such as a CSV file.

    Columns are separated by tabs, semicolons or commas. The first of these three that is in the
    first line counts.

    Parameters
    ----------
    path : str or path
        Text with a row for each sample.
    label : str, int or None
        The column of the labels: its name in the header, ``"last"`` or ``"first"``, or its position
        from 0, also as text if no column has this name. None if the table has no labels; they are
        then masked.
    header : bool or "auto"
        Whether the first row holds the names of the columns. By "auto", it does if ``label`` is one
        of its cells, and no number, or if it has text above numbers or no numbers at all. Other
        rows are samples if their label is that of another row. If it is not, or the row has equal
        steps, as wavelengths, years, or the names 0, 1, 2, … of pandas have, ``header`` must be
        given.
    drop : sequence of str
        Names of columns that are left out, such as the number of a row or of a patient.
    decimal : {"auto", ".", ","}
        The decimal mark. "auto" takes the comma if columns have numbers such as ``1,5`` and none
        with a decimal point. ``1,234`` may be a thousand, and is refused if no other number
        decides it.
    encoding : str, optional
        For example ``"cp1252"``. The default is UTF-8, or UTF-16 after its byte order mark.
    allow_missing : bool
        Whether missing values become NaN, so that you can fill them, for example with
        ``sklearn.impute.SimpleImputer``. By default they are refused. A value is missing if its
        cell is empty or contains ``?``, ``-``, ``.``, ``NA``, ``N/A``, ``NaN``, ``null`` or
        ``None``, in small or capital letters.

    Returns
    -------
    X : Tensor of shape (m, n), float64
        All columns except the labels. Double precision keeps all digits, for example those of time
        stamps.
    labels : numpy array (m,)
        int64 if all labels are integers, and str otherwise. Texts have composed characters (NFC).
        Among numbers, all marks of missing values are missing labels, which are refused. Among
        texts, these are only empty cells, ``?``, ``nan`` and ``NaN``: ``NA`` (Namibia), ``None``,
        ``null`` and ``-`` are classes.

    The pair has attributes ``columns`` and ``label``: the names in the header, or None without one.

    Raises
    ------
    ValueError
        If no column or several columns have the name of the labels, it is doubtful whether the
        first row is a header, names occur twice, labels are missing or fractions, values are
        missing or not numbers, rows have different numbers of cells, or the text has another
        encoding.

    Warns
    -----
    ReduNetWarning
        If a column counts the rows.
    """
    if not (isinstance(header, bool) or header == "auto"):  # 0 is the first row in pandas
        raise ValueError(f'header must be True, False or "auto", got {header!r}')
    if decimal not in (".", ",", "auto"):
        raise ValueError(f'decimal must be ".", "," or "auto", got {decimal!r}')
    try:
        rows, lines = _rows(read_text(Path(path), encoding))
        first, columns = [cell.strip() for cell in rows[0]], list(zip(*rows, strict=True))
        if isinstance(label, str):
            label = unicodedata.normalize("NFC", label.strip())
        position = _position(label, first, may_be_named=header is not False)
        if decimal == "auto":
            decimal = _decimal_mark(column for n, column in enumerate(columns) if n != position)
        if header == "auto":
            is_name = (
                isinstance(label, str) and label not in POSITIONS and as_numbers([label]) is None
            )
            header = is_name or _has_header(columns, position, decimal)
            position = _position(label, first, may_be_named=header)
        names = [f"column {number}" for number in range(1, len(first) + 1)]
        if header:
            if len(rows) == 1:
                raise ValueError("the table has a header, but no samples")
            names, columns, lines = first, [column[1:] for column in columns], lines[1:]
        table = Table([Column(*pair) for pair in zip(names, columns, strict=True)], lines, decimal)
        target = None if position is None else table.columns.pop(position)
        _drop_columns(table, [drop] if isinstance(drop, str) else drop)
        labels = None if target is None else _labels(target, table)
        samples = LabelledSamples(_features(table, allow_missing=allow_missing), labels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if header:
        samples.columns = tuple(column.name for column in table.columns)
        samples.label = target.name if target else None
    return samples


def first_row(path: str | os.PathLike[str], encoding: str | None = None) -> list[str]:
    """The cells of the first row of a table, which may be the names of its columns."""
    try:
        rows, _ = _rows(read_text(Path(path), encoding))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return [cell.strip() for cell in rows[0]]


def _rows(text: str) -> tuple[list[list[str]], list[int]]:
    """The rows of a table, which have the same number of cells, and their lines in the file.

    The first of tab, semicolon and comma that is in the first line, outside of quotes, separates
    cells. Blank lines, empty rows at the end, and an empty last column are left out.
    """
    first_line = _QUOTED.sub("", text[:MOST_OF_HEADER]).partition("\n")[0]
    delimiter = next((mark for mark in "\t;" if mark in first_line), ",")
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows, lines = [], []
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"the quotes of line {reader.line_num} do not fit ({error})") from error
    while rows and not "".join(rows[-1]).strip():  # spreadsheets write such rows
        del rows[-1], lines[-1]
    if not rows:
        raise ValueError("the table is empty")
    length = len(rows[0])
    for line, row in zip(lines, rows, strict=True):
        if len(row) != length:
            raise ValueError(f"line {line} has {len(row)} cells, the first row has {length}")
    if length == 1:
        raise ValueError("expected columns separated by tabs, semicolons or commas, got one column")
    if not any(row[-1].strip() for row in rows):  # every line ends in a delimiter
        rows = [row[:-1] for row in rows]
    return rows, lines


def _position(label: str | int | None, first: list[str], *, may_be_named: bool) -> int | None:
    """The position of the column of the labels, from 0; None if there are none."""
    if label is None:
        return None
    places: set[int] = set()
    if isinstance(label, str):
        places = {n for n, name in enumerate(first) if name == label and may_be_named}
        if label in POSITIONS:
            places.add(POSITIONS[label] % len(first))
        elif not places and label.removeprefix("-").isdecimal():
            label = int(label)
    if not isinstance(label, str):
        position: int = check_count(None, label=label)
        if not -len(first) <= position < len(first):
            raise ValueError(f"label is column {position}, but the table has {len(first)} columns")
        return position % len(first)
    if not places:
        raise ValueError(
            f"label must be 'last', 'first' or the name of a column, got {label!r}; the first row "
            f"has {quoted(first)}"
        )
    if len(places) > 1:
        raise ValueError(
            f"label={label!r} may be each of {len(places)} columns: rename them, or pass the "
            f"position of the labels, label={' or label='.join(map(str, sorted(places)))}"
        )
    return places.pop()


def _decimal_mark(columns: Iterable[Sequence[str]]) -> Literal[".", ","]:
    """A comma if cells have decimal commas, and none has a decimal point.

    ``1,234`` may be a thousand, so it says nothing.
    """
    marked = [bare(cell) for cells in columns for cell in cells if "," in cell or "." in cell]
    decided = [cell for cell in marked if not THOUSANDS.fullmatch(cell)]
    commas, points = (any(map(NUMBERS[mark].fullmatch, decided)) for mark in ",.")
    return "," if commas and not points else "."


def _has_header(columns: Sequence[Sequence[str]], label: int | None, decimal: str) -> bool:
    """Whether the first cells of columns are their names: texts above numbers, or no numbers.

    Numbers are a sample if their label is that of another row. They are refused if it is not, or if
    it is a number, too, and the numbers are equally spaced, such as wavelengths, years, or 0, 1, 2,
    … of pandas: they may be names.
    """
    first = [column[0].strip() for column in columns]
    values = [as_numbers([cell], decimal) for cell in first]
    below = [as_numbers(column[1:], decimal) for column in columns]
    above = zip(values, below, strict=True)
    if any(value is None and rows is not None and np.isfinite(rows).any() for value, rows in above):
        return True
    numbers = [value[0] for n, value in enumerate(values) if value is not None and n != label]
    if not np.isfinite(numbers).any():
        return True
    is_sample = label is not None and first[label] in map(str.strip, columns[label][1:])
    if label is not None and is_sample and values[label] is not None:
        steps = np.diff(numbers)
        is_even = len(steps) > 1 and steps.all() and np.allclose(steps, steps[0], rtol=0.01)
        is_sample = not is_even and first != [str(number) for number in range(len(first))]
    if not is_sample:
        raise ValueError(
            f"the first row ({quoted(first)}) may be the names of the columns or a sample: pass "
            "header=True if these are names, and header=False if not (--header yes or no)"
        )
    return False


def _drop_columns(table: Table, drop: Sequence[str]) -> None:
    """Leave out columns, and check that the others have different names."""
    names = [column.name for column in table.columns]
    drop = [unicodedata.normalize("NFC", str(name)) for name in drop]
    absent = [name for name in drop if name not in names]
    if absent:
        raise ValueError(f"drop names {quoted(absent)}, but the features are {quoted(names)}")
    table.columns[:] = [column for column in table.columns if column.name not in drop]
    check_distinct(column.name for column in table.columns if column.name)


def _features(table: Table, *, allow_missing: bool) -> Tensor:
    """All columns as numbers ``(m, n)``."""
    names = [column.name for column in table.columns]
    if not names:
        raise ValueError("the table has no columns besides the labels")
    nameless = [name for name in names if not name or name.startswith("Unnamed: ")]  # by pandas
    if nameless:
        raise ValueError(
            f"column {names.index(nameless[0]) + 1} of the features has no name: if it holds the "
            f"numbers of the rows, leave it out with drop={nameless[:1]} (pandas writes none with "
            "index=False), or else give it a name"
        )
    columns = [as_numbers(column.cells, table.decimal) for column in table.columns]
    texts = [c for c, values in zip(table.columns, columns, strict=True) if values is None]
    if texts:
        raise ValueError(_advice(texts, table))
    numbers = [values for values in columns if values is not None]
    X = np.column_stack(numbers)
    if not allow_missing:
        _check_complete(X, names, table.lines)
    for name, values in zip(names, numbers, strict=True):
        if len(values) >= COUNTED and (np.diff(values) == 1).all() and values[0] in (0, 1):
            warn(
                f"column {name!r} counts the rows: if it is no measurement, leave it out, for "
                f"example with drop=[{name!r}]",
            )
    return torch.from_numpy(X)


def _advice(texts: list[Column], table: Table) -> str:
    """What to do about columns that hold no numbers."""
    line, cell = next(
        (line, cell)
        for line, cell in zip(table.lines, texts[0].cells, strict=True)
        if as_numbers([cell], table.decimal) is None
    )
    if any(form.fullmatch(bare(cell)) for form in (*NUMBERS.values(), THOUSANDS)):
        other = {".": ",", ",": "."}[table.decimal]
        advice = (
            f'pass decimal="{other}" if this is its decimal mark, or write no mark of thousands'
        )
    else:
        advice = (
            "convert categories to numbers, for example with pandas.get_dummies(…, dtype=float), "
            "leave columns out with drop=, or say with label= which column holds the labels"
        )
    names = quoted(column.name for column in texts)
    return f"{names} must contain numbers, got {cell!r} in line {line}: {advice}"


def _check_complete(X: np.ndarray, names: list[str], lines: list[int]) -> None:
    """Raise ValueError with the columns and lines of missing values."""
    rows, places = np.isnan(X).nonzero()
    if len(rows) == 0:
        return
    bad_names = [names[place] for place in np.unique(places)]
    bad_lines = [lines[row] for row in np.unique(rows)]
    raise ValueError(
        f"{len(rows)} values are missing, in {quoted(bad_names)} and in {len(bad_lines)} of "
        f"{len(X)} rows (lines {quoted(bad_lines)}): delete them, or read the table with "
        "read_table(…, allow_missing=True) and fill them, for example with "
        "sklearn.impute.SimpleImputer"
    )


def _labels(column: Column, table: Table) -> np.ndarray:
    """A column as labels ``(m,)``."""
    cells = [cell.strip() for cell in column.cells]
    numbers = as_numbers(cells)
    if numbers is None or np.isnan(numbers).all():  # "NA" (Namibia) is a class among texts
        missing = np.isin(cells, [*MISSING_TEXTS])
    else:
        missing = np.isnan(numbers)
    if missing.any():
        lines = [line for line, absent in zip(table.lines, missing, strict=True) if absent]
        raise ValueError(
            f"labels are missing in {len(lines)} rows (lines {quoted(lines)}): leave these rows "
            "out, or give them a label of their own, such as -1, and pass unknown=-1 to construct"
        )
    numbers = as_numbers(cells, table.decimal)
    if numbers is not None and (numbers % 1 > 0).any():
        fraction = cells[(numbers % 1 > 0).argmax()]
        raise ValueError(
            f"labels must be integers or names of classes, got {fraction} in {column.name!r}: "
            "say with label= which column holds the labels"
        )
    return labels_from_text(cells)
