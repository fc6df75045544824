"""Sources of samples: arrays in memory, or data sets that are read batch by batch."""

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from redunet._checks import Array, as_labels, as_samples

# Pairs of samples and labels.
Data: TypeAlias = Dataset[Any] | DataLoader[Any]


class Source(Protocol):
    """Samples with labels, batch by batch.

    Attributes
    ----------
    example : Tensor of shape (1, *sample_shape)
        One sample.
    home : torch.device
        Device of the samples.
    """

    example: Tensor
    home: torch.device

    @property
    def labels(self) -> Any:
        """Labels of all samples, complete after the last batch."""

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Batches of at most ``batch_size`` samples."""

    def labelled_batches(self, batch_size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``batch_size`` samples with their labels."""


class ArraySource:
    """Samples and labels in memory.

    Parameters
    ----------
    X, labels
        The arguments of :meth:`redunet.ReduNet.construct`.
    device : torch.device or str, optional
        Device for the samples; by default tensors stay on their device.
    name : str
        Name of the samples in error messages.
    """

    def __init__(
        self,
        X: Array,
        labels: Array | None,
        device: torch.device | str | None,
        name: str = "X",
    ):
        if labels is None:
            raise ValueError(
                f"labels are missing: only a Dataset or DataLoader {name} has its own; if no label "
                "is known, pass num_classes"
            )
        self.X = as_samples(X, device=device, name=name)
        m, shape = len(self.X), as_labels(labels).shape
        if len(shape) not in (1, 2) or shape[0] != m:
            raise ValueError(
                f"labels must have shape ({m},), or ({m}, k) for soft memberships: got {shape} for "
                f"{m} samples"
            )
        self.labels = labels  # may be a masked array
        self.example = self.X[:1]
        self.home = self.X.device

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Batches of at most ``batch_size`` samples."""
        return iter(self.X.split(batch_size))

    def labelled_batches(self, batch_size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``batch_size`` samples with their labels."""
        labels = as_labels(self.labels)
        if isinstance(self.labels, np.ma.MaskedArray):
            labels = self.labels
        starts = range(0, len(self.X), batch_size)
        return zip(
            self.X.split(batch_size), (labels[i : i + batch_size] for i in starts), strict=True
        )


class DatasetSource:
    """Samples of a PyTorch data set. Only one batch at a time is in memory.

    Parameters
    ----------
    data : Dataset or DataLoader
        Yields pairs of a sample ``(C, *spatial)`` and its label. A loader has its own batch size.
    device : torch.device or str, optional
        Device for the samples; by default the CPU.
    name : str
        Name of the samples in error messages.
    """

    def __init__(self, data: Data, device: torch.device | str | None, name: str = "X"):
        self._data = data
        self._device = torch.device(device or "cpu")
        self._name = name
        self._labels: list[np.ndarray] = []
        self.example = next(self._samples(1))[0][:1]
        self.home = torch.device("cpu")

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Batches of at most ``batch_size`` samples. After the last, ``labels`` is complete."""
        return (samples for samples, _ in self.labelled_batches(batch_size))

    def labelled_batches(self, batch_size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``batch_size`` samples with their labels."""
        self._labels = []
        for samples, labels in self._samples(batch_size):
            self._labels.append(labels)
            for start in range(0, len(samples), batch_size):
                stop = start + batch_size
                yield samples[start:stop], labels[start:stop]

    @property
    def labels(self) -> np.ndarray:
        """Labels of the samples that have been read."""
        return np.concatenate(self._labels)

    def _samples(self, batch_size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        data = self._data
        loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
        start = 0
        for samples, labels in loader:
            name = f"{self._name}[{start}:{start + len(samples)}]"
            yield as_samples(samples, device=self._device, name=name), as_labels(labels)
            start += len(samples)


def as_source(
    X: Array | Data,
    labels: Array | None,
    device: torch.device | str | None,
    name: str = "X",
) -> Source:
    """The source of samples that ``X`` and ``labels`` describe."""
    if not isinstance(X, Dataset | DataLoader):
        return ArraySource(X, labels, device, name)
    if labels is not None:
        raise ValueError(f"{name} is a {type(X).__name__}, which has its own labels")
    return DatasetSource(X, device, name)
