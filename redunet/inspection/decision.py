"""The decision between two classes for one sample, as a sum over its parts."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from redunet._checks import Array, quoted
from redunet._labels import Label, as_array, as_labels
from redunet._names import as_row
from redunet._precision import full_precision
from redunet._tables import html_pairs
from redunet.layers.layer import ReduLayer, extrapolate, propagate
from redunet.lifts import Band, Standardize
from redunet.lifts.band import resampled
from redunet.lifts.base import in_blocks
from redunet.network import ReduNet
from redunet.rates.spectrum import as_double, squared_moduli

# Numbers of columns or channels, and of frequencies, that are printed.
PRINTED_INPUTS = 6
PRINTED_SHARES = 3

# Columns are moved from their means in so many random orders and their reverses at most. Their
# number is smaller if there are more columns than this quotient.
MOST_ORDERS = 8
COLUMNS_BY_ORDERS = 64

# Number of values in memory at one time for this.
BLOCK_ENTRIES = 2**24


@dataclass(frozen=True, eq=False, repr=False)
class Decision:
    """Why a layer prefers one class to another for a sample; see :meth:`from_network`.

    The relative residual of a sample v in class j is r_j = ‖Cʲ v‖/α_j. It is the norm of
    (I + α_j M_j)⁻¹ v, where M_j is the second moment of the class. The smaller it is, the better
    the class fits. The difference r_b² − r_a² of two classes is v* D v with a matrix D. It is a sum
    of *shares* v_i* (D v)_i of the parts v_i of the sample. Positive shares speak for the first
    class, negative shares for the second.

    A membership rule that is not balanced compares ‖Cʲ v‖ without the share γ_j of the class in the
    samples. The rule says so itself, by :meth:`redunet.layers.Membership.weights`, and the
    residuals are those that it compares.

    Attributes
    ----------
    classes : tuple of two labels
        The winner, and the class that it is compared with.
    residuals : tuple of two floats
        Their relative residuals.
    sample : numpy array
        The sample, in the order of columns of the network.
    by_input : dict from str to float
        The share of each column of a vector, or of each channel of a signal; empty if there is only
        one channel. It is by how much the difference grows if the column moves from its mean to its
        value while others are at their means or values, on average over random orders of the
        columns and their reverses (Shapley values).
    by_place : numpy array with the spatial axes
        The share of each place of the sample, by all channels of the lift there. A channel of the
        lift sees what its kernels see around the place. Shares of places before a band of
        frequencies sum to the difference too, also if the band only keeps the mean over places.
    frequency : int array (F, axes)
        The frequency of each share along each axis. A frequency stands for its opposite too.
    by_frequency : numpy array (F,)
        The share of each frequency.
    means : numpy array (C,)
        From which values columns or channels move. They are the means of the training samples if
        the lift standardises samples first, and zeros otherwise.
    scores : tuple of two floats or None
        The scores of the classes by the reader of the network, times its sharpness. With a reader,
        the winner may have the larger residual. None if the network has no reader.
    log_odds : float or None
        The logarithm of the quotient of the two memberships, by residuals and reader together. If
        there is a reader, ``by_input`` are shares of the log odds instead of the difference.

    References
    ----------
    Strumbelj, Kononenko. Explaining prediction models and individual predictions with feature
    contributions (Knowledge and Information Systems 2014): Shapley values by random orders.
    """

    classes: tuple[Label, Label]
    residuals: tuple[float, float]
    sample: np.ndarray
    by_input: dict[str, float]
    by_place: np.ndarray
    frequency: np.ndarray
    by_frequency: np.ndarray
    means: np.ndarray
    scores: tuple[float, float] | None = None
    log_odds: float | None = None

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
        chosen, number = layers[layer], range(len(layers))[layer]
        X = net.samples(as_row(x)).to(chosen.proportions)
        (V,) = net.encode(X)
        point = extrapolate(*propagate(V, layers[:number]), chosen.momentum)
        norms = chosen.residual_norms(point)
        relative = norms * chosen.comparison_weights()
        membership = net.pool(chosen.assign(norms), X)[0].cpu().numpy()
        best = np.lexsort((relative[0].cpu().numpy(), -membership))[:2]
        pair = (best if classes is None else _positions(classes, net.classes_)).tolist()
        squares, point, pull = _pull(chosen, point, pair)
        shares = (point.conj() * pull).real[:, 0]  # (F, C)

        def lead(X: Tensor) -> Tensor:
            """The lead of the first class: the difference, or log odds if there is a reader."""
            norms = net.residual_norms(X, layer).double()
            if net.reader is None:
                smaller, larger = (norms * chosen.comparison_weights())[:, pair].T
                return larger.square() - smaller.square()
            membership = chosen.assign(norms).clamp_min(torch.finfo(norms.dtype).tiny)
            winner, other = (membership.log() + net.reader_logits(X))[:, pair].T
            return winner - other

        means = _means(net.lift, X)
        kind, count = "column" if X.ndim == 2 else "channel", X.shape[1]
        names = net.names.features or [f"{kind} {i}" for i in range(count)]
        by_input = {}
        if count > 1 or X.ndim == 2:
            by_input = dict(zip(names, _by_input(lead, X, means), strict=True))
        scores = net.reader_logits(X)[0, pair].tolist()
        winner, other = net.classes_[pair].tolist()
        smaller, larger = squares.sqrt().tolist()
        return cls(
            (winner, other),
            (smaller, larger),
            sample=X[0].cpu().numpy(),
            by_input=by_input,
            by_place=_by_place(net, None if number else X, point, pull).cpu().numpy(),
            frequency=net.spectrum.frequencies.cpu().numpy(),
            by_frequency=shares.sum(1).cpu().numpy(),
            means=means.cpu().numpy(),
            scores=None if net.reader is None else (scores[0], scores[1]),
            log_odds=None if net.reader is None else lead(X).item(),
        )

    @property
    def difference(self) -> float:
        """The difference of the squared residuals: the sum of all shares by place, and so on."""
        winner, other = self.residuals
        return other**2 - winner**2

    @property
    def lead(self) -> float:
        """What the shares by input and the rest sum to: the log odds, or else the difference."""
        return self.difference if self.log_odds is None else self.log_odds

    @property
    def rest(self) -> float:
        """The lead minus the shares by input: the lead for a sample of means."""
        return self.lead - sum(self.by_input.values())

    @property
    def frequency_names(self) -> list[str]:
        """Each frequency in words: a number for one axis, numbers in parentheses for more."""
        names = [", ".join(map(str, p)).replace("-", "−") for p in self.frequency.tolist()]
        return [f"({name})" for name in names] if self.frequency.shape[1] > 1 else names

    @property
    def input_kind(self) -> str:
        """What the shares by input belong to: columns or channels."""
        return "columns" if self.sample.ndim == 1 else "channels"

    def percentages(self, shares: ArrayLike, total: float | None = None) -> np.ndarray:
        """Shares in percent of the absolute value of the difference, or of another total."""
        return 100 * np.asarray(shares) / (abs(self.difference if total is None else total) or 1.0)

    def _texts(self) -> dict[str, str]:
        """The classes, their residuals, and the largest shares of each kind."""
        (winner, other), (smaller, larger) = self.classes, self.residuals
        difference = f"squared, they differ by {self.difference:.4g}"
        texts = {
            "decision": f"{winner} rather than {other}",
            "residuals": f"{smaller:.4f} and {larger:.4f}; {difference}",
        }
        if self.scores is not None:
            texts["scores of the reader"] = (
                f"{self.scores[0]:.3f} and {self.scores[1]:.3f}; log odds with residuals: "
                f"{self.log_odds:.3f}"
            )
        texts["shares"] = f"positive for {winner}, negative for {other}"
        if self.by_input:
            shares = self.percentages(list(self.by_input.values()), self.lead)
            total = "" if self.log_odds is None else ", of the log odds"
            texts[f"{self.input_kind}{total}"] = (
                f"{_largest(self.by_input, shares, PRINTED_INPUTS)}; "
                f"{_largest(['at their means'], self.percentages([self.rest], self.lead))}"
            )
        if len(self.by_frequency) > 1:
            texts["frequencies"] = _largest(
                self.frequency_names, self.percentages(self.by_frequency)
            )
        return texts

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self._texts().items())

    def __repr__(self) -> str:
        return f"Decision({self.classes[0]!r} rather than {self.classes[1]!r})"

    def _repr_html_(self) -> str:
        return html_pairs(self._texts())


def _largest(names: Iterable[str], percentages: np.ndarray, count: int = PRINTED_SHARES) -> str:
    """The names and numbers of the largest shares."""
    names = list(names)
    order = np.argsort(-np.abs(percentages), kind="stable")[:count]
    numbers = [f"{percentage:+.0f} %".replace("-", "−") for percentage in percentages]
    return ", ".join(f"{names[i]}: {numbers[i]}" for i in order.tolist())


def _positions(classes: Array, labels: np.ndarray) -> np.ndarray:
    """Positions of two classes among the labels of a network."""
    pair = np.atleast_1d(as_array(classes))
    found = [np.flatnonzero(labels == label) for label in as_labels(pair, classes=labels)]
    if len(found) != 2 or not all(map(len, found)) or found[0] == found[1]:
        raise ValueError(f"classes must be two of the labels {quoted(labels)}, got {classes!r}")
    return np.concatenate(found)


@torch.inference_mode(False)
def _pull(layer: ReduLayer, V: Tensor, pair: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Squared residuals in two classes ``(2,)``, the features v, and D v ``(F, 1, C)``.

    The difference of the squares is v* D v, whose gradient is 2 D v. All of this is in double
    precision, because close numbers are subtracted.
    """
    layer, V = copy.deepcopy(layer).double(), as_double(V).clone().requires_grad_()
    weights = layer.comparison_weights()[pair]
    with torch.enable_grad():
        responses = layer.operators.respond(V)[:, 0, pair] * weights[:, None]  # (F, 2, C)
        squares = squared_moduli(responses).sum((0, 2))
        (gradient,) = torch.autograd.grad(squares[1] - squares[0], V)
    return squares.detach(), V.detach(), gradient / 2


def _by_input(lead: Callable[[Tensor], Tensor], X: Tensor, means: Tensor) -> list[float]:
    """Mean changes of the lead as columns or channels move from their means, one by one."""
    count, rng = X.shape[1], np.random.default_rng(0)
    draws = max(1, min(MOST_ORDERS, COLUMNS_BY_ORDERS // count))
    orders = [rng.permutation(count) for _ in range(draws)]
    along, shares = (count, *[1] * (X.ndim - 2)), np.zeros(count)
    for order in [*orders, *(order[::-1] for order in orders)]:
        has_moved = np.argsort(order) < np.arange(count + 1)[:, None]
        masks = torch.as_tensor(has_moved, device=X.device)
        blocks = masks.view(-1, *along).split(max(1, BLOCK_ENTRIES // X.numel()))
        moved = (torch.where(block, X, means.view(along)) for block in blocks)
        values = torch.cat([lead(samples) for samples in moved])
        shares[order] += values.diff().cpu().numpy() / (2 * draws)
    return shares.tolist()


def _means(lift: nn.Module | None, X: Tensor) -> Tensor:
    """Means of columns or channels that a lift knows because it standardises first; else zeros."""
    while isinstance(lift, nn.Sequential) and len(lift):
        lift = lift[0]
    return lift.mean.to(X) if isinstance(lift, Standardize) else X.new_zeros(X.shape[1])


def _by_place(net: ReduNet, X: Tensor | None, point: Tensor, pull: Tensor) -> Tensor:
    """Shares of places, on the grid of the sample if its shape permits.

    What a lift makes of the sample ``X`` before it keeps a band of frequencies has places even if
    the band has one only. The band is a projection, so v* D v is also an inner product with these
    features. Without ``X``, the features themselves are taken.
    """
    v, w = net.spectrum.inverse(point), net.spectrum.inverse(pull)
    lift = net.lift
    band = lift[-1] if isinstance(lift, nn.Sequential) and len(lift) else None
    if X is not None and isinstance(lift, nn.Sequential) and isinstance(band, Band):
        features = in_blocks(lift[:-1], X).to(v)
        length = torch.linalg.vector_norm(band(features))
        v, w = features * (torch.linalg.vector_norm(v) / length).nan_to_num(0), band(w)
    grid = _grid(v, net.sample_shape[1:])
    return (resampled(v, grid) * resampled(w, grid)).sum((0, 1))


def _grid(features: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the sample if features can be interpolated to it, otherwise their own."""
    lengths = features.shape[2:]
    pairs = zip(lengths, shape, strict=False)
    fits = all(length == places or (length < places and length % 2) for length, places in pairs)
    return tuple(shape) if fits and len(lengths) == len(shape) else tuple(lengths)
