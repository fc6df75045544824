"""The decision between two classes for one sample, as a sum over frequencies, scales and places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, listed
from redunet._labels import as_array, as_labels
from redunet._names import as_row
from redunet._precision import full_precision
from redunet.layers.layer import extrapolate, propagate
from redunet.lifts import Band, JoinedLift, MultiScaleLift
from redunet.lifts.band import resampled
from redunet.lifts.blocks import in_blocks
from redunet.network import ReduNet
from redunet.rates.spectrum import as_double
from redunet.search.candidate import name_of

# Number of frequencies, and of scales, that are printed.
PRINTED_SHARES = 3


@dataclass(frozen=True, eq=False)
class Decision:
    """Why a layer prefers one class to another for a sample; see :meth:`from_network`.

    The relative residual of a sample v in class j is r_j = γ_j ‖Cʲ v‖ / α. It is the norm of
    (I + α_j M_j)⁻¹ v, where M_j is the second moment of the class. The smaller it is, the better
    the class fits. Its square is a sum over frequencies, over channels, and over places. The
    difference of the squares of two classes is therefore a sum of *shares*. Positive shares speak
    for the first class, negative shares for the second.

    A membership rule that is not balanced compares ‖Cʲ v‖ without the share γ_j of the class in the
    samples. To explain what it does, γ_j is then replaced by 1/k, its value for k equal classes.
    The rule says so itself, by :meth:`redunet.layers.Membership.weights`.

    Attributes
    ----------
    classes : tuple of two labels
        The winner, and the class that it is compared with.
    residuals : tuple of two floats
        Their relative residuals.
    frequency : int array (F, axes)
        The frequency of each share along each axis. A frequency stands for its opposite too.
    by_frequency : numpy array (F,)
        The share of each frequency.
    by_scale : dict from str to float
        The share of each scale. For signals, the channels of a :class:`redunet.MultiScaleLift` have
        one scale for each dilation. The channels of any other lift have one scale, which has the
        name of the lift. A :class:`redunet.JoinedLift` has the scales of all its lifts; scales of
        the same name are added.
    by_place : numpy array with the spatial axes
        The share of each place of the sample. It comes from all that the kernels see around this
        place. Kernels see the two ends of an axis as neighbours. A narrow band blurs these shares.
        If a lift gives the features a grid that cannot be interpolated, the places are those of
        the features.
    scores : tuple of two floats or None
        The scores of the classes by the reader of the network, times its sharpness. With a reader,
        the winner may have the larger residual. None if the network has no reader.
    """

    classes: tuple[Any, Any]
    residuals: tuple[float, float]
    frequency: np.ndarray
    by_frequency: np.ndarray
    by_scale: dict[str, float]
    by_place: np.ndarray
    scores: tuple[float, float] | None = None

    @classmethod
    @torch.no_grad()
    @full_precision
    def from_network(
        cls, net: ReduNet, x: Array, *, classes: Array | None = None, layer: int = 0
    ) -> Self:
        """Decompose the decision of a layer for one sample.

        Parameters
        ----------
        net : ReduNet
        x : array-like or Tensor of shape net.sample_shape
            One sample, without an axis of samples.
        classes : array-like of two labels, optional
            The classes to compare. By default those with the two largest memberships in this
            layer, in order; if memberships are equal, those with the smallest residuals.
        layer : int
            Index of the layer; by default the first, which sees the features of the sample itself.
            Most decisions are made there. Each layer moves the features towards its winner, so
            residuals in later layers show only what the layers before have decided.

        Returns
        -------
        Decision

        Raises
        ------
        ValueError
            If the sample does not have the shape that the network takes, or ``classes`` are not two
            labels of the network.
        """
        layers = list(net.layers)
        chosen, earlier = layers[layer], layers[: range(len(layers))[layer]]
        gamma = chosen.proportions
        X = net.samples(as_row(x)).to(gamma)
        (V,) = net.encode(X)
        point = extrapolate(*propagate(V, earlier), chosen.momentum)
        responses = as_double(chosen.operators.respond(point)[:, 0])  # (F, k, C)
        norms = responses.abs().square().sum((0, 2)).sqrt()
        membership = net.pool(chosen.assign(norms.to(gamma.dtype)[None]), X)[0].cpu().numpy()
        weights = chosen.membership_rule.weights(chosen).double()
        responses = responses * weights[:, None]
        residuals = (norms * weights).cpu().numpy()
        labels = net.classes_
        best = np.lexsort((residuals, -membership))[:2]
        pair = best if classes is None else _positions(classes, labels)
        responses = responses[:, pair.tolist()]
        squares = responses.abs().square()
        shares = (squares[:, 1] - squares[:, 0]).cpu().numpy()  # (F, C)
        by_scale: dict[str, float] = {}
        for scale, share in zip(_scales(net.lift, X), shares.sum(0).tolist(), strict=True):
            by_scale[scale] = by_scale.get(scale, 0.0) + share
        signals = _on_grid(net.spectrum.inverse(responses), net.sample_shape[1:])
        squares = signals.square().sum(1)
        scores = None if net.reader is None else net.reader_logits(X)[0, pair.tolist()].tolist()
        winner, other = labels[pair].tolist()
        return cls(
            (winner, other),
            (float(residuals[pair[0]]), float(residuals[pair[1]])),
            frequency=net.spectrum.frequencies.cpu().numpy(),
            by_frequency=shares.sum(1),
            by_scale=by_scale,
            by_place=(squares[1] - squares[0]).cpu().numpy(),
            scores=None if scores is None else tuple(scores),
        )

    @property
    def difference(self) -> float:
        """The difference of the squared residuals, the sum of all shares of each kind."""
        winner, other = self.residuals
        return other**2 - winner**2

    @property
    def frequency_names(self) -> list[str]:
        """Each frequency in words: a number for one axis, numbers in parentheses for more."""
        names = [", ".join(map(str, p)).replace("-", "−") for p in self.frequency.tolist()]
        return [f"({name})" for name in names] if self.frequency.shape[1] > 1 else names

    def percentages(self, shares: Any) -> np.ndarray:
        """Shares in percent of the absolute value of the difference."""
        return 100 * np.asarray(shares) / (abs(self.difference) or 1.0)

    def __str__(self) -> str:
        """The two classes, their residuals, and the largest shares of frequencies and scales."""
        (winner, other), (smaller, larger) = self.classes, self.residuals
        lines = [
            f"{winner} rather than {other}",
            f"residuals: {smaller:.4f} and {larger:.4f}; squared, they differ by "
            f"{self.difference:.4g}",
            f"shares of the difference, positive for {winner} and negative for {other}:",
        ]
        if self.scores is not None:
            lines.insert(2, f"scores of the reader: {self.scores[0]:.3f} and {self.scores[1]:.3f}")
        if self.frequency.shape[1]:
            lines.append(f"  frequencies: {self._largest(self.frequency_names, self.by_frequency)}")
        lines.append(f"  scales: {self._largest(list(self.by_scale), self.by_scale.values())}")
        return "\n".join(lines)

    def _largest(self, names: list[str], shares: Any) -> str:
        percentages = self.percentages(list(shares))
        order = np.argsort(-np.abs(percentages), kind="stable")[:PRINTED_SHARES]
        numbers = [f"{percentage:+.0f} %".replace("-", "−") for percentage in percentages]
        return ", ".join(f"{names[i]}: {numbers[i]}" for i in order.tolist())


def _positions(classes: Array, labels: np.ndarray) -> np.ndarray:
    """Positions of two classes among the labels of a network."""
    pair = np.atleast_1d(as_array(classes))
    found = [np.flatnonzero(labels == label) for label in as_labels(pair, classes=labels)]
    if len(found) != 2 or not all(map(len, found)) or found[0] == found[1]:
        raise ValueError(
            f"classes must be two of the labels {listed(labels, 'labels')}, got {classes!r}"
        )
    return np.concatenate(found)


def _scales(lift: nn.Module | None, X: Tensor) -> list[str]:
    """The scale of each channel that a lift gives samples ``X``."""
    scales = [name_of(None)] * X.shape[1]
    if lift is None:
        return scales
    for part in lift if type(lift) is nn.Sequential else [lift]:
        features = in_blocks(part, X)
        if isinstance(part, JoinedLift):
            pairs = zip(part.lifts, part.bands, strict=True)
            scales = [scale for one, bands in pairs for scale in _scales(one, X) * len(bands)]
        elif isinstance(part, MultiScaleLift) and part.ndim:
            dilations = part.dilations or ()
            scales = [f"dilation {d}" for d in dilations for _ in range(part.channels_per_scale)]
        elif not isinstance(part, Band | nn.Identity):
            scales = [name_of(part)] * features.shape[1]
        X = features
    return scales


def _on_grid(signals: Tensor, shape: Sequence[int]) -> Tensor:
    """Signals ``(2, C, *spatial)`` on the grid of the sample, if its shape permits."""
    lengths = signals.shape[2:]
    pairs = zip(lengths, shape, strict=False)
    fits = all(length == places or (length < places and length % 2) for length, places in pairs)
    return resampled(signals, shape) if fits and len(lengths) == len(shape) else signals
