"""Where samples come from: arrays that are at hand, or data sets that are read batch by batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from redunet.checks import as_samples


class Arrays:
    """Samples and labels that are in memory already.

    Parameters
    ----------
    X, labels
        As :meth:`redunet.ReduNet.construct` takes them.
    device : torch.device or str, optional
        Where the samples are wanted; by default where they are.
    name : str
        How error messages call them.
    """

    def __init__(self, X: Any, labels: Any, device: torch.device | str | None, name: str = "X"):
        if labels is None:
            raise ValueError(f"labels are missing: only a Dataset or DataLoader {name} has its own")
        self.X = as_samples(X, device=device, name=name)
        self.labels = labels
        self.example = self.X[:1]
        self.home = self.X.device

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Samples, at most ``batch_size`` at a time."""
        return iter(self.X.split(batch_size))


class Stream:
    """Samples of a PyTorch data set, of which no more than a batch is in memory.

    Parameters
    ----------
    data : Dataset or DataLoader
        Of pairs of a sample ``(C, *spatial)`` and its label. A loader brings its own batch size.
    device : torch.device or str, optional
        Where the samples are wanted; by default on the CPU.
    name : str
        How error messages call them.
    """

    def __init__(
        self, data: Dataset | DataLoader, device: torch.device | str | None, name: str = "X"
    ):
        self._data = data
        self._device = torch.device(device or "cpu")
        self._name = name
        self._labels: list[np.ndarray] = []
        self.example = next(self._samples(1))[:1]
        self.home = torch.device("cpu")

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Samples, at most ``batch_size`` at a time; their labels are known after the last one."""
        self._labels = []
        for samples in self._samples(batch_size):
            yield from samples.split(batch_size)

    @property
    def labels(self) -> np.ndarray:
        """Labels of the samples that were read."""
        return np.concatenate(self._labels)

    def _samples(self, batch_size: int) -> Iterator[Tensor]:
        data = self._data
        loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
        start = 0
        for samples, labels in loader:
            name = f"{self._name}[{start}:{start + len(samples)}]"
            yield as_samples(samples, device=self._device, name=name)
            self._labels.append(np.asarray(labels))
            start += len(samples)


def source(
    X: Any, labels: Any, device: torch.device | str | None, name: str = "X"
) -> Arrays | Stream:
    """The samples that ``X`` stands for."""
    if not isinstance(X, Dataset | DataLoader):
        return Arrays(X, labels, device, name)
    if labels is not None:
        raise ValueError(f"{name} is a {type(X).__name__}, which has labels of its own")
    return Stream(X, device, name)
