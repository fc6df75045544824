"""Rules that turn the residuals of a sample into its membership in the classes."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redunet._checks import check_flag, check_number, set_fields
from redunet._registry import Registry


@dataclass(frozen=True)
class Membership(ABC):
    """How a layer estimates the memberships of samples in the classes.

    A subclass is a frozen dataclass. Its fields are its options. It implements :meth:`__call__`.

    Attributes
    ----------
    rectifies : bool
        Whether the layer compresses samples by rectified linear units, and not by a sum over the
        classes that is weighted by the memberships; see :class:`Rectified`.
    """

    rectifies: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, residuals: Tensor, proportions: Tensor) -> Tensor:
        """Memberships of samples.

        Parameters
        ----------
        residuals : Tensor of shape (m, k)
            ‖Cʲ v‖ of each sample v against each class j, or ‖Cʲ v‖/α_j if the rule is
            :attr:`relative`.
        proportions : Tensor of shape (k,)
            γ_j, the share of each class in the samples of the construction.

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1.
        """

    @property
    def relative(self) -> bool:
        """Whether the rule takes relative residuals r_j = ‖Cʲ v‖/α_j instead of ‖Cʲ v‖.

        A relative residual is 0 if the class explains the sample, and 1 if it explains nothing of
        it, for any number of samples. ‖Cʲ v‖ contains a factor of 1/m_j, the inverse of the size of
        the class, so a rule that takes it favours large classes.
        """
        return False

    def weights(self, proportions: Tensor, alpha: Tensor) -> Tensor:
        """Weights ``(k,)`` by which the rule compares residuals: the smallest w_j ‖Cʲ v‖ wins.

        They are 1/α_j = γ_j/α if the rule is :attr:`relative`. Otherwise they are 1/(kα) for every
        class, which is the same for k classes of one size. A rule with another order overrides
        this.
        """
        shares = (
            proportions if self.relative else torch.full_like(proportions, 1 / len(proportions))
        )
        return shares / alpha


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
        lam = check_number(lam=self.lam)
        if lam is None or not lam > 0:
            raise ValueError(f"lam must be positive (math.inf for hard membership), got {self.lam}")
        set_fields(self, lam=lam, balanced=check_flag(balanced=self.balanced))

    def __call__(self, residuals: Tensor, proportions: Tensor) -> Tensor:
        """``(m, k)`` to ``(m, k)``."""
        if self.balanced:  # 1/α_j is 0 for a class without samples, which has no members
            residuals = residuals.masked_fill(proportions == 0, math.inf)
        return soft_membership(residuals, self.lam)

    @property
    def relative(self) -> bool:
        """True if ``balanced``."""
        return self.balanced


@dataclass(frozen=True)
class Rectified(Softmax):
    """Compression α (v − Σ_j ReLU(Pʲ v)), with Pʲ = I − Cʲ/α_j.

    Cʲ/α_j is close to the projection onto the complement of class j, so Pʲ is close to the
    projection onto the class. As γ_j α_j = α for every class, the weighted sum Σ_j γ_j π_j Cʲ v
    becomes α (v − Σ_j ReLU(Pʲ v)). This is a good approximation if features are non-negative and
    classes are far apart: Pʲ v is then large and positive for the class of the sample, and small or
    negative for the others.

    Parameters
    ----------
    lam, balanced
        Those of the softmax that estimates memberships. The features do not depend on them.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Remark 3 and eq. 25.
    """

    rectifies: ClassVar[bool] = True


def soft_membership(residuals: Tensor, lam: float) -> Tensor:
    """softmax_j(−λ r_j) of residuals ``(m, k)``; see :class:`Softmax`.

    Memberships of residuals that are NaN are NaN.
    """
    if math.isinf(lam):
        positions = torch.arange(residuals.shape[1], device=residuals.device)
        is_nearest = positions == residuals.argmin(1)[:, None]
        return torch.where(residuals.isnan(), torch.nan, is_nearest.to(residuals.dtype))
    return torch.softmax(-lam * residuals, dim=1)


MEMBERSHIPS: Registry[Membership] = Registry(
    Membership, "membership", {"softmax": Softmax, "rectified": Rectified}
)
