"""A lift by the scattering transform."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from redunet._checks import check_count, check_counts
from redunet._extras import require
from redunet.lifts.base import Lift

if TYPE_CHECKING:
    from kymatio.scattering1d.frontend.torch_frontend import ScatteringTorch1D
    from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D

# Number of entries of the wavelet responses that are in memory at one time.
BLOCK_ENTRIES = 2**25


class ScatteringLift(Lift):
    """Scattering coefficients as channels: low-passed, and stable under small deformations.

    kymatio computes the coefficients. With ``phases``, they are of first order, and half-rectified
    responses at several phases replace the modulus, as in the papers. Signals are reflected at
    their borders, so the lift does not commute with cyclic shifts.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of a sample: ``T`` or ``(T,)`` for signals, ``(H, W)`` for images.
    J : int
        Binary logarithm of the largest scale. The scales are 1, 2, …, 2^J. The lift makes spatial
        axes 2^J times shorter.
    L : int
        Number of angles for images; number of wavelets per octave for signals (kymatio's Q).
    max_order : {1, 2}
        Largest order of the coefficients.
    phases : int, optional
        Number of phases, for example 4. Every channel then gives 1 + phases · (number of wavelets)
        channels, and ``max_order`` has no effect.

    Raises
    ------
    ValueError
        If a setting is out of range, or samples have another shape.
    ModuleNotFoundError
        If kymatio is not installed: ``pip install 'redunet[scattering]'``.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Appendix E.5; Andreux et al., Kymatio (JMLR 2020).
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        J: int,
        L: int = 8,
        max_order: int = 2,
        phases: int | None = None,
    ):
        super().__init__()
        require("scattering")
        from kymatio.scattering1d.frontend.torch_frontend import ScatteringTorch1D
        from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D

        shape = check_counts(shape=shape)
        J, L, max_order, phases = check_count(J=J, L=L, max_order=max_order, phases=phases)
        if len(shape) not in (1, 2):
            raise ValueError(f"shape must be that of signals (T,) or images (H, W), got {shape}")
        if max_order not in (1, 2):
            raise ValueError(f"max_order must be 1 or 2, got {max_order}")
        if min(shape) < 2**J:
            raise ValueError(f"samples of {shape} are smaller than the scale 2^J = {2**J}")
        self.shape, self.J, self.L, self.max_order, self.phases = shape, J, L, max_order, phases
        if len(shape) == 1:
            scattering = ScatteringTorch1D(J, shape, Q=L, max_order=max_order)
        else:
            scattering = ScatteringTorch2D(J, shape, L=L, max_order=max_order)
        filters = _FILTERS[len(shape)](scattering)
        responses = 1 + len(filters.wavelets) * (phases or 1)
        self._block = max(1, BLOCK_ENTRIES // (responses * filters.wavelets[0].numel()))
        if phases is None:
            self.coefficients = scattering
        else:
            self.coefficients = RectifiedWavelets(filters, shape, phases)
        self.to(torch.get_default_device())  # kymatio makes filters in host memory

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, C, *shape)`` to ``(m, C · coefficients, *shape / 2^J)``."""
        if X.ndim != len(self.shape) + 2 or tuple(X.shape[2:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(f"expected samples of shape (m, C, {expected}), got {tuple(X.shape)}")
        signals = X.flatten(0, 1).contiguous()
        if torch.compiler.is_exporting():  # a graph for any number of samples has no blocks
            lifted = self.coefficients(signals)
        else:
            lifted = torch.cat([self.coefficients(block) for block in signals.split(self._block)])
        return lifted.unflatten(0, X.shape[:2]).flatten(1, 2)


class Filters(NamedTuple):
    """Filters of a kymatio transform, in the Fourier domain of padded signals."""

    wavelets: Tensor  # (n, *padded)
    lowpass: tuple[Tensor, ...]  # (padded,) for each axis; the filter is their outer product
    before: tuple[int, ...]  # padding at the start of each axis
    samples: tuple[slice, ...]  # positions at which low-passed responses are sampled


class Rectifier(nn.Module):
    """Complex responses, half-rectified at several phases.

    The channels of a response u are max(Re(e^{−iφ} u), 0) at the P phases φ = 0, 2π/P, …. Four
    phases give the positive and negative parts of the real and imaginary parts. The mean over P
    phases tends to |u|/π as P grows.

    Parameters
    ----------
    phases : int
        Number P of phases.
    """

    turns: Tensor  # cos φ and sin φ, (2, P)

    def __init__(self, phases: int):
        super().__init__()
        angles = torch.arange(phases, dtype=torch.float64) * (2 * torch.pi / phases)
        turns = torch.stack([angles.cos(), angles.sin()]).to(torch.get_default_dtype())
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, responses: Tensor) -> Tensor:
        """Complex ``(m, n, *spatial)`` to real ``(m, n·P, *spatial)``."""
        parts = responses.unsqueeze(2)
        cosines, sines = self.turns.view(2, -1, *[1] * (responses.ndim - 2))
        return (parts.real * cosines + parts.imag * sines).relu().flatten(1, 2)


class RectifiedWavelets(nn.Module):
    """The signal and its wavelet responses, half-rectified at several phases, all low-passed."""

    wavelets: Tensor
    smooth0: Tensor
    smooth1: Tensor  # for images only

    def __init__(self, filters: Filters, shape: tuple[int, ...], phases: int):
        super().__init__()
        self.rectifier = Rectifier(phases)
        # The buffers follow from the settings, so files of networks need not contain them.
        wavelets = filters.wavelets.to(torch.get_default_dtype(), copy=True).contiguous()
        self.register_buffer("wavelets", wavelets, persistent=False)
        axes = zip(shape, filters.lowpass, filters.before, filters.samples, strict=True)
        for axis, (length, lowpass, before, samples) in enumerate(axes):
            mirror = _reflection(length, before, len(lowpass))
            self.register_buffer(f"mirror{axis}", mirror, persistent=False)
            smooth = _sampled_convolution(lowpass, samples).to(wavelets.dtype)
            self.register_buffer(f"smooth{axis}", smooth, persistent=False)
        self.axes = tuple(range(-len(shape), 0))

    def forward(self, X: Tensor) -> Tensor:
        """``(m, *shape)`` to ``(m, 1 + n · phases, *reduced)``."""
        for axis in range(len(self.axes)):
            X = X.index_select(1 + axis, getattr(self, f"mirror{axis}"))
        spectrum = torch.fft.fftn(X, dim=self.axes).unsqueeze(1)
        responses = torch.fft.ifftn(spectrum * self.wavelets, dim=self.axes)
        channels = torch.cat([X.unsqueeze(1), self.rectifier(responses)], 1)
        # The output has few points, so a matrix for each axis costs less than Fourier transforms.
        if len(self.axes) == 1:
            return channels @ self.smooth0.mT
        return self.smooth0 @ (channels @ self.smooth1.mT)


def _sampled_convolution(lowpass: Tensor, samples: slice) -> Tensor:
    """Matrix ``(points, n)`` of a circular convolution that is evaluated at a slice of the points.

    The filter ``(n,)`` is given in the Fourier domain.
    """
    kernel, length = torch.fft.ifft(lowpass).real, len(lowpass)
    place = torch.arange(length, device=kernel.device)
    return kernel[(place[samples, None] - place) % length]


def _filters_1d(scattering: "ScatteringTorch1D") -> Filters:
    level = scattering.log2_T
    start, stop = scattering.ind_start[level] << level, scattering.ind_end[level] << level
    return Filters(
        torch.stack([wavelet["levels"][0].flatten() for wavelet in scattering.psi1_f]),
        (scattering.phi_f["levels"][0].flatten().double(),),
        (scattering.pad_left,),
        (slice(start, stop, 1 << level),),
    )


def _filters_2d(scattering: "ScatteringTorch2D") -> Filters:
    scale = 2**scattering.J
    lowpass = torch.as_tensor(scattering.phi["levels"][0]).double()
    padded = lowpass.shape
    return Filters(
        torch.stack([torch.as_tensor(wavelet["levels"][0]) for wavelet in scattering.psi]),
        (lowpass[:, 0], lowpass[0] / lowpass[0, 0]),  # a Gaussian is separable
        tuple((p - n) // 2 for p, n in zip(padded, scattering.shape, strict=True)),
        # kymatio drops one sample at each border.
        tuple(slice(scale, p - scale, scale) for p in padded),
    )


_FILTERS = {1: _filters_1d, 2: _filters_2d}


def _reflection(length: int, before: int, padded: int) -> Tensor:
    """Index of the sample at each position of a signal that is padded by reflection."""
    period = max(1, 2 * (length - 1))
    place = (torch.arange(padded) - before) % period
    return torch.minimum(place, period - place)
