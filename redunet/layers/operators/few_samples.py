"""Operators of fewer samples than channels: E has low rank as well."""

import torch
from torch import Tensor, nn

from redunet.layers.operators.base import ALL, real_form
from redunet.layers.operators.low_rank import LowRankCompression


class FewSamplesOperators(LowRankCompression):
    """Operators E(p) = α (I − U(p)* U(p)) and Cʲ(p) = α_j (I − W_j(p)* W_j(p)).

    By Woodbury's identity this is exact if U has as many rows as there are samples, and W_j as many
    as there are samples in the class. No matrix has the size C × C, so features may have any number
    of channels.

    Parameters
    ----------
    total_factor : Tensor of shape (F, s, C)
        U(p), real for vectors (F = 1), complex for signals.
    total_scale : Tensor, scalar
        α.
    factors : Tensor of shape (F, k, r, C)
        W_j(p).
    scales : Tensor of shape (k,)
        α_j.
    """

    total_factor: nn.Parameter
    total_scale: Tensor

    def __init__(self, total_factor: Tensor, total_scale: Tensor, factors: Tensor, scales: Tensor):
        super().__init__(factors.shape[1], factors.shape[3])
        self.total_factor = nn.Parameter(total_factor, requires_grad=False)
        self.factors = nn.Parameter(factors, requires_grad=False)
        self.register_buffer("total_scale", total_scale)
        self.register_buffer("scales", scales)

    def expand(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """E v for every sample, ``(F, m, C)`` to ``(F, m, C)``."""
        U = self.total_factor[frequencies]
        return torch.baddbmm(V, V @ U.mT, U.conj(), alpha=-1) * self.total_scale

    def real_form(self) -> "FewSamplesOperators":
        """The same operators on real and imaginary parts ``(F, m, 2C)``, of twice the ranks."""
        return FewSamplesOperators(
            real_form(self.total_factor),
            self.total_scale.clone(),
            real_form(self.factors),
            self.scales.clone(),
        )

    @property
    def description(self) -> str:
        """A short name of the representation."""
        return f"{super().description}, E of rank {self.total_factor.shape[1]}"
