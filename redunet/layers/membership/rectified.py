"""Compression by rectified linear units instead of a weighted sum over classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redunet._checks import set_fields
from redunet.layers.membership.base import Layer, Membership
from redunet.layers.membership.softmax import check_sharpness, soft_membership
from redunet.layers.operators.base import Responses, block_entries


@dataclass(frozen=True)
class Rectified(Membership):
    """Compression α (v − Σ_j ReLU(Pʲ v)), with Pʲ = I − Cʲ/α_j.

    Cʲ/α_j is close to the projection onto the complement of class j, so Pʲ is close to the
    projection onto the class. As γ_j α_j = α for every class, the weighted sum Σ_j γ_j π_j Cʲ v
    becomes α (v − Σ_j ReLU(Pʲ v)). This is a good approximation if features are non-negative and
    classes are far apart: Pʲ v is then large and positive for the class of the sample, and small or
    negative for the others.

    Parameters
    ----------
    lam : float
        λ, the sharpness of the softmax that estimates memberships. The features do not depend on
        it.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Remark 3 and eq. 25.
    """

    lam: float = 500.0

    has_class_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_fields(self, lam=check_sharpness(self.lam))

    def __call__(self, residuals: Tensor, proportions: Tensor) -> Tensor:
        """``(m, k)`` to ``(m, k)``."""
        return soft_membership(residuals, self.lam)

    def compress(
        self, V: Tensor, responses: Responses, layer: Layer
    ) -> Iterator[tuple[slice, Tensor]]:
        """The compression α (v − Σ_j ReLU(Pʲ v)), at all frequencies together."""
        yield slice(None), torch.cat([self._compress(v, layer) for v in _split(V, layer)], 1)

    def _compress(self, V: Tensor, layer: Layer) -> Tensor:
        spectrum, gamma = layer.spectrum, layer.proportions[:, None]
        # α is a factor of all parts. Then α Pʲ v = α v − γ_j Cʲ v, because α = γ_j α_j. A class
        # without samples has the projection 0.
        scaled_V = layer.alpha * V
        responses = layer.operators.respond(V)  # (F, m, k, C)
        class_parts = torch.addcmul(scaled_V.unsqueeze(2), responses, gamma, value=-1)
        class_parts = class_parts.where(gamma > 0, 0)
        # Rectification acts on the entries of signals, not of half spectra. All classes are
        # transformed together, as if each part were a sample.
        signals = spectrum.inverse(class_parts.flatten(1, 2))
        signals = signals.unflatten(0, class_parts.shape[1:3])
        residual: Tensor = spectrum(rectified_residual(spectrum.inverse(scaled_V), signals))
        return residual

    @property
    def formula(self) -> str:
        """The formula of the rule, for diagrams of the network."""
        return "rectified"


def rectified_residual(Z: Tensor, class_parts: Tensor) -> Tensor:
    """z − Σ_j ReLU(Pʲ z): the part of a sample that no class explains.

    Parameters
    ----------
    Z : Tensor of shape (m, C, *spatial)
        Samples, as signals.
    class_parts : Tensor of shape (m, k, C, *spatial)
        Pʲ z, the part of each sample in the subspace of each class.

    Returns
    -------
    Tensor of shape (m, C, *spatial)
    """
    return Z - class_parts.relu().sum(1)


def _split(V: Tensor, layer: Layer) -> tuple[Tensor, ...]:
    """Split samples into blocks whose responses at all frequencies fit into memory."""
    if torch.compiler.is_exporting():  # an exported graph takes any number of samples
        return (V,)
    entries = V.shape[0] * V.shape[2] * len(layer.proportions)
    return V.split(max(16, block_entries(V) // entries), 1)
