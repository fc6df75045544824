"""From the residuals of a sample against every class to its membership in the classes."""

import math

import torch
from torch import Tensor


def soft_membership(residual_norms: Tensor, lam: float) -> Tensor:
    """Soft assignment π̂_j = softmax_j(−λ ‖Cʲ v‖).

    Parameters
    ----------
    residual_norms : Tensor of shape (m, k)
        ‖Cʲ v‖ of each sample v against each class j.
    lam : float
        λ > 0, the sharpness. ``math.inf`` gives the limit: all to the class of least residual
        (to the first of them, where they tie).

    Returns
    -------
    Tensor of shape (m, k)
        Rows sum to 1.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 23.
    """
    if math.isinf(lam):
        nearest = residual_norms.argmin(1)
        one_hot = torch.nn.functional.one_hot(nearest, residual_norms.shape[1])
        return one_hot.to(residual_norms.dtype)
    return torch.softmax(-lam * residual_norms, dim=1)


def rectified_residual(Z: Tensor, class_parts: Tensor) -> Tensor:
    """What the classes leave of a sample, by rectified units: z − Σ_j ReLU(Pʲ z).

    It stands for the residual of the sample against its own class where features are
    non-negative and classes far apart, so that Pʲz is large and positive for the own class and
    small or negative for the others.

    Parameters
    ----------
    Z : Tensor of shape (m, C, *spatial)
        Samples, as signals: the rectification is entry by entry.
    class_parts : Tensor of shape (m, k, C, *spatial)
        Pʲz, the part of each sample in each class's subspace.

    Returns
    -------
    Tensor of shape (m, C, *spatial)

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Remark 3 and eq. 25.
    """
    return Z - class_parts.relu().sum(1)
