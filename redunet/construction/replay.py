"""Layers made again from the samples and the steps of their construction.

Operators are functions of the second moments of the samples. If samples are few and features are
large, the samples take far less room in a file than the operators.
"""

import os
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, as_samples, listed, memory_advice
from redunet._labels import as_labels
from redunet._processes import Processes
from redunet.construction.build import Encoder, Parts
from redunet.construction.construction import Attempt, Construction
from redunet.construction.labelled_features import collect
from redunet.construction.sources import ArraySource
from redunet.files.tensors import as_stored, fill
from redunet.layers import ReduLayer
from redunet.layers.encoding import default_batch_size

# Names of the tensors that hold the samples in a file.
SAMPLES, LABELS = "samples.X", "samples.labels"

# Operators from the same samples differ by at most this many units of rounding error.
ROUNDING = 10_000


class Replay(Construction):
    """Construction of layers whose steps are known."""

    def run_steps(self, steps: Iterable[tuple[float, float]]) -> None:
        """Construct a layer for each step η and momentum β."""
        for eta, momentum in steps:
            self.settings = replace(self.settings, eta=eta)
            self._accept(self._attempt(momentum))

    def _choose_step(self, layer: ReduLayer, before: float) -> Attempt:
        """The known step, with the same arithmetic as when it was chosen."""
        directions = self.samples.directions(layer, true_membership=self.settings.true_membership)
        moved = self.samples.move(directions, layer.eta)
        return Attempt(layer, moved, self._gather(moved, layer))


def samples_for(parts: Parts, X: Array, labels: Array) -> dict[str, Tensor]:
    """The samples of a network as tensors of a file, after a check that they give its operators.

    Parameters
    ----------
    parts : Parts
    X : array-like or Tensor of shape (m, *sample_shape)
    labels : array-like or Tensor of shape (m,) or (m, k)

    Raises
    ------
    ValueError
        If layers made from these samples differ from those of the network.
    """
    like = parts.layers[0].proportions
    samples = as_samples(parts.names.in_order(X)).to(like)
    labels = as_labels(labels, len(samples), classes=parts.classes, memberships=True)
    if labels.ndim == 1:
        if not np.isin(labels, parts.classes).all():
            unknown = np.setdiff1d(labels, parts.classes)
            raise ValueError(
                f"labels {listed(unknown)} are not among {listed(parts.classes, 'classes')}"
            )
        labels = np.searchsorted(parts.classes, labels)
    stored = {SAMPLES: samples, LABELS: torch.from_numpy(labels)}
    for layer, again in zip(parts.layers, _replayed(parts, stored), strict=True):
        if not _equal(layer, again):
            raise ValueError(
                "the network does not follow from these samples: it was fine-tuned or extended, "
                "or constructed from other samples, or some labels were missing; save it without "
                "samples"
            )
    return stored


def with_layers(
    parts: Parts, tensors: dict[str, Tensor], path: str | os.PathLike[str]
) -> dict[str, Tensor]:
    """The tensors of a file, with those of the layers in place of the samples.

    Files without samples stay as they are. The layers of ``parts`` may be on the meta device.
    """
    if SAMPLES not in tensors:
        return tensors
    if parts.lift is not None:
        prefix = "lift."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        fill(parts.lift, own, path)
    others = {name: t for name, t in tensors.items() if name not in (SAMPLES, LABELS)}
    return others | {
        f"layers.{number}.{name}": as_stored(t)
        for number, layer in enumerate(_replayed(parts, tensors))
        for name, t in layer.state_dict().items()
    }


@torch.no_grad()
def _replayed(parts: Parts, tensors: dict[str, Tensor]) -> list[ReduLayer]:
    """All layers, constructed from stored samples with the steps of the layers of ``parts``."""
    X, labels = tensors[SAMPLES], tensors[LABELS]
    encoder = Encoder(X[:1], parts.lift)
    size = parts.batch_size or default_batch_size(encoder.spectrum, encoder.feature_shape[0])
    classes = np.arange(len(parts.classes))
    with memory_advice(size):
        samples = collect(
            ArraySource(X, labels, X.device),
            encoder,
            sample_shape=parts.sample_shape,
            dtype=encoder.dtype,
            batch_size=size,
            folder=None,
            processes=Processes(),
            classes=classes,
        )
        info = encoder.describe(samples, parts.settings.eps_sq, Processes())
        replay = Replay(parts.settings, info, samples)
        replay.run_steps((layer.eta, layer.momentum) for layer in parts.layers)
    return replay.layers


def _equal(layer: ReduLayer, other: ReduLayer) -> bool:
    """Whether the tensors of two layers are equal up to rounding."""
    tensors, others = layer.state_dict(), other.state_dict()
    return tensors.keys() == others.keys() and all(
        t.shape == others[name].shape and _close(t, others[name]) for name, t in tensors.items()
    )


def _close(t: Tensor, other: Tensor) -> bool:
    if not (t.is_floating_point() or t.is_complex()):
        return torch.equal(t, other)
    bound = ROUNDING * torch.finfo(t.dtype).eps * t.abs().max()
    return bool((t - other).abs().max() <= bound)
