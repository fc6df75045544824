"""The command line: construct, evaluate, look into, draw and export networks without Python.

Data are ``.npz`` files with samples ``X`` and labels ``y``, or folders with a folder of images for
each class. Progress and errors go to standard error, results to standard output, as JSON with
``--json``.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from redunet import demo
from redunet._checks import as_samples
from redunet._version import __version__
from redunet.datasets import image_folder
from redunet.files.atomic import atomic_write
from redunet.files.exporting import export
from redunet.inspection.html_report import report
from redunet.inspection.summary import description, evaluation, readable
from redunet.lifts import RandomCirculantLift
from redunet.network import ReduNet
from redunet.plots import plot_rates, plot_similarity

# Samples of each class in a heat map.
SHOWN = 30

# What users can mend; everything else is a bug, and shows its traceback.
EXPECTED = (ValueError, TypeError, OSError, MemoryError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 1 after an error (2 for wrong usage)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["demo"]:  # which has a parser of its own
        demo.main(given[1:])
        return 0
    options = _parser().parse_args(given)
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
        width = max(len(name) for name in result)
        for name, value in result.items():
            print(f"{name:<{width}}  {readable(value)}")
    return 0


def construct(options: argparse.Namespace) -> dict[str, Any]:
    """Construct a network from samples and labels, and save it."""
    color = 3 if options.color else 1
    X, y = _load(options.data, (color, options.image_size, options.image_size))
    X = as_samples(X)
    net = ReduNet.construct(
        X,
        y,
        num_layers=options.num_layers,
        eta=options.eta,
        eps_sq=options.eps_sq,
        lam=options.lam,
        lift=_lift(X.shape[1:], options),
        operators=options.operators,
        rank=options.rank,
        momentum=options.momentum,
        batch_size=options.batch_size,
        device=options.device,
        checkpoint=options.checkpoint,
        progress=True,
    )
    net.save(options.output)
    return {"written": str(options.output), **description(net)}


def _lift(shape: tuple[int, ...], options: argparse.Namespace) -> nn.Module | None:
    """The lift that the options ask for, for samples of this shape."""
    channels, *spatial = shape
    if options.flatten:
        return nn.Flatten()
    if not (spatial and options.channels):
        return None
    size = options.kernel_size
    return RandomCirculantLift(channels, options.channels, size, len(spatial), seed=options.seed)


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy of the network's memberships on samples and labels, and their rates."""
    net = ReduNet.load(options.net, device=options.device)
    return evaluation(net, *_load(options.data, net.sample_shape))


def info(options: argparse.Namespace) -> dict[str, Any]:
    """What a saved network is: layers, shapes, parameters, memory, settings, rates."""
    return description(ReduNet.load(options.net))


def plot(options: argparse.Namespace) -> dict[str, Any]:
    """Draw the rates by layer and, with samples, their similarities before and after."""
    net = ReduNet.load(options.net, device=options.device)
    figure, axes = plt.subplots(
        1, 3 if options.data else 1, figsize=(15 if options.data else 6, 4.5), layout="constrained"
    )
    axes = np.atleast_1d(axes)
    plot_rates(net.history, ax=axes[0])
    if options.data:
        X, y = _load(options.data, net.sample_shape)
        first = [np.flatnonzero(y == label)[:SHOWN] for label in np.unique(y)]
        X, y = X[np.concatenate(first)], y[np.concatenate(first)]
        with torch.no_grad():
            plot_similarity(X, y, ax=axes[1]).set_title("Samples")
            plot_similarity(net(X), y, ax=axes[2]).set_title("Features")
    with atomic_write(options.output) as temporary:
        figure.savefig(temporary, dpi=150)
    return {"written": str(options.output)}


def write_report(options: argparse.Namespace) -> dict[str, Any]:
    """Write a page of HTML about the network and how it does on samples, in one file."""
    net = ReduNet.load(options.net, device=options.device)
    X, y = _load(options.data, net.sample_shape)
    title = options.title or f"{options.net.name} on {options.data.name}"
    report(net, X, y, options.output, title=title)
    return {"written": str(options.output)}


def export_network(options: argparse.Namespace) -> dict[str, Any]:
    """Write a network for torch.export or ONNX runtimes, by the ending of the file's name."""
    net = ReduNet.load(options.net)
    export(net, options.output, options.output.suffix.removeprefix("."))
    return {"written": str(options.output)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redunet",
        description="Construct, evaluate, look into, draw and export networks.",
        epilog="redunet COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"redunet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    kinds = "arrays X and y in an .npz file, or a folder with a folder of images for each class"
    data = ("data", {"type": Path, "metavar": "DATA", "help": kinds})
    net = ("net", {"type": Path, "metavar": "NET", "help": "a saved network"})

    command = _command(commands, "construct", construct, data)
    _add_output(command, "network to write", Path("net.safetensors"))
    for name, settings in (
        ("--image-size", {"type": int, "default": 32, "help": "height and width of images"}),
        ("--color", {"action": "store_true", "help": "three channels of images, not a grey one"}),
        ("--num-layers", {"type": int, "help": "by default until the rate reduction stalls"}),
        ("--eps-sq", {"type": float, "help": "squared precision; by default it follows the data"}),
        ("--eta", {"type": float, "help": "step size; by default it follows the data"}),
        ("--lam", {"type": float, "default": 500.0, "help": "sharpness of memberships"}),
        ("--flatten", {"action": "store_true", "help": "signals as vectors, without invariance"}),
        ("--channels", {"type": int, "default": 16, "help": "random kernels for signals; 0: none"}),
        ("--kernel-size", {"type": int, "default": 3, "help": "of these"}),
        ("--seed", {"type": int, "default": 0, "help": "of these"}),
        ("--operators", {"choices": ["exact", "variational"], "default": "exact"}),
        ("--rank", {"type": int, "help": "of variational operators"}),
        ("--momentum", {"type": float, "default": 0.0, "help": "such as 0.9"}),
        ("--batch-size", {"type": int, "help": "samples at one time, to bound memory"}),
        ("--checkpoint", {"type": Path, "metavar": "FOLDER", "help": "go on where it was"}),
    ):
        command.add_argument(name, **settings)
    _command(commands, "evaluate", evaluate, net, data)
    _command(commands, "info", info, net)
    optional = (data[0], {**data[1], "nargs": "?"})
    _add_output(_command(commands, "plot", plot, net, optional), "picture", Path("redunet.png"))
    command = _command(commands, "report", write_report, net, data)
    command.add_argument("--title", help="(names of network and data)")
    _add_output(command, "page to write", Path("report.html"))
    _add_output(_command(commands, "export", export_network, net), "NET.pt2 or NET.onnx", None)
    commands.add_parser("demo", help="a first look, on digits", add_help=False)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    *arguments: tuple[str, dict[str, Any]],
) -> argparse.ArgumentParser:
    """A command with what all of them have."""
    command = commands.add_parser(
        name,
        help=run.__doc__,
        description=run.__doc__,
        formatter_class=_Help,
    )
    for argument, settings in arguments:
        command.add_argument(argument, **settings)
    command.add_argument("--device", help="cpu, cuda, …")
    command.add_argument("--json", action="store_true", help="results as JSON")
    command.add_argument("--debug", action="store_true", help="tracebacks of errors")
    command.set_defaults(run=run)
    return command


def _add_output(command: argparse.ArgumentParser, what: str, default: Path | None) -> None:
    command.add_argument(
        "-o", "--output", type=Path, default=default, required=default is None, help=what
    )


def _load(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray | Tensor, np.ndarray]:
    """Arrays X and y; nothing in the file is run. The shape is what images are made to fit."""
    if path.is_dir():
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"images have shape (1, H, W) or (3, H, W), the network takes {shape}")
        return image_folder(path, shape[1:], color=shape[0] == 3)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of plain arrays") from error
    if not arrays.keys() >= {"X", "y"}:
        raise ValueError(
            f"{path} should hold arrays X and y, it holds {', '.join(arrays) or 'none'}"
        )
    return arrays["X"], arrays["y"]
