"""A lift by the short-time Fourier transform."""

import torch
from torch import Tensor
from torch.nn import functional

from redunet._checks import check_count
from redunet.lifts.base import Lift


class ShortTimeFourierLift(Lift):
    """Modulus of the short-time Fourier transform of a 1-D signal, which is continued periodically.

    The lift commutes with cyclic shifts. There is a Hann window centred on each position.

    Parameters
    ----------
    window_length : int
        Length n of the window. Its frequencies 0, 1/n, …, 1/2 become channels.

    Raises
    ------
    ValueError
        If a setting is out of range, or signals are shorter than the window.
    """

    kernels: Tensor

    def __init__(self, window_length: int):
        super().__init__()
        self.window_length = window_length = check_count(2, window_length=window_length)
        places = torch.arange(window_length, dtype=torch.float64)
        frequencies = torch.arange(window_length // 2 + 1, dtype=torch.float64)
        angles = 2 * torch.pi * frequencies[:, None] * places / window_length
        window = torch.hann_window(window_length, dtype=torch.float64)
        kernels = torch.cat([angles.cos(), -angles.sin()]) * window  # real parts, imaginary parts
        dtype = torch.get_default_dtype()
        self.register_buffer("kernels", kernels[:, None].to(dtype), persistent=False)

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, C, T)`` to ``(m, C · frequencies, T)``."""
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
        return torch.complex(real, imaginary).abs().unflatten(0, X.shape[:2]).flatten(1, 2)
