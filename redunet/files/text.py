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
        If the file has another encoding.
    """
    content = path.read_bytes()
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    errors = "strict" if is_strict else "surrogateescape"
    try:
        return unicodedata.normalize("NFC", content.decode(encoding or marked, errors))
    except LookupError as error:
        raise ValueError(f"there is no encoding {encoding!r}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not {error.encoding.upper()}: {ADVICE}") from error


def is_text(line: str) -> bool:
    """Whether all bytes of a line that was not read strictly are text in the encoding."""
    return line.isascii() or not any("\udc80" <= character <= "\udcff" for character in line)
