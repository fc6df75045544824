"""Memberships by a softmax of the residuals."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from redunet._checks import check_flag, check_number, set_fields
from redunet.layers.membership.base import Membership


@dataclass(frozen=True)
class Softmax(Membership):
    """Soft assignment π̂_j = softmax_j(−λ ‖Cʲ v‖).

    ‖Cʲ v‖ contains a factor of 1/m_j, the inverse of the size of class j. With classes of different
    sizes, the formula of the papers therefore favours large classes. ``balanced=True`` takes
    relative residuals, which lie between 0 and 1: π̂_j = softmax_j(−λ ‖Cʲ v‖/α_j). For classes of
    one size, Softmax(λ) is the same as Softmax(λα_j, balanced=True).

    Parameters
    ----------
    lam : float
        λ > 0, the sharpness. ``math.inf`` assigns every sample to the class with the smallest
        residual, or to the first of these classes if there is a tie.
    balanced : bool
        Treat classes of different sizes alike. The sharpness then does not depend on the number of
        samples.

    Raises
    ------
    ValueError
        If ``lam`` is not positive.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 23.
    """

    lam: float = 500.0
    balanced: bool = False

    def __post_init__(self) -> None:
        set_fields(self, lam=check_sharpness(self.lam), balanced=check_flag(balanced=self.balanced))

    def __call__(self, residuals: Tensor, proportions: Tensor) -> Tensor:
        """``(m, k)`` to ``(m, k)``."""
        if self.balanced:  # 1/α_j is 0 for a class without samples, which has no members
            residuals = residuals.masked_fill(proportions == 0, math.inf)
        return soft_membership(residuals, self.lam)

    @property
    def relative(self) -> bool:
        """True if ``balanced``."""
        return self.balanced

    @property
    def formula(self) -> str:
        """The formula of the rule, for diagrams of the network."""
        scale = "/α_j" if self.balanced else ""
        return f"softmax of\n$-λ\\|C^jv\\|{scale}$, $λ={self.lam:g}$"


def soft_membership(residuals: Tensor, lam: float) -> Tensor:
    """softmax_j(−λ r_j) of residuals ``(m, k)``; see :class:`Softmax`.

    Memberships of residuals that are NaN are NaN.
    """
    if math.isinf(lam):
        positions = torch.arange(residuals.shape[1], device=residuals.device)
        is_nearest = positions == residuals.argmin(1)[:, None]
        return torch.where(residuals.isnan(), torch.nan, is_nearest.to(residuals.dtype))
    return torch.softmax(-lam * residuals, dim=1)


def check_sharpness(lam: float) -> float:
    """λ as a Python number. It must be positive, and may be infinite."""
    number: float | None = check_number(lam=lam)
    if number is None or not number > 0:
        raise ValueError(f"lam must be positive (math.inf for hard membership), got {lam}")
    return number
