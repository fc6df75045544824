"""The arguments of all commands, and their checks, without torch."""

import argparse
from pathlib import Path

from redunet._version import __version__
from redunet.files.atomic import check_place

# The kinds of data by the ending of the file, and in words.
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

# What commands write, and its endings.
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


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. An option without a default is absent unless it is given."""
    whole = argparse.ArgumentParser(
        prog="redunet",
        description="Construct deep networks from data; evaluate, plot and export them, and "
        "predict with them.",
        epilog="'redunet COMMAND --help' lists the options of a command.",
    )
    whole.add_argument("--version", action="version", version=f"redunet {__version__}")
    commands = whole.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text, argument_default=argparse.SUPPRESS
        )
        if name != "construct":
            added.add_argument("net", type=_path, metavar="NET", help="file of a saved network")
        added.add_argument("--device", help="device, such as cpu or cuda")
        added.add_argument("--debug", action="store_true", help="show tracebacks of errors")
        if name != "predict":
            added.add_argument("--json", action="store_true", help="print results as JSON")
        return added

    construct = command(
        "construct", "Construct a network from samples and labels, and save it to a file."
    )
    _add_data(construct, "last")
    _add_construction(construct)
    _add_output(construct, "file for the network", "net.safetensors")

    evaluate = command(
        "evaluate",
        "Show the accuracy of a saved network on labelled samples, and rates of their features.",
    )
    _add_data(evaluate)
    _add_train(evaluate)

    predict = command(
        "predict",
        "Write the class of each sample and the probabilities of all classes as a CSV table. "
        "Labels are not needed, and DATA may also be an image or a folder without classes.",
    )
    _add_data(predict)
    _add_output(predict, "file for the table, or - for standard output", "-")

    command(
        "info",
        "Show the layers, shapes, parameters, memory, settings and rates of a saved network.",
    )

    plot = command(
        "plot",
        "Plot the rates by layer and, if DATA is given, similarities before and after the network.",
    )
    _add_data(plot, nargs="?")
    _add_output(plot, "image file", "redunet.png")

    report = command(
        "report", "Write an HTML report on a saved network and its results on labelled samples."
    )
    _add_data(report)
    _add_train(report)
    report.add_argument("--title", help="title of the report (default: NET on DATA)")
    _add_output(report, "file for the report", "report.html")

    export = command(
        "export", "Export a saved network to a torch.export file (.pt2) or an ONNX file (.onnx)."
    )
    _add_output(export, "name of the exported file, which ends in .pt2 or .onnx")
    return whole


def _path(text: str) -> Path:
    """A path. An empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _add_data(
    command: argparse.ArgumentParser, label: str = "the network's", nargs: str | None = None
) -> None:
    """Add DATA, and how tables and time series are read."""
    add = command.add_argument
    add(
        "data",
        type=_path,
        nargs=nargs,
        default=None,
        metavar="DATA",
        help="table (.csv, .tsv, .txt), time series (.ts), arrays X and y (.npz), or folder with "
        "one folder of images per class",
    )
    add(
        "--label",
        metavar="COLUMN",
        help="column of the labels in a table: last, first, its name, or its position from 0 "
        f"(default: {label})",
    )
    add("--header", choices=("yes", "no"), help="whether a table has a header")
    add("--drop", action="append", metavar="COLUMN", help="leave out a column; may be repeated")
    add("--decimal", choices=(".", ","), help="decimal mark of a table")
    add("--encoding", help="encoding of a table or a .ts file (default: UTF-8)")
    add(
        "--fill",
        type=lambda text: text if text == "mean" else float(text),
        metavar="VALUE",
        help="value that continues short series of a .ts file, or mean for the mean of each series "
        "(default: 0)",
    )


def _add_train(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--train",
        type=_path,
        metavar="DATA",
        help="training samples for an RBF SVM, whose accuracy is shown for comparison",
    )


def _add_output(command: argparse.ArgumentParser, text: str, default: str | None = None) -> None:
    add = command.add_argument
    if default is None:
        add("-o", "--output", type=_path, required=True, help=text)
    else:
        text = f"{text} (default: {default})"
        add("-o", "--output", type=_path, default=Path(default), help=text)


def _add_construction(command: argparse.ArgumentParser) -> None:
    """Add the options of a construction."""
    add = command.add_argument
    add(
        "--length",
        type=int,
        help="length of the series of a .ts file, if short ones are continued (default: the "
        "longest)",
    )
    add("--image-size", type=int, help="size of the images in a folder (default: 32)")
    add("--color", action="store_true", help="read images in a folder in colour")
    add(
        "--lift",
        choices=("auto", "random", "flatten", "none"),
        default="auto",
        help="auto chooses the lift, ε², the operators and the sharpness, and standardises the "
        "samples; random takes random kernels for signals and images; flatten treats them as "
        "vectors, without invariance to shifts; none takes samples as they are (default: auto)",
    )
    add(
        "--channels", type=int, metavar="N", help="number of kernels of --lift random (default: 16)"
    )
    add("--kernel-size", type=int, help="size of the kernels of --lift random (default: 3)")
    add("--seed", type=int, help="seed of --lift auto and --lift random (default: 0)")
    add(
        "--num-layers",
        type=int,
        help="number of layers (default: 1 with --lift auto; otherwise layers are added until one "
        "raises the rate reduction by less than 1 %%, at most 50)",
    )
    add(
        "--eps-sq",
        type=float,
        help="squared precision ε² (default: --lift auto chooses it; otherwise 0.5 divided by the "
        "number of frequencies)",
    )
    add("--eta", type=float, help="step size η (default: the step ηC/(mε²) is 2)")
    add(
        "--lam",
        type=float,
        help="sharpness λ of memberships (default: 500; --lift auto chooses it)",
    )
    add(
        "--operators",
        choices=("exact", "variational"),
        default="exact",
        help="exact operators, or variational operators, which need --rank (default: exact)",
    )
    add("--rank", type=int, help="rank of variational operators")
    add("--momentum", type=float, help="momentum β, for example 0.9")
    add(
        "--batch-size",
        type=int,
        help="number of samples per batch; smaller batches take less memory",
    )
    add(
        "--checkpoint",
        type=_path,
        metavar="FOLDER",
        help="folder that stores finished layers; an interrupted construction resumes from it",
    )


def kind_of(path: Path) -> str | None:
    """The kind of data in a file or folder: table, series, arrays, images; None if not known."""
    return "images" if path.is_dir() else KINDS.get(path.suffix.lower())


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
    read = {name: getattr(options, name, None) for name in ("net", "data", "train")}
    paths = {name: path for name, path in read.items() if path is not None}
    for name, path in paths.items():
        # Data of unknown kinds get an error that lists the kinds.
        if (name == "net" or kind_of(path)) and not path.exists():
            raise FileNotFoundError(f"no such file: {path} (No such file or directory)")
    if "data" in paths:
        _check_readers(options, paths["data"])
    if "output" in options and (options.command, str(options.output)) != ("predict", "-"):
        if options.output.resolve() in [path.resolve() for path in paths.values()]:
            raise ValueError(f"-o {options.output} would overwrite what is read")
        _check_output(options.command, options.output)
    if options.command == "construct":
        _check_construction(options)


def _check_readers(options: argparse.Namespace, data: Path) -> None:
    """Raise ValueError if an option of reading cannot apply to data."""
    kind = kind_of(data)
    for name, kinds in READERS.items():
        if name in options and kind is not None and kind not in kinds:
            wanted = " and ".join(IN_WORDS[other] for other in sorted(kinds))
            raise ValueError(
                f"{_flag(name)} is for {wanted}, but {data} has {IN_WORDS[kind]}: leave it out"
            )


def _flag(name: str) -> str:
    """An option as it is written."""
    return "--" + name.replace("_", "-")


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
    lift, is_table = options.lift, kind_of(options.data) == "table"
    is_variational = options.operators == "variational"
    if lift == "random" and is_table:
        raise ValueError(
            f"--lift random is for signals and images, but {options.data} is a table: leave it "
            "out, or write --lift none for the table as it is"
        )
    for name in ("channels", "kernel_size"):
        if name in options and lift != "random":
            advice = "leave it out" if is_table else "add --lift random"
            raise ValueError(
                f"{_flag(name)} is an option of random kernels for signals and images: {advice}"
            )
    if "seed" in options and lift not in ("auto", "random"):
        raise ValueError(f"nothing is random with --lift {lift}: leave --seed out")
    if "lam" in options and lift == "auto":
        raise ValueError(
            "--lift auto chooses the sharpness itself: leave --lam out, or write --lift random, "
            "--lift flatten or --lift none"
        )
    if "rank" in options and not is_variational:
        raise ValueError(
            "--rank is an option of --operators variational: add it, or leave --rank out"
        )
    if is_variational and "rank" not in options:
        raise ValueError("--operators variational needs --rank, for example --rank 10")
    if "checkpoint" in options and options.checkpoint.is_file():
        raise NotADirectoryError(f"--checkpoint {options.checkpoint} is a file, not a folder")
