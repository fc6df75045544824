"""The kinds of data in files and folders, and the options with which each is read."""

from collections.abc import Mapping
from pathlib import Path

# The kinds of data by the ending of the file.
KINDS = {
    ".csv": "tables",
    ".tsv": "tables",
    ".txt": "tables",
    ".ts": "time series",
    ".npz": "arrays",
}

# The options of reading, by kind.
OPTIONS = {
    "tables": ("label", "header", "drop", "decimal", "encoding"),
    "time series": ("encoding", "length", "fill"),
    "arrays": ("label",),
    "folders of images": ("size", "color"),
}


def kind_of(path: Path) -> str | None:
    """The kind of data in a file or folder; None if it is not known."""
    return "folders of images" if path.is_dir() else KINDS.get(path.suffix.lower())


def check_options(path: Path, options: Mapping[str, str]) -> None:
    """Check that data of this kind are read with some options, by what the user writes for each.

    Raises
    ------
    ValueError
        If one of the options is for data of other kinds.
    """
    kind = kind_of(path)
    for option, written in options.items():
        kinds = [kind for kind, taken in OPTIONS.items() if option in taken]
        if kind is not None and kind not in kinds:
            meant = f"is for {' and '.join(kinds)}" if kinds else "is no option of reading"
            raise ValueError(
                f"{written} {meant}, but {path} has {kind}: leave it out, as these have the "
                f"options {', '.join(OPTIONS[kind])}"
            )
