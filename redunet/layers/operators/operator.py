"""The linear operators of a layer: E expands all features, Cʲ compresses those of class j."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from redunet.layers.operators.responses import ALL, Responses, blocks_of_samples


class ComplexModule(nn.Module):
    """A module that keeps complex tensors complex when its precision changes."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert complex tensors as pairs of real numbers.

        Otherwise ``nn.Module.to(torch.float64)`` would drop the imaginary parts, and ``.double()``
        would not convert complex tensors at all.
        """

        def as_pairs(t: Tensor) -> Tensor:
            return torch.view_as_complex(fn(torch.view_as_real(t))) if t.is_complex() else fn(t)

        return super()._apply(as_pairs, recurse)


class Operator(ComplexModule, ABC):
    """k matrices of size C × C at each of F frequencies, in some representation.

    A layer has two of them: E, with k = 1, and the Cʲ of all classes. A subclass stores its tensors
    as parameters or buffers, and its constructor takes them under the same names, so that files can
    hold every representation. It implements :meth:`respond` and :meth:`real_form`. The other
    methods have defaults, which a subclass may replace by faster ones.

    Parameters
    ----------
    count : int
        Number of matrices, k.
    channels : int
        Number of channels, C.
    """

    def __init__(self, count: int, channels: int):
        super().__init__()
        self.count = count
        self.channels = channels

    @abstractmethod
    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """The products of every sample with all matrices.

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
    def real_form(self) -> "Operator":
        """The same matrices on real and imaginary parts ``(F, m, 2C)``, for export.

        On real features (vectors) this is a copy.
        """

    def responses(self, V: Tensor) -> Iterator[tuple[slice, Responses]]:
        """Blocks of the samples ``(F, m, C)``, each with its responses."""
        for run in blocks_of_samples(V, self.width):
            yield run, Responses(V[:, run], self)

    def residual_norms(self, V: Tensor) -> Tensor:
        """Norms of all responses over all frequencies and channels: ``(F, m, C)`` to ``(m, k)``."""
        return torch.cat([responses.norms() for _, responses in self.responses(V)])

    def quadratic_forms(self, V: Tensor) -> Tensor:
        """v* Cʲ v, summed over all frequencies: ``(F, m, C)`` to ``(m, k)``."""
        return torch.cat([responses.quadratic_forms() for _, responses in self.responses(V)])

    def matrices(self) -> Tensor:
        """All matrices, ``(F, k, C, C)``."""
        like = next(self.parameters())
        units = torch.eye(self.channels, dtype=like.dtype, device=like.device)
        return self.respond(units.expand(len(like), -1, -1)).permute(0, 2, 3, 1)

    @property
    def description(self) -> str:
        """A short name of the representation, for summaries and diagrams."""
        return type(self).__name__.removesuffix("Operator").lower()

    @property
    def width(self) -> int:
        """Number of entries that the responses of one sample need at one frequency."""
        return self.count * self.channels

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"count={self.count}, channels={self.channels}, {self.description}"


class OperatorMatrices(NamedTuple):
    """Operators as matrices."""

    expansion: Tensor  # E(p), (F, C, C)
    compression: Tensor  # Cʲ(p), (F, k, C, C)


class ClassSums(ComplexModule):
    """What the operators of a layer were made from, so that samples can be added.

    Parameters
    ----------
    moments : Tensor of shape (F, k, C, C)
        Second moments M_j(p) of the classes, in the type in which they were summed.
    counts : Tensor of shape (k,)
        m_j = tr Πʲ, the number of samples in each class.
    """

    moments: Tensor
    counts: Tensor

    def __init__(self, moments: Tensor, counts: Tensor):
        super().__init__()
        self.register_buffer("moments", moments)
        self.register_buffer("counts", counts)


class Operators(nn.Module):
    """E and all Cʲ of a layer.

    Parameters
    ----------
    expansion : Operator
        E, one matrix at each frequency.
    compression : Operator
        Cʲ of all classes.
    sums : ClassSums, optional
        What the operators were made from.
    """

    expansion: Operator
    compression: Operator
    sums: ClassSums | None

    def __init__(self, expansion: Operator, compression: Operator, sums: ClassSums | None = None):
        super().__init__()
        self.expansion = expansion
        self.compression = compression
        self.sums = sums

    def expand(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """E v for every sample, ``(F, m, C)`` to ``(F, m, C)``."""
        return self.expansion.respond(V, frequencies).squeeze(2)

    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """Cʲ v for every sample and every class, ``(F, m, C)`` to ``(F, m, k, C)``."""
        return self.compression.respond(V, frequencies)

    def matrices(self) -> OperatorMatrices:
        """E ``(F, C, C)`` and all Cʲ ``(F, k, C, C)`` as matrices."""
        return OperatorMatrices(self.expansion.matrices().squeeze(1), self.compression.matrices())

    def real_form(self) -> "Operators":
        """The same operators on real and imaginary parts ``(F, m, 2C)``, for export."""
        return Operators(self.expansion.real_form(), self.compression.real_form())

    @property
    def description(self) -> str:
        """A short name of the representation, for summaries and diagrams."""
        E, C = self.expansion.description, self.compression.description
        name = C if E in (C, "dense") else f"{C}, E of {E}"
        return name if self.sums is None else f"{name}, extensible"


def real_form(matrices: Tensor) -> Tensor:
    """Complex matrices ``(…, a, b)`` as real ones ``(…, 2a, 2b)``: [[Re, −Im], [Im, Re]].

    Real matrices are copied.
    """
    matrices = matrices.detach()
    if not matrices.is_complex():
        return matrices.clone()
    real, imaginary = matrices.real, matrices.imag
    return torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)
