"""Operators from one dictionary for all classes, which ascends the objective of V-MCR².

Let N_j(p) be the second moment of class j at frequency p, per sample and times the number of
frequencies. It is approximated by Γ diag(c_j) Γ*. The q columns of Γ(p) are *atoms* of unit norm,
and the entries of c_j(p) ≥ 0 are *codes*. With A_j = m_j c_j, the dictionary and the codes ascend

    R^v − R_c^v − μ/(2m) Σ_j ‖M_j − Γ diag(A_j) Γ*‖² / γ_j.

The features enter this objective through the last term alone, and their gradient is
−(2μ/m_j) (M_j − S_j) Z Πʲ with S_j = Γ diag(A_j) Γ*. Where the objective is stationary in S_j, this
gradient equals E Z Πʲ − γ_j Cʲ Z Πʲ, with E and Cʲ made from the approximations S_j instead of M_j.
A layer takes this step with its current dictionary, which is close to stationary at best. The
gradient of the penalty is contained in the step and must not be added to it. The step of Algorithm
1 itself, with M_j − S_j in place of E and Cʲ, is not an option for a layer: it gives no residual
norms from which memberships of new samples could be estimated.

Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022).
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from redunet._checks import check_count, check_positive, set_fields
from redunet.layers.operators.dictionary import DictionaryOperator
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.moments import DatasetInfo, SecondMoments
from redunet.layers.operators.operator import Operators
from redunet.layers.operators.responses import block_entries
from redunet.layers.operators.variational import (
    LATCHING_PASSES,
    Sketch,
    orthonormal_rows,
    random_sketch,
)
from redunet.rates.covariance import RegularisedCovariance, check_factors
from redunet.rates.decomposition import leading_directions
from redunet.rates.dictionary import Approximation, SampleSums, ascended, curvatures, woodbury_core
from redunet.rates.partition import Partition
from redunet.rates.spectrum import as_double, scaled, squared_moduli


@dataclass(frozen=True)
class SharedDictionary(OperatorKind):
    """Operators from one dictionary that all classes share: V-MCR² as a construction.

    The second moment of every class is approximated by Γ diag(A_j) Γ*, with q atoms Γ and codes
    A_j ≥ 0. The first layer sets atoms and codes to the q/k leading eigenvectors and eigenvalues of
    each class ("latching", Algorithm 2). Every later layer moves them by one step of proximal
    gradient ascent on the objective of V-MCR² (Algorithm 1, lines 6 to 10).

    Given Γ and A, the operators E = α (I + α Γ diag(Σ_j A_j) Γ*)⁻¹ and
    Cʲ = α_j (I + α_j Γ diag(A_j) Γ*)⁻¹ are exact up to rounding. No C × C matrix is ever formed. A
    layer leaves the part of a sample that is orthogonal to all atoms unchanged, up to the
    normalisation. A layer stores q C numbers for the atoms and (1 + k) q² numbers for the operators
    at each frequency, and takes the same number of products for each sample.

    The rates of the history are those of the approximations: R^v, and log determinants in place of
    the sums in R_c^v, which bound them from above (Proposition 3.1). They are no bounds of the
    rates of the features: both are too low after latching, and with a small μ their difference may
    exceed ΔR. For the true value call :func:`redunet.rate_reduction`.

    Parameters
    ----------
    atoms : int
        Number of atoms at each frequency, q: a multiple of the number of classes k, and at most k
        times the number of channels.
    mu : float, default 1
        μ, the weight of the penalty on the distance between second moments and approximations. A
        smaller μ sets more codes to zero.

    Raises
    ------
    ValueError
        If an option is out of range, or the number of atoms does not suit the classes.

    Notes
    -----
    Eqs. 17 and 19 bound the curvature by one number for all atoms and one for all codes. Here every
    atom and every code has a bound of its own, so that atoms of little energy move as well. The
    step is one over the bound. The bounds of the codes also contain the curvature of R^v, which
    limits the step if μ is small. Features of signals are multiplied by the root of the number of
    frequencies, so that μ has the same meaning for signals as for vectors.

    References
    ----------
    Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022), eqs. 7
    to 19, Algorithms 1 and 2.
    """

    atoms: int
    mu: float = 1.0

    def __post_init__(self) -> None:
        set_fields(self, atoms=check_count(atoms=self.atoms), mu=check_positive(mu=self.mu))

    def moments(self, info: DatasetInfo, previous: Operators | None) -> SecondMoments:
        """Empty moments for the next dictionary, with several passes in the first layer."""
        before = None if previous is None else previous.compression
        if not isinstance(before, DictionaryOperator):
            sketch = random_sketch(info, self._atoms_per_class(info))
            return LatchingMoments(info, sketch, LATCHING_PASSES)
        device = info.counts.device
        dictionary, codes = before.dictionary.detach().to(device), before.codes.to(device)
        return AscendingMoments(info, dictionary, codes, self.mu)

    def _atoms_per_class(self, info: DatasetInfo) -> int:
        classes = len(info.counts)
        if self.atoms % classes:
            raise ValueError(
                f"atoms must be a multiple of the number of classes, {classes}, got {self.atoms}"
            )
        if self.atoms > classes * info.channels:
            raise ValueError(
                f"atoms must be at most {classes * info.channels}, the number of classes times "
                f"the number of channels, got {self.atoms}"
            )
        return self.atoms // classes


class DictionaryMoments(SecondMoments):
    """Approximations of the second moments of the classes. Operators share a dictionary.

    A subclass implements :meth:`add`, :meth:`finish`, which sums over all processes, and
    :meth:`approximate`.
    """

    def __init__(self, info: DatasetInfo):
        self.info = info
        self._known_rates = None
        # α_j M_j = β N_j for every class.
        self.beta = info.channels / (info.spectrum.size * info.eps_sq)

    def next_pass(self) -> "SecondMoments | None":
        """Empty moments for another pass over the samples; None if these are the last."""
        return None

    @abstractmethod
    def approximate(self) -> Approximation:
        """The approximation, from the sums over all processes. It is called once."""

    @property
    def units(self) -> Tensor:
        """The factor from M_j to N_j at each frequency and class, ``(F, k)``."""
        return self.info.class_scales / self.beta

    @cached_property
    def _approximation(self) -> Approximation:
        return self.approximate()

    @cached_property
    def _factors(self) -> RegularisedCovariance:
        """I + β diag(c)^½ Γ*Γ diag(c)^½, ``(F·(1 + k),)``, the part of this process."""
        part = self.info.processes.shard(self._approximation.weighted_coherence())
        beta = torch.full_like(part[:, 0, 0].real, self.beta)
        factors = RegularisedCovariance.from_moment(part, beta)
        check_factors(factors)
        return factors

    def log_dets(self) -> Tensor:
        """Those of the approximations, of all samples and of all classes, ``(F, 1 + k)``."""
        return self._gathered(self._factors.log_det())

    def operators(self) -> Operators:
        """E and all Cʲ of the approximation. Each has a copy of the dictionary."""
        approximation, dtype = self._approximation, self.info.dtype
        roots = self.info.processes.shard(approximation.all_codes.sqrt())
        cores = self._gathered(woodbury_core(self._factors, roots)).to(dtype)
        atoms, codes = approximation.atoms.to(dtype), approximation.all_codes.to(dtype.to_real())
        scales = torch.cat([self.info.together.class_alphas, self.info.class_alphas]).to(
            codes.dtype
        )
        E, C = (
            DictionaryOperator(atoms.clone(), *(t.contiguous() for t in parts))
            for parts in (
                (cores[:, :1], codes[:, :1], scales[:1]),
                (cores[:, 1:], codes[:, 1:], scales[1:]),
            )
        )
        return Operators(E, C)

    def _gathered(self, part: Tensor) -> Tensor:
        """The parts of all processes, ``(F, 1 + k, …)``."""
        return self.info.whole(part, 1 + len(self.info.counts))


class LatchingMoments(DictionaryMoments):
    """Atoms and codes from the leading eigenvectors and eigenvalues of each class (Algorithm 2).

    The eigenvectors are those of the approximation from a sketch, which is exact if the rank of a
    class is at most the number of its rows; see :class:`Sketch`.

    Parameters
    ----------
    info : DatasetInfo
    rows : Tensor of shape (F, k, q/k, C)
        Orthonormal rows close to the span of the leading eigenvectors of each class.
    passes : int
        Number of subspace iterations that follow; each is one more pass over the samples.
    """

    def __init__(self, info: DatasetInfo, rows: Tensor, passes: int):
        super().__init__(info)
        self._sketch = Sketch(info, rows)
        self._passes = passes
        self._vectors: Tensor

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        self._sketch.add(V, partition)

    def finish(self) -> None:
        """Sum over all processes."""
        self._sketch.sums = self.info.processes.all_reduce(self._sketch.sums)
        self._vectors = self._sketch.rows()

    def next_pass(self) -> "LatchingMoments | None":
        """Empty moments from the rows after one subspace iteration; None if these are the last."""
        if not self._passes:
            return None
        return LatchingMoments(self.info, orthonormal_rows(self._vectors.conj()), self._passes - 1)

    def approximate(self) -> Approximation:
        """The leading directions of each class. Atoms whose energy is zero are zero."""
        count, dtype = self._vectors.shape[2], self.info.moment_dtype
        values, directions = leading_directions(as_double(self._vectors), count)
        codes = torch.diag_embed(values.mT).movedim(1, 3)  # (F, k, k, q/k)
        codes = codes.to(dtype.to_real()) * self.units[:, :, None, None]
        atoms = directions.flatten(1, 2).to(dtype)
        proportions = self.info.proportions.to(codes.dtype)
        return Approximation(atoms, codes.flatten(2), proportions, self.beta)


class AscendingMoments(DictionaryMoments):
    """Atoms and codes of the layer before, moved by one step of proximal gradient ascent.

    Two sums over the samples determine the gradients: the energy of every class on every atom, and
    Σ_j N_j Γ diag(A_j).

    Parameters
    ----------
    info : DatasetInfo
    dictionary : Tensor of shape (F, q, C)
        Atoms of the layer before, one per row.
    codes : Tensor of shape (F, k, q)
        Codes of the layer before.
    mu : float
        See :class:`SharedDictionary`.
    """

    def __init__(self, info: DatasetInfo, dictionary: Tensor, codes: Tensor, mu: float):
        super().__init__(info)
        self._atoms = dictionary.to(info.moment_dtype)
        self._codes = codes.to(self._atoms.real.dtype)
        self._mu = mu
        # The samples of class j have the weight of N_j, times m_j.
        self._units = self.units.to(self._codes.dtype)
        self._weights = self._units * info.counts.to(self._codes.dtype)
        self._energies = torch.zeros_like(self._codes)
        self._products = torch.zeros_like(self._atoms)
        self._traces = torch.zeros_like(self._codes[:, :, 0])

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        V = V.to(self._atoms.dtype)
        entries = V.shape[1] * max(V.shape[2], self._atoms.shape[1])
        step = max(1, block_entries(V) // max(1, entries))
        for start in range(0, len(V), step):  # blocks of frequencies
            block = slice(start, start + step)
            projections = V[block] @ self._atoms[block].mH  # (F_b, m, q)
            squares = squared_moduli(projections).transpose(0, 1)
            energies = partition.sums(squares.flatten(1)).unflatten(1, squares.shape[1:])
            self._energies[block] += energies.transpose(0, 1)
            weighted = (self._weights[block, :, None] * self._codes[block]).transpose(0, 1)
            spread = partition.spread(weighted.flatten(1)).unflatten(1, weighted.shape[1:])
            self._products[block] += scaled(projections, spread.transpose(0, 1)).mH @ V[block]
            norms = torch.linalg.vector_norm(V[block], dim=2).square()
            self._traces[block] += partition.sums(norms.mT).mT

    def finish(self) -> None:
        """Sum over all processes."""
        for sums in (self._energies, self._products, self._traces):
            self.info.processes.all_reduce(sums)

    def approximate(self) -> Approximation:
        """The dictionary and the codes after the step."""
        sums = SampleSums(
            self.info.counts.to(self._codes.dtype),
            self._energies * self._units[:, :, None],
            self._products,
        )
        shares = self.info.proportions.to(self._codes.dtype)
        before = Approximation(self._atoms, self._codes, shares, self.beta)
        bounds = curvatures(before, sums.counts, self._traces * self._units, self._mu)
        return ascended(before, sums, bounds, self._mu, 1.0)
