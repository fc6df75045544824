"""Exact operators that keep the second moments they were made from, so that samples can be added.

The operators of a layer are functions of the second moments M_j(p) of its classes and of the sizes
of the classes. Both are sums over samples, so more samples can be added to them later.
"""

from dataclasses import dataclass

from torch import Tensor

from redunet.layers.operators.base import Operators
from redunet.layers.operators.dense import DenseOperators
from redunet.layers.operators.exact import ClassMoments
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.moments import DatasetInfo


@dataclass(frozen=True)
class Extensible(OperatorKind):
    """Exact operators whose layers keep the second moments and the sizes of their classes.

    :meth:`redunet.ReduNet.extend` adds new classes and new samples to such a network, without the
    samples that it was constructed from. The operators are dense and equal those of
    :class:`Exact`. Each layer takes about twice the memory of a layer with :class:`Exact`
    operators, or three times if fine ε² needs second moments in double precision.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 13 and 14 for the operators; Section 6.1 on learning
    class by class.
    """

    def moments(
        self, info: DatasetInfo, previous: Operators | None, depth: int
    ) -> "ExtensibleMoments":
        """Second moments as matrices, which the operators keep."""
        return ExtensibleMoments(info)


class ExtensibleOperators(DenseOperators):
    """Operators as one matrix for each frequency and class, with the sums they were made from.

    Parameters
    ----------
    expansion : Tensor of shape (F, C, C)
        E(p), real for vectors (F = 1), complex for signals.
    compression : Tensor of shape (F, k, C, C)
        Cʲ(p).
    moments : Tensor of shape (F, k, C, C)
        Second moments M_j(p) of the classes, in the type in which they were summed.
    counts : Tensor of shape (k,)
        m_j = tr Πʲ, the number of samples in each class.
    """

    moments: Tensor
    counts: Tensor

    def __init__(self, expansion: Tensor, compression: Tensor, moments: Tensor, counts: Tensor):
        super().__init__(expansion, compression)
        self.register_buffer("moments", moments)
        self.register_buffer("counts", counts)


class ExtensibleMoments(ClassMoments):
    """The second moments of the classes, which the operators keep."""

    def add_sums(self, moments: Tensor, places: Tensor) -> None:
        """Add the second moments of earlier samples.

        Parameters
        ----------
        moments : Tensor of shape (F, j, C, C)
            Second moments of some of the classes.
        places : Tensor of shape (j,)
            Positions of these classes.
        """
        self._moments.index_add_(1, places, moments.to(self._moments.dtype))

    def finish(self) -> None:
        """Sum over all processes and factorise."""
        self.sums = self._moments  # the sum over processes is in place
        super().finish()

    def operators(self) -> ExtensibleOperators:
        """E = α (I + α M)⁻¹, all Cʲ = α_j (I + α_j M_j)⁻¹, all M_j and the sizes of the classes."""
        dense = super().operators()
        return ExtensibleOperators(
            dense.expansion.data, dense.compression.data, self.sums, self.info.counts.clone()
        )
