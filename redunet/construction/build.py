"""Construction of all parts of a network from labelled samples."""

import copy
import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from redunet._checks import memory_advice
from redunet._names import Names
from redunet._warnings import warn
from redunet.construction.checkpoint import FolderCheckpoint
from redunet.construction.construction import Construction
from redunet.construction.encoder import Encoder
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.construction.sources import Source, warn_of_similar
from redunet.construction.steps import longest_constant_step
from redunet.construction.unknown_labels import start
from redunet.layers import DatasetInfo, Reader, ReduLayer

# Signals with fewer channels need a lift.
FEWEST_CHANNELS = 4

# Longer steps ηα get a warning if a class has few samples.
LONGEST_STEP = 5.0

# Classes whose sizes differ by more than this factor are uneven.
MOST_UNEVEN = 2


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
    names: Names = Names()
    label_distributions: Tensor | None = None
    reader: Reader | None = None


def build(
    source: Source,
    encoder: Encoder,
    settings: Settings,
    *,
    validation: Source | None,
    workdir: str | os.PathLike[str] | None,
    offload: bool,
    checkpoint: str | os.PathLike[str] | None,
    progress: bool,
) -> Construction:
    """Read the samples, determine the settings, and construct all layers.

    The other arguments are those of :meth:`redunet.ReduNet.construct`.
    """
    settings.operators.check(encoder.feature_shape[0])
    if encoder.lift is None:
        _warn_of_few_channels(encoder.feature_shape)
    scratch: AbstractContextManager[str | None] = nullcontext()
    if workdir is not None:
        scratch = TemporaryDirectory(prefix="redunet-", dir=workdir)
    with memory_advice(encoder.batch_size), scratch as folder:
        # 1. All samples as features of unit norm, with their classes.
        collect = partial(
            encoder.collect, eps_sq=settings.eps_sq, folder=folder, digested=checkpoint is not None
        )
        samples = collect(source)
        classes = samples.partition.classes
        warn_of_similar(classes)
        if samples.known is not None:
            start(settings.operators, samples, progress=progress)
        held_out = None if validation is None else collect(validation, classes=classes)
        # 2. The layers.
        settings = settings.completed(samples.info)
        _warn_of_overshoot(samples.info, settings)
        _warn_of_uneven_classes(samples.info, settings)
        construction = Construction(settings, samples, validation=held_out, offload=offload)
        saved = None
        if checkpoint is not None:
            saved = FolderCheckpoint(checkpoint, construction, encoder.lift)
        construction.run(progress=progress, checkpoint=saved)
    return construction


def reader_like(reader: Reader, classes: np.ndarray, encoder: Encoder) -> Reader:
    """A copy of a reader of the same classes, in the precision and on the device of the network."""
    if getattr(reader, "classes_", None) is None:
        raise ValueError("the reader is not fitted: call its fit with the samples first")
    if not np.array_equal(reader.classes_, classes):
        raise ValueError(
            f"the reader knows the classes {reader.classes_.tolist()}, but the samples have "
            f"{classes.tolist()}: fit it with the same samples"
        )
    reader = copy.deepcopy(reader).to(encoder.device)
    for part in reader.children():  # its lift; the regression itself stays in double precision
        part.to(encoder.dtype)
    return reader.requires_grad_(False).eval()


def _warn_of_few_channels(feature_shape: tuple[int, ...]) -> None:
    """Warn if a network on signals distinguishes little more than their power spectra."""
    channels, *spatial = feature_shape
    if spatial and channels < FEWEST_CHANNELS:
        warn(
            f"without a lift, a network on signals of {channels} channel(s) sees little more than "
            "the power at each frequency, because it is invariant to shifts; pass for example "
            f"lift=RandomCirculantLift({channels}, 32, 3, ndim={len(spatial)}), or flatten the "
            "signals to vectors if invariance is not wanted"
        )


def _warn_of_uneven_classes(info: DatasetInfo, settings: Settings) -> None:
    """Warn if the membership may miss classes that are much smaller than others."""
    smallest, largest = info.counts.min().item(), info.counts.max().item()
    if not settings.membership.relative and largest > MOST_UNEVEN * smallest:
        warn(
            f"classes have from {smallest:g} to {largest:g} samples, and the membership favours "
            "large classes: pass membership=Softmax(balanced=True) if small classes matter as much"
        )


def _warn_of_overshoot(info: DatasetInfo, settings: Settings) -> None:
    """Warn if new samples may be classified at random, even if the training rates look good.

    If a class has fewer samples than channels, new samples of the class have a residual that no
    training sample has. Constant steps ηα = ηC/(mε²) that are too long amplify this residual in
    every layer; see :mod:`redunet.construction.steps`. Steps that are a little too long often do no
    harm, and get no warning.
    """
    eta, longest = max(settings.steps()).eta, longest_constant_step(settings.momentum)
    step = eta * info.alpha
    fewest = info.counts.min().item()
    if fewest < info.channels and step > LONGEST_STEP:
        warn(
            f"the step eta*C/(m*eps_sq) = {step:.3g} is long and a class has {fewest:g} samples, "
            f"fewer than the {info.channels} channels: features of new samples may be "
            f"meaningless; eta={eta * longest / step:.2g} or less is safe"
        )
