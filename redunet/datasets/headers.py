"""Whether the first row of a table holds the names of its columns."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from redunet.files.numerals import as_numbers

_INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)


class Decision(NamedTuple):
    """Whether the first row is a header, and whether a person would be sure of it."""

    is_header: bool
    is_sure: bool


def decide(columns: Sequence[Sequence[str]], label: int, decimal: str) -> Decision:
    """Decide whether the first cells of columns are names.

    Most headers are texts above numbers. Names may also be numbers, such as wavelengths, years, or
    0, 1, 2, … of pandas. Such a row is told from a sample by its label, which no other row has, and
    by its numbers, which are evenly spaced, or integers above fractions.

    Parameters
    ----------
    columns : sequence of sequences of str
        All cells, column by column.
    label : int
        Position of the column of the labels.
    decimal : {".", ","}
    """
    first = [column[0].strip() for column in columns]
    values = [as_numbers([cell], decimal) for cell in first]
    below = [as_numbers(column[1:], decimal) for column in columns]
    numbers = np.array([value[0] for value in values if value is not None])
    numbers = numbers[~np.isnan(numbers)]
    if len(numbers) == 0:
        return Decision(is_header=True, is_sure=True)
    if len(columns[0]) == 1:
        return Decision(is_header=False, is_sure=True)
    above = zip(values, below, strict=True)
    if any(
        value is None and rows is not None and not np.isnan(rows).all() for value, rows in above
    ):
        return Decision(is_header=True, is_sure=True)
    named = [cell for cell in first if cell]
    if len(set(named)) < len(named):  # names differ
        return Decision(is_header=False, is_sure=True)

    others = [cell.strip() for cell in columns[label][1:]]
    is_new = first[label] not in others
    is_text = values[label] is None
    is_axis = _is_axis(numbers) and not _are_axes(below)
    is_range = named == [str(number) for number in range(len(named))]
    features = [column for number, column in enumerate(columns) if number != label]
    is_integer = all(_INTEGER.fullmatch(column[0]) for column in features) and not any(
        _INTEGER.fullmatch(cell) for column in features for cell in column[1:]
    )
    if (is_axis and is_new) or (is_range and len(named) > 2):
        return Decision(is_header=True, is_sure=True)
    if is_text and not is_new:
        return Decision(is_header=False, is_sure=True)
    looks_named = (is_axis or is_integer) and len(numbers) > 4
    is_alone = is_text and len(set(others)) < len(others)  # other labels occur again
    if looks_named or is_alone or (is_integer and (is_new or is_range)):
        return Decision(is_header=True, is_sure=False)
    return Decision(is_header=False, is_sure=not (is_axis or is_range))


def _is_axis(numbers: np.ndarray) -> bool:
    """Whether numbers rise or fall all along: a few of them by equal steps, many by any."""
    steps = np.diff(numbers)
    if len(steps) < 2 or not (steps * steps[0] > 0).all():
        return False
    return len(steps) > 4 or np.allclose(steps, steps[0], rtol=0.01)


def _are_axes(columns: Sequence[np.ndarray | None]) -> bool:
    """Whether most of the rows of a table rise or fall all along."""
    steps = np.diff([column for column in columns if column is not None], axis=0)
    return bool(np.mean((steps > 0).all(0) | (steps < 0).all(0)) > 0.5)
