"""The commands. Each takes its options, and returns what is printed."""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor, nn

from redunet import datasets
from redunet._checks import check_device, quoted
from redunet._formats import OPTIONS, kind_of
from redunet.datasets.folders import image_files, is_image, read_images
from redunet.datasets.tables import LabelledSamples, first_row
from redunet.files import exporting
from redunet.files.atomic import atomic_write
from redunet.files.tensors import read_metadata
from redunet.inspection.summary import constructed, description, evaluation
from redunet.layers.encoding import default_batch_size
from redunet.network import ReduNet
from redunet.search import Search
from redunet.training.fine_tuned import KEY as FINE_TUNED
from redunet.training.fine_tuned import FineTuned

# What a command prints, by name.
Results = dict[str, object]

# Options that go to ReduNet.construct if they are given.
SETTINGS = ("num_layers", "eps_sq", "operators", "rank", "batch_size", "device", "checkpoint")


def construct(options: argparse.Namespace) -> Results:
    """Construct a network from samples and labels, and save it to a file."""
    check_device(getattr(options, "device", None))
    data = _load(options.data, options)
    X, labels = data
    settings = {name: getattr(options, name) for name in SETTINGS if name in options}
    lift = nn.Flatten() if options.lift == "flatten" else None
    search = None
    if options.lift == "auto":
        search = Search(eps_sq=settings.pop("eps_sq", None), seed=getattr(options, "seed", 0))
    start = time.perf_counter()
    net = ReduNet.construct(
        X, labels, lift=search or lift, feature_names=data.columns, progress=True, **settings
    )
    seconds = time.perf_counter() - start
    net.names = net.names._replace(label=data.label)
    net.save(options.output, samples=(X, labels) if options.samples else None)
    classes, counts = np.unique(labels, return_counts=True)
    names = {"columns": data.columns and list(data.columns), "label": data.label}
    return {
        "samples": len(X),
        "samples by class": dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True)),
        **{name: value for name, value in names.items() if value is not None},
        **({} if search is None else _chosen(search)),
        **description(net),
        "seconds": round(seconds, 2),
        "written": str(options.output),
        "file size [MiB]": round(options.output.stat().st_size / 2**20, 3),
    }


def _chosen(search: Search) -> Results:
    """What a search chose, and its results by leave-one-out; None if no sample was left out."""
    best = search.best_
    return {
        "chosen": best.name if best.band is None else f"{best.name}, band {best.band}",
        "accuracy (leave-one-out)": None if np.isnan(search.accuracy_) else search.accuracy_,
        "log loss (leave-one-out)": None if np.isnan(search.loss_) else search.loss_,
    }


def evaluate(options: argparse.Namespace) -> Results:
    """Show the accuracy of a saved network on labelled samples, and the rates of their features."""
    model = _model(options)
    net = constructed(model)
    X, y = _load(options.data, options, net)
    train = _load(options.train, options, net) if "train" in options else None
    return evaluation(model, X, y, train=train)


def predict(options: argparse.Namespace) -> Results | None:
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
    written = str(options.output)
    return None if written == "-" else {"samples": count, "written": written}


@contextmanager
def _table(path: Path) -> Iterator[TextIO]:
    """Standard output for "-", or a file that is written completely or not at all."""
    if str(path) == "-":
        if isinstance(sys.stdout, TextIOWrapper):  # names of classes stay as they are
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


def _model(options: argparse.Namespace) -> ReduNet | FineTuned:
    """A saved network, which may be fine-tuned."""
    kind = FineTuned if FINE_TUNED in read_metadata(options.net) else ReduNet
    return kind.load(options.net, device=getattr(options, "device", None))


def info(options: argparse.Namespace) -> Results:
    """Show the layers, shapes, parameters, memory, settings and rates of a saved network."""
    return description(_model(options))


def report(options: argparse.Namespace) -> Results:
    """Write an HTML report on a saved network and its results on labelled samples."""
    from redunet.inspection import html_report

    model = _model(options)
    net = constructed(model)
    X, y = _load(options.data, options, net)
    title = f"{options.net.name} on {options.data.name}"
    train = _load(options.train, options, net) if "train" in options else None
    images = image_files(options.data) if options.data.is_dir() else []
    names = [str(file.relative_to(options.data)) for file in images] or None
    html_report.report(model, X, y, options.output, title=title, train=train, names=names)
    return {"written": str(options.output)}


def export(options: argparse.Namespace) -> Results:
    """Export a saved network to a torch.export file (.pt2) or an ONNX file (.onnx)."""
    exporting.export(_model(options), options.output)
    return {"written": str(options.output)}


def new_samples(
    path: Path, net: ReduNet, options: argparse.Namespace, batch_size: int
) -> Iterator[tuple[list[str], Tensor]]:
    """Names and samples, batch by batch. Images are read batch by batch, too."""
    if path.is_dir() or is_image(path):
        files = _images(path) if path.is_dir() else [path]
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            names = [str(file.relative_to(path)) if path.is_dir() else str(file) for file in part]
            yield names, read_images(part, *_image_shape(net))
        return
    X, _ = _load(path, options, net)
    for start, part in zip(range(0, len(X), batch_size), X.split(batch_size), strict=True):
        yield [str(start + number) for number in range(len(part))], part


def _load(path: Path, options: argparse.Namespace, net: ReduNet | None = None) -> LabelledSamples:
    """Samples and labels as options say, and as a network takes them."""
    kind = kind_of(path) or ""
    reading = {name: getattr(options, name) for name in OPTIONS.get(kind, ()) if name in options}
    if "header" in reading:
        reading["header"] = options.header == "yes"
    if net is None:
        return datasets.load(path, **reading)
    is_new = options.command == "predict"  # labels are not needed
    if kind == "tables":
        label: str | None = net.names.label or "last"
        columns, first = net.names.features, first_row(path, reading.get("encoding"))
        if is_new and label not in first:
            label = None
        if columns and "header" not in reading and not {*columns} & {*first}:
            raise ValueError(
                f"{path} must have a header with the columns of the construction, "
                f"{quoted(columns)}, got {quoted(first)}: write --header no if it has none"
            )
        header = "auto" if columns is None else True
        reading = {"label": label, "header": header, **reading}
    elif kind == "arrays" and is_new:
        reading["label"] = None
    elif kind == "time series":
        reading["length"] = net.sample_shape[-1]
    elif kind == "folders of images":
        reading["size"], reading["color"] = _image_shape(net)
    samples = datasets.load(path, **reading)
    positions = net.names.positions(samples.columns)
    X, labels = samples
    return LabelledSamples(X if positions is None else X[:, positions], labels)


def _image_shape(net: ReduNet) -> tuple[tuple[int, int], bool]:
    """The size of the images that a network takes, and whether they have colours."""
    shape = net.sample_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"images have shape (1, H, W) or (3, H, W), but the network takes {shape}")
    return (shape[1], shape[2]), shape[0] == 3


def _images(folder: Path) -> list[Path]:
    """All images in a folder and in its folders."""
    direct = [file for file in folder.iterdir() if is_image(file) and file.name[0] != "."]
    files = sorted([*direct, *image_files(folder)])
    if not files:
        raise ValueError(f"expected images in {folder}, found none")
    return files
