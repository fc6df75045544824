"""The commands. Each takes its options, and returns what is printed."""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backend_bases import FigureCanvasBase
from torch import nn

from redunet._checks import check_device
from redunet._names import Names
from redunet.cli.reading import labelled_samples, new_samples, training_samples
from redunet.datasets.folders import image_files
from redunet.files.atomic import atomic_write
from redunet.files.exporting import export
from redunet.files.tensors import read_metadata
from redunet.inspection.html_report import report
from redunet.inspection.sections import shown_rows
from redunet.inspection.summary import constructed, description, evaluation
from redunet.layers.encoding import default_batch_size
from redunet.lifts import RandomCirculantLift
from redunet.network import ReduNet
from redunet.plots import plot_rates, plot_similarity
from redunet.search import Search
from redunet.search.search import MOST_BLOCKS
from redunet.training.fine_tuned import KEY as FINE_TUNED
from redunet.training.fine_tuned import FineTuned

# Options that go to ReduNet.construct if they are given.
PASSED = (
    *("num_layers", "eta", "momentum", "batch_size", "device", "checkpoint", "operators", "rank"),
    *("eps_sq", "lam"),
)


def construct(options: argparse.Namespace) -> dict[str, Any]:
    """Construct a network from samples and labels, and save it to a file."""
    check_device(options.device)
    data = training_samples(options)
    X, labels = data
    settings = _given(options, PASSED)
    lift = _lift(tuple(X.shape[1:]), options)
    if isinstance(lift, Search):
        settings.pop("eps_sq", None)
    start = time.perf_counter()
    net = ReduNet.construct(
        X, labels, lift=lift, feature_names=data.columns, progress=True, **settings
    )
    seconds = time.perf_counter() - start
    net.names = Names(net.names.features, data.label)
    net.save(options.output)
    classes, counts = np.unique(labels, return_counts=True)
    names: dict[str, Any] = {} if data.columns is None else {"columns": list(data.columns)}
    names |= {} if data.label is None else {"label": data.label}
    return {
        "samples": len(X),
        "samples by class": dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True)),
        **names,
        **(_results(lift) if isinstance(lift, Search) else {}),
        **description(net),
        "seconds": round(seconds, 2),
        "written": str(options.output),
        "file size [MiB]": round(options.output.stat().st_size / 2**20, 3),
    }


def _results(search: Search) -> dict[str, Any]:
    """What a search chose, and its results by leave-one-out; None if no sample was left out."""
    chosen = [c.name if c.band is None else f"{c.name}, band {c.band}" for c in search.chosen_]
    loss, accuracy = search.loss_, search.accuracy_
    return {
        "chosen": chosen,
        "accuracy (leave-one-out)": None if np.isnan(accuracy) else accuracy,
        "log loss (leave-one-out)": None if np.isnan(loss) else loss,
    }


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of some options that the user gives."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _lift(shape: tuple[int, ...], options: argparse.Namespace) -> Search | nn.Module | None:
    """The lift for samples of this shape, according to the options."""
    channels, *spatial = shape
    seed = 0 if options.seed is None else options.seed
    if options.lift == "auto":
        most = MOST_BLOCKS if options.operators == "exact" else 1
        return Search(eps_sq=options.eps_sq, seed=seed, most_blocks=most)
    if options.lift == "random":
        if not spatial:
            raise ValueError(
                f"--lift random is for signals and images, but samples are vectors of length "
                f"{channels}: leave it out, or write --lift none"
            )
        kernels = _given(options, ("channels", "kernel_size"))
        size = kernels.get("kernel_size", 3)
        return RandomCirculantLift(
            channels, kernels.get("channels", 16), size, ndim=len(spatial), seed=seed
        )
    return nn.Flatten() if options.lift == "flatten" else None


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Show the accuracy of a saved network on labelled samples, and the rates of their features."""
    model = _model(options)
    net = constructed(model)
    X, y = labelled_samples(options.data, net, options)
    train = labelled_samples(options.train, net, options) if options.train else None
    return evaluation(model, X, y, train=train)


def predict(options: argparse.Namespace) -> dict[str, Any] | None:
    """Write classes and probabilities of samples as a table, batch by batch."""
    model = _model(options)
    net = constructed(model)
    size = net.batch_size or default_batch_size(net.spectrum, net.feature_shape[0])
    classes = net.classes_.tolist()
    header = ["sample", net.names.label or "class", *(f"P({name})" for name in classes)]
    count = 0
    with _table(options.output) as file:
        table = csv.writer(file, lineterminator="\n")
        for names, X in new_samples(options.data, net, options, size):
            with torch.no_grad():
                memberships = model.membership(X).cpu()
            if not count:
                table.writerow(header)
            for name, row in zip(names, memberships.tolist(), strict=True):
                best = classes[int(np.argmax(row))]
                table.writerow([name, best, *(f"{value:.6g}" for value in row)])
            count += len(names)
    return (
        None if str(options.output) == "-" else {"samples": count, "written": str(options.output)}
    )


@contextmanager
def _table(path: Path) -> Iterator[TextIO]:
    """Standard output for "-", or a file that is written completely or not at all."""
    if str(path) == "-":
        yield sys.stdout
        return
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


def _model(options: argparse.Namespace) -> ReduNet | FineTuned:
    """A saved network, which may be fine-tuned."""
    check_device(options.device)
    kind = FineTuned if FINE_TUNED in read_metadata(options.net) else ReduNet
    return kind.load(options.net, device=options.device)


def info(options: argparse.Namespace) -> dict[str, Any]:
    """Show the layers, shapes, parameters, memory, settings and rates of a saved network."""
    return description(_model(options))


def plot(options: argparse.Namespace) -> dict[str, Any]:
    """Plot the rates by layer and, if DATA is given, similarities before and after the network."""
    kinds = FigureCanvasBase.get_supported_filetypes()
    if options.output.suffix.lower().removeprefix(".") not in kinds:
        raise ValueError(
            f"-o {options.output} is not a picture: write one of .{', .'.join(sorted(kinds))}"
        )
    net = constructed(_model(options))
    figure, axes = plt.subplots(
        1, 3 if options.data else 1, figsize=(15 if options.data else 6, 4.5), layout="constrained"
    )
    axes = np.atleast_1d(axes)
    plot_rates(net.history, ax=axes[0])
    if options.data:
        X, y = labelled_samples(options.data, net, options)
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
    model = _model(options)
    net = constructed(model)
    X, y = labelled_samples(options.data, net, options)
    title = options.title or f"{options.net.name} on {options.data.name}"
    train = labelled_samples(options.train, net, options) if options.train else None
    names = _names(options.data)
    report(model, X, y, options.output, title=title, train=train, names=names)
    return {"written": str(options.output)}


def _names(path: Path) -> list[str] | None:
    """The names of the images in a folder, in the order in which they are read."""
    return [str(file.relative_to(path)) for file in image_files(path)] if path.is_dir() else None


def export_network(options: argparse.Namespace) -> dict[str, Any]:
    """Export a saved network to a torch.export file (.pt2) or an ONNX file (.onnx)."""
    export(_model(options), options.output)
    return {"written": str(options.output)}
