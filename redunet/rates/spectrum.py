"""The transform between samples and half spectra, and the projection onto the sphere.

Features are tensors of shape ``(F, m, C)`` in the spectrum: ``F`` frequencies, ``m`` samples and
``C`` channels. At each frequency the operators of a ReduNet are ``C × C`` matrices. A vector is a
signal without spatial axes: it has one frequency, and its spectrum is real.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from redunet._checks import is_traced

# The largest exponents n for which 2ⁿ and 2⁻ⁿ are normal numbers.
EXPONENT_LIMITS = {torch.float32: 126, torch.float64: 1022}

# Values up to 2 to this power, and down to its inverse, are neither very large nor very small.
MODERATE_EXPONENT = 20


class HalfSpectrum(nn.Module):
    """The independent half of the unitary DFT over the spatial axes of real signals.

    The values of the spectrum of a real signal at opposite frequencies are conjugates, so the half
    spectrum contains one of each pair. Every value is multiplied by the square root of the Parseval
    weight of its frequency (1 if the frequency is its own opposite, 2 otherwise). This makes the
    transform an isometry: norms and inner products of half spectra equal those of the signals.
    Products such as ``V(p) V(p)*`` of the unscaled spectrum V(p) are those of the half spectrum
    divided by ``weights``.

    Parameters
    ----------
    shape : sequence of int
        Lengths of the spatial axes: ``()`` for vectors, ``(T,)``, ``(H, W)``, …

    Attributes
    ----------
    weights : Tensor of shape (F,)
        Parseval weights; they sum to ``size``.
    size : int
        Number of frequencies of the full spectrum (1 for vectors).

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Appendix B.3 and Fact 7 (unitary DFT).
    """

    weights: Tensor
    _positions: Tensor
    _source: Tensor
    _mirrored: Tensor

    def __init__(self, shape: Sequence[int] = ()):
        super().__init__()
        self.shape = tuple(shape)
        self.size = math.prod(self.shape)
        positions, weights, source, mirrored = (torch.tensor(a) for a in _layout(self.shape))
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("_positions", positions, persistent=False)
        self.register_buffer("_source", source, persistent=False)
        self.register_buffer("_mirrored", mirrored, persistent=False)

    def __len__(self) -> int:
        """Number F of frequencies in the half spectrum."""
        return len(self.weights)

    @property
    def frequencies(self) -> Tensor:
        """The frequency of each entry along each axis, from −n/2 to n/2, ``(F, axes)``."""
        indices = torch.unravel_index(self._positions, _rfft_shape(self.shape) or (1,))
        axes = [
            torch.where(p > n // 2, p - n, p) for p, n in zip(indices, self.shape, strict=False)
        ]
        return torch.stack(axes, 1) if axes else self._positions.new_zeros(1, 0)

    def forward(self, X: Tensor) -> Tensor:
        """Real samples ``(m, C, *shape)`` to their half spectrum ``(F, m, C)``."""
        if not self.shape:
            return X.unsqueeze(0)
        if len(X) == 0:  # of which MKL has no transform
            return X.new_empty(len(self), *X.shape[:2], dtype=X.dtype.to_complex())
        spectrum = torch.fft.rfftn(X, dim=tuple(range(2, X.ndim)), norm="ortho").flatten(2)
        half = spectrum[:, :, self._positions].permute(2, 0, 1).contiguous()
        return scaled(half, self._root_weights(X.dtype))

    def inverse(self, V: Tensor) -> Tensor:
        """The half spectrum ``(F, m, C)`` back to real samples ``(m, C, *shape)``."""
        if not self.shape:
            return V.squeeze(0)
        if V.shape[1] == 0:
            return V.real.new_empty(*V.shape[1:], *self.shape)
        half = scaled(V, self._root_weights(V.real.dtype).reciprocal()).permute(1, 2, 0)
        spectrum = half[:, :, self._source]
        spectrum = torch.where(self._mirrored, spectrum.conj(), spectrum)
        spectrum = spectrum.unflatten(2, _rfft_shape(self.shape))
        return torch.fft.irfftn(
            spectrum, s=self.shape, dim=tuple(range(2, spectrum.ndim)), norm="ortho"
        )

    def kernels(self, operators: Tensor) -> Tensor:
        """Convolution kernels ``(a, b, *shape)`` of matrices at each frequency ``(F, a, b)``.

        Circular convolution of a signal with the kernels equals multiplication of its half spectrum
        by the matrices.
        """
        if not self.shape:
            return operators.squeeze(0)
        unscaled = scaled(operators, self._root_weights(operators.real.dtype))
        return self.inverse(unscaled) / self.size**0.5

    def _root_weights(self, dtype: torch.dtype) -> Tensor:
        return self.weights.to(dtype).sqrt()[:, None, None]

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"shape={self.shape}, frequencies={len(self)}"


def _rfft_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], shape[-1] // 2 + 1) if shape else ()


@lru_cache(maxsize=8)  # the arrays of a volume take 25 MB
def _layout(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Positions of the half spectrum in the flattened ``rfftn`` grid, and their use to fill it.

    ``rfftn`` omits opposite frequencies along the last axis only. At frequency 0 and at the Nyquist
    frequency of that axis, the grid contains both ``p`` and ``−p``.

    Returns
    -------
    positions : int array (F,)
        Positions of the entries of the half spectrum in the grid.
    weights : float array (F,)
        Parseval weights.
    source : int array (grid size,)
        For every position of the grid, the index of the entry of the half spectrum that fills it.
    mirrored : bool array (grid size,)
        Whether that entry has to be conjugated.
    """
    if not shape:
        return np.zeros(1, int), np.ones(1), np.zeros(1, int), np.zeros(1, bool)
    grid = _rfft_shape(shape)
    position = np.arange(math.prod(grid)).reshape(grid)
    frequency = np.indices(grid)
    opposite = tuple(-p % n for p, n in zip(frequency, shape, strict=True))
    in_grid = opposite[-1] < grid[-1]
    partner = position.copy()
    partner[in_grid] = position[tuple(p[in_grid] for p in opposite)]
    self_conjugate = in_grid & (partner == position)

    position, partner, self_conjugate = (a.ravel() for a in (position, partner, self_conjugate))
    mirrored = partner < position
    positions = position[~mirrored]
    entry_of = np.full(position.size, -1)
    entry_of[positions] = np.arange(positions.size)
    source = entry_of[np.where(mirrored, partner, position)]
    weights = np.where(self_conjugate, 1.0, 2.0)[positions]
    return positions, weights, source, mirrored


def scaled(V: Tensor, factors: Tensor) -> Tensor:
    """V times real factors, without converting the factors to complex numbers."""
    if not V.is_complex():
        return V * factors
    return torch.view_as_complex(torch.view_as_real(V) * factors.unsqueeze(-1))


def squared_norms(V: Tensor, dim: int) -> Tensor:
    """Σ |v|² over the last axis and over the axis ``dim``, real."""
    if V.is_complex():
        V = torch.view_as_real(V).flatten(-2)
    squares = torch.linalg.vector_norm(V, dim=-1).square()
    return squares.squeeze(dim) if squares.shape[dim] == 1 else squares.sum(dim)


def as_double(V: Tensor) -> Tensor:
    """V in double precision, real or complex."""
    return V.to(torch.complex128 if V.is_complex() else torch.float64)


def squared_moduli(t: Tensor) -> Tensor:
    """|t|² of every entry, real."""
    return t.real.square() + t.imag.square() if t.is_complex() else t.square()


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of one or more tensors."""
    return reduce(torch.add, parts)


def norms(V: Tensor) -> Tensor:
    """Frobenius norm of each sample of a half spectrum, ``(F, m, C)`` to ``(m,)``."""
    return safe_sqrt(squared_norms(V, dim=0))


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 instead of infinite; 0 for negative numbers."""
    tiny = torch.finfo(x.dtype).tiny
    if not x.requires_grad:
        return functional.threshold(x, tiny, 0).sqrt()
    return torch.where(x > tiny, x.clamp_min(tiny).sqrt(), 0)


def project_to_sphere(V: Tensor, *, inplace: bool = False) -> Tensor:
    """Scale every sample to unit norm; a sample of zero norm stays zero.

    Entries whose cubes underflow are set to zero. They are far below the rounding error of a unit
    vector, and products made from them would be subnormal numbers, which processors handle slowly.
    They stay if V requires a gradient, because they would get no gradient and would stay zero.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
    inplace : bool
        V may be overwritten, unless it requires a gradient.

    Returns
    -------
    Tensor of shape (F, m, C)
    """
    squares = squared_norms(V, dim=0)
    tiny = torch.finfo(squares.dtype).tiny
    # The factor of a sample of zero norm is 0, the inverse of infinity.
    factors = functional.threshold(squares, tiny, math.inf).rsqrt()[:, None]
    if V.requires_grad:
        return scaled(V, factors)
    entries = torch.view_as_real(V) if V.is_complex() else V
    factors = factors.unsqueeze(-1) if V.is_complex() else factors
    entries = entries.mul_(factors) if inplace else entries * factors
    entries = functional.hardshrink(entries, tiny ** (1 / 3))
    return torch.view_as_complex(entries) if V.is_complex() else entries


def at_moderate_scale(X: Tensor) -> Tensor:
    """Samples ``(m, …)``, divided by powers of two so that no square overflows or underflows.

    The largest entry of each sample becomes a number between 1/2 and 1. Division by a power of two
    has no rounding error, so unit vectors computed from the samples do not change. All entries of a
    sample become NaN if one of them is not finite. Half precision becomes float32.
    """
    X = X.to(torch.promote_types(X.dtype, torch.float32))
    entries = X.detach().flatten(1)
    largest = torch.maximum(entries.amax(1), -entries.amin(1))
    exponent = torch.frexp(largest).exponent
    limit = EXPONENT_LIMITS[X.dtype]
    factors = torch.exp2(-exponent.clamp(-limit, limit).to(X.dtype))
    factors = factors + 0 * largest  # 0 times infinity is NaN
    return X * factors.view(-1, *[1] * (X.ndim - 1))


def moderate_scale(Z: Tensor) -> float:
    """A power of two in whose units no square of a value overflows or underflows.

    It is 1 unless values are very large or very small. Rates depend on Z/ε alone, so they do not
    change if Z is divided by it, and ε² by its square.
    """
    if is_traced():
        return 1.0
    exponent = math.frexp(float(Z.detach().abs().amax()))[1]
    return 1.0 if abs(exponent) <= MODERATE_EXPONENT else 2.0 ** max(-500, min(500, exponent))


def minus_origin(V: Tensor, origin: Tensor | None) -> Tensor:
    """Half spectra ``(F, m, C)`` minus a constant ``(C,)``, which has only frequency 0."""
    return V if origin is None else torch.cat([V[:1] - origin, V[1:]])


def joined(parts: tuple[Tensor, ...] | list[Tensor], dim: int = 0) -> Tensor:
    """The concatenation of tensors; a single tensor is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
