"""The variational form of R_c: every class's second moment out of atoms that all classes share.

Z Πʲ Zᵀ ≈ Γ diag(A_j) Γᵀ with A_j = n_j C_j, n_j = tr(Πʲ). The *codes* C_j are energies relative to
the number of samples: of unit features they sum to 1 at most, and neither the size of a batch nor
its mixture of classes changes what they mean. Atoms (q) and codes (k, q) are stored as rows.

Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022).
"""

from functools import cached_property

import torch
from torch import Tensor

from redunet.rates.covariance import RegularisedCovariance, log_det
from redunet.rates.partition import Partition


class Approximation:
    """How near dictionary and codes are to the second moments of a batch, without d × d matrices.

    M/m = Σ_j n_j ‖Z Πʲ Zᵀ/n_j − Γ diag(C_j) Γᵀ‖² (eq. 7 with M's 1/γ_j), which is zero for a class
    that the batch lacks.

    Parameters
    ----------
    Z : Tensor of shape (m, d)
        Features.
    partition : Partition
        In k classes.
    dictionary : Tensor of shape (q, d)
        Rows are atoms, Γᵀ.
    codes : Tensor of shape (k, q)
        Rows are C_j.
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
        """‖Z Πʲ Zᵀ‖² for every class, ``(k,)``, on the smaller side of each."""
        norms = self.counts.new_zeros(len(self.counts))
        for batch in self.partition.class_batches:
            members = batch.gather(self.Z[None])[0]  # (g, s, d)
            few = members.shape[1] < members.shape[2]
            gram = members @ members.mT if few else members.mT @ members
            norms = norms.index_add(0, batch.classes, gram.square().sum((1, 2)))
        return norms

    def error(self) -> Tensor:
        """M/m by eq. 9, a scalar, differentiable."""
        present = self.counts.clamp_min(torch.finfo(self.counts.dtype).tiny)
        of_classes = (self.squared_moments / present).sum()
        mixed = (self.codes * self.partition.sums(self.projections.square())).sum()
        of_atoms = ((self.codes @ self.coherence.square()) * self.codes).sum(1)
        return of_classes - 2 * mixed + (self.counts * of_atoms).sum()

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Of M/m with respect to dictionary (eq. 10) and codes (eq. 11)."""
        drawn = self.projections * self.partition.spread(self.codes)
        shared = self.codes.mT @ (self.counts[:, None] * self.codes)
        of_dictionary = (self.coherence * shared) @ self.dictionary - drawn.mT @ self.Z
        found = self.partition.sums(self.projections.square())
        expected = self.counts[:, None] * (self.codes @ self.coherence.square())
        return 4 * of_dictionary, 2 * (expected - found)

    def lipschitz(self) -> tuple[Tensor, Tensor]:
        """Bounds for these gradients: one for the dictionary (eq. 17), one a class (eq. 19)."""
        largest = self.codes.amax(1)
        of_dictionary = self.squared_moments.sqrt() * largest + self.counts * largest.square()
        return 4 * of_dictionary.sum(), 2 * self.counts * self.coherence.square().norm()


def variational_rates(
    dictionary: Tensor, codes: Tensor, shares: Tensor, eps_sq: float
) -> tuple[Tensor, Tensor]:
    """R^v and R_c^v in nats, of classes with these shares γ ``(k,)`` of all samples (eq. 7)."""
    scale = codes.new_tensor(dictionary.shape[1] / eps_sq)  # α m = α_j n_j
    weighted = (shares @ codes).sqrt()[:, None] * dictionary
    compression = (shares[:, None] * torch.log1p(scale * codes)).sum() / 2
    return log_det(weighted, scale) / 2, compression


def rate_gradients(
    dictionary: Tensor, codes: Tensor, shares: Tensor, eps_sq: float
) -> tuple[Tensor, Tensor]:
    """Of R^v − R_c^v with respect to dictionary and codes."""
    scale = codes.new_tensor(dictionary.shape[1] / eps_sq)
    energies = shares @ codes
    covariance = RegularisedCovariance.from_samples(energies.sqrt()[:, None] * dictionary, scale)
    shrunk = dictionary @ covariance.inverse()
    expansion = scale / 2 * shares[:, None] * (dictionary * shrunk).sum(1)
    compression = scale / 2 * shares[:, None] / (1 + scale * codes)
    return scale * energies[:, None] * shrunk, expansion - compression


def ascend(
    approximation: Approximation, eps_sq: float, mu: float, step_size: float
) -> tuple[Tensor, Tensor]:
    """Dictionary and codes after a proximal step up R^v − R_c^v − μ/(2m) M (Algorithm 1, 6–10).

    The steps are in units of one over the Lipschitz bounds of M's gradients, which dominate. Those
    of the codes differ by class, and in these units are the same as for A; a class that the batch
    lacks stays.
    """
    dictionary, codes = approximation.dictionary, approximation.codes
    shares = approximation.counts / len(approximation.Z)
    of_rates = rate_gradients(dictionary, codes, shares, eps_sq)
    of_error, bounds = approximation.gradients(), approximation.lipschitz()
    slopes = [rate - mu / 2 * error for rate, error in zip(of_rates, of_error, strict=True)]
    # A bound is zero for a class that the batch lacks, or if all codes are zero: nothing to move.
    steps = [torch.where(bound > 0, step_size / (mu / 2 * bound), 0) for bound in bounds]
    dictionary = dictionary + steps[0] * slopes[0]
    codes = codes + steps[1][:, None] * slopes[1]
    return torch.nn.functional.normalize(dictionary, dim=1), codes.relu()
