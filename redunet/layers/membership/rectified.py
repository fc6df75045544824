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
        spectrum = layer.spectrum
        class_scales = layer.alpha / layer.proportions  # α_j
        complement = layer.operators.respond(V) / class_scales[:, None]  # (F, m, k, C)
        # Pʲ = 0 for a class without samples, whose α_j is infinite.
        class_parts = (V.unsqueeze(2) - complement).where(layer.proportions[:, None] > 0, 0)
        # Rectification acts on the entries of signals, not of half spectra. All classes are
        # transformed together, as if each part were a sample.
        signals = spectrum.inverse(class_parts.flatten(1, 2))
        signals = signals.unflatten(0, class_parts.shape[1:3])
        residual = rectified_residual(spectrum.inverse(V), signals)
        return layer.alpha * spectrum(residual)

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
