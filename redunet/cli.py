"""The command line, which constructs, evaluates, plots and exports networks.

Data are tables such as ``.csv`` files, ``.ts`` files of time series, ``.npz`` files with samples
``X`` and labels ``y``, or folders that contain one folder of images per class. Results go to
standard output, as JSON with ``--json``. Progress and errors go to standard error.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn

from redunet import datasets, demo
from redunet._version import __version__
from redunet.files.atomic import atomic_write
from redunet.files.exporting import export
from redunet.files.images import image_files
from redunet.inspection.html_report import report
from redunet.inspection.sections import shown_rows
from redunet.inspection.summary import description, evaluation
from redunet.inspection.text import readable
from redunet.lifts import RandomCirculantLift
from redunet.network import ReduNet
from redunet.plots import plot_rates, plot_similarity

# Errors that users can correct. All other errors are bugs and show a traceback.
EXPECTED = (ValueError, TypeError, OSError, MemoryError)

# Options that go to ReduNet.construct if they are given.
PASSED = ("num_layers", "eta", "momentum", "batch_size", "device", "checkpoint")

# Options that go there as well, and that lift="auto" would choose itself.
CHOSEN = ("eps_sq", "lam", "operators", "rank")

# Options of random kernels.
KERNELS = ("out_channels", "kernel_size", "seed")

# Help texts of options that do not fit on one line.
DATA = (
    "table (.csv, .tsv, .txt), time series (.ts), arrays X and y (.npz), or folder with one folder "
    "of images per class"
)
LABEL = "column of the labels in a table: last, first or its name"
LENGTH = "length of the series of a .ts file, if short ones are continued (default: the longest)"
FILL = "value that continues short series of a .ts file, or mean for the mean of each series"
TRAIN = "training samples for an RBF SVM, whose accuracy is shown for comparison"
LIFT = (
    "auto chooses the lift, ε², the operators and the sharpness; random takes random kernels for "
    "signals and images; flatten treats them as vectors, without invariance to shifts (default: "
    "auto, or random if --eps-sq, --lam, --operators, --rank or an option of random kernels is "
    "given)"
)
FLATTEN = "the same as --lift flatten"
CHANNELS = "number of random kernels (default: 16)"
NUM_LAYERS = (
    "number of layers (default: 1 with --lift auto; otherwise layers are added until one raises "
    "the rate reduction by less than 1 %%, at most 50)"
)
EPS_SQ = "squared precision ε² (default: 0.5 divided by the number of frequencies)"
ETA = "step size η (default: the step ηC/(mε²) is 2)"
OPERATORS = "exact operators, or variational operators, which need --rank (default: exact)"
BATCH_SIZE = "number of samples per batch; smaller batches take less memory"
CHECKPOINT = "folder that stores finished layers; an interrupted construction resumes from it"


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, or 1 after an error (2 for wrong usage)."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output, such as `head`, needs no more. Python flushes again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["demo"]:  # it has its own parser
        demo.main(arguments[1:], prog="redunet demo")
        return 0
    options = _parser().parse_args(arguments)
    try:
        result = options.run(options)
    except EXPECTED as error:
        if options.debug:
            raise
        print(f"redunet: error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        rows = [(name, readable(value)) for name, value in result.items()]
        print(tabulate(rows, tablefmt="plain", disable_numparse=True))
    return 0


def construct(options: argparse.Namespace) -> dict[str, Any]:
    """Construct a network from samples and labels, and save it to a file."""
    X, y = datasets.load(
        options.data,
        label=options.label,
        length=options.length,
        fill=options.fill,
        size=(options.image_size, options.image_size),
        color=options.color,
    )
    given = _given(options, PASSED + CHOSEN)
    net = ReduNet.construct(X, y, lift=_lift(tuple(X.shape[1:]), options), progress=True, **given)
    net.save(options.output)
    return {"written": str(options.output), **description(net)}


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of some options that the user gives."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _lift(
    shape: tuple[int, ...], options: argparse.Namespace
) -> nn.Module | Literal["auto"] | None:
    """The lift for samples of this shape, according to the options."""
    channels, *spatial = shape
    kind = options.lift or ("random" if _given(options, CHOSEN + KERNELS) else "auto")
    if kind == "random" and spatial:
        arguments = {"out_channels": 16, "kernel_size": 3, **_given(options, KERNELS)}
        return RandomCirculantLift(channels, ndim=len(spatial), **arguments)
    if kind == "flatten":
        return nn.Flatten()
    return "auto" if kind == "auto" else None


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Show the accuracy of a saved network on labelled samples, and the rates of their features."""
    net = ReduNet.load(options.net, device=options.device)
    X, y = _load(options.data, net, options)
    train = _load(options.train, net, options) if options.train else None
    return evaluation(net, X, y, train=train)


def info(options: argparse.Namespace) -> dict[str, Any]:
    """Show the layers, shapes, parameters, memory, settings and rates of a saved network."""
    return description(ReduNet.load(options.net, device=options.device))


def plot(options: argparse.Namespace) -> dict[str, Any]:
    """Plot the rates by layer and, if DATA is given, similarities before and after the network."""
    net = ReduNet.load(options.net, device=options.device)
    figure, axes = plt.subplots(
        1, 3 if options.data else 1, figsize=(15 if options.data else 6, 4.5), layout="constrained"
    )
    axes = np.atleast_1d(axes)
    plot_rates(net.history, ax=axes[0])
    if options.data:
        X, y = _load(options.data, net, options)
        rows = shown_rows(y)
        X, y = X[rows], y[rows]
        with torch.no_grad():
            pairs = {"samples": X, "features": net(X)}
        for ax, (name, Z) in zip(axes[1:], pairs.items(), strict=True):
            shifts = bool(net.feature_shape[1:]) and Z.ndim > 2
            plot_similarity(Z, y, shift_invariant=shifts, ax=ax).set_title(f"Similarity of {name}")
    with atomic_write(options.output) as temporary:
        figure.savefig(temporary, dpi=150)
    return {"written": str(options.output)}


def write_report(options: argparse.Namespace) -> dict[str, Any]:
    """Write an HTML report on a saved network and its results on labelled samples."""
    net = ReduNet.load(options.net, device=options.device)
    X, y = _load(options.data, net, options)
    title = options.title or f"{options.net.name} on {options.data.name}"
    train = _load(options.train, net, options) if options.train else None
    names = _names(options.data)
    report(net, X, y, options.output, title=title, train=train, names=names)
    return {"written": str(options.output)}


def _names(path: Path) -> list[str] | None:
    """The names of the images in a folder, in the order in which they are read."""
    return [str(file.relative_to(path)) for file in image_files(path)] if path.is_dir() else None


def export_network(options: argparse.Namespace) -> dict[str, Any]:
    """Export a saved network to a torch.export file (.pt2) or an ONNX file (.onnx)."""
    net = ReduNet.load(options.net, device=options.device)
    export(net, options.output)
    return {"written": str(options.output)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redunet",
        description="Construct deep networks from data; evaluate, plot and export them.",
        epilog="'redunet COMMAND --help' lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"redunet {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    data = ("data", {"type": Path, "metavar": "DATA", "help": DATA})
    label = ("--label", {"default": "last", "metavar": "COLUMN", "help": LABEL})
    fill = ("--fill", {"type": _fill, "default": 0.0, "metavar": "VALUE", "help": FILL})
    train = ("--train", {"type": Path, "metavar": "DATA", "help": TRAIN})
    net = ("net", {"type": Path, "metavar": "NET", "help": "file of a saved network"})

    command = _command(commands, "construct", construct, data, label, fill)
    _add_output(command, "file for the network", Path("net.safetensors"))
    for name, settings in (
        ("--length", {"type": int, "help": LENGTH}),
        ("--image-size", {"type": int, "default": 32, "help": "size of the images in a folder"}),
        ("--color", {"action": "store_true", "help": "read images in a folder in colour"}),
        ("--lift", {"choices": ("auto", "random", "flatten", "none"), "help": LIFT}),
        (
            "--flatten",
            {"action": "store_const", "dest": "lift", "const": "flatten", "help": FLATTEN},
        ),
        ("--channels", {"type": int, "dest": "out_channels", "metavar": "N", "help": CHANNELS}),
        ("--kernel-size", {"type": int, "help": "size of the random kernels (default: 3)"}),
        ("--seed", {"type": int, "help": "seed of the random kernels (default: 0)"}),
        ("--num-layers", {"type": int, "help": NUM_LAYERS}),
        ("--eps-sq", {"type": float, "help": EPS_SQ}),
        ("--eta", {"type": float, "help": ETA}),
        ("--lam", {"type": float, "help": "sharpness λ of memberships"}),
        ("--operators", {"choices": ("exact", "variational"), "help": OPERATORS}),
        ("--rank", {"type": int, "help": "rank of variational operators"}),
        ("--momentum", {"type": float, "help": "momentum β, for example 0.9"}),
        ("--batch-size", {"type": int, "help": BATCH_SIZE}),
        ("--checkpoint", {"type": Path, "metavar": "FOLDER", "help": CHECKPOINT}),
    ):
        command.add_argument(name, **settings)
    _command(commands, "evaluate", evaluate, net, data, label, fill, train)
    _command(commands, "info", info, net)
    optional = (data[0], {**data[1], "nargs": "?"})
    command = _command(commands, "plot", plot, net, optional, label, fill)
    _add_output(command, "image file", Path("redunet.png"))
    command = _command(commands, "report", write_report, net, data, label, fill, train)
    command.add_argument("--title", help="title of the report (default: NET on DATA)")
    _add_output(command, "file for the report", Path("report.html"))
    command = _command(commands, "export", export_network, net)
    _add_output(command, "name of the exported file, which ends in .pt2 or .onnx", None)
    text = "Run a demonstration on handwritten digits."
    commands.add_parser("demo", help=text, add_help=False)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows the defaults of options that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _fill(text: str) -> float | str:
    """A number, or the word that stands for the mean of each series."""
    return text if text == "mean" else float(text)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    *arguments: tuple[str, dict[str, Any]],
) -> argparse.ArgumentParser:
    """Add a command with the options that all commands have."""
    command = commands.add_parser(
        name,
        help=run.__doc__,
        description=run.__doc__,
        formatter_class=_Help,
    )
    for argument, settings in arguments:
        command.add_argument(argument, **settings)
    command.add_argument("--device", help="device, such as cpu or cuda")
    command.add_argument("--json", action="store_true", help="print results as JSON")
    command.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    command.set_defaults(run=run)
    return command


def _add_output(command: argparse.ArgumentParser, text: str, default: Path | None) -> None:
    command.add_argument(
        "-o", "--output", type=Path, default=default, required=default is None, help=text
    )


def _load(path: Path, net: ReduNet, options: argparse.Namespace) -> tuple[Tensor, np.ndarray]:
    """Samples and labels for a network. Images and series are brought to the network's shape."""
    shape = net.sample_shape
    if path.is_dir():
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f"images have shape (1, H, W) or (3, H, W), but the network takes {shape}"
            )
        return datasets.image_folder(path, shape[1:], color=shape[0] == 3)
    length = shape[1] if len(shape) == 2 else None
    X, labels = datasets.load(path, label=options.label, length=length, fill=options.fill)
    # A reader takes labels as integers if all of them are. Some labels of the network may not be.
    return X, labels.astype(str) if net.classes_.dtype.kind == "U" else labels
