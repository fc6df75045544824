"""Memberships from residuals or scores, at the sharpness with the least log loss."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# A class of fewer samples is not judged: without one of them, too little of it is left.
LEAST_SAMPLES = 3

# The weight of an imagined error beside all samples.
IMAGINED = 0.25

# The least sharpness, times the mean margin, and the number of bisections from there.
LEAST, BISECTIONS = 1e-2, 30


class Calibration(NamedTuple):
    """The sharpness that suits some tables of residuals."""

    sharpness: Tensor  # (e,)
    losses: Tensor  # (e, m) the log loss of each sample, without the imagined one


class Verdict(NamedTuple):
    """What held-out residuals tell about a network."""

    sharpness: float  # NaN if no sample is judged, as are loss, standard error and accuracy
    loss: float
    standard_error: float
    accuracy: float
    only: int | None  # position of the class that all samples of several classes are put in


class Judge:
    """Judges residuals of held-out samples by the samples of classes that are large enough.

    Parameters
    ----------
    targets : Tensor of shape (m,)
        Positions of the true classes.
    sizes : Tensor of shape (k,)
        Number of samples in each class.
    weights : Tensor of shape (m,), optional
        Weights of the samples, by default 1.

    Attributes
    ----------
    count : int
        Number of samples that are judged.
    """

    def __init__(self, targets: Tensor, sizes: Tensor, weights: Tensor | None = None):
        self._judged = (sizes[targets] >= LEAST_SAMPLES).nonzero()[:, 0]  # the host waits once
        self._targets = targets[self._judged]
        weights = torch.ones_like(targets, dtype=torch.float64) if weights is None else weights
        self._weights = weights[self._judged]
        self.count = len(self._targets)

    def losses(self, residuals: Tensor) -> Tensor:
        """Mean log losses of tables ``(e, m, k)``, each at its best sharpness, ``(e,)``."""
        residuals = residuals[:, self._judged]
        shares = shares_of(self._weights, residuals)
        return calibrate(residuals, self._targets, self._weights).losses @ shares

    def verdict(self, residuals: Tensor) -> Verdict:
        """The verdict on one table ``(m, k)``."""
        if not self.count:
            return Verdict(math.nan, math.nan, math.nan, math.nan, None)
        residuals = residuals[self._judged]
        shares, nearest = shares_of(self._weights, residuals[None]), residuals.argmin(1)
        sharpness, (losses,) = calibrate(residuals[None], self._targets, self._weights)
        loss = losses @ shares
        error = (shares * (losses - loss)).norm()
        right = self._weights[nearest == self._targets].sum() / self._weights.sum()
        is_one, are_many = (nearest == nearest[0]).all(), (self._targets != self._targets[0]).any()
        only = int(nearest[0]) if bool(is_one & are_many) else None
        return Verdict(sharpness.item(), loss.item(), error.item(), right.item(), only)


def calibrate(
    residuals: Tensor, targets: Tensor, weights: Tensor | None = None, *, most: float = math.inf
) -> Calibration:
    """The sharpness t of softmax(−t r) with the least log loss, a share of an error imagined.

    If every sample is nearest to its own class, the log loss falls for ever as t grows, and later
    errors would have the probability 0. A quarter of one more sample is therefore imagined to be
    wrong: with m samples, the target of a sample is its own class with the weight m/(m + 1/4), and
    otherwise the nearest of the other classes. If all margins are equal, the probability of an
    error is then about 1/(4m). The weight is like that of the priors of Jeffreys and Perks, 1/2 and
    1/k, and was chosen by the log loss of new samples; see ``benchmarks/probabilities.py``.

    Residuals may be any values of which the smallest wins, such as negative scores. The result does
    not depend on values that are added to all residuals of a sample, and is inverse to their unit.

    Parameters
    ----------
    residuals : Tensor of shape (e, m, k)
        Residuals of held-out samples in all classes, in several settings.
    targets : Tensor of shape (m,)
        Positions of the true classes.
    weights : Tensor of shape (m,), optional
        Weights of the samples, by default 1. Their unit does not matter. The number of samples
        beside the imagined error is then (Σ w)²/Σ w², the effective number.
    most : float
        Largest sharpness.

    References
    ----------
    Platt, Probabilistic Outputs for Support Vector Machines (1999), Section 2.2.
    """
    shares, k, own_class = shares_of(weights, residuals), residuals.shape[2], targets[None, :, None]
    own = residuals.gather(2, own_class.expand(len(residuals), -1, 1)).squeeze(2)  # (e, m)
    others = residuals.scatter(2, own_class.expand(len(residuals), -1, 1), torch.inf)
    gaps = others.amin(2) - own
    share = IMAGINED / (1 / shares.square().sum() + IMAGINED)
    expected = own + share * gaps
    # At the minimum, share · mean |gap| < (k − 1)/(e t), because g exp(−t g) < 1/(e t).
    unit = gaps.abs() @ shares
    unit = torch.where(unit > 0, unit, 1)
    low, high = (LEAST / unit).log(), (k / (share * unit)).log()
    middle, step = (low + high) / 2, (high - low) / 4
    for _ in range(BISECTIONS):  # the loss is convex in t
        membership = torch.softmax(-middle.exp()[:, None, None] * residuals, 2)
        slope = (expected - (membership * residuals).sum(2)) @ shares
        middle, step = middle - step * slope.sign(), step / 2
    sharpness = middle.exp().clamp(max=most)
    losses = (-sharpness[:, None, None] * residuals).logsumexp(2) + sharpness[:, None] * own
    return Calibration(sharpness, losses)


def shares_of(weights: Tensor | None, residuals: Tensor) -> Tensor:
    """Weights of samples, by default equal ones, as shares ``(m,)`` that sum to 1."""
    weights = residuals.new_ones(residuals.shape[1]) if weights is None else weights
    return (weights / weights.sum()).to(residuals)
