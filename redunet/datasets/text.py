"""Text files, and the numbers and labels in their cells."""

import codecs
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NO_TEXT = "or save it as text in UTF-8, if it is compressed, a spreadsheet or another binary file"

# Cells of missing numbers, in lower case, and labels that are missing among texts. "NA" (Namibia),
# "None", "null" and "-" are classes there.
MISSING = frozenset(
    ("", "?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none")
)
MISSING_TEXTS = frozenset(("", "?", "nan", "NaN", "<NA>", "#N/A"))

# Numbers by their decimal mark. 1,234 and 1,234,567 are thousands, or numbers of three places.
NUMBERS = {
    ".": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?", re.ASCII),
}
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)

# A text of nothing else can be left to Python, which also reads 1_000 and infinity.
_PLAIN = re.compile(r"[0-9eE+\-.\s]*", re.ASCII)

# Codes such as 007 are no integers. int64 has all integers of 18 digits, float64 those below 2⁵³.
_CODE = re.compile("[+-]?0[0-9]")
_INTEGER = re.compile("[+-]?[0-9]{1,18}")


def read_text(path: Path, encoding: str | None = None) -> str:
    """The text of a file, with composed characters (NFC), so that equal names are equal strings.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default UTF-8, or UTF-16 after its byte order mark.

    Raises
    ------
    ValueError
        If the file has another encoding, or is no text.
    """
    content = path.read_bytes()
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode(encoding or ("utf-16" if is_utf16 else "utf-8-sig"))
    except LookupError as error:
        raise ValueError(f"there is no encoding {encoding!r}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f'line {line} is not {error.encoding.upper()}: pass encoding="cp1252" for files of '
            f"western Windows programs, or the encoding that the file has, {NO_TEXT}"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f'line {line} has zero bytes: pass encoding="utf-16" or "utf-32" if the file has '
            f"two or four bytes for each character, {NO_TEXT}"
        )
    return unicodedata.normalize("NFC", text)


def as_numbers(cells: Sequence[str], decimal: str = ".") -> np.ndarray | None:
    """Cells as float64, with NaN for missing values. None if a cell is not a number.

    Numbers have ASCII digits, a decimal mark and an exponent, and fit into float64. Codes such as
    ``12_5``, dates, and numbers with marks of thousands are not numbers.
    """
    try:
        if decimal == "." and _PLAIN.fullmatch("\n".join(cells)):
            return _finite([float(cell) for cell in cells])
    except ValueError:
        pass  # some cells are missing values, or not numbers
    texts = [bare(cell) for cell in cells]
    texts = ["nan" if text.lower() in MISSING else text for text in texts]
    if not all(text == "nan" or NUMBERS[decimal].fullmatch(text) for text in texts):
        return None
    return _finite([float(text.replace(",", ".")) for text in texts])


def _finite(values: list[float]) -> np.ndarray | None:
    """Values without infinite ones, or None."""
    array = np.array(values)
    return None if np.isinf(array).any() else array


def bare(cell: str) -> str:
    """A cell without spaces around it, and with a minus of ASCII."""
    return cell.strip().replace("\N{MINUS SIGN}", "-")


def labels_from_text(texts: Sequence[str]) -> np.ndarray:
    """Labels as int64 if all of them are integers, such as 1, +1 or 1.0, and as strings otherwise.

    If one of them is a code such as 007, all are strings.
    """
    numbers = as_numbers(texts)
    if numbers is not None and (numbers % 1 == 0).all() and not any(map(_CODE.match, texts)):
        if all(map(_INTEGER.fullmatch, texts)):
            return np.array(texts, dtype=np.int64)
        if np.abs(numbers).max() < 2**53:
            return numbers.astype(np.int64)
    return np.array(texts, dtype=str)
