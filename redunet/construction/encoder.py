"""From samples to features of unit norm, with their classes."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import check_sample_shape
from redunet._processes import Processes
from redunet._warnings import warn
from redunet.construction.features import FeatureStore, LabelledFeatures
from redunet.construction.settings import EPS_SQ_OF_VECTORS
from redunet.construction.sources import Source, known_labels
from redunet.files.digest import Digest
from redunet.layers import DatasetInfo
from redunet.layers.encoding import default_batch_size, encode
from redunet.lifts.base import in_blocks
from redunet.rates import HalfSpectrum, Partition
from redunet.rates.spectrum import norms

# The only process.
SINGLE = Processes()


class Encoder:
    """The way from samples to features: a copy of the lift, and a transform to half spectra.

    Parameters
    ----------
    example : Tensor of shape (1, *sample_shape)
        One sample, which shows shapes, precision and device.
    lift : nn.Module or None
        Applied to samples first.
    batch_size : int, optional
        Largest number of samples in a batch; by default as many as suit the device.
    processes : Processes
        The processes that share the samples.
    """

    def __init__(
        self,
        example: Tensor,
        lift: nn.Module | None,
        *,
        batch_size: int | None = None,
        processes: Processes = SINGLE,
    ):
        self.processes = processes
        self.device, self.dtype = example.device, example.dtype
        if lift is not None:
            lift = copy.deepcopy(lift).to(self.device, self.dtype).eval()
        self.lift = lift
        self.sample_shape = tuple(example.shape[1:])
        features = example if lift is None else in_blocks(lift, example)
        self.feature_shape = tuple(features.shape[1:])
        self.spectrum = HalfSpectrum(self.feature_shape[1:]).to(self.device)
        self.batch_size = batch_size or default_batch_size(self.spectrum, self.feature_shape[0])

    def collect(
        self,
        source: Source,
        eps_sq: float | None,
        *,
        folder: str | None = None,
        classes: np.ndarray | None = None,
        digested: bool = False,
    ) -> LabelledFeatures:
        """Read all samples, encode them as features of unit norm, and determine their classes.

        Parameters
        ----------
        source : Source
        eps_sq : float or None
            ε²; None for 0.5 divided by the number of frequencies.
        folder : str or None
            Folder for the features; None to store them where the source is.
        classes : numpy array or None
            The sorted labels; None for those of the samples of all processes.
        digested : bool
            Compute the digests of samples and labels.
        """
        features = FeatureStore(self.device, Path(folder) if folder else source.home)
        labels, zeros, digest = [], 0, Digest()
        for X, of_batch in source.batches(self.batch_size):
            check_sample_shape(X, self.sample_shape)
            if digested:
                digest.add(X)
            V = encode(X.to(self.dtype), self.lift, self.spectrum)
            zeros += int((norms(V) == 0).sum())
            features.append(V)
            labels.append(of_batch)
        if zeros:
            warn(f"{zeros} of {sum(features.sizes)} samples have zero norm and stay zero")
        if source.num_classes is not None:
            classes = np.arange(source.num_classes)
            if any(known_labels(of_batch).any() for of_batch in labels):
                raise ValueError("num_classes is for samples without any labels: leave it out")
        partition, known = self._partition(np.ma.concatenate(labels), classes)
        if source.weights is not None:
            partition = partition.weighted(torch.from_numpy(source.weights).to(self.device))
        info = DatasetInfo.from_partition(
            partition,
            self.spectrum,
            self.feature_shape[0],
            self.dtype.to_complex() if self.spectrum.shape else self.dtype,
            EPS_SQ_OF_VECTORS / self.spectrum.size if eps_sq is None else eps_sq,
            self.processes,
        )
        assigned = (t for t in partition.assignments if t is not None)
        digests = (str(digest), str(Digest(*assigned))) if digested else ("", "")
        return LabelledFeatures(features, partition, info, known, digests)

    def _partition(
        self, labels: np.ndarray, classes: np.ndarray | None
    ) -> tuple[Partition, Tensor | None]:
        """The classes of all samples, and which of them are known; None if all are."""
        known = known_labels(labels)
        are_known = all(self.processes.all_gather_object(bool(known.all())))
        if classes is None and (self.processes.size > 1 or not are_known):
            classes = self._classes(labels, known)
        if are_known or classes is None:
            partition = Partition.from_labels(
                labels, len(labels), device=self.device, classes=classes
            )
            return partition, None
        membership = torch.zeros(len(labels), len(classes), dtype=torch.float64, device="cpu")
        membership[known, np.searchsorted(classes, labels[known])] = 1
        partition = Partition(classes, membership.to(self.device))
        return partition, torch.from_numpy(known).to(self.device)

    def _classes(self, labels: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The known classes of the samples of all processes."""
        if labels.ndim == 2:
            return np.arange(labels.shape[1])
        parts = self.processes.all_gather_object(np.unique(np.asarray(labels[known])))
        classes = np.unique(np.concatenate(parts))
        if len(classes) < 2:
            raise ValueError(
                f"at least two classes need labelled samples, got those of {len(classes)}: "
                f"{classes.tolist()}; if no label is known, pass num_classes"
            )
        return classes
