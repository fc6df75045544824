"""Weighted sums of responses with a shortcut for samples that belong to a single class."""

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from redunet.layers.operators.base import ALL, Operators, Responses, may_read
from redunet.rates.partition import assignments_of, class_batches
from redunet.rates.spectrum import scaled


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
        batches = []
        for batch in class_batches(assignments_of(owners[samples], num_classes), num_classes):
            members = samples[batch.samples]
            shares = weights[members, batch.classes[:, None]].unsqueeze(-1)
            mask = None if batch.weights is None else batch.mask
            batches.append((members, batch.classes, shares, mask))
        for block in self.blocks:
            total = torch.empty_like(self._V[block])
            for members, classes, shares, mask in batches:
                own = scaled(self._of_own_class(block, members, classes), shares)
                if mask is None:
                    total[:, members] = own
                else:
                    total[:, members[mask]] = own[:, mask]
            if len(others):
                total[:, others] = self._weighted_sum(block, others, weights[others])
            yield total

    @abstractmethod
    def _of_own_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        """Cʲ v for samples ``(g, s)`` of each of the classes ``(g,)``, ``(F_b, g, s, C)``."""

    @abstractmethod
    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        """Σ_j w_j Cʲ v over all classes for a subset of the samples, ``(F_b, len(weights), C)``."""


def of_classes(operators: Tensor, classes: Tensor) -> Tensor:
    """Select from operators ``(F, k, …)`` those of some classes, in order: ``(F, g, …)``."""
    return operators if len(classes) == operators.shape[1] else operators[:, classes]
