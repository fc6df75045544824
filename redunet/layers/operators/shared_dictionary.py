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
from redunet.layers.operators.base import Operators, block_entries
from redunet.layers.operators.dictionary import SharedDictionaryOperators
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.moments import DatasetInfo, SecondMoments
from redunet.layers.operators.variational import (
    LATCHING_PASSES,
    Sketch,
    orthonormal_rows,
    random_sketch,
)
from redunet.rates.coding_rates import RateReduction, mean_rate
from redunet.rates.covariance import RegularisedCovariance, check_factors, leading_directions
from redunet.rates.dictionary import (
    Approximation,
    SampleSums,
    ascended,
    curvatures,
    woodbury_core,
)
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
    step_size : float, default 1
        ν_Γ and ν_A, the step sizes of the atoms and of the codes. Their unit is one over a bound of
        the curvature of each atom and of each code.
    latch_every : int, optional
        Number of layers from one latching to the next. By default only the first layer latches.

    Raises
    ------
    ValueError
        If an option is out of range, or the number of atoms does not suit the classes.

    Notes
    -----
    Eqs. 17 and 19 bound the curvature by one number for all atoms and one for all codes. Here every
    atom and every code has a bound of its own, so that atoms of little energy move as well. The
    bounds of the codes also contain the curvature of R^v, which limits the step if μ is small.
    Features of signals are multiplied by the root of the number of frequencies, so that μ has the
    same meaning for signals as for vectors.

    References
    ----------
    Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022), eqs. 7
    to 19, Algorithms 1 and 2.
    """

    atoms: int
    mu: float = 1.0
    step_size: float = 1.0
    latch_every: int | None = None

    def __post_init__(self) -> None:
        atoms, latch_every = check_count(atoms=self.atoms, latch_every=self.latch_every)
        mu, step_size = check_positive(mu=self.mu, step_size=self.step_size)
        set_fields(self, atoms=atoms, latch_every=latch_every, mu=mu, step_size=step_size)

    def moments(
        self, info: DatasetInfo, previous: Operators | None, depth: int
    ) -> "DictionaryMoments":
        """The next dictionary from one pass over the samples, or from more if the layer latches."""
        if not isinstance(previous, SharedDictionaryOperators):
            sketch = random_sketch(info, self._atoms_per_class(info))
            return LatchingMoments(info, sketch, LATCHING_PASSES)
        device, latch_every = info.counts.device, self.latch_every
        dictionary = previous.dictionary.detach().to(device)
        if latch_every and depth % latch_every == 0:
            own = dictionary.unflatten(1, (len(info.counts), -1)).conj()
            return LatchingMoments(info, orthonormal_rows(own), LATCHING_PASSES)
        codes = previous.codes.to(device)
        return AscendingMoments(info, dictionary, codes, self.mu, self.step_size)

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

    @abstractmethod
    def approximate(self) -> Approximation:
        """The approximation, from the sums over all processes. It is called once."""

    @cached_property
    def _approximation(self) -> Approximation:
        return self.approximate()

    @cached_property
    def _covariances(self) -> RegularisedCovariance:
        """I + β diag(c)^½ Γ*Γ diag(c)^½, ``(F·(1 + k),)``, the part of this process."""
        part = self.info.processes.shard(self._approximation.weighted_coherence().flatten(0, 1))
        beta = torch.full_like(part[:, 0, 0].real, self.beta)
        covariances = RegularisedCovariance.from_moment(part, beta, check=False)
        check_factors(covariances)
        return covariances

    @property
    def beta(self) -> float:
        """β = C/(|F| ε²): α_j M_j = β N_j for every class."""
        return self.info.channels / (self.info.spectrum.size * self.info.eps_sq)

    @property
    def units(self) -> Tensor:
        """The factor from M_j to N_j at each frequency and class, ``(F, k)``."""
        return self.info.class_scales / self.beta

    def device_rates(self) -> RateReduction:
        """ΔR, R and R_c of the approximations, on the device."""
        log_dets = self._log_dets.double()
        expansion = mean_rate(log_dets[:, 0], self.info.spectrum)
        compression = mean_rate(log_dets[:, 1:], self.info.spectrum) @ self.info.proportions
        return RateReduction(expansion - compression, expansion, compression)

    def class_log_dets(self) -> Tensor:
        """log det(I + α_j Γ diag(A_j) Γ*) for every frequency and class, ``(F, k)``."""
        return self._log_dets[:, 1:]

    @cached_property
    def _log_dets(self) -> Tensor:
        return self._gathered(self._covariances.log_det())

    def operators(self) -> SharedDictionaryOperators:
        """E and all Cʲ of the approximation."""
        atoms, codes = self._approximation.atoms, self._approximation.codes
        roots = self.info.processes.shard(self._approximation.all_codes.sqrt().flatten(0, 1))
        cores = self._gathered(woodbury_core(self._covariances, roots))
        dtype = self.info.dtype
        alphas = self.info.class_alphas.to(dtype.to_real())
        scales = torch.cat([alphas.new_full((1,), self.info.alpha), alphas])
        return SharedDictionaryOperators(
            atoms.to(dtype), cores.to(dtype), codes.to(dtype.to_real()), scales
        )

    def _gathered(self, part: Tensor) -> Tensor:
        """The parts of all processes, ``(F, 1 + k, …)``."""
        shape = len(self.info.spectrum), 1 + len(self.info.counts)
        whole = self.info.processes.all_gather(part, shape[0] * shape[1])
        return whole.unflatten(0, shape)


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
        self._vectors, _ = self._sketch.vectors()

    def next_pass(self) -> "LatchingMoments | None":
        """Moments with the rows after one subspace iteration, unless these are the last rows."""
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
    mu, step_size : float
        See :class:`SharedDictionary`.
    """

    def __init__(
        self, info: DatasetInfo, dictionary: Tensor, codes: Tensor, mu: float, step_size: float
    ):
        super().__init__(info)
        self._atoms = dictionary.to(info.moment_dtype)
        self._codes = codes.to(self._atoms.real.dtype)
        self._mu, self._step_size = mu, step_size
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
            self._add_block(V[start : start + step], partition, slice(start, start + step))

    def _add_block(self, V: Tensor, partition: Partition, block: slice) -> None:
        projections = V @ self._atoms[block].mH  # (F_b, m, q)
        squares = squared_moduli(projections).transpose(0, 1)
        self._energies[block] += (
            partition.sums(squares.flatten(1)).unflatten(1, squares.shape[1:]).transpose(0, 1)
        )
        weighted = (self._weights[block, :, None] * self._codes[block]).transpose(0, 1)
        spread = partition.spread(weighted.flatten(1)).unflatten(1, weighted.shape[1:])
        self._products[block] += scaled(projections, spread.transpose(0, 1)).mH @ V
        norms = torch.linalg.vector_norm(V, dim=2).square()
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
        return ascended(before, sums, bounds, self._mu, self._step_size)
