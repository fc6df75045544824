"""Products of samples with the operators of all classes: their norms, and their weighted sums."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from redunet._checks import is_traced
from redunet.rates.grouping import assignments_of, class_batches
from redunet.rates.spectrum import joined, safe_sqrt, scaled, squared_norms, total

if TYPE_CHECKING:
    from redunet.layers.operators.operator import Operator

ALL = slice(None)

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


class Responses:
    """Cʲ v of samples for all classes.

    All responses together are far larger than the samples. They are therefore computed for one
    block of frequencies at a time. Only their norms or weighted sums are returned.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Samples.
    operator : Operator

    Attributes
    ----------
    blocks : list of slice
        Blocks of frequencies.
    """

    def __init__(self, V: Tensor, operator: "Operator"):
        self._V = V
        self._operator = operator
        frequencies, samples, _ = V.shape
        step = max(1, block_entries(V) // max(1, samples * operator.width))
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
        return self._operator.respond(self._V[block], block)


class ResponsesByClass(Responses):
    """Responses whose sums take a shortcut for samples that belong to a single class.

    With sharp memberships, nearly all samples belong to a single class. They are gathered by class
    and multiplied by the operators of that class only. To gather them, the host has to read the
    memberships. A GPU takes the shortcut only if it saves more time than this reading takes.
    """

    def __init__(self, V: Tensor, operator: "Operator"):
        super().__init__(V, operator)
        self._reads = may_read(V, saved=V.numel() * operator.width)

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with the weights ``(m, k)`` of each sample, ``(F_b, m, C)`` per block.

        The shortcut sets weights to zero if they are below the rounding error of a sample's largest
        weight. This also avoids slow subnormal products.
        """
        weights = weights.to(self._V.real.dtype)
        if not self._reads:
            return (self._weighted_sum(block, ALL, weights) for block in self.blocks)
        largest, owners = weights.max(1)
        relevant = weights > torch.finfo(weights.dtype).eps * largest[:, None]
        weights = weights * relevant
        decided = relevant.sum(1) <= 1
        if not bool(decided.any()):
            return (self._weighted_sum(block, ALL, weights) for block in self.blocks)
        return self._combine_by_class(weights, owners, decided)

    def _combine_by_class(
        self, weights: Tensor, owners: Tensor, decided: Tensor
    ) -> Iterator[Tensor]:
        samples, others = (choice.nonzero()[:, 0] for choice in (decided, ~decided))
        num_classes = weights.shape[1]
        batches = class_batches(assignments_of(owners[samples], num_classes), num_classes)
        groups = [(samples[batch.samples], batch.classes) for batch in batches]
        shares = [weights[group, classes[:, None]].unsqueeze(-1) for group, classes in groups]
        # Rows are computed class by class, with padding, and those of the other samples follow.
        sample_of = torch.cat([*(group.flatten() for group, _ in groups), others])
        is_filled = torch.cat([*(batch.mask.flatten() for batch in batches), others >= 0])
        rows = is_filled.nonzero()[:, 0]
        row_of = torch.empty_like(owners)
        row_of[sample_of[rows]] = rows
        for block in self.blocks:
            parts = [
                scaled(self._respond_by_class(block, *group), share).flatten(1, 2)
                for group, share in zip(groups, shares, strict=True)
            ]
            if len(others):
                parts.append(self._weighted_sum(block, others, weights[others]))
            yield joined(parts, 1).index_select(1, row_of)

    @abstractmethod
    def _respond_by_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        """Cʲ v for samples ``(g, s)`` of each of the classes ``(g,)``, ``(F_b, g, s, C)``."""

    @abstractmethod
    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        """Σ_j w_j Cʲ v over all classes for a subset of the samples, ``(F_b, len(weights), C)``."""


def select_samples(V: Tensor, samples: Tensor | slice) -> Tensor:
    """Some of the samples ``(F_b, m, C)``, at positions of any shape ``(…)``: ``(F_b, …, C)``."""
    if isinstance(samples, slice):
        return V[:, samples]
    # This copies whole rows, which is faster than indexing.
    return V.index_select(1, samples.flatten()).unflatten(1, samples.shape)


def select_classes(operators: Tensor, classes: Tensor) -> Tensor:
    """Select from operators ``(F, k, …)`` those of some classes, in order: ``(F, g, …)``."""
    return operators if len(classes) == operators.shape[1] else operators[:, classes]


def samples_per_block(V: Tensor, width: int) -> int:
    """Number of samples that fit in a block, with their responses.

    On a CPU these are the responses at one frequency, on a GPU those at all frequencies.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
    width : int
        Number of entries that the responses of one sample need at one frequency.
    """
    frequencies, _, channels = V.shape
    if V.device.type == "cpu":
        least, entries = LEAST_SAMPLES, max(width, channels)
    else:
        least = max(LEAST_SAMPLES_OF_SIGNALS, LEAST_SAMPLES // frequencies)
        entries = frequencies * max(width, channels)
    return max(least, block_entries(V) // entries)


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
