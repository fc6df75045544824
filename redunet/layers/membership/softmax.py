"""Memberships by a softmax of the residuals."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from redunet.layers.membership.base import Membership


@dataclass(frozen=True)
class Softmax(Membership):
    """Soft assignment π̂_j = softmax_j(−λ ‖Cʲ v‖).

    Parameters
    ----------
    lam : float
        λ > 0, the sharpness. ``math.inf`` assigns every sample to the class with the smallest
        residual, or to the first of these classes if there is a tie.

    Raises
    ------
    ValueError
        If ``lam`` is not positive.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 23.
    """

    lam: float = 500.0

    def __post_init__(self) -> None:
        check_sharpness(self.lam)

    def __call__(self, residual_norms: Tensor) -> Tensor:
        """``(m, k)`` to ``(m, k)``."""
        return soft_membership(residual_norms, self.lam)

    @property
    def formula(self) -> str:
        """The formula of the rule, for diagrams of the network."""
        return f"softmax of\n$-λ\\|C^jv\\|$, $λ={self.lam:g}$"


def soft_membership(residual_norms: Tensor, lam: float) -> Tensor:
    """softmax_j(−λ ‖Cʲ v‖) of residual norms ``(m, k)``; see :class:`Softmax`."""
    if math.isinf(lam):
        nearest = residual_norms.argmin(1)
        one_hot = torch.nn.functional.one_hot(nearest, residual_norms.shape[1])
        return one_hot.to(residual_norms.dtype)
    return torch.softmax(-lam * residual_norms, dim=1)


def check_sharpness(lam: float) -> None:
    """Raise ValueError unless λ is positive; it may be infinite."""
    if not lam > 0:
        raise ValueError(f"lam must be positive (math.inf for hard membership), got {lam}")
