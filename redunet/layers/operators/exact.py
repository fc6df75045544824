"""Exact operators: the inverses of the papers, as dense or as low-rank matrices."""

from dataclasses import dataclass

from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.moments import (
    DatasetInfo,
    SecondMoments,
    StoredSamples,
    SummedMoments,
    TotalMoment,
)
from redunet.layers.operators.operator import Operators


@dataclass(frozen=True)
class Exact(OperatorKind):
    """E = α (I + α M)⁻¹ and Cʲ = α_j (I + α_j M_j)⁻¹, exact up to rounding.

    The operators are dense matrices. If classes have few samples, each Cʲ is instead a multiple of
    the identity minus a low-rank matrix, which takes less work. If all classes together have fewer
    samples than half the channels, E is such an operator too, and no C × C matrix is formed.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 13 and 14; Algorithm 3 for signals.
    """

    def moments(self, info: DatasetInfo, previous: Operators | None) -> SecondMoments:
        """Empty moments in the representation that takes less work.

        For each sample and class, norms and sums of responses take C² products with dense
        operators, and r(C + r) products if the class is represented by its r samples. E takes C²
        products as a matrix, and 2krC products if it is represented by the samples of all k
        classes.
        """
        largest, channels = info.largest_class, info.channels
        if 2 * len(info.counts) * largest < channels:
            return SecondMoments(info, StoredSamples(info))
        if largest * (channels + largest) < channels**2:
            return SecondMoments(info, StoredSamples(info), TotalMoment(info))
        return SecondMoments(info, SummedMoments(info))


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

    def moments(self, info: DatasetInfo, previous: Operators | None) -> SecondMoments:
        """Empty moments as matrices, which the operators keep."""
        return SecondMoments(info, SummedMoments(info), keeps_sums=True)
