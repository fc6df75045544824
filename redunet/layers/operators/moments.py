"""Second moments of all samples and of every class, summed batch by batch and over processes.

Operators and rates are functions of the second moment M_j(p) = V(p) Πʲ V(p)* of each class at each
frequency, and of that of all samples, M(p).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from redunet._processes import Processes
from redunet.layers.operators.dense import DenseOperator
from redunet.layers.operators.low_rank import LowRankOperator
from redunet.layers.operators.operator import ClassSums, Operator, Operators
from redunet.layers.operators.responses import block_entries
from redunet.rates.coding_rates import RateReduction, mean_rate
from redunet.rates.covariance import RegularisedCovariance, check_factors, second_moment
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, scaled

# The largest C/ε² in units of the inverse rounding error, up to which second moments are summed in
# the type of the samples. It bounds the condition of the matrices to be inverted. Above it they are
# summed and inverted in double precision.
LARGEST_CONDITION = 0.01


@dataclass(frozen=True)
class DatasetInfo:
    """The sizes and counts of a data set that are known before the first pass over it.

    Attributes
    ----------
    spectrum : HalfSpectrum
        The transform between features and signals.
    channels : int
        Number of channels, C.
    dtype : torch.dtype
        Data type of the half spectra.
    counts : Tensor of shape (k,)
        tr Πʲ, the sum of the memberships in each class, over all processes.
    sizes : Tensor of shape (k,)
        Number of samples with any membership in each class, over all processes.
    offsets : Tensor of shape (k,)
        Number of these samples that belong to processes with a lower rank than this process.
    eps_sq : float
        ε², the squared precision of the code.
    processes : Processes
        The processes that share the samples.
    """

    spectrum: HalfSpectrum
    channels: int
    dtype: torch.dtype
    counts: Tensor
    sizes: Tensor
    offsets: Tensor
    eps_sq: float
    processes: Processes

    @classmethod
    def from_partition(
        cls,
        partition: Partition,
        spectrum: HalfSpectrum,
        channels: int,
        dtype: torch.dtype,
        eps_sq: float,
        processes: Processes,
    ) -> Self:
        """Sizes and counts from the partitions of all processes."""
        counts = processes.all_reduce(partition.counts.clone())
        sizes = torch.stack(processes.all_gather_object(partition.sizes.cpu())).to(counts.device)
        return cls(
            spectrum,
            channels,
            dtype,
            counts,
            sizes.sum(0),
            sizes[: processes.rank].sum(0),
            eps_sq,
            processes,
        )

    def with_partition(self, partition: Partition) -> Self:
        """The same samples with other classes."""
        return self.from_partition(
            partition, self.spectrum, self.channels, self.dtype, self.eps_sq, self.processes
        )

    @cached_property
    def proportions(self) -> Tensor:
        """γ_j, ``(k,)``."""
        return self.counts / self.counts.sum()

    @cached_property
    def largest_class(self) -> int:
        """Number of samples in the largest class, over all processes."""
        return int(self.sizes.max())

    @cached_property
    def alpha(self) -> float:
        """α = C/(mε²)."""
        return self.channels / (self.counts.sum().item() * self.eps_sq)

    @cached_property
    def class_alphas(self) -> Tensor:
        """α_j = C/(m_jε²), ``(k,)``.

        For a class without samples the value does not matter, because its moment is 0.
        """
        return self.channels / (torch.where(self.counts > 0, self.counts, 1) * self.eps_sq)

    @cached_property
    def together(self) -> Self:
        """The same samples as one class."""
        counts, sizes, offsets = (
            t.sum(0, keepdim=True) for t in (self.counts, self.sizes, self.offsets)
        )
        return replace(self, counts=counts, sizes=sizes, offsets=offsets)

    @cached_property
    def class_scales(self) -> Tensor:
        """α_j over the Parseval weight of each frequency, ``(F, k)``.

        Half spectra include the root of the weight, so their moments include the weight.
        """
        weights = self.spectrum.weights.to(self.moment_dtype.to_real())
        return self.class_alphas.to(weights.dtype) / weights[:, None]

    @property
    def moment_dtype(self) -> torch.dtype:
        """Data type of second moments: that of the half spectra, or double precision for fine ε².

        Operators always have the type of the half spectra.
        """
        if self.channels / self.eps_sq * torch.finfo(self.dtype).eps < LARGEST_CONDITION:
            return self.dtype
        return torch.complex128 if self.dtype.is_complex else torch.float64

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros on the device of the half spectra, by default of their type."""
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.counts.device)

    def whole(self, part: Tensor, count: int) -> Tensor:
        """Gather the parts of all processes, ``(F, count, …)``."""
        shape = len(self.spectrum), count
        return self.processes.all_gather(part, shape[0] * shape[1]).unflatten(0, shape)


class Moments(ABC):
    """Second moments of k groups of samples: of the classes, or of all samples as one group.

    Add batches, then call :meth:`finish`. After that, :meth:`log_dets` and :meth:`operator` are
    available. A subclass implements :meth:`add` and :meth:`operator`, and :meth:`covariance` or
    :meth:`log_dets`.

    Parameters
    ----------
    info : DatasetInfo
        The counts of the groups; ``info.together`` has one group.
    sums : Tensor of shape (F, k, …)
        What is summed over the batches; at first zeros.

    Attributes
    ----------
    factors : RegularisedCovariance or None
        Cholesky factors of I + α_j M_j(p), the part of this process, ``(F·k,)``.
    """

    def __init__(self, info: DatasetInfo, sums: Tensor):
        self.info = info
        self.sums = sums
        self.factors: RegularisedCovariance | None = None

    @abstractmethod
    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""

    def finish(self) -> None:
        """Sum over all processes, and factorise. The factors are not checked yet."""
        self.sums = self.info.processes.all_reduce(self.sums)
        self.factors = self.covariance()

    def covariance(self) -> RegularisedCovariance | None:
        """I + α_j M_j(p), the part of this process, ``(F·k,)``; None if no inverse is needed."""
        return None

    def log_dets(self) -> Tensor:
        """log det(I + α_j M_j(p)) for every frequency and group, ``(F, k)``."""
        assert self.factors is not None
        return self.info.whole(self.factors.log_det(), len(self.info.counts))

    @abstractmethod
    def operator(self) -> Operator:
        """α_j (I + α_j M_j)⁻¹ for every group."""

    def union(self) -> "Moments":
        """The sums of all samples as one group, which are not factorised yet."""
        raise TypeError(f"{type(self).__name__} need a total, from which E is made")

    def next_pass(self) -> "Moments | None":
        """Empty moments for another pass over the samples; None if these are the last.

        They may depend on these moments, which are finished.
        """
        return None


class SummedMoments(Moments):
    """Second moments as matrices. Operators are dense."""

    def __init__(self, info: DatasetInfo, sums: Tensor | None = None):
        if sums is None:
            shape = len(info.spectrum), len(info.counts), info.channels, info.channels
            sums = info.zeros(*shape, dtype=info.moment_dtype)
        super().__init__(info, sums)

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        add_class_moments_(self.sums, V, partition)

    def covariance(self) -> RegularisedCovariance:
        """I + α_j M_j(p), the part of this process, ``(F·k,)``."""
        shard = self.info.processes.shard
        return RegularisedCovariance.from_moment(shard(self.sums), shard(self.info.class_scales))

    def operator(self) -> DenseOperator:
        """α_j (I + α_j M_j)⁻¹ as matrices."""
        assert self.factors is not None
        inverses = self.info.whole(self.factors.inverse(), len(self.info.counts))
        alphas = self.info.class_alphas.to(inverses.real.dtype)
        return DenseOperator(inverses.mul_(alphas[:, None, None]).to(self.info.dtype))

    def union(self) -> "SummedMoments":
        """The sums of all samples as one group, which are not factorised yet."""
        return SummedMoments(self.info.together, self.sums.sum(1, keepdim=True))


class TotalMoment(SummedMoments):
    """The second moment of all samples as matrices."""

    def __init__(self, info: DatasetInfo):
        super().__init__(info.together)

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)``."""
        if partition.weights is not None:
            V = scaled(V, partition.weights.sqrt().to(V.real.dtype)[:, None])
        self.sums += second_moment(V.to(self.info.moment_dtype)).unsqueeze(1)


class RowMoments(Moments):
    """Rows ``(F, k, r, C)`` whose second moments are those of the groups, for low rank."""

    def rows(self) -> Tensor:
        """The rows ``(F, k, r, C)``, by default the sums over all processes. It is called once."""
        return self.sums

    def covariance(self) -> RegularisedCovariance:
        """I + α_j M_j(p), the part of this process, ``(F·k,)``."""
        rows, shard = self.rows().to(self.info.moment_dtype), self.info.processes.shard
        return RegularisedCovariance.from_samples(shard(rows), shard(self.info.class_scales))

    def operator(self) -> LowRankOperator:
        """α_j (I − W_j* W_j) = α_j (I + α_j M_j)⁻¹."""
        assert self.factors is not None
        factors = self.info.whole(self.factors.inverse_factor(), len(self.info.counts))
        alphas = self.info.class_alphas.to(self.info.dtype.to_real(), copy=True)
        return LowRankOperator(factors.to(self.info.dtype), alphas)


class StoredSamples(RowMoments):
    """The samples of each class, in the order in which they come, with zeros after the last one.

    This is exact, and less work than matrices if there are fewer samples than channels. A sample of
    several classes is stored in each of them, times the root of its membership.
    """

    def __init__(self, info: DatasetInfo, sums: Tensor | None = None):
        if sums is None:
            shape = len(info.spectrum), len(info.counts), info.largest_class, info.channels
            sums = info.zeros(*shape)
        super().__init__(info, sums)
        self._filled = info.offsets.clone()  # the places of other processes stay 0

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        own = partition.assignments
        self.sums[:, own.classes, self._filled[own.classes] + own.ranks] = own.gather(V)
        self._filled += own.sizes

    def union(self) -> "StoredSamples":
        """The samples of all classes as those of one group."""
        return StoredSamples(self.info.together, self.sums.flatten(1, 2).unsqueeze(1))


class SecondMoments:
    """Second moments of every class and of all samples, from which E, all Cʲ and the rates follow.

    Add batches, then call :meth:`finish`. After that, the other methods are available.

    Parameters
    ----------
    info : DatasetInfo
    classes : Moments
        Those of the classes, which give all Cʲ.
    total : Moments, optional
        Those of all samples, which give E. By default the union of the classes.
    keeps_sums : bool
        Whether the operators keep the sums that they are made from.
    """

    def __init__(
        self,
        info: DatasetInfo,
        classes: Moments,
        total: Moments | None = None,
        *,
        keeps_sums: bool = False,
    ):
        self.info = info
        self.classes = classes
        self.total = total
        self._keeps_sums = keeps_sums
        self._known_rates: RateReduction | None = None

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        self.classes.add(V, partition)
        if self.total is not None:
            self.total.add(V, partition)

    def finish(self) -> None:
        """Sum over all processes and factorise. The host waits once, to check all factors."""
        self.classes.finish()
        if self.total is None:
            self.total = self.classes.union()
            self.total.factors = self.total.covariance()
        else:
            self.total.finish()
        check_factors(*(each.factors for each in (self.total, self.classes) if each.factors))
        for each in (self.total, self.classes):
            if each.factors and not (self._keeps_sums and each is self.classes):
                del each.sums  # as large as the operators; those of the total may share memory

    def next_pass(self) -> "SecondMoments | None":
        """Empty moments for another pass over the samples; None if these are the last."""
        following = self.classes.next_pass()
        if following is None:
            return None
        return SecondMoments(self.info, following, TotalMoment(self.info))

    def log_dets(self) -> Tensor:
        """log det(I + α M) of all samples, and those of all classes, ``(F, 1 + k)``."""
        assert self.total is not None
        return torch.cat([self.total.log_dets(), self.classes.log_dets()], 1)

    def rates(self) -> RateReduction:
        """R, R_c and ΔR of the samples, in host memory. They are computed and copied once."""
        if self._known_rates is None:
            of_groups = mean_rate(self.log_dets().double(), self.info.spectrum)
            expansion, compression = of_groups[0], of_groups[1:] @ self.info.proportions
            values = torch.stack([expansion - compression, expansion, compression])
            self._known_rates = RateReduction(*values.cpu())
        return self._known_rates

    def operators(self) -> Operators:
        """E = α (I + α M)⁻¹ and all Cʲ = α_j (I + α_j M_j)⁻¹."""
        assert self.total is not None
        sums = None
        if self._keeps_sums:
            sums = ClassSums(self.classes.sums, self.info.counts.clone())
        return Operators(self.total.operator(), self.classes.operator(), sums)


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
