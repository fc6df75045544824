"""Training batches and validation samples of a fine-tuning."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from redunet._checks import Array
from redunet.construction.sources import Data, check_rereadable, pair_of
from redunet.network import ReduNet
from redunet.rates.partition import Partition

Batch = tuple[Tensor, Tensor]  # samples, and the positions of their classes
Batches = Iterable[Batch]


def split(
    net: ReduNet,
    X: Array | Data,
    labels: Array | None,
    validation: float | tuple[Array, Array] | None,
    batch_size: int,
    generator: torch.Generator,
    seed: int,
) -> tuple[Batches, Batch | None]:
    """Training batches and validation samples, with the positions of their classes."""
    if isinstance(X, Dataset | DataLoader):
        if labels is not None:
            raise ValueError(f"X is a {type(X).__name__}, which has its own labels")
        check_rereadable(X, "fine-tuning")
        if isinstance(validation, int | float):
            raise ValueError("a data set cannot be split: pass validation=(X, labels), or None")
        held_out = None if validation is None else _checked(net, *validation)
        if isinstance(X, Dataset):
            X = DataLoader(X, batch_size, shuffle=True, generator=generator)
        return _Targeted(net, X), held_out
    if labels is None:
        raise ValueError("labels are missing: only a Dataset or DataLoader supplies its own")
    X, targets = _checked(net, X, labels)
    held_out = None
    if isinstance(validation, int | float):
        from sklearn.model_selection import train_test_split

        train_rows, validation_rows = train_test_split(
            np.arange(len(X)), test_size=validation, stratify=targets.cpu(), random_state=seed
        )
        held_out = X[validation_rows], targets[validation_rows]
        X, targets = X[train_rows], targets[train_rows]
    elif validation is not None:
        held_out = _checked(net, *validation)
    return _Shuffled(X, targets, batch_size, generator), held_out


class _Shuffled:
    """Batches of samples in memory, in another random order each time, on their device."""

    def __init__(self, X: Tensor, targets: Tensor, batch_size: int, generator: torch.Generator):
        self._samples = X, targets
        self._batch_size = batch_size
        self._generator = generator

    def __iter__(self) -> Iterator[Batch]:
        X, targets = self._samples
        order = torch.randperm(len(X), generator=self._generator, device="cpu").to(X.device)
        return ((X[rows], targets[rows]) for rows in order.split(self._batch_size))


class _Targeted:
    """Batches of a loader, with positions of classes instead of labels."""

    def __init__(self, net: ReduNet, loader: DataLoader[Any]):
        self._net = net
        self._loader = loader
        self.generator = loader.generator
        self.sampler, self.batch_sampler = loader.sampler, loader.batch_sampler

    def __iter__(self) -> Iterator[Batch]:
        return (_checked(self._net, *pair_of(batch, "X")) for batch in self._loader)


def _checked(net: ReduNet, X: Array, labels: Array) -> Batch:
    """Samples that fit a network, and the positions of their classes."""
    X = net.samples(X)
    partition = Partition.from_labels(
        labels, len(X), classes=net.classes_, device=X.device, partial=True
    )
    return X, partition.membership.argmax(1)
