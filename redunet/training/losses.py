"""Rate reduction as what a featurizer is trained for: less of the loss is more of ΔR."""

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, as_samples, check_count, check_positive, check_sample_shape
from redunet.rates.coding_rates import compression_rate, expansion_rate, spectrum_of
from redunet.rates.covariance import leading_directions
from redunet.rates.partition import Partition
from redunet.training.dictionary import Approximation, ascend, variational_rates


class MCR2Loss(nn.Module):
    """Minus the rate reduction, −ΔR = R_c − R, in nats.

    R grows without bound with the norms of the features, so a featurizer should end with a
    normalisation. Features that are not normalised, classes of one sample, and classes that a batch
    lacks give finite values and gradients all the same. Half precision is computed in float32.

    Parameters
    ----------
    eps_sq : float
        ε², the squared precision of the code.
    gamma1, gamma2 : float
        1/(2γ₁) log det(I + γ₂ α ZZᵀ) in the place of R. With both at the number of classes in a
        batch (MCR²-CTRL), features are first compressed, then expanded, which helps without labels.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 11; eq. 152 for γ₁ and γ₂.

    Examples
    --------
    >>> import torch
    >>> Z = torch.nn.functional.normalize(torch.randn(100, 16), dim=1)
    >>> loss = MCR2Loss()(Z, torch.arange(100) % 10)
    """

    of_features = True

    def __init__(self, eps_sq: float = 0.5, gamma1: float = 1.0, gamma2: float = 1.0):
        super().__init__()
        check_positive(eps_sq=eps_sq, gamma1=gamma1, gamma2=gamma2)
        self.eps_sq = eps_sq
        self.gamma1 = gamma1
        self.gamma2 = gamma2

    def forward(self, Z: Tensor, labels: Array) -> Tensor:
        """The loss of a batch, a scalar.

        Parameters
        ----------
        Z : Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
            Features; with spatial axes the rates are the shift-invariant ones.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships whose rows sum to 1, to which gradients flow.

        Raises
        ------
        ValueError
            If features are not finite, or labels do not fit them.
        """
        Z = as_samples(Z, name="Z")
        partition = Partition.from_labels(labels, len(Z), device=Z.device, partial=True)
        spectrum = spectrum_of(Z)
        V = spectrum(Z)
        expansion = expansion_rate(V, spectrum, self.eps_sq / self.gamma2) / self.gamma1
        return compression_rate(V, spectrum, partition, self.eps_sq) - expansion

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"eps_sq={self.eps_sq}, gamma1={self.gamma1}, gamma2={self.gamma2}"


class OLELoss(nn.Module):
    """Orthogonal low-rank embedding: Σ_j ‖Z_j‖_* − ‖Z‖_*, for comparison.

    It is zero, its least, where classes lie in orthogonal subspaces of any dimensions. Where
    singular values are zero its gradient is the subgradient of least norm.

    References
    ----------
    Lezama, Qiu, Musé, Sapiro. OLÉ: Orthogonal Low-rank Embedding (CVPR 2018), without the bound on
    the norms of classes, which features of unit norm always keep; Chan et al. (JMLR 2022), Section
    2.3.
    """

    of_features = True

    def forward(self, Z: Tensor, labels: Array) -> Tensor:
        """The loss of a batch, a scalar.

        Parameters
        ----------
        Z : Tensor of shape (m, n)
            Features.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships whose rows sum to 1.

        Raises
        ------
        ValueError
            If features are not finite or not vectors, or labels do not fit them.
        """
        Z = _as_vectors(Z)
        partition = Partition.from_labels(labels, len(Z), device=Z.device, partial=True)
        with _full_precision(Z):
            parts = sum(
                nuclear_norm(batch.gather(Z[None])).sum() for batch in partition.class_batches
            )
            return parts - nuclear_norm(Z)


class VariationalMCR2Loss(nn.Module):
    """The variational form of the rate reduction: a dictionary that all classes share.

    Every class's second moment is approached by atoms of one dictionary, Z Πʲ Zᵀ ≈ Γ diag(A_j) Γᵀ,
    whose log determinants are sums of logarithms. Alternate, batch by batch (Algorithm 1):
    :meth:`update` makes the dictionary and the codes expand and compress; the loss then draws the
    features after them. :meth:`latch` on all samples first, and once in a while.
    :func:`redunet.train` does all of that.

    Parameters
    ----------
    num_classes : int
        k.
    dim : int
        d, dimension of the features.
    atoms_per_class : int
        q/k. More atoms than a class has dimensions are of no use.
    eps_sq : float
        ε², the squared precision of the code.
    mu : float
        μ, weight of the distance between second moments and their approximations.
    step_size : float
        ν_Γ and ν_A, steps of dictionary and codes in units of one over their Lipschitz bounds.

    Attributes
    ----------
    dictionary : Tensor of shape (q, d)
        Γᵀ: an atom of unit norm in each row.
    codes : Tensor of shape (k, q)
        Each class's energy on each atom, relative to its number of samples: A_j = tr(Πʲ) · codes_j.
        So they suit batches of any size and mixture.

    References
    ----------
    Baek, Wu, Chan, Ding, Ma, Haeffele. Efficient Maximal Coding Rate Reduction by Variational Forms
    (CVPR 2022), eqs. 7–19, Algorithms 1 and 2.
    """

    dictionary: Tensor
    codes: Tensor

    def __init__(
        self,
        num_classes: int,
        dim: int,
        atoms_per_class: int,
        eps_sq: float = 0.5,
        mu: float = 1.0,
        step_size: float = 5.0,
    ):
        super().__init__()
        check_count(num_classes=num_classes, dim=dim, atoms_per_class=atoms_per_class)
        check_positive(eps_sq=eps_sq, mu=mu, step_size=step_size)
        self.num_classes = num_classes
        self.dim = dim
        self.atoms_per_class = atoms_per_class
        self.eps_sq = eps_sq
        self.mu = mu
        self.step_size = step_size
        atoms = torch.randn(num_classes * atoms_per_class, dim)
        own = torch.eye(num_classes).repeat_interleave(atoms_per_class, 1) / atoms_per_class
        self.register_buffer("dictionary", nn.functional.normalize(atoms, dim=1))
        self.register_buffer("codes", own)

    def forward(self, Z: Tensor, labels: Array) -> Tensor:
        """μ/(2m) M: how far the second moments of a batch are from the approximations, a scalar.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features of unit norm.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers ``0 … k−1``, or soft memberships whose rows sum to 1.

        Raises
        ------
        ValueError
            If features are not finite or not of dimension d, or labels do not fit them.
        """
        with _full_precision(Z):
            return self.mu / 2 * self._approximation(Z, labels).error()

    @torch.no_grad()
    def objective(self, Z: Tensor, labels: Array) -> Tensor:
        """R^v − R_c^v − μ/(2m) M of a batch (eq. 7), a scalar.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features of unit norm.
        labels : array-like or Tensor of shape (m,) or (m, k)
            As for the loss.
        """
        with _full_precision(Z):
            rates = self.rates(labels)
            return rates[0] - rates[1] - self.forward(Z, labels)

    @torch.no_grad()
    def rates(self, labels: Array) -> tuple[Tensor, Tensor]:
        """R^v and R_c^v (eq. 7), scalars.

        Parameters
        ----------
        labels : array-like or Tensor of shape (m,) or (m, k)
            Of a batch, for the shares γ of its classes.
        """
        partition = self._partition(labels, np.shape(labels)[0])
        shares = (partition.counts / len(partition)).to(self.codes.dtype)
        return variational_rates(self.dictionary, self.codes, shares, self.eps_sq)

    @torch.no_grad()
    def update(self, Z: Tensor, labels: Array) -> None:
        """One step of dictionary and codes up the objective, with the features as they are.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features of unit norm.
        labels : array-like or Tensor of shape (m,) or (m, k)
            As for the loss.
        """
        with _full_precision(Z):
            approximation = self._approximation(Z, labels)
            dictionary, codes = ascend(approximation, self.eps_sq, self.mu, self.step_size)
        self.dictionary.copy_(dictionary)
        self.codes.copy_(codes)

    @torch.no_grad()
    def latch(self, Z: Tensor, labels: Array) -> None:
        """Take the leading eigenvectors and eigenvalues of every class (Algorithm 2).

        The best there is as μ grows; exact if no class has more than ``atoms_per_class``
        dimensions. Classes without samples stay as they are.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features, best of all samples.
        labels : array-like or Tensor of shape (m,) or (m, k)
            As for the loss.
        """
        Z = self._features(Z)
        partition = self._partition(labels, len(Z))
        blocks = (self.num_classes, self.atoms_per_class)
        atoms, codes = self.dictionary.unflatten(0, blocks), self.codes.unflatten(1, blocks)
        for batch in partition.class_batches:
            classes = batch.classes
            values, directions = leading_directions(batch.gather(Z[None])[0], blocks[1])
            found = values.shape[1]
            old = atoms[classes, :found]
            atoms[classes, :found] = torch.where(values[..., None] > 0, directions, old)
            codes[classes] = 0
            codes[classes, classes, :found] = values / partition.counts[classes, None].to(values)

    def _features(self, Z: Tensor) -> Tensor:
        Z = _as_vectors(Z)
        check_sample_shape(Z, (self.dim,))
        return Z.to(self.codes.dtype)

    def _partition(self, labels: Array, num_samples: int) -> Partition:
        classes = np.arange(self.num_classes)
        return Partition.from_labels(
            labels, num_samples, device=self.codes.device, classes=classes, partial=True
        )

    def _approximation(self, Z: Tensor, labels: Array) -> Approximation:
        Z = self._features(Z)
        return Approximation(Z, self._partition(labels, len(Z)), self.dictionary, self.codes)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return (
            f"num_classes={self.num_classes}, dim={self.dim}, "
            f"atoms_per_class={self.atoms_per_class}, eps_sq={self.eps_sq}, mu={self.mu}, "
            f"step_size={self.step_size}"
        )


def takes_features(loss: object) -> bool:
    """Whether a loss is a function of features and labels, not of logits and labels."""
    return bool(getattr(loss, "of_features", False))


def nuclear_norm(samples: Tensor) -> Tensor:
    """Sums of the singular values of ``(…, s, n)``, with the subgradient of least norm.

    ‖Z‖_* is the largest inner product of Z with matrices that have no singular value above 1. The
    best of these, which is UV* without the directions of zero singular values, is the subgradient.
    """
    with torch.no_grad():
        U, values, Vh = torch.linalg.svd(samples, full_matrices=False)
        rounding = torch.finfo(values.dtype).eps * max(samples.shape[-2:])
        best = (U * (values > rounding * values[..., :1])[..., None, :]) @ Vh
    return (samples * best).sum((-2, -1))


def _as_vectors(Z: Tensor) -> Tensor:
    Z = as_samples(Z, name="Z")
    if Z.ndim != 2:
        raise ValueError(f"Z must have shape (m, n), got {tuple(Z.shape)}")
    return Z


def _full_precision(Z: Tensor) -> torch.autocast:
    return torch.autocast(Z.device.type, enabled=False)
