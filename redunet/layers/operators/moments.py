"""Second moments of all samples and of every class, summed batch by batch and over processes.

Operators and rates are functions of the second moment M_j(p) = V(p) Πʲ V(p)* of each class at each
frequency, and of their sum M(p).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from redunet._processes import Processes
from redunet.layers.operators.base import Operators
from redunet.rates.coding_rates import RateReduction, mean_rate
from redunet.rates.covariance import RegularisedCovariance, check_factors, second_moment
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum

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
    def scales(self) -> Tensor:
        """α over the Parseval weight of each frequency, ``(F,)``.

        Half spectra include the root of the weight, so their moments include the weight.
        """
        return self.alpha / self._weights

    @cached_property
    def class_scales(self) -> Tensor:
        """α_j over the Parseval weight of each frequency, ``(F, k)``."""
        return self.class_alphas.to(self._weights.dtype) / self._weights[:, None]

    @property
    def moment_dtype(self) -> torch.dtype:
        """Data type of second moments: that of the half spectra, or double precision for fine ε².

        Operators always have the type of the half spectra.
        """
        if self.channels / self.eps_sq * torch.finfo(self.dtype).eps < LARGEST_CONDITION:
            return self.dtype
        return torch.complex128 if self.dtype.is_complex else torch.float64

    @cached_property
    def _weights(self) -> Tensor:
        return self.spectrum.weights.to(self.moment_dtype.to_real())

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros on the device of the half spectra, by default of their type."""
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.counts.device)


class SecondMoments(ABC):
    """Second moments of all samples and of every class.

    Add batches, then call :meth:`finish`. After that, :meth:`rates` and :meth:`operators` are
    available. A subclass implements :meth:`add`, :meth:`finish`, :meth:`class_log_dets` and
    :meth:`operators`; its :meth:`finish` ends with a call of :meth:`factorise`.

    Parameters
    ----------
    info : DatasetInfo
    """

    def __init__(self, info: DatasetInfo):
        self.info = info
        self._total: RegularisedCovariance  # (F,), the part of this process
        self._known_rates: RateReduction | None = None

    @abstractmethod
    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""

    @abstractmethod
    def finish(self) -> None:
        """Sum over all processes and prepare rates and operators."""

    def next_pass(self) -> "SecondMoments | None":
        """Empty moments for another pass over the samples; None if these are the last.

        They may depend on these moments, which are finished.
        """
        return None

    @abstractmethod
    def class_log_dets(self) -> Tensor:
        """log det(I + α_j M_j(p)) for every frequency and class, ``(F, k)``."""

    @abstractmethod
    def operators(self) -> Operators:
        """E = α (I + α M)⁻¹ and all Cʲ = α_j (I + α_j M_j)⁻¹."""

    def rates(self) -> RateReduction:
        """R, R_c and ΔR of the samples, in host memory. They are computed and copied once."""
        if self._known_rates is None:
            values = torch.stack(self.device_rates()).cpu()
            self._known_rates = RateReduction(*values)
        return self._known_rates

    def device_rates(self) -> RateReduction:
        """R, R_c and ΔR from log determinants of the matrices to be inverted, on the device."""
        of_all = self._all_frequencies(self._total.log_det())
        log_dets = torch.cat([of_all[:, None], self.class_log_dets()], 1)
        rates = mean_rate(log_dets.double(), self.info.spectrum)
        expansion, compression = rates[0], rates[1:] @ self.info.proportions
        return RateReduction(expansion - compression, expansion, compression)

    def factorise(self, total: Tensor, *classes: RegularisedCovariance) -> None:
        """Factorise the second moment of all samples, ``(F, C, C)``. Each process does a part.

        ``classes`` are factorised moments of the classes that have not been checked yet. All
        factors are checked together, so that the host waits once.
        """
        shard = self.info.processes.shard
        scales = shard(self.info.scales)
        self._total = RegularisedCovariance.from_moment(shard(total), scales, check=False)
        check_factors(self._total, *classes)

    def expansion(self) -> Tensor:
        """E = α (I + α M)⁻¹, ``(F, C, C)``."""
        inverse = self._all_frequencies(self._total.inverse()).mul_(self.info.alpha)
        return inverse.to(self.info.dtype)

    def _all_frequencies(self, part: Tensor) -> Tensor:
        """Gather the parts of all processes, ``(F, …)``."""
        return self.info.processes.all_gather(part, len(self.info.spectrum))


class TotalMoment(SecondMoments):
    """Second moments that sum the moment of all samples as a dense matrix.

    This is a base class for representations of classes that do not provide this sum themselves.
    """

    def __init__(self, info: DatasetInfo):
        super().__init__(info)
        self._moment = info.zeros(
            len(info.spectrum), info.channels, info.channels, dtype=info.moment_dtype
        )

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        self._moment += second_moment(V.to(self.info.moment_dtype))

    def finish(self) -> None:
        """Sum over all processes and factorise."""
        self.factorise(self.total())

    def total(self) -> Tensor:
        """The sum over all processes, ``(F, C, C)``."""
        total = self.info.processes.all_reduce(self._moment)
        del self._moment
        return total
