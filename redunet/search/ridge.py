"""Ridge regression with an intercept, for every penalty from one eigendecomposition.

Samples z_i with weights w_i that sum to W have targets y_i. With Z and Y the matrices of the rows
√w_i z_i and √w_i y_i, centred by weighted means, the coefficients are

    (Z*Z + λ)⁻¹ Z*Y = Z* (ZZ* + λ)⁻¹ Y,

on the side of the channels or of the samples. (Z*Z + λ)⁻¹ is the expansion operator E of
:mod:`redunet.layers` at α = 1/λ.

The prediction for a sample by all others differs from its target by r_i/(1 − h_i), where r_i is its
residual in the regression on all samples, and h_i its entry on the diagonal of the hat matrix (the
PRESS statistic). Both are sums over eigenvectors.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from redunet._processes import Processes
from redunet.search.calibration import Judge, Verdict


class Ridge(Protocol):
    """A regression for every penalty λ."""

    def held_out(self, penalty: Tensor) -> Tensor:
        """Predictions ``(m, k)`` for samples that are left out one at a time."""

    def solution(self, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients ``(C, k)`` of channels or ``(m, k)`` of samples, and offset ``(k,)``."""


class OfSamples:
    """On the side of the samples.

    Parameters
    ----------
    kernel : Tensor of shape (m, m)
        Products of all pairs of samples, or another positive semidefinite kernel. It is centred,
        and divided by its mean on the diagonal.
    Y : Tensor of shape (m, k)
        Targets.
    weights : Tensor of shape (m,)
        Positive weights.
    """

    def __init__(self, kernel: Tensor, Y: Tensor, weights: Tensor):
        self._Y, self._root, total = Y, weights.sqrt()[:, None], weights.sum()
        self._means = kernel @ weights / total
        mean = self._means @ weights / total
        K = kernel - self._means - self._means[:, None] + mean
        self._scale = K.diagonal() @ weights / total
        K = self._root * K * self._root.mT / self._scale
        # The intercept is an eigenvector of K with the eigenvalue 0. It gets the largest one.
        intercept = 2 * self._root @ self._root.mT
        self._values, self._vectors = torch.linalg.eigh(K + intercept)
        self._coordinates = self._vectors.mT @ (self._root * Y)
        self._mean_target = weights @ Y / total

    def held_out(self, penalty: Tensor) -> Tensor:
        """Predictions ``(m, k)`` for samples that are left out one at a time."""
        left = penalty * self._shrinkage(penalty)  # no difference of close numbers
        residuals = self._vectors @ (left * self._coordinates)
        remaining = self._vectors.square() @ left  # 1 − h_i
        tiny = torch.finfo(remaining.dtype).tiny
        return self._Y - residuals / (self._root * remaining.clamp_min(tiny))

    def solution(self, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of the samples ``(m, k)``, and the offset ``(k,)``."""
        of_samples = self._vectors @ (self._shrinkage(penalty) * self._coordinates)
        of_samples = self._root * of_samples / self._scale
        return of_samples, self._mean_target - self._means @ of_samples

    def _shrinkage(self, penalty: Tensor) -> Tensor:
        """1/(Λ + λ) ``(m, 1)``, and 0 for the intercept, which has no penalty."""
        shrinkage = 1 / (self._values.clamp_min(0) + penalty)
        return torch.cat([shrinkage[:-1], shrinkage.new_zeros(1)])[:, None]


class Sums(NamedTuple):
    """Weighted sums over samples, which add up over batches and processes."""

    weight: Tensor  # W, a scalar
    mean: Tensor  # (C,)
    mean_target: Tensor  # (k,)
    moment: Tensor  # (C, C) of deviations from the mean
    cross: Tensor  # (C, k) of deviations from both means

    @classmethod
    def of(cls, Z: Tensor, Y: Tensor, weights: Tensor) -> "Sums":
        """The sums of samples ``(m, C)`` with targets ``(m, k)`` and weights ``(m,)``."""
        total = weights.sum()
        divisor = total.clamp_min(torch.finfo(total.dtype).tiny)
        mean, mean_target = weights @ Z / divisor, weights @ Y / divisor
        weighted = (Z - mean) * weights[:, None]
        moment, cross = weighted.mT @ (Z - mean), weighted.mT @ (Y - mean_target)
        return cls(total, mean, mean_target, moment, cross)

    def __add__(self, other: "Sums") -> "Sums":  # type: ignore[override]
        """The sums of both sets of samples."""
        total = self.weight + other.weight
        share = other.weight / total.clamp_min(torch.finfo(total.dtype).tiny)
        step, target_step = other.mean - self.mean, other.mean_target - self.mean_target
        between = self.weight * share * step[:, None]
        return Sums(
            total,
            self.mean + share * step,
            self.mean_target + share * target_step,
            self.moment + other.moment + between * step,
            self.cross + other.cross + between * target_step,
        )

    def of_all(self, processes: Processes) -> "Sums":
        """The sums of the samples of all processes."""
        if processes.size == 1:
            return self
        total, mean, mean_target = (
            processes.all_reduce(t.clone())
            for t in (self.weight, self.weight * self.mean, self.weight * self.mean_target)
        )
        mean, mean_target = mean / total, mean_target / total
        step = self.weight * (self.mean - mean)[:, None]
        moment = self.moment + step * (self.mean - mean)
        cross = self.cross + step * (self.mean_target - mean_target)
        return Sums(
            total, mean, mean_target, processes.all_reduce(moment), processes.all_reduce(cross)
        )


class OfChannels:
    """On the side of the channels.

    Parameters
    ----------
    sums : Sums
        Of all samples.
    gain : Tensor of shape (C,)
        Factors of the channels.
    Z : Tensor of shape (m, C)
        Centred samples times these factors; all samples or some of them.
    Y : Tensor of shape (m, k)
        Their targets.
    weights : Tensor of shape (m,)
        Their weights.
    """

    def __init__(self, sums: Sums, gain: Tensor, Z: Tensor, Y: Tensor, weights: Tensor):
        self._sums, self._Y, self._weights = sums, Y, weights
        moment = gain[:, None] * sums.moment * gain
        self._values, self._vectors = torch.linalg.eigh(moment)
        self._samples = Z @ self._vectors
        self._coordinates = self._vectors.mT @ (gain[:, None] * sums.cross)

    def held_out(self, penalty: Tensor) -> Tensor:
        """Predictions ``(m, k)`` for samples that are left out one at a time."""
        shrinkage = 1 / (self._values.clamp_min(0) + penalty)
        leverages = 1 / self._sums.weight + self._samples.square() @ shrinkage
        remaining = 1 - self._weights * leverages
        found = self._samples @ (shrinkage[:, None] * self._coordinates)
        residuals = self._Y - self._sums.mean_target - found
        tiny = torch.finfo(remaining.dtype).eps
        return self._Y - residuals / remaining.clamp_min(tiny)[:, None]

    def solution(self, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of the channels ``(C, k)``, and the offset ``(k,)``."""
        shrinkage = 1 / (self._values.clamp_min(0) + penalty)
        of_channels = self._vectors @ (shrinkage[:, None] * self._coordinates)
        return of_channels, self._sums.mean_target


class Choice(NamedTuple):
    """The degree and the penalty with the least loss of samples that are left out."""

    degree: int
    place: int  # of the penalty
    held_out: Tensor  # (m, k) predictions
    verdict: Verdict


def choose(ridges: Mapping[int, Ridge], penalties: Tensor, judge: Judge) -> Choice:
    """The best penalty of regressions of degree 1, of degree 2, or of both.

    If the loss of degree 2 is not smaller by more than 1/m, the samples cannot tell the degrees
    apart, and degree 1 is taken.
    """
    losses = {
        degree: torch.cat([judge.losses(_as_residuals(ridge, p)[None]) for p in penalties])
        for degree, ridge in ridges.items()
    }
    degree = min(losses)
    if len(losses) == 2 and judge.count:
        degree = 2 if float(losses[1].min() - losses[2].min()) > 1 / judge.count else 1
    place = int(losses[degree].argmin())
    ridge, penalty = ridges[degree], penalties[place]
    verdict = judge.verdict(_as_residuals(ridge, penalty))
    return Choice(degree, place, ridge.held_out(penalty), verdict)


def _as_residuals(ridge: Ridge, penalty: Tensor) -> Tensor:
    """Predictions of samples that are left out, as squared residuals ``(m, k)``."""
    scores = ridge.held_out(penalty)
    return (scores.max() - scores).square()
