"""Losses on features: the negative rate reduction, its variational form, and OLE."""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from redunet._checks import (
    Array,
    as_samples,
    check_count,
    check_positive,
    check_sample_shape,
    is_traced,
)
from redunet._keywords import suggests
from redunet._labels import as_labels
from redunet._precision import full_precision, has_overflowed, undefined_loss
from redunet._processes import Processes
from redunet._warnings import warn
from redunet.rates.coding_rates import compression_rate, expansion_rate, spectrum_of
from redunet.rates.covariance import check_factors
from redunet.rates.decomposition import leading_directions
from redunet.rates.dictionary import (
    Approximation,
    SampleSums,
    ascended,
    coherence,
    lipschitz_bounds,
)
from redunet.rates.partition import Partition

# Features whose norms differ from 1 by more than this are not normalised. Half precision rounds.
NORM_TOLERANCE = 0.01


class UnitNormLoss(nn.Module):
    """A loss on features of unit norm."""

    _is_new = True

    def _check_norms(self, Z: Tensor) -> None:
        """Warn at the first batch if its features do not have unit norm."""
        if not self._is_new or is_traced():
            return
        self._is_new = False
        largest = torch.linalg.vector_norm(Z.detach().flatten(1), dim=1).max().item()
        if largest > 0 and abs(largest - 1) > NORM_TOLERANCE:
            warn(
                f"features should have unit norm, but the largest norm in this batch is "
                f"{largest:.3g}: end the featurizer with torch.nn.functional.normalize(Z, dim=1). "
                "Otherwise their norms grow instead of the angles between classes"
            )


class MCR2Loss(UnitNormLoss):
    """The negative rate reduction, −ΔR = R_c − R, in nats.

    R grows without bound with the norms of the features, so a featurizer should end with a
    normalisation; the loss warns if the first batch has none. Values and gradients are finite even
    if features are not normalised, classes have one sample, or a batch lacks a class. Features of
    half precision are computed in float32. If they overflowed, or features inside of
    ``torch.autocast`` did, the loss is NaN with gradients of NaN, as PyTorch's losses are, so that
    a ``GradScaler`` leaves the step out.

    Parameters
    ----------
    eps_sq : float
        ε², the squared precision of the code.
    gamma1, gamma2 : float
        γ₁ and γ₂ replace R by 1/(2γ₁) log det(I + γ₂ α ZZᵀ). If both are the number of classes in a
        batch (MCR²-CTRL), features are first compressed and then expanded. This helps if there are
        no labels.
    process_group : torch.distributed.ProcessGroup, optional
        Processes that each have a part of the batch. The loss is that of the whole batch, on every
        process. Its gradient suits a ``DistributedDataParallel``; see :func:`gathered`.

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

    @suggests
    def __init__(
        self,
        eps_sq: float = 0.5,
        gamma1: float = 1.0,
        gamma2: float = 1.0,
        *,
        process_group: "dist.ProcessGroup | None" = None,
    ):
        super().__init__()
        self._group = process_group
        self.eps_sq, self.gamma1, self.gamma2 = check_positive(
            eps_sq=eps_sq, gamma1=gamma1, gamma2=gamma2
        )

    def forward(self, Z: Tensor, labels: Array) -> Tensor:
        """The loss of a batch, a scalar.

        Parameters
        ----------
        Z : Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
            Features. If there are spatial axes, the rates are shift-invariant.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships whose rows sum to 1. Gradients flow to soft
            memberships.

        Raises
        ------
        ValueError
            If features of full precision are not finite, or labels do not fit them.
        """
        if Processes(self._group).any(has_overflowed(Z), Z.device):
            return undefined_loss(Z)
        Z, labels = gathered(as_samples(Z, name="Z"), labels, self._group)
        partition = Partition.from_labels(labels, len(Z), device=Z.device, partial=True)
        self._check_norms(Z)
        spectrum = spectrum_of(Z)
        V = spectrum(Z)
        expansion = expansion_rate(V, spectrum, self.eps_sq / self.gamma2) / self.gamma1
        return compression_rate(V, spectrum, partition, self.eps_sq) - expansion

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"eps_sq={self.eps_sq}, gamma1={self.gamma1}, gamma2={self.gamma2}"


class OLELoss(nn.Module):
    """Orthogonal low-rank embedding (OLE), Σ_j ‖Z_j‖_* − ‖Z‖_*, for comparison.

    The minimum is zero. It is reached if the classes lie in orthogonal subspaces, of any
    dimensions. Where singular values are zero, the gradient is the subgradient of least norm.

    References
    ----------
    Lezama, Qiu, Musé, Sapiro. OLÉ: Orthogonal Low-rank Embedding (CVPR 2018), without the bound on
    the norms of classes, which features of unit norm always satisfy; Chan et al. (JMLR 2022),
    Section 2.3.
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
            If features of full precision are not finite, features are not vectors, or labels do not
            fit them.
        """
        if has_overflowed(Z):
            return undefined_loss(Z)
        Z = _as_vectors(Z)
        partition = Partition.from_labels(labels, len(Z), device=Z.device, partial=True)
        with torch.autocast(Z.device.type, enabled=False):
            parts = sum(
                nuclear_norm(batch.gather(Z[None])).sum() for batch in partition.class_batches
            )
            return parts - nuclear_norm(Z)


class VariationalMCR2Loss(UnitNormLoss):
    """The variational form of the rate reduction, with a dictionary that all classes share.

    The second moment of every class is approximated by atoms of one dictionary,
    Z Πʲ Zᵀ ≈ Γ diag(A_j) Γᵀ. The log determinants of these approximations are sums of logarithms.
    Training alternates between two steps for each batch (Algorithm 1). First, :meth:`update` moves
    the dictionary and the codes so that the rate reduction grows. Then a step on the loss moves the
    features towards them. Call :meth:`latch` on all samples before the training and again at
    intervals, such as every 50 epochs.

    Parameters
    ----------
    num_classes : int
        Number of classes, k.
    dim : int
        Dimension of the features, d.
    atoms_per_class : int
        Number of atoms per class, q/k. More atoms than the dimension of a class bring no benefit.
    eps_sq : float
        ε², the squared precision of the code.
    mu : float
        μ, the weight of the distance between second moments and their approximations.
    step_size : float
        ν_Γ and ν_A, the step sizes of dictionary and codes. Their unit is one over the Lipschitz
        bounds.

    Attributes
    ----------
    dictionary : Tensor of shape (q, d)
        Γᵀ, with one atom of unit norm per row.
    codes : Tensor of shape (k, q)
        Energy of each class on each atom, relative to the number of samples in the class:
        A_j = tr(Πʲ) · codes_j. The codes are therefore valid for batches of any size and mixture of
        classes.

    References
    ----------
    Baek, Wu, Chan, Ding, Ma, Haeffele. Efficient Maximal Coding Rate Reduction by Variational Forms
    (CVPR 2022), eqs. 7–19, Algorithms 1 and 2. Line 12 of Algorithm 1 prints the gradient of M,
    which is 2m/μ times the gradient of this loss. Eq. 7 has the factor μ/(2m).
    """

    dictionary: Tensor
    codes: Tensor

    @suggests
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
        num_classes, dim, atoms_per_class = check_count(
            num_classes=num_classes, dim=dim, atoms_per_class=atoms_per_class
        )
        self.num_classes, self.dim, self.atoms_per_class = num_classes, dim, atoms_per_class
        self.eps_sq, self.mu, self.step_size = check_positive(
            eps_sq=eps_sq, mu=mu, step_size=step_size
        )
        atoms = torch.randn(num_classes * atoms_per_class, dim)
        own = torch.eye(num_classes).repeat_interleave(atoms_per_class, 1) / atoms_per_class
        self.register_buffer("dictionary", nn.functional.normalize(atoms, dim=1))
        self.register_buffer("codes", own)

    def forward(self, Z: Tensor, labels: Array) -> Tensor:
        """The loss of a batch, μ/(2m) M: the error of the approximations, a scalar.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features of unit norm.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers ``0 … k−1``, or soft memberships whose rows sum to 1.

        Raises
        ------
        ValueError
            If features of full precision are not finite, features are not of dimension d, or labels
            do not fit them.
        """
        if has_overflowed(Z):
            return undefined_loss(Z)
        with torch.autocast(Z.device.type, enabled=False):
            Z, partition = self._batch(Z, labels)
            self._check_norms(Z)
            counts = partition.counts.to(Z.dtype)
            energies = partition.sums((Z @ self.dictionary.mT).square())
            of_moments = (_squared_moments(Z, partition) / counts.clamp_min(1e-30)).sum()
            of_codes = ((self.codes @ coherence(self.dictionary).square()) * self.codes).sum(1)
            error = of_moments - 2 * (self.codes * energies).sum() + (counts * of_codes).sum()
            return self.mu / 2 * error

    @torch.no_grad()
    def rates(self, labels: Array) -> tuple[Tensor, Tensor]:
        """R^v and R_c^v (eq. 7), scalars.

        Parameters
        ----------
        labels : array-like or Tensor of shape (m,) or (m, k)
            Labels of a batch. They determine the shares γ of the classes.
        """
        return self._approximation(self._partition(labels, np.shape(labels)[0])).rates()

    @torch.no_grad()
    def update(self, Z: Tensor, labels: Array) -> None:
        """Take one ascent step on the objective with dictionary and codes; features stay fixed.

        Without a step if features of half precision overflowed; see :class:`MCR2Loss`.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features of unit norm.
        labels : array-like or Tensor of shape (m,) or (m, k)
            See :meth:`forward`.
        """
        if has_overflowed(Z):
            return
        with torch.autocast(Z.device.type, enabled=False):
            Z, partition = self._batch(Z, labels)
            counts, projections = partition.counts.to(Z.dtype), Z @ self.dictionary.mT
            energies = partition.sums(projections.square()) / counts.clamp_min(1e-30)[:, None]
            products = (projections * partition.spread(self.codes)).mT @ Z
            before = self._approximation(partition)
            check_factors(before.covariance)
            norms = _squared_moments(Z, partition).sqrt()
            bounds = lipschitz_bounds(before, counts, norms[None], self.mu)
            sums = SampleSums(counts, energies[None], products[None])
            after = ascended(before, sums, bounds, self.mu, self.step_size)
        self.dictionary.copy_(after.atoms[0])
        self.codes.copy_(after.codes[0])

    @torch.no_grad()
    @full_precision
    def latch(self, Z: Tensor, labels: Array) -> None:
        """Set atoms and codes to the leading eigenvectors and eigenvalues of each class.

        This is Algorithm 2. The result is optimal in the limit of large μ, and exact if no class
        has more than ``atoms_per_class`` dimensions. Atoms and codes of classes without samples do
        not change.

        Parameters
        ----------
        Z : Tensor of shape (m, d)
            Features, preferably of all samples.
        labels : array-like or Tensor of shape (m,) or (m, k)
            See :meth:`forward`.
        """
        Z, partition = self._batch(Z, labels)
        blocks = (self.num_classes, self.atoms_per_class)
        atoms, codes = self.dictionary.unflatten(0, blocks), self.codes.unflatten(1, blocks)
        for batch in partition.class_batches:
            classes = batch.classes
            values, directions = leading_directions(batch.gather(Z[None])[0], blocks[1])
            count = values.shape[1]
            old = atoms[classes, :count]
            atoms[classes, :count] = torch.where(values[..., None] > 0, directions, old)
            codes[classes] = 0
            codes[classes, classes, :count] = values / partition.counts[classes, None].to(values)

    def _batch(self, Z: Tensor, labels: Array) -> tuple[Tensor, Partition]:
        Z = _as_vectors(Z)
        check_sample_shape(Z, (self.dim,))
        return Z.to(self.codes.dtype), self._partition(labels, len(Z))

    def _partition(self, labels: Array, num_samples: int) -> Partition:
        classes = np.arange(self.num_classes)
        return Partition.from_labels(
            labels, num_samples, device=self.codes.device, classes=classes, partial=True
        )

    def _approximation(self, partition: Partition) -> Approximation:
        shares = (partition.counts / len(partition)).to(self.codes.dtype)
        beta = self.dim / self.eps_sq
        return Approximation(self.dictionary[None], self.codes[None], shares, beta)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return (
            f"num_classes={self.num_classes}, dim={self.dim}, "
            f"atoms_per_class={self.atoms_per_class}, eps_sq={self.eps_sq}, mu={self.mu}, "
            f"step_size={self.step_size}"
        )


def gathered(
    Z: Tensor, labels: Array, process_group: "dist.ProcessGroup | None"
) -> tuple[Tensor, Array]:
    """The features and labels of all processes, on every process.

    Every process may compute the same loss from them. Gradients flow to its own features and soft
    memberships. They are multiplied by the number of processes, because a
    ``DistributedDataParallel`` takes the mean over the processes, and the gradient is their sum.

    Parameters
    ----------
    Z : Tensor of shape (m, …)
        The features of this process. Processes may have different numbers of them.
    labels : array-like or Tensor of shape (m,) or (m, k)
    process_group : torch.distributed.ProcessGroup or None
        None for a single process.
    """
    processes = Processes(process_group)
    if processes.size == 1:
        return Z, labels
    whole = _gathered(Z, processes)
    if isinstance(labels, Tensor):
        return whole, _gathered(labels.to(Z.device), processes)
    of_all = processes.all_gather_object(as_labels(labels, memberships=True))
    return whole, np.concatenate(of_all)


def _gathered(own: Tensor, processes: Processes) -> Tensor:
    """The parts of all processes, which may have different lengths, one after the other."""
    size, rank = processes.size, processes.rank
    lengths = torch.zeros(size, dtype=torch.int64, device=own.device)
    lengths[rank] = len(own)
    counts = processes.all_reduce(lengths).tolist()
    longest = max(counts)
    padded = own.new_zeros(longest, *own.shape[1:])
    padded[: len(own)] = own.detach()
    parts = processes.all_gather(padded, longest * size).split(longest)
    parts = [part[:count] for part, count in zip(parts, counts, strict=True)]
    if own.requires_grad:
        parts[rank] = own.detach() + size * (own - own.detach())
    return torch.cat(parts)


def takes_features(loss: object) -> bool:
    """Whether a loss is a function of features and labels, not of logits and labels."""
    return bool(getattr(loss, "of_features", False))


def nuclear_norm(samples: Tensor) -> Tensor:
    """Sums of the singular values of ``(…, s, n)``, with the subgradient of least norm.

    ‖Z‖_* is the largest inner product of Z with a matrix whose singular values are at most 1. The
    maximiser UV*, without the directions of zero singular values, is this subgradient.
    """
    with torch.no_grad():
        U, values, Vh = torch.linalg.svd(samples, full_matrices=False)
        rounding = torch.finfo(values.dtype).eps * max(samples.shape[-2:])
        best = (U * (values > rounding * values[..., :1])[..., None, :]) @ Vh
    return (samples * best).sum((-2, -1))


def _squared_moments(Z: Tensor, partition: Partition) -> Tensor:
    """‖Z Πʲ Zᵀ‖² of every class, ``(k,)``, from the smaller of its two Gram matrices."""
    norms = Z.new_zeros(partition.num_classes)
    for batch in partition.class_batches:
        members = batch.gather(Z[None])[0]  # (g, s, d)
        wide = members.shape[1] < members.shape[2]
        gram = members @ members.mT if wide else members.mT @ members
        norms = norms.index_add(0, batch.classes, gram.square().sum((1, 2)))
    return norms


def _as_vectors(Z: Tensor) -> Tensor:
    Z = as_samples(Z, name="Z")
    if Z.ndim != 2:
        raise ValueError(f"Z must have shape (m, n), got {tuple(Z.shape)}")
    return Z
