"""Numbers as people and programs write them in tables."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

# Cells of missing values, in lower case.
MISSING = frozenset(
    ("", "?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none")
)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)

# 1,234 and 1,234,567 are thousands, or a number with three decimal places.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)

# A text that contains nothing else can be left to Python, which also reads 1_000 and infinity.
_PLAIN = re.compile(r"[0-9eE+\-.\s]*", re.ASCII)


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing number."""
    return cell.strip().lower() in MISSING


def as_numbers(cells: Sequence[str], decimal: str = ".") -> np.ndarray | None:
    """Cells as float64, with NaN for missing values. None if a cell is not a number.

    Numbers have ASCII digits, a decimal mark and an exponent, and fit into float64. Codes such as
    ``12_5``, dates, and numbers with marks of thousands are not numbers.
    """
    if decimal == "." and _PLAIN.fullmatch("\n".join(cells)):
        try:
            values = np.array([float(cell) for cell in cells])
            return None if np.isinf(values).any() else values
        except ValueError:
            pass  # some cells are missing values, or not numbers
    try:
        return np.array([_number(cell, decimal) for cell in cells])
    except ValueError:
        return None


def _number(cell: str, decimal: str) -> float:
    if is_missing(cell):
        return math.nan
    text = _text(cell)
    if not (_NUMBER if decimal == "." else _DECIMAL_COMMA).fullmatch(text):
        raise ValueError(f"{cell!r} is not a number")
    value = float(text.replace(",", "."))
    if math.isinf(value):
        raise ValueError(f"{cell!r} is too large")
    return value


def _text(cell: str) -> str:
    """A cell without spaces around it, and with a minus of ASCII."""
    return cell.strip().replace("\N{MINUS SIGN}", "-")


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether cells have decimal commas, and none has a decimal point.

    ``1,234`` may be a thousand, so it says nothing.
    """
    marked = [_text(cell) for cell in cells if "," in cell or "." in cell]
    commas = [cell for cell in marked if is_comma_number(cell) and not _THOUSANDS.fullmatch(cell)]
    return bool(commas) and not any(_NUMBER.fullmatch(cell) for cell in marked)


def is_comma_number(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma, or with commas between thousands."""
    text = _text(cell)
    return "," in text and bool(_DECIMAL_COMMA.fullmatch(text) or _THOUSANDS.fullmatch(text))
