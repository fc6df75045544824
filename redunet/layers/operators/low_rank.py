"""Operators as a multiple of the identity minus a matrix of low rank."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from redunet.layers.operators.operator import Operator, real_form
from redunet.layers.operators.responses import (
    ALL,
    Responses,
    blocks_of_samples,
    may_read,
    select_classes,
)
from redunet.rates.spectrum import safe_sqrt, scaled, squared_norms, total

# A sample whose squared norm is this share of what it was is close to a class.
NEAR = 1e-3


class LowRankOperator(Operator):
    """α_j (I − W_j(p)* W_j(p)) with r rows in every W_j.

    By Woodbury's identity this is exact if r is the number of samples of the class. It is the best
    approximation of rank r if W_j spans the r leading eigenvectors of the class. The matrices are
    Hermitian for any values of the factors. None of size C × C is formed.

    Parameters
    ----------
    factors : Tensor of shape (F, k, r, C)
        W_j(p), real for vectors (F = 1), complex for signals.
    scales : Tensor of shape (k,)
        α_j.
    """

    factors: nn.Parameter
    scales: Tensor

    def __init__(self, factors: Tensor, scales: Tensor):
        super().__init__(factors.shape[1], factors.shape[3])
        self.factors = nn.Parameter(factors, requires_grad=False)
        self.register_buffer("scales", scales)

    @property
    def rank(self) -> int:
        """Number of rows of every factor, r."""
        return self.factors.shape[2]

    @property
    def description(self) -> str:
        """A short name of the representation."""
        return f"rank {self.rank}"

    @property
    def width(self) -> int:
        """Number of entries that one sample needs at one frequency: W_j v for all classes."""
        return self.factors.shape[1] * self.factors.shape[2]

    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """The products of every sample with all matrices, ``(F, m, k, C)``."""
        return scaled(outside(V, self.factors[frequencies]), self.scales[:, None])

    def responses(self, V: Tensor) -> Iterator[tuple[slice, Responses]]:
        """Blocks of the samples ``(F, m, C)``, each with its responses."""
        rows = self.norm_rows() if may_read(V, saved=V.numel() * self.width) else None
        for run in blocks_of_samples(V, self.width):
            yield run, LowRankResponses(V[:, run], self, rows)

    def real_form(self) -> "LowRankOperator":
        """The same matrices on real and imaginary parts ``(F, m, 2C)``, of twice the rank."""
        return LowRankOperator(real_form(self.factors), self.scales.clone())

    def norm_rows(self) -> Tensor | None:
        """R*W with RR* = 2I − WW*, ``(F, k, r, C)``.

        Then ‖v − W*Wv‖² = ‖v‖² − ‖R*Wv‖². Returns None if R does not exist, because training has
        raised ‖W‖² above 2. Also returns None during training, because gradients through the
        factorisation are expensive.
        """
        if self.factors.requires_grad and torch.is_grad_enabled():
            return None
        complement = (self.factors @ self.factors.mH).neg()
        complement.diagonal(dim1=-2, dim2=-1).add_(2)
        factor, info = torch.linalg.cholesky_ex(complement)
        return None if bool(info.any()) else factor.mH @ self.factors


class LowRankResponses(Responses):
    """Responses to operators of low rank.

    Norms take fewer products with :meth:`LowRankOperator.norm_rows`. The host has to read
    whether these rows exist. If it does not read values, norms and sums share the coefficients
    W_j v.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Samples.
    operator : LowRankOperator
    norm_rows : Tensor or None
        The rows, if they exist and values are read.
    """

    gathers = True

    def __init__(self, V: Tensor, operator: LowRankOperator, norm_rows: Tensor | None):
        super().__init__(V, operator)
        self._norm_rows = norm_rows
        self._factors, self._scales = operator.factors, operator.scales
        stored = len(self.blocks) == 1 and not self.reads
        self._all = _coefficients(V, self._factors) if stored else None

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``.

        The residual is the root of a difference of squares. For a sample close to its class, the
        error is of order √eps, which is far too small to confuse the class with another class. Only
        where several classes are close could a sharp membership confuse them. If values are read,
        the differences themselves are formed for such samples.
        """
        norms = squared_norms(self.V, dim=0)[:, None]
        squares = norms + total(self._differences(block) for block in self.blocks)
        if self.reads:
            rows = ((squares < NEAR * norms).sum(1) > 1).nonzero()[:, 0]
            if len(rows):
                squares = squares.index_copy(0, rows, self._exact_squares(rows))
        return self._scales * safe_sqrt(squares)

    def _exact_squares(self, rows: Tensor) -> Tensor:
        """‖v − W_j* W_j v‖² of some samples, without cancellation."""
        V = self.V.index_select(1, rows)
        return total(squared_norms(outside(V[b], self._factors[b]), dim=0) for b in self.blocks)

    def _differences(self, block: slice) -> Tensor:
        """‖v − W_j* W_j v‖² − ‖v‖² at some of the frequencies, ``(m, k)``."""
        if self._norm_rows is not None:
            return -squared_norms(_coefficients(self.V[block], self._norm_rows[block]), dim=0)
        factors = self._factors[block]
        coefficients = self._coefficients_of(self.V[block], block).transpose(1, 2)
        products = coefficients @ (factors @ factors.mH).mT
        products = torch.sub(products, coefficients, alpha=2)  # (WW* − 2I) W v
        return (coefficients.conj() * products).real.sum((0, 3)).mT

    def _own(self, members: Tensor, classes: Tensor, block: slice) -> Tensor:
        factors = select_classes(self._factors[block], classes)
        in_class = members @ factors.mT @ factors.conj()
        return scaled(members - in_class, self._scales[classes, None, None])

    def _sum(self, V: Tensor, weights: Tensor, block: slice) -> Tensor:
        weights, factors = weights * self._scales, self._factors[block]
        weighted = scaled(self._coefficients_of(V, block), weights[:, :, None]).flatten(2)
        weighted_V = scaled(V, weights.sum(1)[:, None])
        return torch.baddbmm(weighted_V, weighted, factors.flatten(1, 2).conj(), alpha=-1)

    def _coefficients_of(self, V: Tensor, block: slice) -> Tensor:
        return _coefficients(V, self._factors[block]) if self._all is None else self._all


def outside(V: Tensor, factors: Tensor) -> Tensor:
    """v − W_j* W_j v for all classes, ``(F_b, m, k, C)``."""
    return V.unsqueeze(2) - (V.unsqueeze(1) @ factors.mT @ factors.conj()).transpose(1, 2)


def _coefficients(V: Tensor, factors: Tensor) -> Tensor:
    """W_j v for all classes, ``(F_b, m, k, r)``."""
    return (V @ factors.flatten(1, 2).mT).unflatten(2, factors.shape[1:3])
