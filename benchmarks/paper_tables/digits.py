"""Samples for the tables: MNIST, CIFAR-10, or embedded digits for a trial."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet import datasets

Samples = tuple[Tensor, Tensor]


@lru_cache(maxsize=4)
def split(data: str, name: str, data_dir: str | None) -> Samples:
    """Training or test samples of "MNIST" or "CIFAR-10", or half of the embedded "digits"."""
    if data == "MNIST":
        return datasets.mnist(name, data_dir)
    if data == "CIFAR-10":
        return cifar_10(name, data_dir)
    X, labels = datasets.digits()
    half = slice(None, len(X) // 2) if name == "train" else slice(len(X) // 2, None)
    return X[half], labels[half]


def cifar_10(name: str, data_dir: str | None) -> Samples:
    """The 50 000 training or 10 000 test images ``(m, 3, 32, 32)``, from 0 to 1."""
    folder = Path(data_dir or ".") / "cifar-10-batches-bin"
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] if name == "train" else ["test_batch.bin"]
    rows = torch.cat([torch.from_numpy(np.fromfile(folder / file, np.uint8)) for file in files])
    labels, pixels = rows.reshape(-1, 1 + 3072).split([1, 3072], 1)
    return pixels.reshape(-1, 3, 32, 32).float() / 255, labels[:, 0].long()


def first(samples: Samples, per_class: int, classes: Sequence[int] | None = None) -> Samples:
    """The first digits of each class in file order, sorted by class."""
    X, labels = samples
    if classes is not None:
        kept = torch.isin(labels, torch.tensor(classes))
        X, labels = X[kept], labels[kept]
    smallest = int(torch.bincount(labels)[labels.unique()].min())
    rows = datasets.subsample(labels, min(per_class, smallest))
    return X[rows], labels[rows]
