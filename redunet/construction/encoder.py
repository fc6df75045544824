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
from redunet.construction.sources import Source, common_classes, known_labels, known_membership
from redunet.files.identity import Digest, digest_of
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
        folder: Path | None = None,
        classes: np.ndarray | None = None,
        digested: bool = False,
    ) -> LabelledFeatures:
        """Read all samples, encode them as features of unit norm, and determine their classes.

        Parameters
        ----------
        source : Source
        eps_sq : float or None
            ε²; None for 0.5 divided by the number of frequencies.
        folder : Path or None
            Folder for the features; None to store them where the source is.
        classes : numpy array or None
            The sorted labels; None for those of the samples of all processes.
        digested : bool
            Compute the digests of samples and labels.
        """
        features = FeatureStore(self.device, folder or source.home)
        zeros, digest = 0, Digest()
        for X in source.batches(self.batch_size):
            check_sample_shape(X, self.sample_shape)
            if digested:
                digest.add(X)
            V = encode(X.to(self.dtype), self.lift, self.spectrum)
            zeros += int((norms(V) == 0).sum())
            features.append(V)
        if zeros:
            warn(f"{zeros} of {sum(features.sizes)} samples have zero norm and stay zero")
        partition, known = self._partition(source.labels, sum(features.sizes), classes)
        if source.weights is not None:
            partition = partition.weighted(torch.from_numpy(source.weights).to(self.device))
        digests = (str(digest), _digest_of(partition)) if digested else ("", "")
        info = self._describe(partition, eps_sq)
        return LabelledFeatures(features, partition, info, known, digests)

    def _partition(
        self, labels: np.ndarray, count: int, classes: np.ndarray | None
    ) -> tuple[Partition, Tensor | None]:
        """The classes of all samples, and which of them are known; None if all are."""
        known = known_labels(labels)
        are_known = all(self.processes.all_gather_object(bool(known.all())))
        if classes is None and (self.processes.size > 1 or not are_known):
            classes = common_classes(labels, known, self.processes)
        if are_known:
            partition = Partition.from_labels(labels, count, device=self.device, classes=classes)
            return partition, None
        assert classes is not None
        if len(known) != count:
            raise ValueError(f"labels must have shape ({count},), got ({len(known)},)")
        membership = known_membership(np.asarray(labels), known, classes)
        partition = Partition.from_membership(torch.from_numpy(membership).to(self.device), classes)
        return partition, torch.from_numpy(known).to(self.device)

    def _describe(self, partition: Partition, eps_sq: float | None) -> DatasetInfo:
        dtype = self.dtype.to_complex() if self.spectrum.shape else self.dtype
        eps_sq = EPS_SQ_OF_VECTORS / self.spectrum.size if eps_sq is None else eps_sq
        channels = self.feature_shape[0]
        return DatasetInfo.from_partition(
            partition, self.spectrum, channels, dtype, eps_sq, self.processes
        )


def _digest_of(partition: Partition) -> str:
    classes, samples, _, weights = partition.assignments
    return digest_of(classes, samples, *([] if weights is None else [weights]))
