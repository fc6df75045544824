"""Construction of all parts of a network from labelled samples."""

import copy
import os
import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from redunet._checks import Array, memory_advice
from redunet._processes import Processes
from redunet.construction.checkpoint import FolderCheckpoint
from redunet.construction.construction import Construction
from redunet.construction.feature_store import working_folder
from redunet.construction.history import RateHistory
from redunet.construction.labelled_features import LabelledFeatures, collect
from redunet.construction.settings import Request, Settings
from redunet.construction.sources import Data, as_source
from redunet.layers import DatasetInfo, ReduLayer
from redunet.layers.encoding import default_batch_size, encode
from redunet.rates import HalfSpectrum

# Signals with fewer channels need a lift.
FEWEST_CHANNELS = 4

# Classes whose sizes differ by more than this factor are uneven.
MOST_UNEVEN = 2

# Longer steps ηα can make features of new samples meaningless if a class has few samples.
LONGEST_STEP = 5.0


class Parts(NamedTuple):
    """The parts of a network; see :class:`redunet.ReduNet`."""

    layers: list[ReduLayer]
    classes: np.ndarray
    settings: Settings
    history: RateHistory
    sample_shape: tuple[int, ...]
    feature_shape: tuple[int, ...]
    lift: nn.Module | None
    batch_size: int | None


def build(
    X: Array | Data,
    labels: Array | None,
    request: Request,
    *,
    lift: nn.Module | None,
    validation: tuple[Array, Array] | Data | None,
    batch_size: int | None,
    device: torch.device | str | None,
    workdir: str | os.PathLike[str] | None,
    offload: bool,
    checkpoint: str | os.PathLike[str] | None,
    processes: Processes,
    progress: bool,
) -> Parts:
    """Read the samples, determine the settings, and construct all layers.

    The arguments are those of :meth:`redunet.ReduNet.construct`.
    """
    # 1. The shapes of samples and features.
    source = as_source(X, labels, device)
    example = source.example
    device, dtype = example.device, example.dtype
    if lift is not None:
        lift = copy.deepcopy(lift).to(device, dtype).eval()
    sample_shape = tuple(example.shape[1:])
    feature_shape = tuple((example if lift is None else lift(example)).shape[1:])
    channels, spectrum = feature_shape[0], HalfSpectrum(feature_shape[1:]).to(device)
    request.operators.check(channels)
    if lift is None:
        _warn_of_few_channels(feature_shape)

    def dataset_info(samples: LabelledFeatures) -> DatasetInfo:
        return DatasetInfo.from_partition(
            samples.partition,
            spectrum,
            channels,
            dtype.to_complex() if spectrum.shape else dtype,
            request.eps_sq_for(spectrum.size),
            processes,
        )

    samples_at_a_time = batch_size or default_batch_size(spectrum, channels)
    with memory_advice(samples_at_a_time), working_folder(workdir) as folder:
        # 2. All samples as features of unit norm.
        read = partial(
            collect,
            encode=partial(encode, lift=lift, spectrum=spectrum),
            sample_shape=sample_shape,
            dtype=dtype,
            batch_size=samples_at_a_time,
            folder=folder,
            processes=processes,
        )
        samples = read(source)
        info, validation_set = dataset_info(samples), None
        if validation is not None:
            data, targets = validation if isinstance(validation, tuple) else (validation, None)
            held_out = read(
                as_source(data, targets, device, "validation X"), classes=samples.partition.classes
            )
            validation_set = dataset_info(held_out), held_out
        # 3. The layers.
        settings = request.settle(spectrum.size, info.alpha)
        _warn_of_overshoot(info, settings)
        _warn_of_uneven_classes(info, settings)
        construction = Construction(
            settings, info, samples, validation=validation_set, offload=offload
        )
        folder_checkpoint = None
        if checkpoint is not None:
            folder_checkpoint = FolderCheckpoint(
                checkpoint,
                processes,
                num_layers=settings.num_layers,
                spectrum=spectrum,
                device=device,
                layer_device=torch.device("cpu") if offload else device,
                home=samples.current.home,
            )
        construction.run(progress=progress and processes.rank == 0, checkpoint=folder_checkpoint)
    return Parts(
        construction.layers,
        samples.partition.classes,
        settings,
        construction.history,
        sample_shape,
        feature_shape,
        lift,
        batch_size,
    )


def _warn_of_few_channels(feature_shape: tuple[int, ...]) -> None:
    """Warn if a network on signals distinguishes little more than their power spectra."""
    channels, *spatial = feature_shape
    if spatial and channels < FEWEST_CHANNELS:
        warnings.warn(
            f"without a lift, a network on signals of {channels} channel(s) sees little more than "
            "the power at each frequency, because it is invariant to shifts; pass for example "
            f"lift=RandomCirculantLift({channels}, 32, 3, ndim={len(spatial)}), or flatten the "
            "signals to vectors if invariance is not wanted",
            stacklevel=5,
        )


def _warn_of_uneven_classes(info: DatasetInfo, settings: Settings) -> None:
    """Warn if the membership of the papers may miss classes that are much smaller than others."""
    smallest, largest = info.counts.min().item(), info.counts.max().item()
    if settings.membership.favours_large_classes and largest > MOST_UNEVEN * smallest:
        warnings.warn(
            f"classes have from {smallest:g} to {largest:g} samples, and the membership of the "
            "papers favours large classes: pass membership=Softmax(balanced=True) if small classes "
            "matter as much",
            stacklevel=5,
        )


def _warn_of_overshoot(info: DatasetInfo, settings: Settings) -> None:
    """Warn if new samples may be classified at random, even if the training rates look good.

    If a class has fewer samples than channels, new samples of the class have a residual that no
    training sample has. A layer moves them by the step ηα = ηC/(mε²) along this residual. In the
    measurements of docs/choosing.md, steps up to 5 did no harm, and steps of 10 and more did.
    """
    step = settings.eta * info.alpha
    fewest = info.counts.min().item()
    if fewest < info.channels and step > LONGEST_STEP:
        warnings.warn(
            f"the step eta*C/(m*eps_sq) = {step:.3g} is long and a class has {fewest:g} samples, "
            f"fewer than the {info.channels} channels: features of new samples may be "
            f"meaningless; eta={settings.eta * 2 / step:.2g} or less is safe",
            stacklevel=5,
        )
