"""Samples and labels for commands, in the shape and order that a network takes."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from redunet import datasets
from redunet.cli.checks import kind_of
from redunet.datasets.folders import image_files, is_image, read_images
from redunet.datasets.tables import LabelledSamples, first_row
from redunet.network import ReduNet

READING = ("drop", "decimal", "encoding", "fill")


def training_samples(options: argparse.Namespace) -> LabelledSamples:
    """Samples and labels for a construction."""
    label = "last" if options.label is None else _label_of(options.data, options.label, options)
    size = 32 if options.image_size is None else options.image_size
    settings = _settings(options) | {"length": options.length, "size": (size, size)}
    return datasets.load(options.data, label=label, color=options.color, **settings)


def labelled_samples(
    path: Path, net: ReduNet, options: argparse.Namespace
) -> tuple[Tensor, np.ndarray]:
    """Samples and labels for a network."""
    if kind_of(path) == "images":
        size, color = _image_shape(net)
        return datasets.image_folder(path, size, color=color)
    label: str | int | None = None
    if kind_of(path) == "table":
        label = _label_for(path, net, options)
        if label is None:
            raise ValueError(
                f"{path} has no column {net.names.label!r}, the name of the labels of the "
                "construction: name the column of the labels with --label"
            )
    X, labels = _load(path, net, options, label="last" if label is None else label)
    # A reader takes labels as integers if all of them are. Some labels of the network may not be.
    return X, labels.astype(str) if net.classes_.dtype.kind == "U" else labels


def new_samples(
    path: Path, net: ReduNet, options: argparse.Namespace, batch_size: int
) -> Iterator[tuple[list[str], Tensor]]:
    """Names and samples, batch by batch. Images are read batch by batch, too."""
    if kind_of(path) == "images" or is_image(path):
        files = _images(path)
        size, color = _image_shape(net)
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            names = [str(file.relative_to(path)) if path.is_dir() else str(file) for file in batch]
            yield names, read_images(batch, size, color=color)
        return
    label = _label_for(path, net, options) if kind_of(path) == "table" else None
    X, _ = _load(path, net, options, label=label)
    for start in range(0, len(X), batch_size):
        part = X[start : start + batch_size]
        yield [str(number) for number in range(start, start + len(part))], part


def _load(
    path: Path, net: ReduNet, options: argparse.Namespace, *, label: str | int | None
) -> LabelledSamples:
    """Samples from a file, with columns in the order of the network."""
    shape = net.sample_shape
    length = shape[1] if len(shape) == 2 else None
    samples = datasets.load(path, label=label, length=length, **_settings(options))
    positions = net.names.positions(samples.columns)
    X, labels = samples
    return LabelledSamples(X if positions is None else X[:, positions], labels)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options of reading that are given."""
    values = {name: getattr(options, name) for name in READING}
    values["header"] = None if options.header is None else options.header == "yes"
    return {name: value for name, value in values.items() if value is not None}


def _label_for(path: Path, net: ReduNet, options: argparse.Namespace) -> str | int | None:
    """The column of the labels in a table for a network; None if the table has none."""
    if options.label is not None:
        return _label_of(path, options.label, options)
    if net.names.label is None:
        return "last" if options.command != "predict" else None
    return net.names.label if net.names.label in first_row(path, options.encoding) else None


def _label_of(path: Path, label: str, options: argparse.Namespace) -> str | int:
    """A column by its name, or by its position if that is a number and no name."""
    is_number = label.lstrip("-").isdigit() and kind_of(path) == "table"
    if is_number and label not in first_row(path, options.encoding):
        return int(label)
    return label


def _image_shape(net: ReduNet) -> tuple[tuple[int, int], bool]:
    """The size of the images that a network takes, and whether they have colours."""
    shape = net.sample_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"images have shape (1, H, W) or (3, H, W), but the network takes {shape}")
    return (shape[1], shape[2]), shape[0] == 3


def _images(path: Path) -> list[Path]:
    """A file, or all images in a folder and in its folders."""
    if path.is_file():
        return [path]
    direct = [file for file in path.iterdir() if is_image(file) and not file.name.startswith(".")]
    files = sorted([*direct, *image_files(path)])
    if not files:
        raise ValueError(f"expected images in {path}, found none")
    return files
