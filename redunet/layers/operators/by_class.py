"""Weighted sums of responses with a shortcut for samples that belong to a single class."""

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from redunet.layers.operators.base import ALL, Operators, Responses, may_read
from redunet.rates.grouping import assignments_of, class_batches
from redunet.rates.spectrum import joined, scaled


class ResponsesByClass(Responses):
    """Responses whose sums take a shortcut for samples that belong to a single class.

    With sharp memberships, nearly all samples belong to a single class. They are gathered by class
    and multiplied by the operators of that class only. To gather them, the host has to read the
    memberships. A GPU takes the shortcut only if it saves more time than this reading takes.
    """

    def __init__(self, V: Tensor, operators: Operators):
        super().__init__(V, operators)
        self._reads = may_read(V, saved=V.numel() * operators.width)

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
                scaled(self._of_own_class(block, *group), share).flatten(1, 2)
                for group, share in zip(groups, shares, strict=True)
            ]
            if len(others):
                parts.append(self._weighted_sum(block, others, weights[others]))
            yield joined(parts, 1).index_select(1, row_of)

    @abstractmethod
    def _of_own_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        """Cʲ v for samples ``(g, s)`` of each of the classes ``(g,)``, ``(F_b, g, s, C)``."""

    @abstractmethod
    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        """Σ_j w_j Cʲ v over all classes for a subset of the samples, ``(F_b, len(weights), C)``."""


def select(V: Tensor, samples: Tensor | slice) -> Tensor:
    """Some of the samples ``(F_b, m, C)``, at positions of any shape ``(…)``: ``(F_b, …, C)``."""
    if isinstance(samples, slice):
        return V[:, samples]
    # This copies whole rows, which is faster than indexing.
    return V.index_select(1, samples.flatten()).unflatten(1, samples.shape)


def of_classes(operators: Tensor, classes: Tensor) -> Tensor:
    """Select from operators ``(F, k, …)`` those of some classes, in order: ``(F, g, …)``."""
    return operators if len(classes) == operators.shape[1] else operators[:, classes]
