"""The arguments of all commands."""

import argparse
from pathlib import Path
from typing import Any

from redunet._version import __version__

Argument = tuple[str, dict[str, Any]]


def _path(text: str) -> Path:
    """A path. An empty one would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


DATA: Argument = (
    "data",
    {
        "type": _path,
        "metavar": "DATA",
        "help": "table (.csv, .tsv, .txt), time series (.ts), arrays X and y (.npz), or folder "
        "with one folder of images per class",
    },
)
NEW_DATA: Argument = (
    "data",
    {
        "type": _path,
        "metavar": "DATA",
        "help": "table, time series, arrays X (.npz), or image or folder of images; labels are not "
        "needed",
    },
)
NET: Argument = ("net", {"type": _path, "metavar": "NET", "help": "file of a saved network"})
TRAIN: Argument = (
    "--train",
    {
        "type": _path,
        "metavar": "DATA",
        "help": "training samples for an RBF SVM, whose accuracy is shown for comparison",
    },
)

# How tables and time series are read.
LABEL = "column of the labels in a table: last, first, its name, or its position from 0"
READING: list[Argument] = [
    ("--header", {"choices": ("yes", "no"), "help": "whether a table has a header"}),
    (
        "--drop",
        {"action": "append", "metavar": "COLUMN", "help": "leave out a column; may be repeated"},
    ),
    ("--decimal", {"choices": (".", ","), "help": "decimal mark of a table"}),
    ("--encoding", {"help": "encoding of a table or a .ts file (default: UTF-8)"}),
    (
        "--fill",
        {
            "type": lambda text: text if text == "mean" else float(text),
            "metavar": "VALUE",
            "help": "value that continues short series of a .ts file, or mean for the mean of each "
            "series (default: 0)",
        },
    ),
]

# The options of a construction.
CONSTRUCTION: list[Argument] = [
    (
        "--length",
        {
            "type": int,
            "help": "length of the series of a .ts file, if short ones are continued (default: the "
            "longest)",
        },
    ),
    ("--image-size", {"type": int, "help": "size of the images in a folder (default: 32)"}),
    ("--color", {"action": "store_true", "help": "read images in a folder in colour"}),
    (
        "--lift",
        {
            "choices": ("auto", "random", "flatten", "none"),
            "default": "auto",
            "help": "auto chooses the lift, ε², the operators and the sharpness, and standardises "
            "the samples; random takes random kernels for signals and images; flatten treats them "
            "as vectors, without invariance to shifts; none takes samples as they are",
        },
    ),
    (
        "--flatten",
        {
            "action": "store_const",
            "dest": "lift",
            "const": "flatten",
            "help": "the same as --lift flatten",
        },
    ),
    (
        "--channels",
        {
            "type": int,
            "metavar": "N",
            "help": "number of kernels of --lift random (default: 16)",
        },
    ),
    ("--kernel-size", {"type": int, "help": "size of the kernels of --lift random (default: 3)"}),
    ("--seed", {"type": int, "help": "seed of --lift auto and --lift random (default: 0)"}),
    (
        "--num-layers",
        {
            "type": int,
            "help": "number of layers (default: 1 with --lift auto; otherwise layers are added "
            "until one raises the rate reduction by less than 1 %%, at most 50)",
        },
    ),
    (
        "--eps-sq",
        {
            "type": float,
            "help": "squared precision ε² (default: --lift auto chooses it; otherwise 0.5 divided "
            "by the number of frequencies)",
        },
    ),
    ("--eta", {"type": float, "help": "step size η (default: the step ηC/(mε²) is 2)"}),
    (
        "--lam",
        {
            "type": float,
            "help": "sharpness λ of memberships (default: 500; --lift auto chooses it)",
        },
    ),
    (
        "--operators",
        {
            "choices": ("exact", "variational"),
            "default": "exact",
            "help": "exact operators, or variational operators, which need --rank",
        },
    ),
    ("--rank", {"type": int, "help": "rank of variational operators"}),
    ("--momentum", {"type": float, "help": "momentum β, for example 0.9"}),
    (
        "--batch-size",
        {"type": int, "help": "number of samples per batch; smaller batches take less memory"},
    ),
    (
        "--checkpoint",
        {
            "type": _path,
            "metavar": "FOLDER",
            "help": "folder that stores finished layers; an interrupted construction resumes from "
            "it",
        },
    ),
]


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. ``run`` is the name of the function of the command."""
    parser = argparse.ArgumentParser(
        prog="redunet",
        description="Construct deep networks from data; evaluate, plot and export them, and "
        "predict with them.",
        epilog="'redunet COMMAND --help' lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"redunet {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    label = ("--label", {"metavar": "COLUMN", "help": f"{LABEL} (default: last)"})
    known = ("--label", {"metavar": "COLUMN", "help": f"{LABEL} (default: the network's)"})

    def add(name: str, run: str, text: str, *arguments: Argument, json: bool = True) -> None:
        command = commands.add_parser(name, help=text, description=text, formatter_class=_Help)
        for argument, settings in arguments:
            command.add_argument(*argument.split(), **settings)
        command.add_argument("--device", help="device, such as cpu or cuda")
        if json:
            command.add_argument("--json", action="store_true", help="print results as JSON")
        command.add_argument("--debug", action="store_true", help="show tracebacks of errors")
        command.set_defaults(run=run, json=False)

    add(
        "construct",
        "construct",
        "Construct a network from samples and labels, and save it to a file.",
        DATA,
        label,
        *READING,
        _output("file for the network", "net.safetensors"),
        *CONSTRUCTION,
    )
    add(
        "evaluate",
        "evaluate",
        "Show the accuracy of a saved network on labelled samples, and rates of their features.",
        NET,
        DATA,
        known,
        *READING,
        TRAIN,
    )
    add(
        "predict",
        "predict",
        "Write the class of each sample and the probabilities of all classes as a CSV table.",
        NET,
        NEW_DATA,
        known,
        *READING,
        _output("file for the table, or - for standard output", "-"),
        json=False,
    )
    add(
        "info",
        "info",
        "Show the layers, shapes, parameters, memory, settings and rates of a saved network.",
        NET,
    )
    add(
        "plot",
        "plot",
        "Plot the rates by layer and, if DATA is given, similarities before and after the network.",
        NET,
        (DATA[0], {**DATA[1], "nargs": "?"}),
        known,
        *READING,
        _output("image file", "redunet.png"),
    )
    add(
        "report",
        "write_report",
        "Write an HTML report on a saved network and its results on labelled samples.",
        NET,
        DATA,
        known,
        *READING,
        TRAIN,
        ("--title", {"help": "title of the report (default: NET on DATA)"}),
        _output("file for the report", "report.html"),
    )
    add(
        "export",
        "export_network",
        "Export a saved network to a torch.export file (.pt2) or an ONNX file (.onnx).",
        NET,
        _output("name of the exported file, which ends in .pt2 or .onnx", None),
    )
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows the defaults of options that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _output(text: str, default: str | None) -> Argument:
    settings: dict[str, Any] = {"type": _path, "help": text}
    settings |= {"required": True} if default is None else {"default": Path(default)}
    return "-o --output", settings
