"""Incremental coding lengths: the nats that a sample adds to the code of each class.

The coding length of m samples is L(X) = (m + C)/2 Σ_p log det(I + C/(mε²) V(p) V(p)*), where V is
their unitary DFT. The sum is over all F frequencies; vectors have F = 1. This is 1/F of the coding
length of all cyclic shifts of the samples, as vectors, at the precision Fε².

The centred length codes the deviations from the mean μ, and the mean itself in
C/2 log(1 + ‖μ‖²/(Fε²)) nats. The mean of all shifts is constant, so only frequency 0 has one.

The increment of a sample x in class j is δL(x, j) = L(X_j ∪ {x}) − L(X_j) − log(m_j/m). The last
term is the length of the label. All increments are exact, and follow from one eigendecomposition
for each class and frequency.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from redunet.coding.length import Code
from redunet.rates.decomposition import Decomposition, added, decompose, log_dets, removed
from redunet.rates.grouping import ClassBatch
from redunet.rates.partition import Partition
from redunet.rates.spectrum import as_double, minus_origin

# Number of float64 values of a block that are in memory at one time.
BLOCK_ENTRIES = 2**23


@dataclass(frozen=True)
class CodedClasses:
    """The codes of the samples of each class, which take one more sample each.

    Build it with :meth:`from_samples`.

    Attributes
    ----------
    eps_sq : Tensor of shape () or (e,), float64
        ε², one or several values of the squared precision of the code.
    """

    eps_sq: Tensor
    _counts: Tensor
    _weights: Tensor
    _origin: Tensor | None  # the mean of all samples, from which large numbers are not far
    _batches: list[tuple[ClassBatch, Decomposition]]

    @classmethod
    def from_samples(
        cls,
        V: Tensor,
        partition: Partition,
        weights: Tensor,
        eps_sq: float | Tensor,
        *,
        center: bool = False,
        held_out: bool = False,
    ) -> "CodedClasses":
        """Decompose the classes, each on the side of its samples or of the channels.

        Parameters
        ----------
        V : Tensor of shape (F, m, C)
            Half spectra of the samples, in any precision; the work is in double precision.
        partition : Partition
            Their classes. No sample belongs to two classes.
        weights : Tensor of shape (F,)
            Parseval weights of the frequencies.
        eps_sq : float or Tensor of shape (e,)
            ε², one or several values.
        center : bool
            Whether the classes are coded about their means.
        held_out : bool
            Whether :meth:`held_out_increments` will be needed.

        Raises
        ------
        ValueError
            If the memberships are soft.
        """
        if partition.is_soft:
            raise ValueError("incremental coding lengths need one label for each sample")
        origin = as_double(V[0]).mean(0) if center else None
        V = minus_origin(V, origin)
        batches = [
            (batch, _decomposed(V, batch, center, held_out)) for batch in partition.class_batches
        ]
        return cls(
            torch.as_tensor(eps_sq, dtype=torch.float64, device=V.device),
            partition.counts,
            weights.to(V.device, torch.float64),
            origin,
            batches,
        )

    def at(self, eps_sq: float | Tensor, *, held_out: bool = False) -> "CodedClasses":
        """The same classes at other ε².

        Parameters
        ----------
        eps_sq : float or Tensor of shape (e,)
            ε², one or several values.
        held_out : bool
            Whether to keep what only :meth:`held_out_increments` needs.
        """
        batches = self._batches
        if not held_out:
            batches = [
                (batch, decomposition._replace(shares=None, rest=None))
                for batch, decomposition in batches
            ]
        eps_sq = torch.as_tensor(eps_sq, dtype=torch.float64, device=self.eps_sq.device)
        return dataclasses.replace(self, eps_sq=eps_sq, _batches=batches)

    def increments(self, V: Tensor) -> Tensor:
        """Increments δL of new samples in all classes, in nats.

        Parameters
        ----------
        V : Tensor of shape (F, m', C)
            Half spectra of the samples.

        Returns
        -------
        Tensor of shape (m', k) or (e, m', k), float64
            Infinite for a class without samples.
        """
        table = self._added(minus_origin(V, self._origin))
        table += label_lengths(self._counts)
        return table if self.eps_sq.ndim else table[0]

    def held_out_increments(self, V: Tensor) -> Tensor:
        """Increments of the samples themselves. Each is left out of its own class.

        Its increment in its own class is L(X_j) − L(X_j ∖ {x}) − log((m_j − 1)/(m − 1)), and
        −log(m_j/(m − 1)) is the length of another class's label.

        Parameters
        ----------
        V : Tensor of shape (F, m, C)
            The samples that the classes were made from.

        Returns
        -------
        Tensor of shape (m, k) or (e, m, k), float64
            A sample that is alone in its class has an infinite increment there.
        """
        V = minus_origin(V, self._origin)
        table = self._added(V)
        targets = self._counts.new_empty(V.shape[1], dtype=torch.long)
        for batch, decomposition in self._batches:
            mask = batch.mask
            samples, classes = batch.samples[mask], batch.classes.repeat_interleave(mask.sum(1))
            targets[samples] = classes
            members = as_double(batch.gather(V[:1]))
            lost = self._changes(decomposition, members, self._counts[batch.classes], step=-1)
            table[:, samples, classes] = -lost[mask].T
        table += label_lengths(self._counts, targets)
        return table if self.eps_sq.ndim else table[0]

    def _added(self, V: Tensor) -> Tensor:
        """L(X_j ∪ {x}) − L(X_j), ``(e, m', k)``."""
        shape = self.eps_sq.numel(), V.shape[1], len(self._counts)
        table = torch.full(shape, torch.inf, dtype=torch.float64, device=V.device)
        for batch, decomposition in self._batches:
            counts = self._counts[batch.classes]
            for run in _runs(V.shape[1], self._entries(decomposition, 1)):
                lengths = self._changes(decomposition, V[:, None, run], counts, step=1)  # (g, q, e)
                table[:, run, batch.classes] = lengths.permute(2, 1, 0)
        return table

    def _changes(
        self, decomposition: Decomposition, samples: Tensor, counts: Tensor, *, step: int
    ) -> Tensor:
        """What one sample more or less changes in the lengths of some classes.

        Parameters
        ----------
        decomposition : Decomposition
            The classes, with the shares of their samples if these are taken out.
        samples : Tensor of shape (F, 1, q, C) or (1, g, s, C)
            The samples that are added to each class, or the samples of each class at frequency 0.
        counts : Tensor of shape (g,)
            Number of samples in each class.
        step : {1, -1}
            1 adds a sample: L(X ∪ {x}) − L(X). −1 takes a sample out: L(X ∖ {x}) − L(X).

        Returns
        -------
        Tensor of shape (g, q, e) or (g, s, e)
        """
        code = Code(self.eps_sq.reshape(-1), samples.shape[3], self._weights)
        before, after = counts[:, None], (counts + step)[:, None]
        sums: list[Tensor] = []
        for block in _runs(len(code.weights), self._entries(decomposition, samples.shape[2])):
            own = decomposition.at(block)
            old, new = (
                code.scales(n.clamp_min(1)) / code.weights[block, None, None]
                for n in (before, after)
            )
            if step > 0:
                gains = added(own, as_double(samples[block]), counts, new)
            else:
                gains = -removed(own, counts, new)
            parts = log_dets(own, old), log_dets(own, new), gains
            weighted = [code.over_frequencies(part, block) for part in parts]
            sums = [a + b for a, b in zip(sums, weighted, strict=True)] if sums else weighted
        change = code.of_samples(after, sums[1]) - code.of_samples(before, sums[0])
        lengths = change.unsqueeze(1) + code.of_samples(after[..., None], sums[2])
        if decomposition.means is None or self._origin is None:
            return lengths
        means = decomposition.means.unsqueeze(1)
        moved = before[..., None] * means + step * as_double(samples[0])
        moved = moved / after[..., None].clamp_min(1)
        squares = (
            torch.linalg.vector_norm(mean + self._origin, dim=-1, keepdim=True).square()
            for mean in (moved, means)
        )
        of_moved, of_means = map(code.of_means, squares)
        return lengths + of_moved - of_means

    def _entries(self, decomposition: Decomposition, count: int) -> int:
        """Number of values for all classes and this number of samples at one frequency."""
        _, classes, rank = decomposition.values.shape
        channels, precisions = decomposition.directions.shape[2], self.eps_sq.numel()
        return classes * (count * (2 * channels + rank + 2 * precisions) + rank * precisions)


def label_lengths(counts: Tensor, targets: Tensor | None = None) -> Tensor:
    """Lengths −log(m_j/m) of labels; infinite for an empty class.

    Parameters
    ----------
    counts : Tensor of shape (k,)
        Number m_j of samples in each class.
    targets : Tensor of shape (m,), optional
        Positions of the classes of samples that are left out in turn.

    Returns
    -------
    Tensor of shape (k,) or (m, k)
    """
    if targets is not None:
        counts = counts - torch.nn.functional.one_hot(targets, len(counts))
    return -(counts / counts.sum(-1, keepdim=True)).log()


def _runs(count: int, entries: int) -> Iterator[slice]:
    """Runs of samples, or of frequencies, that fit into memory; each one has so many entries."""
    step = max(1, BLOCK_ENTRIES // max(1, entries))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _decomposed(V: Tensor, batch: ClassBatch, center: bool, held_out: bool) -> Decomposition:
    """The decomposition of a batch of classes, from blocks of frequencies."""
    blocks = [
        decompose(
            as_double(batch.gather(V[run])),
            batch.mask,
            centred=center and run.start == 0,
            with_shares=held_out,
        )
        for run in _runs(len(V), batch.samples.numel() * V.shape[2])
    ]
    return Decomposition.joined(blocks)
