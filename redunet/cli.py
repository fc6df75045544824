"""The command line, which constructs, evaluates, plots and exports networks.

Data are ``.npz`` files with samples ``X`` and labels ``y``, or folders that contain one folder of
images per class. Results go to standard output, as JSON with ``--json``. Progress and errors go to
standard error.
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
from redunet.layers import OPERATOR_KINDS
from redunet.lifts import RandomCirculantLift
from redunet.network import ReduNet
from redunet.plots import plot_rates, plot_similarity

# Largest number of samples per class in a heat map.
SHOWN = 30

# Errors that users can correct. All other errors are bugs and show a traceback.
EXPECTED = (ValueError, TypeError, OSError, MemoryError)

# Help texts of options that do not fit on one line.
NUM_LAYERS = (
    "number of layers (default: layers are added until one raises the rate reduction by less than "
    "1 %%, at most 50)"
)
EPS_SQ = "squared precision ε² (default: 0.5 divided by the number of frequencies)"
ETA = "step size η (default: the step ηC/(mε²) is 2)"
FLATTEN = "treat signals as vectors, without lift and without invariance to shifts"
CHANNELS = "number of random kernels of the lift for signals; 0 for no lift"
OPERATORS = "exact operators, or variational operators, which need --rank"
BATCH_SIZE = "number of samples per batch; smaller batches take less memory"
CHECKPOINT = "folder that stores finished layers; an interrupted construction resumes from it"


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, or 1 after an error (2 for wrong usage)."""
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
        width = max(len(name) for name in result)
        for name, value in result.items():
            print(f"{name:<{width}}  {readable(value)}")
    return 0


def construct(options: argparse.Namespace) -> dict[str, Any]:
    """Construct a network from samples and labels, and save it to a file."""
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
    """The lift for samples of this shape, according to the options."""
    channels, *spatial = shape
    if options.flatten:
        return nn.Flatten()
    if not (spatial and options.channels):
        return None
    size = options.kernel_size
    return RandomCirculantLift(channels, options.channels, size, len(spatial), seed=options.seed)


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Show the accuracy of a saved network on labelled samples, and the rates of their features."""
    net = ReduNet.load(options.net, device=options.device)
    return evaluation(net, *_load(options.data, net.sample_shape))


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
        X, y = _load(options.data, net.sample_shape)
        rows = np.concatenate([np.flatnonzero(y == label)[:SHOWN] for label in np.unique(y)])
        X, y = X[rows], y[rows]
        with torch.no_grad():
            plot_similarity(X, y, ax=axes[1]).set_title("Similarity of samples")
            plot_similarity(net(X), y, ax=axes[2]).set_title("Similarity of features")
    with atomic_write(options.output) as temporary:
        figure.savefig(temporary, dpi=150)
    return {"written": str(options.output)}


def write_report(options: argparse.Namespace) -> dict[str, Any]:
    """Write an HTML report on a saved network and its results on labelled samples."""
    net = ReduNet.load(options.net, device=options.device)
    X, y = _load(options.data, net.sample_shape)
    title = options.title or f"{options.net.name} on {options.data.name}"
    report(net, X, y, options.output, title=title)
    return {"written": str(options.output)}


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
    formats = ".npz file with arrays X and y, or folder with one folder of images per class"
    data = ("data", {"type": Path, "metavar": "DATA", "help": formats})
    net = ("net", {"type": Path, "metavar": "NET", "help": "file of a saved network"})

    command = _command(commands, "construct", construct, data)
    _add_output(command, "file for the network", Path("net.safetensors"))
    for name, settings in (
        (
            "--image-size",
            {"type": int, "default": 32, "help": "size of the images in a folder"},
        ),
        ("--color", {"action": "store_true", "help": "read images in a folder in colour"}),
        ("--num-layers", {"type": int, "help": NUM_LAYERS}),
        ("--eps-sq", {"type": float, "help": EPS_SQ}),
        ("--eta", {"type": float, "help": ETA}),
        ("--lam", {"type": float, "default": 500.0, "help": "sharpness λ of memberships"}),
        ("--flatten", {"action": "store_true", "help": FLATTEN}),
        ("--channels", {"type": int, "default": 16, "help": CHANNELS}),
        ("--kernel-size", {"type": int, "default": 3, "help": "size of the random kernels"}),
        ("--seed", {"type": int, "default": 0, "help": "seed of the random kernels"}),
        (
            "--operators",
            {"choices": OPERATOR_KINDS.names, "default": "exact", "help": OPERATORS},
        ),
        ("--rank", {"type": int, "help": "rank of variational operators"}),
        ("--momentum", {"type": float, "default": 0.0, "help": "momentum β, for example 0.9"}),
        ("--batch-size", {"type": int, "help": BATCH_SIZE}),
        ("--checkpoint", {"type": Path, "metavar": "FOLDER", "help": CHECKPOINT}),
    ):
        command.add_argument(name, **settings)
    _command(commands, "evaluate", evaluate, net, data)
    _command(commands, "info", info, net)
    optional = (data[0], {**data[1], "nargs": "?"})
    _add_output(_command(commands, "plot", plot, net, optional), "image file", Path("redunet.png"))
    command = _command(commands, "report", write_report, net, data)
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


def _load(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray | Tensor, np.ndarray]:
    """Arrays X and y. No code in the file is run. Images are brought to the given shape."""
    if path.is_dir():
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f"images have shape (1, H, W) or (3, H, W), but the network takes {shape}"
            )
        return image_folder(path, shape[1:], color=shape[0] == 3)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npz file of plain arrays") from error
    if not arrays.keys() >= {"X", "y"}:
        raise ValueError(
            f"{path} should contain arrays X and y, it contains {', '.join(arrays) or 'none'}"
        )
    return arrays["X"], arrays["y"]
