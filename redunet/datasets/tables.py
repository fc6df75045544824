"""Tables in text files, with a row for each sample."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_count
from redunet._warnings import warn
from redunet.datasets import headers
from redunet.datasets.labels import labels_from_text, missing_labels, no_labels
from redunet.datasets.samples import LabelledSamples
from redunet.files.numerals import as_numbers, has_decimal_commas, is_comma_number
from redunet.files.rows import rows_of
from redunet.files.text import read_text

# Errors list at most this many lines or columns.
LISTED = 5

# The positions of the columns with these names, if no column has the name.
POSITIONS = {"first": 0, "last": -1}

# A column that counts at least so many rows is probably their number.
COUNTED = 10


class Column(NamedTuple):
    """A column of a table."""

    name: str
    cells: Sequence[str]


class Table(NamedTuple):
    """The columns of a table. ``lines`` are the lines of their cells in the file."""

    columns: list[Column]
    lines: list[int]
    has_header: bool
    label: int  # position of the column of the labels
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
        from 0. None if the table has no labels; they are then masked.
    header : bool or "auto"
        Whether the first row holds the names of the columns. "auto" sees it as a person would: the
        row is a header if ``label`` is one of its cells, or if it has text above numbers or no
        numbers at all. A row of numbers is a header if they are evenly spaced, as wavelengths,
        years, or the names 0, 1, 2, … of pandas are, and if its label is that of no other row. A
        doubtful decision is a warning.
    drop : sequence of str
        Names of columns that are left out, such as the number of a row or of a patient.
    decimal : {"auto", ".", ","}
        The decimal mark. "auto" takes the comma if columns have numbers such as ``1,5`` and none
        with a decimal point. ``1,234`` may be a thousand, and is refused if no other number
        decides it.
    encoding : str, optional
        For example ``"cp1252"``. The default is UTF-8, or what a byte order mark says.
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
        If no column or several columns have the name of the labels, names occur twice, labels are
        missing or fractions, values are missing or not numbers, rows have different numbers of
        cells, or the text has another encoding.

    Warns
    -----
    ReduNetWarning
        If it is doubtful whether the first row is a header, or a column counts the rows.
    """
    try:
        table = _read(read_text(Path(path), encoding), label, header, decimal)
        target = None if label is None else table.columns.pop(table.label)
        table = _without(table, [drop] if isinstance(drop, str) else drop)
        labels = no_labels(len(table.lines)) if target is None else _labels(target, table)
        X = _features(table, allow_missing)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not table.has_header:
        return LabelledSamples(X, labels)
    names = [column.name for column in table.columns]
    return LabelledSamples(X, labels, columns=names, label=target.name if target else None)


def first_row(path: str | os.PathLike[str], encoding: str | None = None) -> list[str]:
    """The cells of the first row of a table, which may be the names of its columns."""
    try:
        rows, _ = rows_of(read_text(Path(path), encoding))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return [cell.strip() for cell in rows[0]]


def _read(text: str, label: str | int | None, header: bool | str, decimal: str) -> Table:
    """The cells of a table, with the names of the columns from its header, if it has one."""
    if not (isinstance(header, bool) or header == "auto"):  # 0 is the first row in pandas
        raise ValueError(f'header must be True, False or "auto", got {header!r}')
    if decimal not in (".", ",", "auto"):
        raise ValueError(f'decimal must be ".", "," or "auto", got {decimal!r}')
    rows, lines = rows_of(text)
    first = [cell.strip() for cell in rows[0]]
    columns = list(zip(*rows, strict=True))
    if isinstance(label, str):
        label = unicodedata.normalize("NFC", label.strip())
    position = _position(label, first, may_be_named=header is not False)
    if decimal == "auto":
        features = (c for n, c in enumerate(columns) if label is None or n != position)
        commas = has_decimal_commas(cell for column in features for cell in column)
        decimal = "," if commas else "."
    if header == "auto" and isinstance(label, str) and label not in POSITIONS:
        header = True
    elif header == "auto":
        header, is_sure = headers.decide(columns, position, decimal)
        if not is_sure:
            kinds = ("the names of the columns", "a sample")
            taken, other = kinds if header else kinds[::-1]
            warn(
                f"the first row ({_listed(first)}) is taken for {taken}, but might be {other}: "
                f"pass header={header} if this is right, and header={not header} if not",
            )
    if not header:
        names = [f"column {number}" for number in range(1, len(first) + 1)]
        named = [Column(*pair) for pair in zip(names, columns, strict=True)]
        return Table(named, lines, False, position, decimal)
    if len(lines) == 1:
        raise ValueError("the table has a header, but no samples")
    _check_keyword(first, label, position)
    named = [Column(name, cells[1:]) for name, cells in zip(first, columns, strict=True)]
    return Table(named, lines[1:], True, position, decimal)


def _position(label: str | int | None, first: list[str], *, may_be_named: bool) -> int:
    """The position of the column of the labels, from 0; without labels, of the last column."""
    if label is None:
        label = -1
    if not isinstance(label, str):
        position: int = check_count(None, label=label)
        if not -len(first) <= position < len(first):
            raise ValueError(f"label is column {position}, but the table has {len(first)} columns")
        return position % len(first)
    if label in POSITIONS:
        return POSITIONS[label] % len(first)
    places = [number for number, name in enumerate(first) if name == label and may_be_named]
    if not places:
        raise ValueError(
            f"label must be 'last', 'first' or the name of a column, got {label!r}; the first row "
            f"has {_listed(first)}"
        )
    if len(places) > 1:
        raise ValueError(
            f"{len(places)} columns have the name {label!r}: rename all but one of them, or pass "
            f"the position of the labels, label={' or label='.join(map(str, places))}"
        )
    return places[0]


def _check_keyword(names: list[str], label: str | int | None, position: int) -> None:
    """Raise ValueError if "first" or "last" may be the name of another column."""
    if label in POSITIONS and label in names and names.index(label) != position:
        place = names.index(label)
        raise ValueError(
            f"label={label!r} may be the column {label!r} or the {label} column "
            f"{names[position]!r}: pass label={place} for the former, label={position} or "
            f"label={names[position]!r} for the latter"
        )


def _without(table: Table, drop: Sequence[str]) -> Table:
    """A table without some columns, in which all names differ."""
    names = [column.name for column in table.columns]
    if not all(isinstance(name, str) for name in drop):
        raise ValueError(f"drop must hold names of columns, got {_listed(drop)}")
    drop = [unicodedata.normalize("NFC", name) for name in drop]
    absent = [name for name in drop if name not in names]
    if absent:
        raise ValueError(f"drop names {_listed(absent)}, but the features are {_listed(names)}")
    kept = [column for column in table.columns if column.name not in drop]
    names = [column.name for column in kept if column.name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"several columns have the name {_listed(twice)}: rename them, so that columns can be "
            "told apart, or leave them out with drop="
        )
    return table._replace(columns=kept)


def _features(table: Table, allow_missing: bool) -> Tensor:
    """All columns as numbers ``(m, n)``."""
    names = [column.name for column in table.columns]
    if not names:
        raise ValueError("the table has no columns besides the labels")
    for number, name in enumerate(names, 1):
        if not name or name.startswith("Unnamed: "):  # pandas reads "" as such a name
            raise ValueError(
                f"column {number} of the features has no name: if it holds the numbers of the "
                f"rows, leave it out with drop=[{name!r}] (pandas writes none with index=False), "
                "or else give it a name"
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
    if is_comma_number(cell):
        advice = 'pass decimal="," if these are decimal commas, or write thousands without commas'
    elif table.decimal == "," and as_numbers([cell]) is not None:
        advice = "other numbers of the table have decimal commas, so the point is no decimal point"
    else:
        advice = (
            "convert categories to numbers, for example with pandas.get_dummies(…, dtype=float)"
        )
        advice += ", or leave columns out with drop="
        if len(texts) == 1:
            advice += f". If these are the labels, pass label={texts[0].name!r}"
    names = _listed(column.name for column in texts)
    return f"{names} must contain numbers, got {cell!r} in line {line}: {advice}"


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


def _labels(column: Column, table: Table) -> np.ndarray:
    """A column as labels ``(m,)``."""
    cells = [cell.strip() for cell in column.cells]
    missing = missing_labels(cells)
    if missing.any():
        lines = [line for line, absent in zip(table.lines, missing, strict=True) if absent]
        raise ValueError(
            f"labels are missing in {len(lines)} rows (lines {_listed(lines)}): leave these rows "
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


def _listed(values: Iterable[str] | Iterable[int]) -> str:
    """The first few values, and dots if there are more."""
    shown = [repr(value) for value in values]
    return ", ".join(shown[:LISTED] + ["…"] * (len(shown) > LISTED))
