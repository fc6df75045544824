"""A lift by the short-time Fourier transform, and real channels from complex responses."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from redunet._checks import check_count
from redunet.lifts.base import Lift


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


class ShortTimeFourierLift(Lift):
    """Short-time Fourier transform of a 1-D signal, which is continued periodically.

    The lift commutes with cyclic shifts. There is a Hann window centred on each position.

    Parameters
    ----------
    window_length : int
        Length n of the window. Its frequencies 0, 1/n, …, 1/2 become channels.
    phases : int, optional
        Number of phases at which responses are half-rectified, for example 4. By default the
        channels are the moduli of the responses.

    Raises
    ------
    ValueError
        If a setting is out of range, or signals are shorter than the window.
    """

    kernels: Tensor

    def __init__(self, window_length: int, phases: int | None = None):
        super().__init__()
        window_length = check_count(2, window_length=window_length)
        phases = check_count(phases=phases)
        self.window_length, self.phases = window_length, phases
        self.rectifier = Rectifier(phases)
        places = torch.arange(window_length, dtype=torch.float64)
        frequencies = torch.arange(window_length // 2 + 1, dtype=torch.float64)
        angles = 2 * torch.pi * frequencies[:, None] * places / window_length
        window = torch.hann_window(window_length, dtype=torch.float64)
        kernels = torch.cat([angles.cos(), -angles.sin()]) * window  # real parts, imaginary parts
        dtype = torch.get_default_dtype()
        self.register_buffer("kernels", kernels[:, None].to(dtype), persistent=False)

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, C, T)`` to ``(m, C · frequencies · phases, T)``; a modulus is one phase."""
        if X.ndim != 3 or X.shape[2] < self.window_length:
            raise ValueError(
                f"expected signals of shape (m, C, T) with T of at least {self.window_length}, "
                f"got {tuple(X.shape)}"
            )
        before = self.window_length // 2
        signals = X.flatten(0, 1).unsqueeze(1)
        padding = [before, self.window_length - 1 - before]
        padded = functional.pad(signals, padding, mode="circular")
        real, imaginary = functional.conv1d(padded, self.kernels).chunk(2, 1)
        channels = self.rectifier(torch.complex(real, imaginary))
        return channels.unflatten(0, X.shape[:2]).flatten(1, 2)
