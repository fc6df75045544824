"""Products of samples with the operators of all classes: their norms, and their weighted sums."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from redunet._checks import is_traced
from redunet.rates.grouping import assigned, class_batches
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
    """Cʲ v of a block of samples for all classes.

    All responses together are far larger than the samples. They are therefore computed for one
    block of frequencies at a time. Only their norms or weighted sums are returned.

    With sharp memberships, nearly all samples belong to a single class. A subclass that ``gathers``
    sums them class by class, as ``_own`` multiplies them by the operators of their class only. To
    gather them, the host has to read the memberships. A GPU does so only if it saves more time than
    this reading takes.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Samples.
    operator : Operator

    Attributes
    ----------
    blocks : list of slice
        Blocks of frequencies.
    reads : bool
        Whether values are read, to save products.
    """

    gathers: ClassVar[bool] = False

    def __init__(self, V: Tensor, operator: "Operator"):
        self.V = V
        self.operator = operator
        self.reads = self.gathers and may_read(V, saved=V.numel() * operator.width)
        frequencies, samples, _ = V.shape
        step = frequencies
        if not torch.compiler.is_exporting():  # an exported graph takes any number of samples
            step = max(1, block_entries(V) // max(1, samples * operator.width))
        self.blocks = [slice(start, start + step) for start in range(0, frequencies, step)]

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""
        return safe_sqrt(total(squared_norms(self._respond(block), dim=0) for block in self.blocks))

    def quadratic_forms(self) -> Tensor:
        """v* Cʲ v, summed over all frequencies, ``(m, k)``."""
        return total(
            (self.V[block].conj().unsqueeze(2) * self._respond(block)).real.sum((0, 3))
            for block in self.blocks
        )

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with the weights ``(m, k)`` of each sample, ``(F_b, m, C)`` per block.

        If values are read, weights below the rounding error of a sample's largest weight count as
        zero. This also avoids slow subnormal products.
        """
        weights = weights.to(self.V.real.dtype)
        if self.reads:
            largest, owners = weights.max(1)
            weights = weights * (weights > torch.finfo(weights.dtype).eps * largest[:, None])
            decided = weights.count_nonzero(1) <= 1
            if bool(decided.any()):
                return self._combine_by_class(weights, owners, decided)
        return (self._sum(self.V[block], weights, block) for block in self.blocks)

    def _combine_by_class(
        self, weights: Tensor, owners: Tensor, decided: Tensor
    ) -> Iterator[Tensor]:
        samples, others = (choice.nonzero()[:, 0] for choice in (decided, ~decided))
        groups, sample_of, is_filled = [], [], []
        pairs = owners[samples].sort(stable=True)
        for batch in class_batches(assigned(*pairs, weights.shape[1])):
            group = samples[batch.samples]  # (g, s), with padding
            groups.append((batch.classes, group, weights[group, batch.classes[:, None]]))
            sample_of.append(group.flatten())
            is_filled.append(batch.mask.flatten())
        # Rows are computed class by class, and those of the other samples follow.
        rows = torch.cat([*is_filled, others >= 0]).nonzero()[:, 0]
        row_of = torch.empty_like(owners)
        row_of[torch.cat([*sample_of, others])[rows]] = rows
        for block in self.blocks:
            V, parts = self.V[block], []
            for classes, group, own_weights in groups:
                members = V.index_select(1, group.flatten()).unflatten(1, group.shape)
                own = self._own(members, classes, block)
                parts.append(scaled(own, own_weights.unsqueeze(-1)).flatten(1, 2))
            if len(others):
                parts.append(self._sum(V.index_select(1, others), weights[others], block))
            yield joined(parts, 1).index_select(1, row_of)

    def _respond(self, block: slice) -> Tensor:
        return self.operator.respond(self.V[block], block)

    def _own(self, members: Tensor, classes: Tensor, block: slice) -> Tensor:
        """Cʲ v for samples of each of the classes ``(g,)``, both ``(F_b, g, s, C)``."""
        raise NotImplementedError

    def _sum(self, V: Tensor, weights: Tensor, block: slice) -> Tensor:
        """Σ_j w_j Cʲ v for some of the samples, ``(F_b, len(weights), C)``."""
        return scaled(self.operator.respond(V, block), weights[:, :, None]).sum(2)


def select_classes(operators: Tensor, classes: Tensor) -> Tensor:
    """Select from operators ``(F, k, …)`` those of some classes, in order: ``(F, g, …)``."""
    return operators if len(classes) == operators.shape[1] else operators[:, classes]


def blocks_of_samples(V: Tensor, width: int) -> list[slice]:
    """Blocks of samples, whose responses fit in a block of memory.

    On a CPU these are the responses at one frequency, on a GPU those at all frequencies.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
    width : int
        Number of entries that the responses of one sample need at one frequency.
    """
    if torch.compiler.is_exporting():
        return [ALL]
    frequencies, samples, channels = V.shape
    least, entries = LEAST_SAMPLES, max(width, channels)
    if V.device.type != "cpu":
        least, entries = max(LEAST_SAMPLES_OF_SIGNALS, least // frequencies), frequencies * entries
    size = max(least, block_entries(V) // entries)
    return [slice(start, start + size) for start in range(0, max(1, samples), size)]


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
