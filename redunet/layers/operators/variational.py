"""Variational operators: leading directions of each class, updated from layer to layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from redunet._checks import check_count, set_fields
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.low_rank import LowRankOperator
from redunet.layers.operators.moments import DatasetInfo, RowMoments, SecondMoments, TotalMoment
from redunet.layers.operators.operator import Operators
from redunet.rates.partition import Partition
from redunet.rates.spectrum import squared_norms

# Subspace iterations that turn a random sketch into leading eigenvectors.
LATCHING_PASSES = 8


@dataclass(frozen=True)
class Variational(OperatorKind):
    """Operators from the ``rank`` leading directions of each class.

    They take less work and memory than exact operators, and are often better on new samples. The
    first layer finds the directions by subspace iteration from a random start ("latching"). Every
    later layer takes one iteration from the directions of the layer before.

    Parameters
    ----------
    rank : int
        Number of directions per class and frequency, r.

    References
    ----------
    Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022): their
    dictionary and codes Γ diag(A_j) Γ* correspond to the directions, and their latching to the
    iteration in the first layer.
    """

    rank: int

    def __post_init__(self) -> None:
        set_fields(self, rank=check_count(rank=self.rank))

    def check(self, channels: int) -> None:
        """Raise ValueError if there are fewer channels than directions."""
        if self.rank > channels:
            raise ValueError(
                f"rank must be at most the number of channels, {channels}, got {self.rank}"
            )

    def moments(self, info: DatasetInfo, previous: Operators | None) -> SecondMoments:
        """Empty moments from a sketch, with several passes in the first layer."""
        if previous is not None and isinstance(previous.compression, LowRankOperator):
            factors = previous.compression.factors.detach()
            sketch = Sketch(info, orthonormal_rows(factors.to(info.counts.device)))
        else:
            sketch = Sketch(info, random_sketch(info, self.rank), LATCHING_PASSES)
        return SecondMoments(info, sketch, TotalMoment(info))


class Sketch(RowMoments):
    """r rows for each class whose second moment approximates that of the class.

    Let S be the rows of a class at first: r orthonormal rows close to the span of its leading
    eigenvectors. The sums Y = S M_j over the samples give M_j ≈ Y* (Y S*)⁻¹ Y (Nyström), which is
    exact if the rank of M_j is at most r. This is one step of subspace iteration: the rows of Y are
    the next S. No C × C matrix of a class is ever formed.

    The approximation misses a part N of M_j, of which only the trace is known. For the rates, N is
    assumed to be spread evenly over the C − r remaining directions. As log det(I + A + N) ≤
    log det(I + A) + log det(I + N), this bounds the rate of the class from above. ΔR is therefore
    never overestimated.

    Parameters
    ----------
    info : DatasetInfo
    start : Tensor of shape (F, k, r, C)
        S.
    passes : int
        Number of subspace iterations that follow; each is one more pass over the samples.
    """

    def __init__(self, info: DatasetInfo, start: Tensor, passes: int = 0):
        super().__init__(info, torch.zeros_like(start))
        self.start = start
        self.passes = passes
        self._traces = torch.zeros(
            start.shape[:2], dtype=start.dtype.to_real(), device=start.device
        )
        self._missed: Tensor  # traces of the parts that the approximations miss

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        for batch in partition.class_batches:
            members = batch.gather(V)
            coefficients = members @ self.start[:, batch.classes].mT
            self.sums.index_add_(1, batch.classes, coefficients.mT @ members.conj())
            self._traces.index_add_(1, batch.classes, squared_norms(members, dim=2))

    def rows(self) -> Tensor:
        """Rows whose second moments approximate those of the classes, ``(F, k, r, C)``."""
        self._traces = self.info.processes.all_reduce(self._traces)
        factor = rounded_cholesky(self.sums @ self.start.mH)
        rows = torch.linalg.solve_triangular(factor, self.sums, upper=False)
        self._missed = self._traces - squared_norms(rows, dim=2)
        return rows.conj()

    def log_dets(self) -> Tensor:
        """An upper bound of log det(I + α_j M_j(p)) for every frequency and class, ``(F, k)``."""
        log_dets = super().log_dets()
        rank, channels = self.start.shape[2:]
        if rank == channels:
            return log_dets
        missed = self.info.class_scales * self._missed.clamp_min(0)
        return log_dets + (channels - rank) * torch.log1p(missed / (channels - rank))

    def next_pass(self) -> "Sketch | None":
        """Empty moments from the rows after one subspace iteration; None if these are the last."""
        if not self.passes:
            return None
        return Sketch(self.info, orthonormal_rows(self.operator().factors.data), self.passes - 1)


def random_sketch(info: DatasetInfo, rank: int) -> Tensor:
    """A random sketch, ``(F, k, r, C)``, which is the same on all processes and devices."""
    start = torch.randn(
        rank, info.channels, generator=torch.Generator().manual_seed(0), device="cpu"
    )
    start = torch.linalg.qr(start.to(info.dtype.to_real()).mT).Q.mT
    shape = len(info.spectrum), len(info.counts), *start.shape
    return info.zeros(*shape) + start.to(info.counts.device)


def orthonormal_rows(rows: Tensor) -> Tensor:
    """An orthonormal basis of the span of the rows ``(…, r, C)``.

    It uses a Cholesky factorisation because that supports batches on all devices. Rows are first
    scaled to unit norm, so that weak directions are not lost beside strong ones. Rows of norm zero
    stay zero.
    """
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    rows = rows / torch.where(lengths > 0, lengths, 1)
    return torch.linalg.solve_triangular(rounded_cholesky(rows @ rows.mH), rows, upper=False)


def rounded_cholesky(gram: Tensor) -> Tensor:
    """Cholesky factor of a positive semi-definite matrix ``(…, r, r)``.

    The rounding error is added to the diagonal, so that the factor exists. It is not checked, so
    the host does not wait.
    """
    diagonal = gram.diagonal(dim1=-2, dim2=-1).real
    precision = torch.finfo(diagonal.dtype)
    shift = precision.eps * gram.shape[-1] * diagonal.amax(-1, keepdim=True) + precision.tiny
    shifted = gram.clone()
    shifted.diagonal(dim1=-2, dim2=-1).add_(shift)
    return torch.linalg.cholesky_ex(shifted).L
