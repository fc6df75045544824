"""Exact operators: the inverses of the papers, as dense or as low-rank matrices."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from redunet.layers.operators.base import Operators, block_entries
from redunet.layers.operators.dense import DenseOperators
from redunet.layers.operators.few_samples import FewSamplesOperators
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.low_rank import LowRankOperators
from redunet.layers.operators.moments import DatasetInfo, SecondMoments, TotalMoment
from redunet.rates.covariance import RegularisedCovariance, check_factors, second_moment
from redunet.rates.partition import Partition


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

    def moments(self, info: DatasetInfo, previous: Operators | None, depth: int) -> SecondMoments:
        """Second moments in the representation that takes less work."""
        return exact_moments(info)


def exact_moments(info: DatasetInfo) -> SecondMoments:
    """Second moments in the representation that takes less work.

    For each sample and class, norms and sums of responses take C² products with dense operators,
    and r(C + r) products if the class is represented by its r samples. E takes C² products as a
    matrix, and 2krC products if it is represented by the samples of all k classes.
    """
    largest, channels = info.largest_class, info.channels
    if 2 * len(info.counts) * largest < channels:
        return FewSamples(info)
    small = largest * (channels + largest) < channels**2
    return ClassSamples(info) if small else ClassMoments(info)


class ClassFactors(SecondMoments):
    """Second moments of the classes as factorised matrices. Each process factorises a part."""

    def __init__(self, info: DatasetInfo):
        super().__init__(info)
        self._classes: RegularisedCovariance  # (F·k,), the part of this process

    def class_log_dets(self) -> Tensor:
        """log det(I + α_j M_j(p)) for every frequency and class, ``(F, k)``."""
        return self.all_classes(self._classes.log_det())

    def shard(self, t: Tensor) -> Tensor:
        """The part of this process of a tensor ``(F, k, …)``, with the first two axes joined."""
        return self.info.processes.shard(t.flatten(0, 1))

    def all_classes(self, part: Tensor) -> Tensor:
        """Gather the parts of all processes, ``(F, k, …)``."""
        frequencies, classes = len(self.info.spectrum), len(self.info.counts)
        whole = self.info.processes.all_gather(part, frequencies * classes)
        return whole.unflatten(0, (frequencies, classes))


class ClassMoments(ClassFactors):
    """The second moments of the classes as matrices. Operators are dense."""

    def __init__(self, info: DatasetInfo):
        super().__init__(info)
        self._moments = info.zeros(
            len(info.spectrum),
            len(info.counts),
            info.channels,
            info.channels,
            dtype=info.moment_dtype,
        )

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        add_class_moments_(self._moments, V, partition)

    def finish(self) -> None:
        """Sum over all processes and factorise."""
        moments = self.info.processes.all_reduce(self._moments)
        del self._moments
        self._classes = RegularisedCovariance.from_moment(
            self.shard(moments), self.shard(self.info.class_scales), check=False
        )
        self.factorise(moments.sum(1), self._classes)

    def operators(self) -> DenseOperators:
        """E = α (I + α M)⁻¹ and all Cʲ = α_j (I + α_j M_j)⁻¹."""
        inverses = self.all_classes(self._classes.inverse())
        alphas = self.info.class_alphas.to(inverses.real.dtype)
        compression = inverses.mul_(alphas[:, None, None]).to(self.info.dtype)
        return DenseOperators(self.expansion(), compression)


def add_class_moments_(moments: Tensor, V: Tensor, partition: Partition) -> None:
    """Add the second moments of a batch ``(F, m, C)`` to those of the classes, ``(F, k, C, C)``.

    On a CPU the frequencies of a block fit in the cache, with the moments of all classes.
    """
    step = max(1, block_entries(V) // max(1, moments.shape[1] * V[0].numel()))
    for start in range(0, len(V), step):
        block = slice(start, start + step)
        for batch in partition.class_batches:
            members = batch.gather(V[block]).to(moments.dtype)
            moments[block].index_add_(1, batch.classes, second_moment(members))


class ClassVectors(ClassFactors, TotalMoment):
    """Vectors for each class instead of its second moment. Operators have low rank."""

    @abstractmethod
    def class_vectors(self) -> Tensor:
        """Rows whose second moments are those of the classes, ``(F, k, r, C)``."""

    def finish(self) -> None:
        """Sum over all processes and factorise."""
        self._classes = RegularisedCovariance.from_samples(
            self.shard(self.class_vectors().to(self.info.moment_dtype)),
            self.shard(self.info.class_scales),
            check=False,
        )
        self.factorise(self.total(), self._classes)

    def operators(self) -> LowRankOperators:
        """E = α (I + α M)⁻¹ and all Cʲ = α_j (I − W_j* W_j)."""
        factors = self.factors()
        alphas = self.info.class_alphas.to(factors.real.dtype, copy=True)
        return LowRankOperators(self.expansion(), factors, alphas)

    def factors(self) -> Tensor:
        """All W_j, ``(F, k, r, C)``."""
        return self.all_classes(self._classes.inverse_factor()).to(self.info.dtype)


class ClassSamples(ClassVectors):
    """The samples of each class: exact, and less work if they are fewer than the channels."""

    def __init__(self, info: DatasetInfo):
        super().__init__(info)
        self._samples = StoredSamples(info)

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        super().add(V, partition)
        self._samples.add(V, partition)

    def class_vectors(self) -> Tensor:
        """The samples of all processes, ``(F, k, r, C)``."""
        return self._samples.of_all_processes()


class FewSamples(ClassFactors):
    """The samples of each class, without a moment of all samples, which are few."""

    def __init__(self, info: DatasetInfo):
        super().__init__(info)
        self._samples = StoredSamples(info)

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        self._samples.add(V, partition)

    def finish(self) -> None:
        """Collect the samples of all processes and factorise."""
        samples = self._samples.of_all_processes().to(self.info.moment_dtype)
        self._classes = RegularisedCovariance.from_samples(
            self.shard(samples), self.shard(self.info.class_scales), check=False
        )
        shard = self.info.processes.shard
        self._total = RegularisedCovariance.from_samples(
            shard(samples.flatten(1, 2)), shard(self.info.scales), check=False
        )
        check_factors(self._total, self._classes)

    def operators(self) -> FewSamplesOperators:
        """E = α (I − U* U) and all Cʲ = α_j (I − W_j* W_j)."""
        total = self._all_frequencies(self._total.inverse_factor()).to(self.info.dtype)
        factors = self.all_classes(self._classes.inverse_factor()).to(self.info.dtype)
        alphas = self.info.class_alphas.to(factors.real.dtype, copy=True)
        return FewSamplesOperators(total, alphas.new_full((), self.info.alpha), factors, alphas)


class StoredSamples:
    """The samples of each class, in the order in which they come, with zeros after the last one.

    A sample of several classes is stored in each of them, times the root of its membership.
    """

    def __init__(self, info: DatasetInfo):
        shape = len(info.spectrum), len(info.counts), info.largest_class, info.channels
        self._processes = info.processes
        self._samples = info.zeros(*shape)
        self._filled = info.offsets.clone()  # the places of other processes stay 0

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        assignments = partition.assignments
        places = self._filled[assignments.classes] + assignments.ranks
        self._samples[:, assignments.classes, places] = assignments.gather(V)
        self._filled += partition.sizes

    def of_all_processes(self) -> Tensor:
        """The samples of all processes, ``(F, k, r, C)``. This is called once."""
        samples = self._processes.all_reduce(self._samples)
        del self._samples
        return samples
