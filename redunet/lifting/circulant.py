"""Lifting by random circular convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from redunet.checks import check_count


class RandomCirculantLift(nn.Module):
    """Circular correlation with random Gaussian kernels, then a threshold that makes it sparse.

    It commutes with cyclic shifts and separates signals that few channels alone do not.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    kernel_size : int or sequence of int
        Lengths of the kernels along the spatial axes.
    ndim : {1, 2, 3}
        Number of spatial axes.
    seed : int
        Of the kernels, whose entries are independent and standard normal; torch's global random
        state is neither used nor changed.
    threshold : "relu" or float
        ReLU, or the threshold t ≥ 0 of a soft threshold sign(x)·max(|x| − t, 0).

    Raises
    ------
    ValueError
        For sizes or thresholds out of range, and for signals shorter than the kernels.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 4.2 and eq. 33.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        ndim: int,
        seed: int = 0,
        threshold: str | float = "relu",
    ):
        super().__init__()
        if ndim not in (1, 2, 3):
            raise ValueError(f"ndim must be 1, 2 or 3, got {ndim}")
        sizes = (kernel_size,) * ndim if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != ndim:
            raise ValueError(f"kernel_size must be one integer or {ndim}, got {kernel_size}")
        check_count(in_channels=in_channels, out_channels=out_channels)
        for size in sizes:
            check_count(kernel_size=size)
        if threshold != "relu" and not (isinstance(threshold, int | float) and threshold >= 0):
            raise ValueError(f"threshold must be 'relu' or a number t >= 0, got {threshold!r}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.ndim = sizes, ndim
        self.seed, self.threshold = seed, threshold
        generator = torch.Generator().manual_seed(seed)
        kernels = torch.randn(
            out_channels, in_channels, *sizes, generator=generator, dtype=torch.float64
        )
        self.register_buffer("kernels", kernels.to(torch.get_default_dtype()))

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, in_channels, *spatial)`` to ``(m, out_channels, *spatial)``."""
        if X.ndim != self.ndim + 2 or X.shape[1] != self.in_channels:
            axes = ", ".join(["T"] if self.ndim == 1 else ["D", "H", "W"][-self.ndim :])
            raise ValueError(
                f"expected samples of shape (m, {self.in_channels}, {axes}), got {tuple(X.shape)}"
            )
        if any(n < size for n, size in zip(X.shape[2:], self.kernel_size, strict=True)):
            raise ValueError(
                f"kernels of {self.kernel_size} do not fit signals of {tuple(X.shape[2:])}"
            )
        # functional.pad wants the last axis first, before and after.
        padding = [p for size in reversed(self.kernel_size) for p in ((size - 1) // 2, size // 2)]
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[self.ndim - 1]
        responses = convolve(functional.pad(X, padding, mode="circular"), self.kernels)
        if self.threshold == "relu":
            return responses.relu()
        return functional.softshrink(responses, self.threshold)

    @property
    def arguments(self) -> dict[str, Any]:
        """What to construct the same lift from."""
        names = ("in_channels", "out_channels", "kernel_size", "ndim", "seed", "threshold")
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
