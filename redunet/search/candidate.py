"""A candidate of a search: a lift with a band, and its results."""

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from redunet.lifts import Band, Lift
from redunet.lifts.blocks import in_blocks


@dataclass(frozen=True, eq=False)
class Candidate:
    """A lift with a band, and its leave-one-out results.

    Attributes
    ----------
    name : str
        The lift in words.
    lift : nn.Module or None
        The fitted lift, without the band. The candidates of one lift share it.
    band : int or None
        Largest frequency that is kept; None for all.
    channels : int
        Number of channels, C.
    precisions : numpy array (e,)
        The values of ε² that were compared.
    losses : numpy array (e,)
        Mean log loss at each of them.
    eps_sq : float
        The ε² with the smallest loss.
    loss, standard_error, accuracy : float
        Mean log loss at this ε², its standard error, and the share of samples that are assigned to
        their own class. Each sample is left out of its class.
    """

    name: str
    lift: nn.Module | None
    band: int | None
    channels: int
    precisions: np.ndarray
    losses: np.ndarray
    eps_sq: float
    loss: float
    standard_error: float
    accuracy: float
    squared_residuals: Tensor = field(repr=False)  # (m, k) at this ε²

    def to(self, device: torch.device) -> "Candidate":
        """The candidate on a device. Candidates that share a lift still share it."""
        if self.lift is not None:
            self.lift.to(device)
        return replace(self, squared_residuals=self.squared_residuals.to(device))

    def is_like(self, other: "Candidate") -> bool:
        """Whether both have the same lift and band."""
        return self.lift is other.lift and self.band == other.band

    @property
    def whole(self) -> nn.Module | None:
        """The lift followed by the band."""
        parts: list[nn.Module] = []
        if self.lift is not None:
            parts += self.lift if isinstance(self.lift, nn.Sequential) else [self.lift]
        if self.band is not None:
            parts.append(Band(self.band))
        return nn.Sequential(*parts) if parts else None


def fitted_copy(lift: nn.Module, X: Tensor) -> nn.Module:
    """A copy of a lift, whose parts with a method ``fit`` are fitted one after the other."""
    lift = copy.deepcopy(lift).to(X.device, X.dtype).eval()
    parts = list(lift) if isinstance(lift, nn.Sequential) else [lift]
    for number, part in enumerate(parts):
        fit = getattr(part, "fit", None)
        if callable(fit):
            fit(X)
        if number < len(parts) - 1:
            X = in_blocks(part, X)
    return lift


def name_of(lift: nn.Module | None) -> str:
    """A lift in words: the kind of its last part, and the options that are words or are true."""
    if lift is None:
        return "samples"
    last = lift[-1] if isinstance(lift, nn.Sequential) else lift
    if not isinstance(last, Lift):
        return type(last).__name__
    options = last.arguments.items()
    words = [str(value) for _, value in options if isinstance(value, str)]
    words += [name.replace("_", " ") for name, value in options if value is True]
    return ", ".join([type(last).__name__, *words])
