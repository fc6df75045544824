"""Memberships from residuals, at the sharpness with the least log loss."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# A class of fewer samples is not judged: without one of them, too little of it is left.
LEAST_SAMPLES = 3

# The range of sharpnesses of relative residuals, and the number of bisections inside it.
SHARPNESSES = (0.1, 1e4)
BISECTIONS = 24


class Calibration(NamedTuple):
    """The best sharpness of some tables of residuals."""

    sharpness: Tensor  # (e,)
    losses: Tensor  # (e, m) the log loss of each sample


class Verdict(NamedTuple):
    """What held-out residuals tell about a network."""

    sharpness: float  # NaN if no sample is judged, as are loss, standard error and accuracy
    loss: float
    standard_error: float
    accuracy: float


class Judge:
    """Judges residuals of held-out samples by the samples of classes that are large enough.

    Parameters
    ----------
    targets : Tensor of shape (m,)
        Positions of the true classes.
    counts : Tensor of shape (k,)
        Number of samples in each class.

    Attributes
    ----------
    count : int
        Number of samples that are judged.
    """

    def __init__(self, targets: Tensor, counts: Tensor):
        self._judged = counts[targets] >= LEAST_SAMPLES
        self._targets = targets[self._judged]
        self.count = len(self._targets)

    def losses(self, squared_residuals: Tensor) -> Tensor:
        """Mean log losses of tables ``(e, m, k)``, each at its best sharpness, ``(e,)``."""
        return self._calibrated(squared_residuals).losses.mean(1)

    def verdict(self, squared_residuals: Tensor) -> Verdict:
        """The verdict on one table ``(m, k)``."""
        if not self.count:
            return Verdict(*[math.nan] * 4)
        sharpness, losses = self._calibrated(squared_residuals[None])
        right = squared_residuals[self._judged].argmin(1) == self._targets
        return Verdict(
            sharpness.item(),
            losses.mean().item(),
            losses.std(correction=0).item() / self.count**0.5,
            right.double().mean().item(),
        )

    def _calibrated(self, squared_residuals: Tensor) -> Calibration:
        return calibrate(squared_residuals[:, self._judged].clamp_min(0).sqrt(), self._targets)


def calibrate(residuals: Tensor, targets: Tensor) -> Calibration:
    """The sharpness t with the least mean log loss of softmax(−t r).

    The loss is convex in t, so its derivative is bisected.

    Parameters
    ----------
    residuals : Tensor of shape (e, m, k)
        Relative residuals of samples in all classes, in several settings.
    targets : Tensor of shape (m,)
        Positions of the true classes.
    """
    own = residuals[:, torch.arange(len(targets), device=targets.device), targets]  # (e, m)
    low, high = (residuals.new_full((len(residuals),), t).log() for t in SHARPNESSES)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        membership = torch.softmax(-middle.exp()[:, None, None] * residuals, 2)
        slope = (own - (membership * residuals).sum(2)).mean(1)
        low = torch.where(slope < 0, middle, low)
        high = torch.where(slope < 0, high, middle)
    sharpness = ((low + high) / 2).exp()
    logits = -sharpness[:, None, None] * residuals
    losses = logits.logsumexp(2) + sharpness[:, None] * own
    return Calibration(sharpness, losses)
