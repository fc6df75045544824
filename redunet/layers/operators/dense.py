"""Operators as one matrix at each frequency."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from redunet.layers.operators.operator import Operator, real_form
from redunet.layers.operators.responses import (
    ALL,
    Responses,
    ResponsesByClass,
    may_read,
    select_classes,
    select_samples,
)
from redunet.rates.spectrum import safe_sqrt, scaled, squared_norms


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

    def responder(self) -> Callable[[Tensor], Responses]:
        """A function that maps blocks of samples ``(F, m, C)`` to their responses."""
        return lambda V: DenseResponses(V, self)

    def matrices(self) -> Tensor:
        """All matrices, ``(F, k, C, C)``."""
        return self.values

    def real_form(self) -> "DenseOperator":
        """The same matrices on real and imaginary parts ``(F, m, 2C)``."""
        return DenseOperator(real_form(self.values))

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        frequencies, count, channels, _ = self.values.shape
        return f"frequencies={frequencies}, count={count}, channels={channels}"


class DenseResponses(ResponsesByClass):
    """Responses to dense operators.

    For vectors, all responses are computed once, by one product. The same holds for signals on a
    GPU, if the responses at all frequencies fit in a block. For signals on a CPU, responses are
    computed again for each use, one block of frequencies at a time. There this costs less than
    writing all responses to memory and reading them back.
    """

    def __init__(self, V: Tensor, operator: DenseOperator):
        super().__init__(V, operator)
        self._values = operator.values
        is_vector = len(V) == 1 and not V.is_complex()
        # With stored responses, reading the memberships would save nothing.
        stored = is_vector or (len(self.blocks) == 1 and not may_read(V, saved=0))
        self._all = operator.respond(V) if stored else None

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""
        if self._all is None:
            return super().norms()
        return safe_sqrt(squared_norms(self._all, dim=0))

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with the weights ``(m, k)`` of each sample, ``(F_b, m, C)`` per block."""
        if self._all is None:
            return super().combine(weights)
        weights = weights.to(self._V.real.dtype)
        if not self._V.is_complex():
            return iter([(weights[:, None] @ self._all).squeeze(2)])
        pairs = torch.view_as_real(self._all).flatten(3)  # (F, m, k, 2C)
        sums = (weights[:, None] @ pairs).squeeze(2).unflatten(2, (-1, 2))
        return iter([torch.view_as_complex(sums)])

    def _respond_by_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        values = select_classes(self._values[block], classes)
        return select_samples(self._V[block], samples) @ values.mT

    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        # The weights go into the product, whose inner axis then runs over classes and channels.
        V = select_samples(self._V[block], samples).unsqueeze(2)
        weighted = scaled(V, weights[:, :, None]).flatten(2)
        return weighted @ self._values[block].mT.flatten(1, 2)
