"""Digits for the tables: MNIST, or the embedded ones for a trial."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from redunet import datasets

Samples = tuple[Tensor, Tensor]


@lru_cache(maxsize=4)
def split(data: str, name: str, data_dir: str | None) -> Samples:
    """Training or test digits of "MNIST", or half of the embedded "digits"."""
    if data == "MNIST":
        return datasets.mnist(name, data_dir)
    X, labels = datasets.digits()
    half = slice(None, len(X) // 2) if name == "train" else slice(len(X) // 2, None)
    return X[half], labels[half]


def first(samples: Samples, per_class: int, classes: Sequence[int] | None = None) -> Samples:
    """The first digits of each class in file order, sorted by class."""
    X, labels = samples
    if classes is not None:
        kept = torch.isin(labels, torch.tensor(classes))
        X, labels = X[kept], labels[kept]
    smallest = int(torch.bincount(labels)[labels.unique()].min())
    rows = datasets.subsample(labels, min(per_class, smallest))
    return X[rows], labels[rows]
