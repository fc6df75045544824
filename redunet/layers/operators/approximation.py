"""The approximation of second moments by a dictionary, and its ascent on the objective of V-MCR².

Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from redunet.layers.operators.dictionary import coherence
from redunet.rates.covariance import RegularisedCovariance
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
        return _weighted(self.coherence.unsqueeze(1), self.all_codes.sqrt())

    @cached_property
    def expansion_core(self) -> Tensor:
        """K with (I + β Γ diag(Σ_j γ_j c_j) Γ*)⁻¹ = I − Γ K Γ*, ``(F, q, q)``."""
        roots = self.energies.sqrt()
        beta = torch.full_like(roots[:, 0], self.beta)
        weighted = _weighted(self.coherence, roots)
        covariance = RegularisedCovariance.from_moment(weighted, beta, check=False)
        return woodbury_core(covariance, roots)

    @cached_property
    def squared_coherence(self) -> Tensor:
        """|Γ*Γ|² of every pair of atoms, ``(F, q, q)``."""
        return squared_moduli(self.coherence)

    @cached_property
    def shrunk_coherence(self) -> Tensor:
        """Γ* (I + β Γ diag(Σ_j γ_j c_j) Γ*)⁻¹ Γ, ``(F, q, q)``."""
        return self.coherence - self.coherence @ self.expansion_core @ self.coherence

    def correlation(self, counts: Tensor) -> Tensor:
        """Σ_j m_j c_j c_jᵀ, ``(F, q, q)``."""
        return self.codes.mT @ (counts[:, None] * self.codes)


class SampleSums(NamedTuple):
    """Sums over the samples that determine the gradients of the penalty."""

    counts: Tensor  # m_j, (k,)
    energies: Tensor  # diag(Γ* N_j Γ), (F, k, q)
    products: Tensor  # Σ_j m_j N_j Γ diag(c_j), with one atom per row, (F, q, C)
    traces: Tensor  # tr N_j, (F, k)


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


def ascended(before: Approximation, sums: SampleSums, mu: float, step_size: float) -> Approximation:
    """The approximation after one step of proximal gradient ascent (Algorithm 1, lines 6 to 10).

    The objective is R^v − R_c^v − (μ/2) Σ_j m_j ‖N_j − Γ diag(c_j) Γ*‖² at each frequency. After
    the step, atoms are scaled to unit norm, and negative codes are set to zero. An atom or a code
    does not move if the bound of its curvature is zero, as for a class without samples.

    Parameters
    ----------
    before : Approximation
    sums : SampleSums
        Sums with the atoms and codes of ``before``.
    mu : float
        μ, the weight of the penalty.
    step_size : float
        The steps in units of one over :func:`curvatures`.
    """
    rate_slopes, penalty_slopes = rate_gradients(before), penalty_gradients(before, sums)
    atoms, codes = (
        old + scaled(rate - mu / 2 * penalty, torch.where(bound > 0, step_size / bound, 0))
        for old, rate, penalty, bound in zip(
            (before.atoms, before.codes),
            rate_slopes,
            penalty_slopes,
            curvatures(before, sums, mu),
            strict=True,
        )
    )
    lengths = torch.linalg.vector_norm(atoms, dim=2, keepdim=True)
    atoms = scaled(atoms, torch.where(lengths > 0, 1 / lengths, 0))
    return Approximation(atoms, codes.relu(), before.shares, before.beta)


def rate_gradients(approximation: Approximation) -> tuple[Tensor, Tensor]:
    """Gradients of R^v − R_c^v with respect to the atoms and the codes."""
    a, beta = approximation, approximation.beta
    shrunk = a.atoms - (a.expansion_core @ a.coherence).mT @ a.atoms
    leverages = a.shrunk_coherence.diagonal(dim1=1, dim2=2).real
    compression = 1 / (1 + beta * a.codes)
    of_codes = beta / 2 * a.shares[:, None] * (leverages.unsqueeze(1) - compression)
    return scaled(shrunk, beta * a.energies[:, :, None]), of_codes


def penalty_gradients(approximation: Approximation, sums: SampleSums) -> tuple[Tensor, Tensor]:
    """Gradients of Σ_j m_j ‖N_j − Γ diag(c_j) Γ*‖² (eqs. 10 and 11), to the atoms and the codes."""
    a, counts = approximation, sums.counts[:, None]
    mixed = scaled(a.coherence.mT, a.correlation(sums.counts)) @ a.atoms
    of_codes = 2 * counts * (a.codes @ a.squared_coherence - sums.energies)
    return 4 * (mixed - sums.products), of_codes


def curvatures(approximation: Approximation, sums: SampleSums, mu: float) -> tuple[Tensor, Tensor]:
    """Bounds of the curvature of the objective along every atom and every code.

    A symmetric matrix H is at most the diagonal matrix of its absolute row sums. H is the second
    derivative of (μ/2) times the penalty, and for the codes also of −R^v. The second derivative
    with respect to an atom is bounded with tr N_j ≥ ‖N_j‖, and with the coherences of the atom in
    place of eq. 14.

    Returns
    -------
    of_atoms : Tensor of shape (F, q, 1)
    of_codes : Tensor of shape (F, k, q)
    """
    a, counts, beta = approximation, sums.counts[:, None], approximation.beta
    from_moments = ((counts * sums.traces[:, :, None]) * a.codes).sum(1)
    from_atoms = (a.squared_coherence.sqrt() * a.correlation(sums.counts)).sum(2)
    of_penalty = mu * counts * a.squared_coherence.sum(2).unsqueeze(1)
    of_rate = beta**2 / 2 * a.shares[:, None] * squared_moduli(a.shrunk_coherence).sum(2)[:, None]
    return (2 * mu * (from_moments + from_atoms)).unsqueeze(2), of_penalty + of_rate


def _weighted(gram: Tensor, roots: Tensor) -> Tensor:
    return scaled(gram, roots[..., :, None] * roots[..., None, :])
