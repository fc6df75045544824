"""Operators as one matrix at each frequency."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from redunet.layers.operators.operator import Operator, real_form
from redunet.layers.operators.responses import (
    ALL,
    Responses,
    blocks_of_samples,
    may_read,
    select_classes,
)
from redunet.rates.spectrum import scaled


class DenseOperator(Operator):
    """Matrices as they are.

    Parameters
    ----------
    values : Tensor of shape (F, k, C, C)
        The matrices, real for vectors (F = 1), complex for signals.
    """

    values: nn.Parameter

    def __init__(self, values: Tensor):
        super().__init__(*values.shape[1:3])
        self.values = nn.Parameter(values, requires_grad=False)

    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """The products of every sample with all matrices, ``(F, m, k, C)``, in one product."""
        values = self.values[frequencies]
        return torch.bmm(V, values.flatten(1, 2).mT).unflatten(2, values.shape[1:3])

    def responses(self, V: Tensor) -> Iterator[tuple[slice, Responses]]:
        """Blocks of the samples ``(F, m, C)``, each with its responses."""
        for run in blocks_of_samples(V, self.width):
            yield run, DenseResponses(V[:, run], self)

    def matrices(self) -> Tensor:
        """All matrices, ``(F, k, C, C)``."""
        return self.values

    def real_form(self) -> "DenseOperator":
        """The same matrices on real and imaginary parts ``(F, m, 2C)``."""
        return DenseOperator(real_form(self.values))


class DenseResponses(Responses):
    """Responses to dense operators.

    For vectors, all responses are computed once, by one product. The same holds for signals on a
    GPU, if the responses at all frequencies fit in a block. For signals on a CPU, responses are
    computed again for each use, one block of frequencies at a time. There this costs less than
    writing all responses to memory and reading them back.
    """

    gathers = True

    def __init__(self, V: Tensor, operator: DenseOperator):
        super().__init__(V, operator)
        self._values = operator.values
        is_vector = len(V) == 1 and not V.is_complex()
        stored = is_vector or (len(self.blocks) == 1 and not may_read(V, saved=0))
        self._all = operator.respond(V) if stored else None
        # With stored responses, reading the memberships would save nothing.
        self.reads = self.reads and not stored

    def _respond(self, block: slice) -> Tensor:
        return super()._respond(block) if self._all is None else self._all

    def _own(self, members: Tensor, classes: Tensor, block: slice) -> Tensor:
        return members @ select_classes(self._values[block], classes).mT

    def _sum(self, V: Tensor, weights: Tensor, block: slice) -> Tensor:
        if self._all is None:
            # The weights go into the product, whose inner axis runs over classes and channels.
            weighted = scaled(V.unsqueeze(2), weights[:, :, None]).flatten(2)
            return weighted @ self._values[block].mT.flatten(1, 2)
        if not V.is_complex():
            return (weights[:, None] @ self._all).squeeze(2)
        pairs = torch.view_as_real(self._all).flatten(3)  # (F, m, k, 2C)
        return torch.view_as_complex((weights[:, None] @ pairs).squeeze(2).unflatten(2, (-1, 2)))
