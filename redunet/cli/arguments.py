"""The arguments of all commands, and their checks, without torch."""

import argparse
from pathlib import Path

from redunet._formats import OPTIONS, check_options, kind_of
from redunet._version import __version__
from redunet.files.atomic import check_place

# The options of reading data, as users write them.
READING = {name: f"--{name}" for names in OPTIONS.values() for name in names}
READING["size"] = "--image-size"

COMMANDS = {
    "construct": "Construct a network from samples and labels, and save it to a file.",
    "evaluate": "Show the accuracy of a saved network on labelled samples, and rates of their "
    "features.",
    "predict": "Write the class of each sample and the probabilities of all classes as a CSV "
    "table. Labels are not needed, and DATA may also be an image or a folder without classes.",
    "info": "Show the layers, shapes, parameters, memory, settings and rates of a saved network.",
    "report": "Write an HTML report on a saved network and its results on labelled samples.",
    "export": "Export a saved network to a torch.export file (.pt2) or an ONNX file (.onnx).",
}

# How the files end that commands write, and the names that they have by default.
ENDINGS = {
    "construct": (".safetensors", ".st"),
    "predict": (".csv", ".txt"),
    "report": (".html", ".htm"),
    "export": (".pt2", ".onnx"),
}
DEFAULTS = {"construct": "net.safetensors", "predict": "-", "report": "report.html"}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. An option without a default is absent unless it is given."""
    whole = argparse.ArgumentParser(
        prog="redunet",
        description="Construct deep networks from data; evaluate, report and export them, and "
        "predict with them.",
        epilog="'redunet COMMAND --help' lists the options of a command.",
    )
    whole.add_argument("--version", action="version", version=f"redunet {__version__}")
    commands = whole.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )

    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=text, argument_default=argparse.SUPPRESS
        )
        add = command.add_argument
        if name != "construct":
            add("net", type=_path, metavar="NET", help="file of a saved network")
        if name not in ("info", "export"):
            _add_data(command)
        if name == "construct":
            _add_construction(command)
        if name in ("evaluate", "report"):
            text = "training samples for an RBF SVM, whose accuracy is shown for comparison"
            add("--train", type=_path, metavar="DATA", help=text)
        if name in ENDINGS:
            default = DEFAULTS.get(name)
            text = f"file that is written, which ends in {' or '.join(ENDINGS[name])}"
            text += ", or - for standard output" if name == "predict" else ""
            text += f" (default: {default})" if default else ""
            add("-o", "--output", type=_path, default=default, required=not default, help=text)
        add("--device", help="device, such as cpu or cuda")
        add("--debug", action="store_true", help="show tracebacks of errors")
        if name != "predict":
            add("--json", action="store_true", help="print results as JSON")
    return whole


def _path(text: str) -> Path:
    """A path. An empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _add_data(command: argparse.ArgumentParser) -> None:
    """Add DATA, and how tables and time series are read."""
    add = command.add_argument
    add(
        "data",
        type=_path,
        metavar="DATA",
        help="table (.csv, .tsv, .txt), time series (.ts), arrays X and y (.npz), or folder with "
        "one folder of images per class",
    )
    add(
        "--label",
        metavar="COLUMN",
        help="column of the labels in a table: last, first, its name, or its position from 0; or "
        "the array of the labels in an .npz file (default: the network's, last, or y)",
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


def _add_construction(command: argparse.ArgumentParser) -> None:
    """Add the options of a construction."""
    add = command.add_argument
    add("--color", action="store_true", help="read images in a folder in colour")
    add(
        "--samples",
        action="store_true",
        default=False,
        help="store the samples and labels in the file instead of the operators, if they take less "
        "room; everybody who has the file can read them",
    )
    add(
        "--lift",
        choices=("auto", "flatten", "none"),
        default="auto",
        help="auto chooses the lift, ε², the operators and the sharpness, and standardises the "
        "samples; flatten treats signals and images as vectors, without invariance to shifts; none "
        "takes samples as they are (default: auto)",
    )
    add(
        "--operators",
        choices=("exact", "variational"),
        default="exact",
        help="exact operators, or variational operators, which need --rank (default: exact)",
    )
    add(
        "--checkpoint",
        type=_path,
        metavar="FOLDER",
        help="folder that stores finished layers; an interrupted construction resumes from it",
    )
    add("--image-size", dest="size", type=int, help="size of images in a folder (default: 32)")
    add("--length", type=int, help="length of the series of a .ts file (default: the longest)")
    for option, kind, text in (
        ("--seed", int, "seed of --lift auto (default: 0)"),
        (
            "--num-layers",
            int,
            "number of layers (default: 1 with --lift auto; otherwise layers are added until one "
            "raises the rate reduction by less than 1 %%, at most 50)",
        ),
        (
            "--eps-sq",
            float,
            "squared precision ε² (default: --lift auto chooses it; otherwise 0.5 divided by the "
            "number of frequencies)",
        ),
        ("--rank", int, "rank of variational operators"),
        ("--batch-size", int, "number of samples per batch; smaller batches take less memory"),
    ):
        add(option, type=kind, help=text)


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
    paths = {name: getattr(options, name) for name in ("net", "data", "train") if name in options}
    for name, path in paths.items():
        # Data of unknown kinds get an error that lists the kinds.
        if (name == "net" or kind_of(path)) and not path.exists():
            raise FileNotFoundError(f"no such file: {path} (No such file or directory)")
    if "data" in paths:
        given = {name: written for name, written in READING.items() if name in options}
        check_options(paths["data"], given)
    if "output" in options and (options.command, str(options.output)) != ("predict", "-"):
        if options.output.resolve() in [path.resolve() for path in paths.values()]:
            raise ValueError(f"-o {options.output} would overwrite what is read")
        if options.output.suffix.lower() not in ENDINGS[options.command]:
            endings = " or ".join(ENDINGS[options.command])
            raise ValueError(
                f"redunet {options.command} writes to a file that ends in {endings}, got -o "
                f"{options.output}"
            )
        check_place(options.output)
    if "seed" in options and options.lift != "auto":
        raise ValueError(f"--seed is for --lift auto, and --lift is {options.lift}: leave it out")
