"""The linear operators of a layer: E expands all features, Cʲ compresses those of class j.

There are two kinds of Cʲ: a dense matrix, and the identity less a product of low rank. A layer asks
either for its *responses*, Cʲ v of every class to every sample, which are far larger than the
samples. So they come in blocks that stay in the processor's cache, and leave it as norms or sums.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
from torch import Tensor, nn

from redunet.partition import grouped, members_of
from redunet.spectrum import safe_sqrt, scaled, squared_norms

# Bytes of all classes' responses that are at hand at one time. On a CPU a block of them should stay
# in its cache, on a GPU it should fill the device.
BLOCK_BYTES = {"cpu": 2**24, "cuda": 2**29}

# Samples that are worth a matrix product of their own.
LEAST_SAMPLES = 512


class Operators(nn.Module, ABC):
    """E and all Cʲ of a layer, at each of F frequencies.

    Parameters
    ----------
    expansion : Tensor of shape (F, C, C)
        E(p), real for vectors (F = 1), complex for signals.
    """

    def __init__(self, expansion: Tensor):
        super().__init__()
        self.expansion = nn.Parameter(expansion, requires_grad=False)

    @property
    @abstractmethod
    def rank(self) -> int | None:
        """Rank of what Cʲ/α_j takes from the identity; None if that is not limited."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Entries of all classes' responses to one sample at one frequency."""

    @abstractmethod
    def matrices(self) -> Tensor:
        """All Cʲ(p) as matrices, ``(F, k, C, C)``."""

    @abstractmethod
    def responder(self) -> Callable[[Tensor], "Responses"]:
        """Cʲ v for every class and every sample of ``(F, m, C)``, block after block of samples."""

    def respond(self, V: Tensor) -> "Responses":
        """Cʲ v for every sample of ``(F, m, C)`` and every class."""
        return self.responder()(V)

    def expand(self, V: Tensor) -> Tensor:
        """E v for every sample: ``(F, m, C)`` to ``(F, m, C)``."""
        return V @ self.expansion.mT

    def samples_per_block(self, V: Tensor) -> int:
        """Samples that fill a block with themselves, or with their responses at one frequency."""
        entries = max(self.width, len(V) * V.shape[2])
        return max(LEAST_SAMPLES, _block_entries(V) // entries)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Operators":
        """Move complex operators as pairs of reals.

        ``nn.Module.to(torch.float64)`` would otherwise drop their imaginary parts, and
        ``.double()`` leave them as they are.
        """

        def as_pairs(t: Tensor) -> Tensor:
            return torch.view_as_complex(fn(torch.view_as_real(t))) if t.is_complex() else fn(t)

        return super()._apply(as_pairs, recurse)


class DenseOperators(Operators):
    """Operators as one matrix for each frequency and class.

    Parameters
    ----------
    expansion : Tensor of shape (F, C, C)
        E(p).
    compression : Tensor of shape (F, k, C, C)
        Cʲ(p).
    """

    def __init__(self, expansion: Tensor, compression: Tensor):
        super().__init__(expansion)
        self.compression = nn.Parameter(compression, requires_grad=False)

    @property
    def rank(self) -> None:
        """No limit."""

    @property
    def width(self) -> int:
        """Entries of all classes' responses to one sample at one frequency."""
        return self.compression.shape[1] * self.compression.shape[2]

    def matrices(self) -> Tensor:
        """All Cʲ(p) as matrices, ``(F, k, C, C)``."""
        return self.compression

    def responder(self) -> Callable[[Tensor], "DenseResponses"]:
        """Cʲ v for every class and every sample of ``(F, m, C)``, block after block of samples."""
        return partial(DenseResponses, operators=self)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        frequencies, classes, channels, _ = self.compression.shape
        return f"frequencies={frequencies}, classes={classes}, channels={channels}"


class LowRankOperators(Operators):
    """Operators Cʲ(p) = α_j (I − W_j(p)* W_j(p)) with r rows in every W_j.

    By Woodbury's identity that is exact where r is the number of a class's samples, and the best of
    its rank where W_j spans the r leading eigenvectors of the class. Any values of the factors make
    Hermitian operators.

    Parameters
    ----------
    expansion : Tensor of shape (F, C, C)
        E(p).
    factors : Tensor of shape (F, k, r, C)
        W_j(p).
    scales : Tensor of shape (k,)
        α_j.
    """

    def __init__(self, expansion: Tensor, factors: Tensor, scales: Tensor):
        super().__init__(expansion)
        self.factors = nn.Parameter(factors, requires_grad=False)
        self.register_buffer("scales", scales)

    @property
    def rank(self) -> int:
        """Rank r of what Cʲ/α_j takes from the identity."""
        return self.factors.shape[2]

    @property
    def width(self) -> int:
        """Entries of all classes' codes of one sample at one frequency."""
        return self.factors.shape[1] * self.factors.shape[2]

    def matrices(self) -> Tensor:
        """All Cʲ(p) as matrices, ``(F, k, C, C)``."""
        inside = self.factors.mH @ self.factors
        identity = torch.eye(inside.shape[-1], dtype=inside.dtype, device=inside.device)
        return scaled(identity - inside, self.scales[:, None, None])

    def responder(self) -> Callable[[Tensor], "LowRankResponses"]:
        """Cʲ v for every class and every sample of ``(F, m, C)``, block after block of samples."""
        return partial(LowRankResponses, operators=self, rows=cache(self._rows_of_norms))

    def _rows_of_norms(self, start: int, stop: int) -> Tensor | None:
        """R*W with RR* = 2I − WW*, ``(F_b, k, r, C)``, for some of the frequencies.

        ‖v − W*Wv‖² = ‖v‖² − ‖R*Wv‖². There is no such R where training took ‖W‖² beyond 2; while
        it goes on, nobody should wait for the gradient of a factorisation.
        """
        factors = self.factors[start:stop]
        if factors.requires_grad and torch.is_grad_enabled():
            return None
        factor, info = torch.linalg.cholesky_ex(_doubled_complement(factors))
        return None if bool(info.any()) else factor.mH @ factors

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        frequencies, classes, rank, channels = self.factors.shape
        return f"frequencies={frequencies}, classes={classes}, channels={channels}, rank={rank}"


class Responses(ABC):
    """Cʲ v of samples ``(F, m, C)`` to all classes.

    Attributes
    ----------
    blocks : list of slice
        Of frequencies, whose responses are at hand at one time.
    """

    def __init__(self, V: Tensor, width: int):
        self._V = V
        frequencies, samples, _ = V.shape
        step = max(1, _block_entries(V) // max(1, samples * width))
        self.blocks = [slice(start, start + step) for start in range(0, frequencies, step)]

    @abstractmethod
    def stack(self) -> Tensor:
        """All of them, ``(F, m, k, C)``."""

    @abstractmethod
    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with each sample's weights ``(m, k)``, block by block ``(F_b, m, C)``.

        A weight below the rounding of the sample's largest one is as good as none, and is taken for
        that: with it go products that are subnormal numbers, with which processors are many times
        slower. Samples that so have one class left, nearly all of them where memberships are sharp,
        are gathered by class and multiplied with the operators of that class alone.
        """
        weights = weights.to(self._V.real.dtype)
        largest, owners = weights.max(1)
        counts = weights > torch.finfo(weights.dtype).eps * largest[:, None]
        weights = weights * counts
        decided = counts.sum(1) <= 1
        if not bool(decided.any()):
            return (self._weighted_sum(block, slice(None), weights) for block in self.blocks)
        return self._combine_by_class(weights, owners, decided)

    def _combine_by_class(
        self, weights: Tensor, owners: Tensor, decided: Tensor
    ) -> Iterator[Tensor]:
        samples, others = (choice.nonzero()[:, 0] for choice in (decided, ~decided))
        num_classes = weights.shape[1]
        groups = []
        for group in grouped(members_of(owners[samples], num_classes), num_classes):
            members = samples[group.samples]
            shares = weights[members, group.classes[:, None]].unsqueeze(-1)
            inside = None if group.weights is None else group.inside
            groups.append((members, group.classes, shares, inside))
        for block in self.blocks:
            total = torch.empty_like(self._V[block])
            for members, classes, shares, inside in groups:
                own = scaled(self._of_own_class(block, members, classes), shares)
                if inside is None:
                    total[:, members] = own
                else:
                    total[:, members[inside]] = own[:, inside]
            if len(others):
                total[:, others] = self._weighted_sum(block, others, weights[others])
            yield total

    @abstractmethod
    def _of_own_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        """Cʲ v for samples ``(g, s)`` of each of the classes ``(g,)``, ``(F_b, g, s, C)``."""

    @abstractmethod
    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        """Σ_j w_j Cʲ v over all classes for some of the samples, ``(F_b, len(weights), C)``."""


class DenseResponses(Responses):
    """Responses to dense operators.

    For vectors they are one product, whose result is kept. Of many frequencies only a block is at
    hand at one time: to multiply again costs less than to write and read it all.
    """

    def __init__(self, V: Tensor, operators: DenseOperators):
        super().__init__(V, operators.width)
        self._compression = operators.compression
        self._kept = self._block(slice(None)) if _are_vectors(V) else None

    def stack(self) -> Tensor:
        """All of them, ``(F, m, k, C)``."""
        return self._block(slice(None)) if self._kept is None else self._kept

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""
        if self._kept is not None:
            return safe_sqrt(squared_norms(self._kept, dim=0))
        return safe_sqrt(sum(squared_norms(self._block(block), dim=0) for block in self.blocks))

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with each sample's weights ``(m, k)``, block by block ``(F_b, m, C)``."""
        if self._kept is None:
            return super().combine(weights)
        weights = weights.to(self._V.dtype)
        return iter([(weights[:, None] @ self._kept[0]).squeeze(1)[None]])

    def _of_own_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        return self._V[block][:, samples] @ _of_classes(self._compression[block], classes).mT

    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        # The weights go into the product, whose inner axis then runs over classes and channels.
        V = self._V[block][:, samples].unsqueeze(2)
        weighted = scaled(V, weights[:, :, None]).flatten(2)
        return weighted @ self._compression[block].mT.flatten(1, 2)

    def _block(self, block: slice) -> Tensor:
        """All classes' matrices stacked into one product: ``(F, m, C)`` to ``(F, m, k, C)``."""
        operators = self._compression[block]
        return (self._V[block] @ operators.flatten(1, 2).mT).unflatten(2, operators.shape[1:3])


class LowRankResponses(Responses):
    """Responses to operators of low rank."""

    def __init__(self, V: Tensor, operators: LowRankOperators, rows: Callable[[int, int], Tensor]):
        super().__init__(V, operators.width)
        self._rows_of_norms = rows
        self._factors = operators.factors
        self._scales = operators.scales

    def stack(self) -> Tensor:
        """All of them, ``(F, m, k, C)``."""
        inside = (self._V.unsqueeze(1) @ self._factors.mT @ self._factors.conj()).transpose(1, 2)
        return scaled(self._V.unsqueeze(2) - inside, self._scales[:, None])

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``.

        What is left of a sample deep inside of its class, a difference of squares, is known to √eps
        only: that cannot confuse it with another class.
        """
        inside = sum(self._squared_norms_inside(block) for block in self.blocks)
        return self._scales * safe_sqrt(squared_norms(self._V, dim=0)[:, None] - inside)

    def _squared_norms_inside(self, block: slice) -> Tensor:
        rows = self._rows_of_norms(block.start, block.stop)
        if rows is not None:
            codes = self._V[block] @ rows.flatten(1, 2).mT
            return squared_norms(codes.unflatten(2, rows.shape[1:3]), dim=0)
        factors = self._factors[block]
        codes = self._V[block].unsqueeze(1) @ factors.mT  # (F_b, k, m, r)
        return (codes.conj() * (codes @ _doubled_complement(factors).mT)).real.sum((0, 3)).mT

    def _of_own_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        V, factors = self._V[block][:, samples], _of_classes(self._factors[block], classes)
        return scaled(V - V @ factors.mT @ factors.conj(), self._scales[classes, None, None])

    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        V, factors = self._V[block][:, samples], self._factors[block]
        weights = weights * self._scales
        codes = (V @ factors.flatten(1, 2).mT).unflatten(2, factors.shape[1:3])
        inside = scaled(codes, weights[:, :, None]).flatten(2) @ factors.flatten(1, 2).conj()
        return scaled(V, weights.sum(1)[:, None]) - inside


def _doubled_complement(factors: Tensor) -> Tensor:
    """2I − WW*, ``(F, k, r, r)``: ‖v − W*Wv‖² = ‖v‖² − (Wv)*(2I − WW*) Wv."""
    gram = (factors @ factors.mH).neg()
    gram.diagonal(dim1=-2, dim2=-1).add_(2)
    return gram


def _are_vectors(V: Tensor) -> bool:
    return len(V) == 1 and not V.is_complex()


def _block_entries(V: Tensor) -> int:
    return BLOCK_BYTES.get(V.device.type, BLOCK_BYTES["cuda"]) // V.element_size()


def _of_classes(operators: Tensor, classes: Tensor) -> Tensor:
    """Operators ``(F, k, …)`` of the classes given in increasing order, ``(F, g, …)``."""
    return operators if len(classes) == operators.shape[1] else operators[:, classes]
