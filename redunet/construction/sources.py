"""Samples and their labels: arrays in memory, or data sets that are read batch by batch.

Labels that are masked are not known.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from redunet._checks import Array, as_samples, as_tensor
from redunet._labels import Label, as_array, as_labels
from redunet._shapes import check_layout
from redunet._warnings import warn

# A warning names at most this many pairs of classes.
SHOWN = 3

# Pairs of samples and labels.
Data: TypeAlias = Dataset[Any] | DataLoader[Any]


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
    unknown : int or str, optional
        The label of samples whose class is not known. It is masked.
    sample_weight : array-like of shape (m,), optional
        Samples of weight 0 are left out.
    num_classes : int, optional
        Number of classes if no label is known. All are then masked.

    Attributes
    ----------
    example : Tensor of shape (1, *sample_shape)
        One sample.
    home : torch.device
        Device of the samples.
    weights : numpy array (m,) or None
        Positive weights of the samples; None if all are 1.
    """

    def __init__(
        self,
        X: Array,
        labels: Array | None,
        device: torch.device | str | None,
        name: str = "X",
        *,
        unknown: Label | None = None,
        sample_weight: Array | None = None,
        num_classes: int | None = None,
    ):
        self.X, self.num_classes = as_samples(X, device=device, name=name), num_classes
        if labels is None and num_classes is None:
            raise ValueError(
                f"labels are missing: only a Dataset or DataLoader {name} has its own; if no label "
                "is known, pass num_classes"
            )
        labels = np.ma.masked_all(len(self.X), int) if labels is None else labels
        self.labels = as_labels(  # masked where not known
            labels, len(self.X), unknown=unknown, partial=True, memberships=True
        )
        check_layout(self.X, name)
        self.weights: np.ndarray | None = None
        if sample_weight is not None:
            if np.ma.is_masked(self.labels):
                raise ValueError("sample_weight needs the labels of all samples: leave it out")
            weights = check_weights(sample_weight, len(self.X))
            kept = np.flatnonzero(weights)
            self.X = self.X[torch.from_numpy(kept).to(self.X.device)]
            self.labels, self.weights = self.labels[kept], weights[kept]
        self.example = self.X[:1]
        self.home = self.X.device

    def batches(self, size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``size`` samples, with their labels."""
        for start in range(0, len(self.X), size):
            yield self.X[start : start + size], self.labels[start : start + size]


class DatasetSource:
    """Samples of a PyTorch data set. Only one batch at a time is in memory.

    Every sample is read once in each pass, also by an iterator that can be read only once. The
    global random state of torch does not change. The attributes are those of :class:`ArraySource`;
    all weights are 1.

    Parameters
    ----------
    data : Dataset or DataLoader
        Yields pairs of a sample ``(C, *spatial)`` and its label. A loader has its own batch size.
    device : torch.device or str, optional
        Device for the samples; by default the CPU.
    name : str
        Name of the samples in error messages.
    num_classes : int, optional
        Number of classes if no label is known. ``data`` may then yield samples without labels.
    unknown : int or str, optional
        The label of samples whose class is not known. It is masked.
    """

    weights: np.ndarray | None = None

    def __init__(
        self,
        data: Data,
        device: torch.device | str | None,
        name: str = "X",
        *,
        num_classes: int | None = None,
        unknown: Label | None = None,
    ):
        self._name, self.num_classes, self._unknown = name, num_classes, unknown
        self._device, self.home = torch.device(device or "cpu"), torch.device("cpu")
        self._has_batches = isinstance(data, DataLoader)
        self._loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size=None)
        self._random_state = torch.get_rng_state()
        self._count: int | None = None  # number of samples in the first pass
        first = self._next(elements := self._begin(), 1)
        if not first:
            raise ValueError(
                f"{name} has no samples: it is empty, or can be read only once and was read before"
            )
        self._begun: Iterator[object] | None = itertools.chain(first, elements)  # the first pass
        samples, _ = self._checked(first, 0)
        check_layout(samples, name)
        self.example = samples[:1]

    def batches(self, size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Batches of at most ``size`` samples, with their labels."""
        elements, self._begun = self._begun or self._begin(), None
        count = 0
        while part := self._next(elements, 1 if self._has_batches else size):
            samples, labels = self._checked(part, count)
            count += len(samples)
            for start in range(0, len(samples), size):
                yield samples[start : start + size], labels[start : start + size]
        if self._count not in (None, count):
            raise ValueError(
                f"{self._name} gave {self._count} samples when it was read first, and {count} when "
                "it was read again: pass a Dataset that can be read any number of times"
            )
        self._count = count

    def _begin(self) -> Iterator[object]:
        """The batches of a loader, or the elements of a data set. It is asked for them later."""
        return itertools.chain.from_iterable([self._loader])

    def _next(self, elements: Iterator[object], count: int) -> list[object]:
        """The next elements.

        Random numbers for their order and transformations come from a state of their own.
        """
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random_state)
            part = list(itertools.islice(elements, count))
            self._random_state = torch.get_rng_state()
        return part

    def _collated(self, elements: list[object]) -> object:
        """One batch of several elements."""
        try:
            return default_collate(elements)
        except (TypeError, RuntimeError) as error:
            raise TypeError(
                f"the elements of {self._name} do not form a batch, give tensors or arrays of one "
                f"shape: {error}"
            ) from error

    def _checked(self, part: list[object], start: int) -> tuple[Tensor, np.ndarray]:
        """The samples of one batch or of several elements, and a label for each of them."""
        batch = part[0] if self._has_batches else self._collated(part)
        values, labels = pair_of(batch, self._name, unlabelled=self.num_classes is not None)
        name = f"{self._name}[{start}:{start + len(values)}]"
        samples = as_samples(values, device=self._device, name=name)
        if labels is None and self.num_classes is not None:
            return samples, np.ma.masked_all(len(samples), int)
        shape = as_array(labels).shape
        if len(shape) not in (1, 2) or shape[0] != len(samples):
            raise ValueError(
                f"{name} has samples of shape {tuple(samples.shape)}, and labels of shape "
                f"{shape}: there must be one label for each sample"
            )
        return samples, as_labels(labels, unknown=self._unknown, partial=True, memberships=True)


# Samples with labels, batch by batch.
Source: TypeAlias = ArraySource | DatasetSource


def pair_of(batch: object, name: str, *, unlabelled: bool = False) -> tuple[Any, Any]:
    """The samples and the labels of a batch; the labels are None if it has none.

    Raises
    ------
    TypeError
        If a Dataset or a DataLoader gives anything else than pairs.
    """
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    is_array = bool(parts) and hasattr(parts[0], "shape")
    if is_array and (len(parts) == 2 or (len(parts) == 1 and unlabelled)):
        return parts[0], parts[1] if len(parts) == 2 else None
    if isinstance(batch, Mapping):
        got = f"dictionaries with the keys {', '.join(map(str, batch))}"
    elif is_array and len(parts) == 1:
        got = "samples without labels"
    else:
        kinds = ", ".join(type(part).__name__ for part in parts[:3])
        got = f"batches of {len(parts)} parts: {kinds}{', …' if len(parts) > 3 else ''}"
    raise TypeError(
        f"{name} must give pairs of samples and labels, got {got}. Let __getitem__ of the Dataset, "
        "or the collate_fn of the DataLoader, return such a pair"
    )


def check_rereadable(data: object, use: str) -> None:
    """Raise ValueError if ``data``, as far as one can see, can be read only once.

    Parameters
    ----------
    data : array-like, Dataset, DataLoader or other iterable
    use : str
        What reads it several times, for the message.
    """
    if isinstance(data, DataLoader):
        if data.num_workers > 0:  # every worker begins with a copy of the data set
            return
        data = data.dataset
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return
    if not isinstance(data, Iterable) or isinstance(data, Tensor | np.ndarray):
        return
    first = iter(data)
    is_same = first is iter(data)
    # A class whose __iter__ returns itself may begin again there.
    may_begin_again = first is data and type(data).__module__ not in ("builtins", "itertools")
    if is_same and not may_begin_again:
        raise ValueError(
            f"the samples can be read only once, but {use} reads them several times: pass a "
            "Dataset, or a list of batches"
        )


def as_source(
    X: Array | Data,
    labels: Array | None,
    device: torch.device | str | None,
    name: str = "X",
    *,
    num_classes: int | None = None,
    unknown: Label | None = None,
    sample_weight: Array | None = None,
) -> Source:
    """The source of samples that ``X`` and ``labels`` describe; see :class:`ArraySource`."""
    if not isinstance(X, Dataset | DataLoader):
        return ArraySource(
            X,
            labels,
            device,
            name,
            unknown=unknown,
            sample_weight=sample_weight,
            num_classes=num_classes,
        )
    if sample_weight is not None:
        raise ValueError(
            f"sample_weight is for arrays, but {name} is a {type(X).__name__}: leave it out; "
            "Search(class_weight=) weighs the samples of a Dataset by their classes"
        )
    if labels is not None:
        raise ValueError(f"{name} is a {type(X).__name__}, which has its own labels")
    return DatasetSource(X, device, name, num_classes=num_classes, unknown=unknown)


def check_weights(sample_weight: Array, num_samples: int) -> np.ndarray:
    """Weights of samples as numbers of double precision, ``(m,)``.

    Raises
    ------
    ValueError
        If the shape is wrong, weights are negative or not finite, or all are 0.
    """
    weights = as_tensor(sample_weight, device="cpu").double().numpy()
    if weights.shape != (num_samples,):
        raise ValueError(f"sample_weight must have shape ({num_samples},), got {weights.shape}")
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise ValueError(
            "sample_weight must be finite, at least 0, and not zero for all samples; got weights "
            f"from {weights.min():g} to {weights.max():g}"
        )
    return weights


def known_labels(labels: np.ndarray) -> np.ndarray:
    """True for samples whose class is known, ``(m,)``: those whose labels are not masked.

    Soft memberships ``(m, k)`` are all known.
    """
    return np.ones(len(labels), bool) if labels.ndim == 2 else ~np.ma.getmaskarray(labels)


def warn_of_similar(classes: np.ndarray) -> None:
    """Warn of classes whose names differ only in case, in spaces or in characters without width."""
    if classes.dtype.kind != "U":
        return
    alike: dict[str, list[str]] = {}
    for name in classes.tolist():
        alike.setdefault(_without_look(name), []).append(name)
    pairs = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if pairs:
        more = f" and {len(pairs) - SHOWN} more" * (len(pairs) > SHOWN)
        warn(
            "names of different classes differ only in case or in spaces: "
            f"{', '.join(pairs[:SHOWN])}{more}; if they are one class, pass labels of one "
            "spelling, for example [label.strip().lower() for label in labels]"
        )


def _without_look(name: str) -> str:
    """A name in small letters, without outer and double spaces and without invisible characters."""
    visible = (c for c in name if unicodedata.category(c) != "Cf")
    return " ".join("".join(visible).lower().split())
