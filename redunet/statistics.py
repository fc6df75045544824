"""What a layer learns about the samples: sums over them, batch by batch and process by process.

Operators and rates are made of the second moment M_j(p) = V(p) Πʲ V(p)* of each class at each
frequency. There are three ways to gather it, which differ in what they hold of a class: the moment
itself; its samples, where they are few; or r *atoms*, whose second moment is nearly that of the
class. Samples and atoms make operators of low rank.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from redunet.covariance import RegularisedCovariance, second_moment
from redunet.operators import DenseOperators, LowRankOperators, Operators
from redunet.partition import Partition
from redunet.processes import Processes
from redunet.rates import RateReduction
from redunet.spectrum import HalfSpectrum, squared_norms


@dataclass(frozen=True)
class Population:
    """What is known of all samples together before the first pass over them.

    Attributes
    ----------
    spectrum : HalfSpectrum
        Where the features live.
    channels : int
        C.
    dtype : torch.dtype
        Of the half spectra.
    counts : Tensor of shape (k,)
        tr Πʲ over all processes.
    sizes : Tensor of shape (k,)
        Samples that are in each class at all, over all processes.
    first : Tensor of shape (k,)
        Of these, how many are with the processes before this one.
    eps_sq : float
        ε².
    processes : Processes
        With which the samples are shared.
    """

    spectrum: HalfSpectrum
    channels: int
    dtype: torch.dtype
    counts: Tensor
    sizes: Tensor
    first: Tensor
    eps_sq: float
    processes: Processes

    @classmethod
    def of(
        cls,
        partition: Partition,
        spectrum: HalfSpectrum,
        channels: int,
        dtype: torch.dtype,
        eps_sq: float,
        processes: Processes,
    ) -> "Population":
        """From this process's partition; the processes add up theirs."""
        counts = processes.sum_(partition.counts.clone())
        sizes = torch.stack(processes.exchange(partition.sizes.cpu())).to(counts.device)
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

    @property
    def shares(self) -> Tensor:
        """γ_j, ``(k,)``."""
        return self.counts / self.counts.sum()

    @property
    def alpha(self) -> float:
        """α = C/(mε²)."""
        return self.channels / (self.counts.sum().item() * self.eps_sq)

    @property
    def alphas(self) -> Tensor:
        """α_j = C/(m_jε²), ``(k,)``; any number for a class without samples, whose moment is 0."""
        return self.channels / (torch.where(self.counts > 0, self.counts, 1) * self.eps_sq)

    def zeros(self, *shape: int) -> Tensor:
        """A sum to begin, of the samples' type."""
        return torch.zeros(shape, dtype=self.dtype, device=self.counts.device)


class Statistics(ABC):
    """Second moments of all samples and of every class.

    Add batches, then :meth:`finish`; after that there are :meth:`rates` and :meth:`operators`. Of
    what is as large as the operators, the processes work out a part each.
    """

    def __init__(self, population: Population):
        self.population = population
        self._total: RegularisedCovariance  # (F,), this process's part of them
        self._classes: RegularisedCovariance  # (F·k,), likewise

    @abstractmethod
    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)``."""

    @abstractmethod
    def finish(self) -> "Statistics":
        """Sum over the processes and factorise."""

    @abstractmethod
    def operators(self) -> Operators:
        """E = α (I + α V V*)⁻¹ and all Cʲ = α_j (I + α_j V Πʲ V*)⁻¹."""

    def rates(self) -> RateReduction:
        """R, R_c and ΔR: the log determinants of what the operators invert."""
        spectrum = self.population.spectrum
        weights = spectrum.weights / (2 * spectrum.size)
        expansion = weights @ self._of_all(self._total.log_det()).to(weights.dtype)
        log_dets = self._of_classes(self._classes.log_det()).to(weights.dtype)
        compression = weights @ self._complete(log_dets) @ self.population.shares
        return RateReduction(expansion - compression, expansion, compression)

    def _complete(self, log_dets: Tensor) -> Tensor:
        """The log determinants of the classes ``(F, k)``, with what the factors do not show."""
        return log_dets

    def _factorise(self, total: Tensor, classes: RegularisedCovariance) -> "Statistics":
        scales = self.population.alpha / self._weights()[:, 0]
        share = self.population.processes.share
        self._total = RegularisedCovariance.from_moment(share(total), share(scales))
        self._classes = classes
        return self

    def _class_scales(self) -> Tensor:
        """α_j over the Parseval weights, which the half spectrum has in its moments, ``(F, k)``."""
        return self.population.alphas.to(self._weights().dtype) / self._weights()

    def _weights(self) -> Tensor:
        """Parseval weights ``(F, 1)`` in the samples' precision."""
        precision = self.population.dtype.to_real()
        return self.population.spectrum.weights.to(precision)[:, None]

    def _share(self, t: Tensor) -> Tensor:
        """Part of this process of ``(F, k, …)``, flattened."""
        return self.population.processes.share(t.flatten(0, 1))

    def _of_all(self, part: Tensor) -> Tensor:
        """The parts of all processes, ``(F, …)``."""
        return self.population.processes.gather(part, len(self.population.spectrum))

    def _of_classes(self, part: Tensor) -> Tensor:
        """The parts of all processes, ``(F, k, …)``."""
        shape = len(self.population.spectrum), len(self.population.counts)
        return self.population.processes.gather(part, shape[0] * shape[1]).unflatten(0, shape)

    def _expansion(self) -> Tensor:
        return self._of_all(self._total.inverse()).mul_(self.population.alpha)


class ClassMoments(Statistics):
    """The moments themselves: operators are dense."""

    def __init__(self, population: Population):
        super().__init__(population)
        frequencies, classes = len(population.spectrum), len(population.counts)
        self._moments = population.zeros(
            frequencies, classes, population.channels, population.channels
        )

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)``."""
        for group in partition.groups:
            self._moments.index_add_(1, group.classes, second_moment(group.members(V)))

    def finish(self) -> "ClassMoments":
        """Sum over the processes and factorise."""
        moments = self.population.processes.sum_(self._moments)
        del self._moments
        classes = RegularisedCovariance.from_moment(
            self._share(moments), self._share(self._class_scales())
        )
        return self._factorise(moments.sum(1), classes)

    def operators(self) -> DenseOperators:
        """E = α (I + α V V*)⁻¹ and all Cʲ = α_j (I + α_j V Πʲ V*)⁻¹."""
        scales = self.population.alphas.to(self._weights().dtype)[:, None, None]
        compression = self._of_classes(self._classes.inverse()).mul_(scales)
        return DenseOperators(self._expansion(), compression)


class FactoredStatistics(Statistics):
    """A few vectors for each class, ``(F, k, r, C)``, in place of its moment."""

    def __init__(self, population: Population):
        super().__init__(population)
        self._moment = population.zeros(
            len(population.spectrum), population.channels, population.channels
        )

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)``."""
        self._moment.baddbmm_(V.mT, V.conj())

    def _finish_with(self, vectors: Tensor) -> "FactoredStatistics":
        total = self.population.processes.sum_(self._moment)
        del self._moment
        classes = RegularisedCovariance.from_samples(
            self._share(vectors), self._share(self._class_scales())
        )
        return self._factorise(total, classes)

    def operators(self) -> LowRankOperators:
        """E = α (I + α V V*)⁻¹ and all Cʲ = α_j (I − W_j* W_j)."""
        factors = self.factors()
        scales = self.population.alphas.to(factors.real.dtype)
        return LowRankOperators(self._expansion(), factors, scales)

    def factors(self) -> Tensor:
        """All W_j, ``(F, k, r, C)``."""
        return self._of_classes(self._classes.inverse_factor())


class ClassMembers(FactoredStatistics):
    """The samples of each class, where they are fewer than the channels: exact, and less work."""

    def __init__(self, population: Population):
        super().__init__(population)
        frequencies, classes = len(population.spectrum), len(population.counts)
        largest = int(population.sizes.max())
        self._members = population.zeros(frequencies, classes, largest, population.channels)
        self._filled = population.first.clone()  # the other processes leave their places 0

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)``."""
        super().add(V, partition)
        members = partition.members
        places = self._filled[members.classes] + members.ranks
        self._members[:, members.classes, places] = members.of(V)
        self._filled += partition.sizes

    def finish(self) -> "ClassMembers":
        """Sum over the processes and factorise."""
        members = self.population.processes.sum_(self._members)
        del self._members
        return self._finish_with(members)


class ClassAtoms(FactoredStatistics):
    """r vectors for each class whose second moment is nearly that of the class.

    With S the sketch of a class, r orthonormal rows that nearly span its leading eigenvectors, the
    sums Y = S M_j over the samples give M_j ≈ Y* (Y S*)⁻¹ Y, which is exact as soon as the rank of
    M_j is r or less. It is one step of subspace iteration: the rows of Y are the next sketch. No
    C × C matrix of a class is ever formed.

    The rates take the part N of M_j that the atoms miss, of which the trace is known, as spread
    evenly over the C − r directions it can have. As log det(I + A + N) ≤ log det(I + A) +
    log det(I + N), that is the most it can be: ΔR is never overstated.

    References
    ----------
    V-MCR²: its dictionary and codes Γ diag(A_j) Γ* are the atoms, its latching is the sketch.
    """

    def __init__(self, population: Population, sketch: Tensor):
        super().__init__(population)
        self._sketch = sketch  # (F, k, r, C)
        self._products = torch.zeros_like(sketch)
        self._traces = self._moment.real.new_zeros(sketch.shape[:2])

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)``."""
        super().add(V, partition)
        for group in partition.groups:
            members = group.members(V)
            codes = members @ self._sketch[:, group.classes].mT
            self._products.index_add_(1, group.classes, codes.mT @ members.conj())
            self._traces.index_add_(1, group.classes, squared_norms(members, dim=2))

    def finish(self) -> "ClassAtoms":
        """Sum over the processes and factorise."""
        products = self.population.processes.sum_(self._products)
        self._traces = self.population.processes.sum_(self._traces)
        del self._products
        core = products @ self._sketch.mH
        atoms = torch.linalg.solve_triangular(rounded_cholesky(core), products, upper=False)
        self._traces -= squared_norms(atoms, dim=2)
        return self._finish_with(atoms.conj())

    def _complete(self, log_dets: Tensor) -> Tensor:
        rank, channels = self._sketch.shape[2:]
        if rank == channels:
            return log_dets
        missed = self._class_scales() * self._traces.clamp_min(0)
        return log_dets + (channels - rank) * torch.log1p(missed / (channels - rank)).to(
            log_dets.dtype
        )


def random_sketch(population: Population, rank: int) -> Tensor:
    """Where subspace iteration begins, ``(F, k, r, C)``: the same on all processes and devices."""
    start = torch.randn(rank, population.channels, generator=torch.Generator().manual_seed(0))
    start = torch.linalg.qr(start.to(population.dtype.to_real()).mT).Q.mT
    shape = len(population.spectrum), len(population.counts), *start.shape
    return population.zeros(*shape) + start.to(population.counts.device)


def orthonormal_rows(rows: Tensor) -> Tensor:
    """An orthonormal basis of the space that rows ``(…, r, C)`` span.

    By Cholesky factors, which come in batches on any device. Rows are scaled first, so that weak
    directions are not lost beside strong ones; rows of no length stay so.
    """
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    rows = rows / torch.where(lengths > 0, lengths, 1)
    return torch.linalg.solve_triangular(rounded_cholesky(rows @ rows.mH), rows, upper=False)


def rounded_cholesky(gram: Tensor) -> Tensor:
    """Cholesky factor of a positive semi-definite matrix ``(…, r, r)``.

    As much is added to the diagonal as rounding may have taken away.
    """
    diagonal = gram.diagonal(dim1=-2, dim2=-1).real
    smallest = torch.finfo(diagonal.dtype)
    shift = smallest.eps * gram.shape[-1] * diagonal.amax(-1, keepdim=True) + smallest.tiny
    shifted = gram.clone()
    shifted.diagonal(dim1=-2, dim2=-1).add_(shift)
    return torch.linalg.cholesky(shifted)
