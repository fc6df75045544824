"""Conversion of the complex responses of a lift to real channels that are not negative."""

import math

import torch
from torch import Tensor, nn


class Rectifier(nn.Module):
    """Complex responses, half-rectified at several phases, or their modulus.

    The channels of a response u are max(Re(e^{−iφ} u), 0) at the P phases φ = 0, 2π/P, …. Four
    phases give the positive and negative parts of the real and imaginary parts. The mean over P
    phases tends to |u|/π as P grows.

    Parameters
    ----------
    phases : int or None
        Number P of phases; None for the modulus.
    """

    turns: Tensor  # cos φ and sin φ, (2, P); only if there are phases

    def __init__(self, phases: int | None):
        super().__init__()
        self.phases = phases
        if phases is not None:
            angles = torch.arange(phases, dtype=torch.float64) * (2 * math.pi / phases)
            turns = torch.stack([angles.cos(), angles.sin()]).to(torch.get_default_dtype())
            self.register_buffer("turns", turns, persistent=False)

    def forward(self, responses: Tensor) -> Tensor:
        """Complex ``(m, n, *spatial)`` to real ``(m, n·P, *spatial)``."""
        if self.phases is None:
            return responses.abs()
        parts = responses.unsqueeze(2)
        cosines, sines = self.turns.view(2, -1, *[1] * (responses.ndim - 2))
        return (parts.real * cosines + parts.imag * sines).relu().flatten(1, 2)
