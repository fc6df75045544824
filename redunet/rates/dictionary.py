"""Second moments of all classes from one dictionary, and the ascent of V-MCR².

The second moment N_j of class j, per sample, is approximated by Γ diag(c_j) Γ*. The q *atoms* are
the rows of the dictionary, and the *codes* c_j ≥ 0 say how much of each atom the class has.

Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from redunet.rates.covariance import RegularisedCovariance, log_det
from redunet.rates.spectrum import scaled, squared_moduli


@dataclass(frozen=True)
class Approximation:
    """Second moments from a dictionary and codes: N_j ≈ Γ diag(c_j) Γ* at each frequency.

    Attributes
    ----------
    atoms : Tensor of shape (F, q, C)
        Γ transposed, with one atom per row.
    codes : Tensor of shape (F, k, q)
        The codes c_j ≥ 0.
    shares : Tensor of shape (k,)
        γ_j.
    beta : float
        β with α_j M_j = β N_j for every class.
    """

    atoms: Tensor
    codes: Tensor
    shares: Tensor
    beta: float

    @cached_property
    def coherence(self) -> Tensor:
        """Γ*Γ, ``(F, q, q)``."""
        return coherence(self.atoms)

    @cached_property
    def squared_coherence(self) -> Tensor:
        """|Γ*Γ|² of every pair of atoms, ``(F, q, q)``."""
        return squared_moduli(self.coherence)

    @cached_property
    def energies(self) -> Tensor:
        """Σ_j γ_j c_j, the codes of all samples together, ``(F, q)``."""
        return (self.shares[:, None] * self.codes).sum(1)

    @cached_property
    def all_codes(self) -> Tensor:
        """The codes of all samples together, then those of the classes, ``(F, 1 + k, q)``."""
        return torch.cat([self.energies.unsqueeze(1), self.codes], 1)

    def weighted_coherence(self) -> Tensor:
        """diag(c)^½ Γ*Γ diag(c)^½ for all samples together and for all classes.

        Returns
        -------
        Tensor of shape (F, 1 + k, q, q)
        """
        roots = self.all_codes.sqrt()
        return scaled(self.coherence.unsqueeze(1), roots[..., :, None] * roots[..., None, :])

    @cached_property
    def covariance(self) -> RegularisedCovariance:
        """I + β Γ diag(Σ_j γ_j c_j) Γ*, which is not checked."""
        return RegularisedCovariance.from_samples(*self._weighted_atoms())

    @cached_property
    def shrunk_atoms(self) -> Tensor:
        """(I + β Γ diag(Σ_j γ_j c_j) Γ*)⁻¹ Γ with one atom per row, ``(F, q, C)``."""
        return self.covariance.solve(self.atoms)

    def rates(self) -> tuple[Tensor, Tensor]:
        """R^v and R_c^v (eq. 7) of vectors, in nats."""
        compression = (self.shares[:, None] * torch.log1p(self.beta * self.codes)).sum() / 2
        return log_det(*self._weighted_atoms()).sum() / 2, compression

    def _weighted_atoms(self) -> tuple[Tensor, Tensor]:
        weighted = scaled(self.atoms, self.energies.sqrt().unsqueeze(2))
        return weighted, torch.full_like(self.energies[:, 0], self.beta)

    def correlation(self, counts: Tensor) -> Tensor:
        """Σ_j m_j c_j c_jᵀ, ``(F, q, q)``."""
        return self.codes.mT @ (counts[:, None] * self.codes)


class SampleSums(NamedTuple):
    """Sums over the samples that determine the gradients of the penalty."""

    counts: Tensor  # m_j, (k,)
    energies: Tensor  # diag(Γ* N_j Γ), (F, k, q)
    products: Tensor  # Σ_j m_j N_j Γ diag(c_j), with one atom per row, (F, q, C)


class Bounds(NamedTuple):
    """Bounds of the curvature of the objective, which the steps are measured in."""

    atoms: Tensor  # of every atom, or of all of them; broadcasts to (F, q, 1)
    codes: Tensor  # of every code, or of all codes of a class; broadcasts to (F, k, q)


def coherence(dictionary: Tensor) -> Tensor:
    """Γ*Γ of atoms as rows, ``(…, q, C)`` to ``(…, q, q)``."""
    return dictionary.conj() @ dictionary.mT


def woodbury_core(covariance: RegularisedCovariance, roots: Tensor) -> Tensor:
    """K with (I + β Γ diag(r²) Γ*)⁻¹ = I − Γ K Γ*, ``(…, q, q)``, by Woodbury's identity.

    Parameters
    ----------
    covariance : RegularisedCovariance
        I + β diag(r) Γ*Γ diag(r).
    roots : Tensor of shape (…, q)
        The roots r of the codes.
    """
    factor = covariance.factor
    diagonal = torch.diag_embed(covariance.scale.sqrt()[..., None] * roots).to(factor.dtype)
    half = torch.linalg.solve_triangular(factor, diagonal, upper=False)
    return half.mH @ half


def ascended(
    before: Approximation, sums: SampleSums, bounds: Bounds, mu: float, step_size: float
) -> Approximation:
    """The approximation after one step of proximal gradient ascent (Algorithm 1, lines 6 to 10).

    The objective is R^v − R_c^v − (μ/2) Σ_j m_j ‖N_j − Γ diag(c_j) Γ*‖² at each frequency. After
    the step, atoms are scaled to unit norm, and negative codes are set to zero. An atom or a code
    does not move if its bound is zero, as for a class without samples.

    Parameters
    ----------
    before : Approximation
    sums : SampleSums
        Sums with the atoms and codes of ``before``.
    bounds : Bounds
        From :func:`curvatures` or :func:`lipschitz_bounds`.
    mu : float
        μ, the weight of the penalty.
    step_size : float
        The steps in units of one over the bounds.
    """
    rate_slopes, penalty_slopes = rate_gradients(before), penalty_gradients(before, sums)
    steps = (torch.where(bound > 0, step_size / bound, 0) for bound in bounds)
    atoms, codes = (
        old + scaled(rate - mu / 2 * penalty, step)
        for old, rate, penalty, step in zip(
            (before.atoms, before.codes), rate_slopes, penalty_slopes, steps, strict=True
        )
    )
    lengths = torch.linalg.vector_norm(atoms, dim=2, keepdim=True)
    atoms = scaled(atoms, torch.where(lengths > 0, 1 / lengths, 0))
    return Approximation(atoms, codes.relu(), before.shares, before.beta)


def rate_gradients(approximation: Approximation) -> tuple[Tensor, Tensor]:
    """Gradients of R^v − R_c^v with respect to the atoms and the codes."""
    a, beta = approximation, approximation.beta
    leverages = (a.atoms.conj() * a.shrunk_atoms).real.sum(2)
    compression = 1 / (1 + beta * a.codes)
    of_codes = beta / 2 * a.shares[:, None] * (leverages.unsqueeze(1) - compression)
    return scaled(a.shrunk_atoms, beta * a.energies[:, :, None]), of_codes


def penalty_gradients(approximation: Approximation, sums: SampleSums) -> tuple[Tensor, Tensor]:
    """Gradients of Σ_j m_j ‖N_j − Γ diag(c_j) Γ*‖² (eqs. 10 and 11), to the atoms and the codes."""
    a, counts = approximation, sums.counts[:, None]
    mixed = scaled(a.coherence.mT, a.correlation(sums.counts)) @ a.atoms
    of_codes = 2 * counts * (a.codes @ a.squared_coherence - sums.energies)
    return 4 * (mixed - sums.products), of_codes


def curvatures(approximation: Approximation, counts: Tensor, traces: Tensor, mu: float) -> Bounds:
    """Bounds of the curvature of the objective along every atom and every code.

    A symmetric matrix H is at most the diagonal matrix of its absolute row sums. H is the second
    derivative of (μ/2) times the penalty, and for the codes also of −R^v. The second derivative
    with respect to an atom is bounded with tr N_j ≥ ‖N_j‖, and with the coherences of the atom in
    place of eq. 14.

    Parameters
    ----------
    approximation : Approximation
    counts : Tensor of shape (k,)
        m_j.
    traces : Tensor of shape (F, k)
        tr N_j.
    mu : float
        μ, the weight of the penalty.
    """
    a, of_all = approximation, counts[:, None]
    from_moments = ((of_all * traces[:, :, None]) * a.codes).sum(1)
    from_atoms = (a.squared_coherence.sqrt() * a.correlation(counts)).sum(2)
    of_penalty = mu * of_all * a.squared_coherence.sum(2).unsqueeze(1)
    shrunk = squared_moduli(a.atoms.conj() @ a.shrunk_atoms.mT).sum(2).unsqueeze(1)
    of_rate = a.beta**2 / 2 * a.shares[:, None] * shrunk
    return Bounds((2 * mu * (from_moments + from_atoms)).unsqueeze(2), of_penalty + of_rate)


def lipschitz_bounds(
    approximation: Approximation, counts: Tensor, norms: Tensor, mu: float
) -> Bounds:
    """The paper's bounds for all atoms (eq. 17) and for all codes of a class (eq. 19).

    They bound the curvature of (μ/2) times the penalty, whose gradients dominate.

    Parameters
    ----------
    approximation : Approximation
    counts : Tensor of shape (k,)
        m_j.
    norms : Tensor of shape (F, k)
        The norms ‖m_j N_j‖.
    mu : float
        μ, the weight of the penalty.
    """
    a = approximation
    largest = a.codes.amax(2)
    of_atoms = (norms * largest + counts * largest.square()).sum(1)
    of_codes = counts * torch.linalg.matrix_norm(a.squared_coherence)[:, None]
    return Bounds(2 * mu * of_atoms[:, None, None], mu * of_codes[:, :, None])
