"""Memberships by a softmax of the residuals."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from redunet.layers.membership.base import Membership


@dataclass(frozen=True)
class Softmax(Membership):
    """Soft assignment π̂_j = softmax_j(−λ ‖Cʲ v‖).

    ‖Cʲ v‖ contains a factor of 1/m_j, the inverse of the size of class j. With classes of different
    sizes, the formula of the papers therefore favours large classes. ``balanced=True`` removes the
    factor: π̂_j = softmax_j(−λ k γ_j ‖Cʲ v‖), which is the same for classes of equal size.

    Parameters
    ----------
    lam : float
        λ > 0, the sharpness. ``math.inf`` assigns every sample to the class with the smallest
        residual, or to the first of these classes if there is a tie.
    balanced : bool
        Treat classes of different sizes alike.

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
        check_sharpness(self.lam)

    def __call__(self, residual_norms: Tensor, proportions: Tensor) -> Tensor:
        """``(m, k)`` to ``(m, k)``."""
        if self.balanced:
            residual_norms = len(proportions) * proportions * residual_norms
        return soft_membership(residual_norms, self.lam)

    @property
    def favours_large_classes(self) -> bool:
        """True unless ``balanced``."""
        return not self.balanced

    @property
    def formula(self) -> str:
        """The formula of the rule, for diagrams of the network."""
        factor = "kγ_j" if self.balanced else ""
        return f"softmax of\n$-λ{factor}\\|C^jv\\|$, $λ={self.lam:g}$"


def soft_membership(residual_norms: Tensor, lam: float) -> Tensor:
    """softmax_j(−λ ‖Cʲ v‖) of residual norms ``(m, k)``; see :class:`Softmax`.

    Memberships of residual norms that are NaN are NaN.
    """
    if math.isinf(lam):
        positions = torch.arange(residual_norms.shape[1], device=residual_norms.device)
        is_nearest = positions == residual_norms.argmin(1)[:, None]
        return torch.where(residual_norms.isnan(), torch.nan, is_nearest.to(residual_norms.dtype))
    return torch.softmax(-lam * residual_norms, dim=1)


def check_sharpness(lam: float) -> None:
    """Raise ValueError unless λ is positive; it may be infinite."""
    if not lam > 0:
        raise ValueError(f"lam must be positive (math.inf for hard membership), got {lam}")
