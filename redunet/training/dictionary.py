"""The variational form of R_c: second moments of the classes from one shared dictionary.

Z Πʲ Zᵀ ≈ Γ diag(A_j) Γᵀ with A_j = n_j C_j, n_j = tr(Πʲ). The *codes* C_j are energies relative to
the number of samples in the class. For features of unit norm they sum to at most 1. Their meaning
does not depend on the size of a batch or on its mixture of classes. The q atoms are the rows of the
dictionary ``(q, d)``, and the k codes are the rows of a matrix ``(k, q)``.

Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022).
"""

from functools import cached_property

import torch
from torch import Tensor

from redunet.rates.covariance import RegularisedCovariance, log_det
from redunet.rates.partition import Partition


class Approximation:
    """The approximation of the second moments of a batch by a dictionary and codes.

    The squared error is M/m = Σ_j n_j ‖Z Πʲ Zᵀ/n_j − Γ diag(C_j) Γᵀ‖² (eq. 7 with M's 1/γ_j). A
    class without samples in the batch contributes zero. No d × d matrix is computed for a class
    with fewer than d samples.

    Parameters
    ----------
    Z : Tensor of shape (m, d)
        Features.
    partition : Partition
        The partition of the features into k classes.
    dictionary : Tensor of shape (q, d)
        Γᵀ, with one atom per row.
    codes : Tensor of shape (k, q)
        The codes C_j, one per row.
    """

    def __init__(self, Z: Tensor, partition: Partition, dictionary: Tensor, codes: Tensor):
        self.Z = Z
        self.partition = partition
        self.dictionary = dictionary
        self.codes = codes
        self.counts = partition.counts.to(Z.dtype)  # n_j

    @cached_property
    def coherence(self) -> Tensor:
        """ΓᵀΓ, ``(q, q)``."""
        return self.dictionary @ self.dictionary.mT

    @cached_property
    def projections(self) -> Tensor:
        """ZᵀΓ, ``(m, q)``."""
        return self.Z @ self.dictionary.mT

    @cached_property
    def squared_moments(self) -> Tensor:
        """‖Z Πʲ Zᵀ‖² of every class, ``(k,)``, from the smaller of its two Gram matrices."""
        norms = self.counts.new_zeros(len(self.counts))
        for batch in self.partition.class_batches:
            members = batch.gather(self.Z[None])[0]  # (g, s, d)
            wide = members.shape[1] < members.shape[2]
            gram = members @ members.mT if wide else members.mT @ members
            norms = norms.index_add(0, batch.classes, gram.square().sum((1, 2)))
        return norms

    def error(self) -> Tensor:
        """M/m by eq. 9, a differentiable scalar."""
        present = self.counts.clamp_min(torch.finfo(self.counts.dtype).tiny)
        moment_term = (self.squared_moments / present).sum()
        cross_term = (self.codes * self.partition.sums(self.projections.square())).sum()
        code_terms = ((self.codes @ self.coherence.square()) * self.codes).sum(1)
        return moment_term - 2 * cross_term + (self.counts * code_terms).sum()

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Gradients of M/m with respect to the dictionary (eq. 10) and the codes (eq. 11)."""
        weighted = self.projections * self.partition.spread(self.codes)
        correlation = self.codes.mT @ (self.counts[:, None] * self.codes)
        of_dictionary = (self.coherence * correlation) @ self.dictionary - weighted.mT @ self.Z
        energies = self.partition.sums(self.projections.square())
        approximations = self.counts[:, None] * (self.codes @ self.coherence.square())
        return 4 * of_dictionary, 2 * (approximations - energies)

    def lipschitz(self) -> tuple[Tensor, Tensor]:
        """Lipschitz bounds of the gradients: of the dictionary (eq. 17), of each code (eq. 19)."""
        largest = self.codes.amax(1)
        of_dictionary = self.squared_moments.sqrt() * largest + self.counts * largest.square()
        return 4 * of_dictionary.sum(), 2 * self.counts * self.coherence.square().norm()


def variational_rates(
    dictionary: Tensor, codes: Tensor, shares: Tensor, eps_sq: float
) -> tuple[Tensor, Tensor]:
    """R^v and R_c^v (eq. 7), in nats. ``shares`` ``(k,)`` holds γ, the shares of the classes."""
    scale = codes.new_full((), dictionary.shape[1] / eps_sq)  # α m = α_j n_j
    weighted = (shares @ codes).sqrt()[:, None] * dictionary
    compression = (shares[:, None] * torch.log1p(scale * codes)).sum() / 2
    return log_det(weighted, scale) / 2, compression


def rate_gradients(
    dictionary: Tensor, codes: Tensor, shares: Tensor, eps_sq: float
) -> tuple[Tensor, Tensor]:
    """Gradients of R^v − R_c^v with respect to the dictionary and the codes."""
    scale = codes.new_full((), dictionary.shape[1] / eps_sq)
    energies = shares @ codes
    covariance = RegularisedCovariance.from_samples(energies.sqrt()[:, None] * dictionary, scale)
    shrunk = dictionary @ covariance.inverse()
    expansion = scale / 2 * shares[:, None] * (dictionary * shrunk).sum(1)
    compression = scale / 2 * shares[:, None] / (1 + scale * codes)
    return scale * energies[:, None] * shrunk, expansion - compression


def ascend(
    approximation: Approximation, eps_sq: float, mu: float, step_size: float
) -> tuple[Tensor, Tensor]:
    """Dictionary and codes after one step of proximal gradient ascent (Algorithm 1, lines 6–10).

    The objective is R^v − R_c^v − μ/(2m) M. The unit of ``step_size`` is one over the Lipschitz
    bounds of the gradients of M, because these gradients dominate. The codes have one bound per
    class; in these units a step of C_j equals a step of A_j. The code of a class without samples in
    the batch stays the same.
    """
    dictionary, codes = approximation.dictionary, approximation.codes
    shares = approximation.counts / len(approximation.Z)
    of_rates = rate_gradients(dictionary, codes, shares, eps_sq)
    of_error, bounds = approximation.gradients(), approximation.lipschitz()
    slopes = [rate - mu / 2 * error for rate, error in zip(of_rates, of_error, strict=True)]
    # A bound is zero if the batch lacks the class or if all codes are zero. Then no step is taken.
    steps = [torch.where(bound > 0, step_size / (mu / 2 * bound), 0) for bound in bounds]
    dictionary = dictionary + steps[0] * slopes[0]
    codes = codes + steps[1][:, None] * slopes[1]
    return torch.nn.functional.normalize(dictionary, dim=1), codes.relu()
