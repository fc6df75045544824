"""The linear operators of a layer: E expands all features, Cʲ compresses those of class j."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from redunet._checks import is_traced
from redunet.rates.spectrum import safe_sqrt, scaled, squared_norms, total

# Number of bytes in one block of responses. On a CPU a block should fit in the cache. On a GPU it
# should be large enough to use the whole device.
BLOCK_BYTES = {"cpu": 2**22, "cuda": 2**29}

# Smallest number of samples per block. Smaller matrix products are inefficient. On a GPU the
# products of all frequencies run together, so there may be fewer samples of many frequencies.
LEAST_SAMPLES = 512
LEAST_SAMPLES_OF_SIGNALS = 64

# Number of real multiplications whose time is that of reading values back to the host. A CPU reads
# them at once. A GPU first has to finish all its work.
COST_OF_READING = {"cpu": 0, "cuda": 2**34}

ALL = slice(None)


class OperatorMatrices(NamedTuple):
    """Operators as matrices."""

    expansion: Tensor  # E(p), (F, C, C)
    compression: Tensor  # Cʲ(p), (F, k, C, C)


class Operators(nn.Module, ABC):
    """E and all Cʲ of a layer, at each of F frequencies.

    A subclass is one way to represent them. It stores its tensors as parameters or buffers, and its
    constructor takes them under the same names, so that files can hold every kind. It implements
    :meth:`expand`, :meth:`respond` and :meth:`real_form`. The other methods have defaults, which a
    subclass may replace by faster ones.

    Parameters
    ----------
    num_classes : int
        Number of classes, k.
    channels : int
        Number of channels, C.
    """

    def __init__(self, num_classes: int, channels: int):
        super().__init__()
        self.num_classes = num_classes
        self.channels = channels

    @abstractmethod
    def expand(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """E v for every sample.

        Parameters
        ----------
        V : Tensor of shape (frequencies, m, C)
            Half spectra of the samples at these frequencies.
        frequencies : slice
            The frequencies.

        Returns
        -------
        Tensor of shape (frequencies, m, C)
        """

    @abstractmethod
    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """Cʲ v for every sample and every class.

        Parameters
        ----------
        V : Tensor of shape (frequencies, m, C)
            Half spectra of the samples at these frequencies.
        frequencies : slice
            The frequencies.

        Returns
        -------
        Tensor of shape (frequencies, m, k, C)
        """

    @abstractmethod
    def real_form(self) -> "Operators":
        """The same operators on real and imaginary parts ``(F, m, 2C)``, for export.

        Operators on real features (vectors) return a copy of themselves.
        """

    def responder(self) -> Callable[[Tensor], "Responses"]:
        """A function that maps blocks of samples ``(F, m, C)`` to their responses."""
        return lambda V: Responses(V, self)

    def quadratic_forms(self, V: Tensor) -> Tensor:
        """v* Cʲ v, summed over all frequencies: ``(F, m, C)`` to ``(m, k)``."""
        respond = self.responder()
        blocks = V.split(self.samples_per_block(V), 1)
        return torch.cat([respond(block).quadratic_forms() for block in blocks])

    def matrices(self) -> OperatorMatrices:
        """E ``(F, C, C)`` and all Cʲ ``(F, k, C, C)`` as matrices."""
        like = next(self.parameters())
        units = torch.eye(self.channels, dtype=like.dtype, device=like.device)
        units = units.expand(len(like), -1, -1)
        return OperatorMatrices(self.expand(units).mT, self.respond(units).permute(0, 2, 3, 1))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Construct operators from their parameters and buffers, by name."""
        constructor: Callable[..., Self] = cls  # of a subclass, which takes its tensors by name
        return constructor(**tensors)

    @property
    def description(self) -> str:
        """A short name of the representation, for summaries and diagrams."""
        return type(self).__name__.removesuffix("Operators").lower()

    @property
    def width(self) -> int:
        """Number of entries that the responses of one sample need at one frequency."""
        return self.num_classes * self.channels

    def samples_per_block(self, V: Tensor) -> int:
        """Number of samples that fit in a block, with their responses.

        On a CPU these are the responses at one frequency, on a GPU those at all frequencies.
        """
        frequencies, _, channels = V.shape
        if V.device.type == "cpu":
            least, entries = LEAST_SAMPLES, max(self.width, channels)
        else:
            least = max(LEAST_SAMPLES_OF_SIGNALS, LEAST_SAMPLES // frequencies)
            entries = frequencies * max(self.width, channels)
        return max(least, block_entries(V) // entries)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert complex operators as pairs of real numbers.

        Otherwise ``nn.Module.to(torch.float64)`` would drop the imaginary parts, and ``.double()``
        would not convert complex operators at all.
        """

        def as_pairs(t: Tensor) -> Tensor:
            return torch.view_as_complex(fn(torch.view_as_real(t))) if t.is_complex() else fn(t)

        return super()._apply(as_pairs, recurse)


class DenseExpansion(Operators):
    """Operators whose E is a dense matrix at each frequency.

    Parameters
    ----------
    expansion : Tensor of shape (F, C, C)
        E(p), real for vectors (F = 1), complex for signals.
    num_classes : int
        Number of classes, k.
    """

    expansion: nn.Parameter

    def __init__(self, expansion: Tensor, num_classes: int):
        super().__init__(num_classes, expansion.shape[2])
        self.expansion = nn.Parameter(expansion, requires_grad=False)

    def expand(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """E v for every sample, ``(F, m, C)`` to ``(F, m, C)``."""
        return V @ self.expansion[frequencies].mT


class Responses:
    """Cʲ v of samples for all classes.

    All responses together are far larger than the samples. They are therefore computed for one
    block of frequencies at a time. Only their norms or weighted sums are returned.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Samples.
    operators : Operators

    Attributes
    ----------
    blocks : list of slice
        Blocks of frequencies.
    """

    def __init__(self, V: Tensor, operators: Operators):
        self._V = V
        self._operators = operators
        frequencies, samples, _ = V.shape
        step = max(1, block_entries(V) // max(1, samples * operators.width))
        self.blocks = [slice(start, start + step) for start in range(0, frequencies, step)]

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""
        return safe_sqrt(total(squared_norms(self._respond(block), dim=0) for block in self.blocks))

    def quadratic_forms(self) -> Tensor:
        """v* Cʲ v, summed over all frequencies, ``(m, k)``."""
        return total(
            (self._V[block].conj().unsqueeze(2) * self._respond(block)).real.sum((0, 3))
            for block in self.blocks
        )

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with the weights ``(m, k)`` of each sample, ``(F_b, m, C)`` per block."""
        for block in self.blocks:
            yield scaled(self._respond(block), weights[:, :, None]).sum(2)

    def _respond(self, block: slice) -> Tensor:
        return self._operators.respond(self._V[block], block)


def real_form(matrices: Tensor) -> Tensor:
    """Complex matrices ``(…, a, b)`` as real ones ``(…, 2a, 2b)``: [[Re, −Im], [Im, Re]].

    Real matrices are copied.
    """
    matrices = matrices.detach()
    if not matrices.is_complex():
        return matrices.clone()
    real, imaginary = matrices.real, matrices.imag
    return torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)


def block_entries(V: Tensor) -> int:
    """Number of entries of the type of ``V`` in a block of :data:`BLOCK_BYTES`."""
    return BLOCK_BYTES.get(V.device.type, BLOCK_BYTES["cuda"]) // V.element_size()


def may_read(V: Tensor, saved: int) -> bool:
    """Whether to read values that were computed from ``V``, to save multiplications.

    Parameters
    ----------
    V : Tensor
    saved : int
        Number of multiplications, of the type of ``V``, that are saved.

    Returns
    -------
    bool
        False while a graph is traced, or captured on a GPU. Values cannot be read then.
    """
    if is_traced() or (V.is_cuda and torch.cuda.is_current_stream_capturing()):
        return False
    real = 4 * saved if V.is_complex() else saved
    return real >= COST_OF_READING.get(V.device.type, COST_OF_READING["cuda"])
