"""Labelled time series in the text format ``.ts`` of the UCR and UEA archives."""

from pathlib import Path

import numpy as np


def parse_ts(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Read the time series in a ``.ts`` file, and their class labels.

    Comments, and lines before ``@data`` that describe the data set, are ignored. Only the lines
    ``@classLabel`` and ``@timeStamps`` are used. Keywords may be written in any case.

    Parameters
    ----------
    path : Path

    Returns
    -------
    series : list of numpy arrays (C, T_i), float32
        NaN where the file has a question mark.
    labels : list of str

    Raises
    ------
    ValueError
        If the file has no class labels or is damaged.
    """
    series, labels = [], []
    header: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = ((number, line.strip()) for number, line in enumerate(file, 1))
        lines = ((number, line) for number, line in lines if line and line[0] not in "#%")
        for _, line in lines:
            keyword, *values = line.split()
            if keyword.lower() == "@data":
                break
            header[keyword.lower()] = values
        else:
            raise ValueError(f"{path} is not a .ts file: it has no line @data")
        classes = _classes(header, path)
        for number, line in lines:
            *channels, label = (part.strip() for part in line.split(":"))
            if not channels or label not in classes:
                raise ValueError(
                    f"{path}, line {number}: expected channels and one of the classes "
                    f"{', '.join(classes)}, separated by colons, got the class {label[:20]!r}"
                )
            try:
                series.append(_channels(channels))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            labels.append(label)
    return series, labels


def _classes(header: dict[str, list[str]], path: Path) -> list[str]:
    """The classes that a header declares."""
    if [value.lower() for value in header.get("@timestamps", [])] == ["true"]:
        raise ValueError(f"{path} has time stamps: expected values at equal distances in time")
    declared = header.get("@classlabel", [])
    classes = declared[1:] if [value.lower() for value in declared[:1]] == ["true"] else []
    if not classes:
        got = " ".join(["@classLabel", *declared]) if "@classlabel" in header else "no such line"
        raise ValueError(
            f"{path} should name its classes before @data, in a line such as '@classLabel true "
            f"walk run', got {got}"
        )
    return classes


def _channels(texts: list[str]) -> np.ndarray:
    """Channels ``(C, T)``, whose values are separated by commas."""
    rows = [np.array(text.replace("?", "nan").split(","), dtype=np.float32) for text in texts]
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise ValueError(f"all channels of a sample must have the same length, got {lengths}")
    return np.stack(rows)
