"""Checks of arguments, files and folders before a command begins, without torch."""

import argparse
from pathlib import Path

from redunet.files.atomic import check_place

# The kinds of data, by the ending of the file.
KINDS = {".csv": "table", ".tsv": "table", ".txt": "table", ".ts": "series", ".npz": "arrays"}
IN_WORDS = {
    "table": "tables",
    "series": "time series",
    "images": "folders of images",
    "arrays": "arrays",
}

# The kinds of data that an option of reading is for.
READERS = {
    "label": {"table"},
    "header": {"table"},
    "drop": {"table"},
    "decimal": {"table"},
    "encoding": {"table", "series"},
    "fill": {"series"},
    "length": {"series"},
    "image_size": {"images"},
    "color": {"images"},
}

# What commands write: its name, its endings, and what to write instead of another ending.
WRITTEN = {
    "construct": ("a safetensors file", (".safetensors", ".st")),
    "predict": ("a CSV table", (".csv", ".txt")),
    "report": ("an HTML page", (".html", ".htm")),
}

# Endings that promise something, so that a file of another kind must not have them.
KNOWN_ENDINGS = {
    *(".bin", ".ckpt", ".csv", ".h5", ".htm", ".html", ".jpg", ".json", ".md", ".npy", ".npz"),
    *(".onnx", ".pdf", ".pickle", ".pkl", ".png", ".pt", ".pt2", ".pth", ".safetensors", ".svg"),
    *(".ts", ".tsv", ".txt", ".xls", ".xlsx", ".zip"),
}


def check(options: argparse.Namespace) -> None:
    """Check the options of a command.

    Raises
    ------
    ValueError
        If an option cannot apply, or the file that is written would have the ending of another
        kind, or be one that is read.
    OSError
        If a file that is read or a folder for results does not exist.
    """
    command = options.command
    given = {name: value for name, value in vars(options).items() if value not in (None, False)}
    for name in ("net", "data", "train"):
        # Data of unknown kinds get an error that lists the kinds.
        if name in given and (name == "net" or kind_of(given[name])) and not given[name].exists():
            raise FileNotFoundError(f"no such file: {given[name]} (No such file or directory)")
    if "data" in given:
        for name, kinds in READERS.items():
            if name in given:
                _check_reader(name, kinds, given["data"])
    if "output" in given and (command != "predict" or str(given["output"]) != "-"):
        for name in ("net", "data", "train"):
            if name in given and given[name].resolve() == given["output"].resolve():
                raise ValueError(f"-o {given['output']} would overwrite what is read")
        _check_output(command, given["output"])
    if options.command == "construct":
        _check_construction(options)


def kind_of(path: Path) -> str | None:
    """The kind of data in a file or folder: table, series, arrays, images; None if not known."""
    return "images" if path.is_dir() else KINDS.get(path.suffix.lower())


def flag(name: str) -> str:
    """An option as it is written."""
    return "--" + {"out_channels": "channels"}.get(name, name).replace("_", "-")


def _check_reader(name: str, kinds: set[str], data: Path) -> None:
    """Raise ValueError if an option of reading cannot apply to data."""
    kind = kind_of(data)
    if kind is not None and kind not in kinds:
        wanted = " and ".join(IN_WORDS[other] for other in sorted(kinds))
        raise ValueError(
            f"{flag(name)} is for {wanted}, but {data} has {IN_WORDS[kind]}: leave it out"
        )


def _check_output(command: str, path: Path) -> None:
    """Raise an error if a file cannot be written, or its ending promises something else."""
    if str(path) == "-":
        raise ValueError(f"redunet {command} cannot write to standard output: name a file with -o")
    check_place(path)
    ending = path.suffix.lower()
    if command not in WRITTEN or ending not in KNOWN_ENDINGS:
        return
    kind, endings = WRITTEN[command]
    if ending not in endings:
        right = path.with_suffix(endings[0])
        exports = command == "construct" and ending in (".onnx", ".pt2")
        then = f", and then redunet export {right} -o {path}" if exports else ""
        raise ValueError(f"redunet {command} writes {kind}, not {ending}: write -o {right}{then}")


def _check_construction(options: argparse.Namespace) -> None:
    """Raise ValueError if options of a construction cannot apply."""
    lift, kind = options.lift, kind_of(options.data)
    if lift == "random" and kind == "table":
        raise ValueError(
            f"--lift random is for signals and images, but {options.data} is a table: leave it "
            "out, or write --lift none for the table as it is"
        )
    for name in ("channels", "kernel_size"):
        if getattr(options, name) is not None and lift != "random":
            advice = "leave it out" if kind == "table" else "add --lift random"
            raise ValueError(
                f"{flag(name)} is an option of random kernels for signals and images: {advice}"
            )
    if options.seed is not None and lift not in ("auto", "random"):
        raise ValueError(f"nothing is random with --lift {lift}: leave --seed out")
    if options.lam is not None and lift == "auto":
        raise ValueError(
            "--lift auto chooses the sharpness itself: leave --lam out, or write --lift random, "
            "--lift flatten or --lift none"
        )
    if options.rank is not None and options.operators != "variational":
        raise ValueError(
            "--rank is an option of --operators variational: add it, or leave --rank out"
        )
    if options.rank is None and options.operators == "variational":
        raise ValueError("--operators variational needs --rank, for example --rank 10")
    if options.checkpoint is not None and options.checkpoint.is_file():
        raise NotADirectoryError(f"--checkpoint {options.checkpoint} is a file, not a folder")
