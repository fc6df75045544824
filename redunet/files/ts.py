"""Labelled time series in the text format ``.ts`` of the UCR and UEA archives."""

from io import StringIO
from pathlib import Path

import numpy as np

from redunet.files.numerals import as_numbers
from redunet.files.text import ADVICE, is_text, read_text


def parse_ts(path: Path, encoding: str | None = None) -> tuple[list[np.ndarray], list[str]]:
    """Read the time series in a ``.ts`` file, and their class labels.

    Comments, and lines before ``@data`` that describe the data set, are ignored. Only the lines
    ``@classLabel`` and ``@timeStamps`` are used. Keywords may be written in any case. Names of
    classes have composed characters (NFC).

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default UTF-8. Comments may have any encoding.

    Returns
    -------
    series : list of numpy arrays (C, T_i), float64
        NaN where the file has a question mark.
    labels : list of str

    Raises
    ------
    ValueError
        If the file has no class labels, is damaged, or has another encoding.
    """
    series, labels = [], []
    header: dict[str, list[str]] = {}
    text = StringIO(read_text(path, encoding, is_strict=False), newline=None)
    lines = ((number, line.strip()) for number, line in enumerate(text, 1))
    lines = ((number, line) for number, line in lines if line and line[0] not in "#%")
    for number, line in lines:
        keyword, *values = line.split()
        if keyword.lower() == "@data":
            break
        if keyword.lower() == "@classlabel":
            _check_encoding(line, number)
        header[keyword.lower()] = values
    else:
        raise ValueError("this is not a .ts file: it has no line @data")
    classes = _classes(header)
    for number, line in lines:
        *channels, label = (part.strip() for part in line.split(":"))
        _check_encoding(line, number)
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
    return series, labels


def _check_encoding(line: str, number: int) -> None:
    if not is_text(line):
        raise ValueError(f"line {number} is not UTF-8: {ADVICE}")


def _classes(header: dict[str, list[str]]) -> list[str]:
    """The classes that a header declares."""
    if [value.lower() for value in header.get("@timestamps", [])] == ["true"]:
        raise ValueError("the series have time stamps: expected values at equal distances in time")
    declared = header.get("@classlabel", [])
    classes = declared[1:] if [value.lower() for value in declared[:1]] == ["true"] else []
    if not classes:
        got = " ".join(["@classLabel", *declared]) if "@classlabel" in header else "no such line"
        raise ValueError(
            f"expected the names of the classes before @data, in a line such as '@classLabel true "
            f"walk run', got {got}"
        )
    return classes


def _channels(texts: list[str]) -> np.ndarray:
    """Channels ``(C, T)``, whose values are separated by commas."""
    rows = [_values(text.split(",")) for text in texts]
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise ValueError(f"all channels of a sample must have the same length, got {lengths}")
    return np.stack(rows)


def _values(cells: list[str]) -> np.ndarray:
    values = as_numbers(cells)
    if values is None:
        bad = next(cell for cell in cells if as_numbers([cell]) is None)
        raise ValueError(f"expected numbers, got {bad!r}")
    return values
