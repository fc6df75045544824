"""Memberships from residuals, at the sharpness with the least log loss."""

from typing import NamedTuple

import torch
from torch import Tensor

# The range of sharpnesses of relative residuals, and the number of bisections inside it.
SHARPNESSES = (0.1, 1e4)
BISECTIONS = 24


class Calibration(NamedTuple):
    """The best sharpness of some tables of residuals."""

    sharpness: Tensor  # (e,)
    losses: Tensor  # (e, m) the log loss of each sample


def calibrate(residuals: Tensor, targets: Tensor) -> Calibration:
    """The sharpness t with the least mean log loss of softmax(−t r).

    The loss is convex in t, so its derivative is bisected.

    Parameters
    ----------
    residuals : Tensor of shape (e, m, k)
        Relative residuals of samples in all classes, in several settings.
    targets : Tensor of shape (m,)
        Positions of the true classes.

    Returns
    -------
    Calibration
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
