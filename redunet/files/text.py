"""Text files of any encoding."""

import codecs
import unicodedata
from pathlib import Path

# Byte order marks. That of UTF-32 begins as that of UTF-16, so it stands before it.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

# How files begin that are no text.
BINARY = {
    b"\x1f\x8b": "compressed by gzip: decompress it",
    b"PK\x03\x04": "a zip archive or an Excel file: save its table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file: save its table as CSV",
    b"PAR1": "a Parquet file: save it as CSV, or pass the arrays of a frame",
    b"\x89HDF": "an HDF5 file: pass its arrays",
}

ADVICE = (
    'pass the encoding of the file, for example encoding="cp1252" for files of western Windows '
    "programs, or save it as UTF-8"
)


def read_text(path: Path, encoding: str | None = None, *, is_strict: bool = True) -> str:
    """The text of a file, with composed characters (NFC), so that equal names are equal strings.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default UTF-8, or what a byte order mark says.
    is_strict : bool
        If false, what is no text in this encoding is found by :func:`is_text`.

    Raises
    ------
    ValueError
        If the file has another encoding, or is no text.
    """
    content = path.read_bytes()
    for mark, kind in BINARY.items():
        if content.startswith(mark):
            raise ValueError(f"this is no text, but {kind}")
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    errors = "strict" if is_strict else "surrogateescape"
    try:
        text = unicodedata.normalize("NFC", content.decode(encoding or marked, errors))
    except LookupError as error:
        raise ValueError(f"there is no encoding {encoding!r}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not {error.encoding.upper()}: {ADVICE}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f'line {line} has zero bytes: pass encoding="utf-16" if the file has two bytes for '
            "each character, or else delete them"
        )
    return text


def is_text(line: str) -> bool:
    """Whether all bytes of a line that was not read strictly are text in the encoding."""
    return line.isascii() or not any("\udc80" <= character <= "\udcff" for character in line)
