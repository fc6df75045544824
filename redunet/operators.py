"""The linear operators of a layer: E expands all features, Cʲ compresses those of class j."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from redunet.spectrum import safe_sqrt, scaled, squared_norms

# Entries of all classes' responses that are at hand at one time. On a CPU a block of them should
# stay in its cache, on a GPU it should fill the device.
BLOCK_ENTRIES = {"cpu": 2**19, "cuda": 2**27}


class DenseOperators(nn.Module):
    """Operators as one matrix for each frequency and class.

    Parameters
    ----------
    expansion : Tensor of shape (F, C, C)
        E(p), real for vectors (F = 1), complex for signals.
    compression : Tensor of shape (F, k, C, C)
        Cʲ(p).
    """

    def __init__(self, expansion: Tensor, compression: Tensor):
        super().__init__()
        self.expansion = nn.Parameter(expansion, requires_grad=False)
        self.compression = nn.Parameter(compression, requires_grad=False)

    def expand(self, V: Tensor) -> Tensor:
        """E v for every sample: ``(F, m, C)`` to ``(F, m, C)``."""
        return V @ self.expansion.mT

    def respond(self, V: Tensor) -> "DenseResponses":
        """Cʲ v for every sample of ``(F, m, C)`` and every class."""
        return DenseResponses(V, self.compression)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DenseOperators":
        """Move complex operators as pairs of reals.

        ``nn.Module.to(torch.float64)`` would otherwise drop their imaginary parts, and
        ``.double()`` leave them as they are.
        """

        def as_pairs(t: Tensor) -> Tensor:
            return torch.view_as_complex(fn(torch.view_as_real(t))) if t.is_complex() else fn(t)

        return super()._apply(as_pairs, recurse)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        frequencies, classes, channels, _ = self.compression.shape
        return f"frequencies={frequencies}, classes={classes}, channels={channels}"


class DenseResponses:
    """Cʲ v of samples to all classes, which are far larger than the samples themselves.

    For vectors they are one product, whose result is kept. Of many frequencies only a block is at
    hand at one time: to multiply again costs less than to write and read it all.
    """

    def __init__(self, V: Tensor, compression: Tensor):
        self._V = V
        self._compression = compression
        vectors = len(V) == 1 and not V.is_complex()
        self._kept = _responses(V, compression) if vectors else None

    def stack(self) -> Tensor:
        """All of them, ``(F, m, k, C)``."""
        return _responses(self._V, self._compression) if self._kept is None else self._kept

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""
        if self._kept is not None:
            return safe_sqrt(squared_norms(self._kept, dim=0))
        squared = sum(
            squared_norms(_responses(self._V[block], self._compression[block]), dim=0)
            for block in self._blocks()
        )
        return safe_sqrt(squared)

    def combine(self, weights: Tensor) -> Tensor:
        """Σ_j w_j Cʲ v with each sample's weights ``(m, k)``, ``(F, m, C)``.

        Not kept, the responses need not be written either: the weights go into the product, whose
        inner axis then runs over classes and channels.
        """
        weights = weights.to(self._V.real.dtype)
        if self._kept is not None:
            return (weights[:, None] @ self._kept[0]).squeeze(1)[None]
        parts = []
        for block in self._blocks():
            weighted = scaled(self._V[block].unsqueeze(2), weights[:, :, None]).flatten(2)
            parts.append(weighted @ self._compression[block].mT.flatten(1, 2))
        return torch.cat(parts)

    def _blocks(self) -> Iterator[slice]:
        frequencies, samples, channels = self._V.shape
        entries = samples * channels * self._compression.shape[1]
        step = max(1, BLOCK_ENTRIES.get(self._V.device.type, 2**27) // max(1, entries))
        return (slice(start, start + step) for start in range(0, frequencies, step))


def _responses(V: Tensor, compression: Tensor) -> Tensor:
    """All classes' matrices stacked into one product: ``(F, m, C)`` to ``(F, m, k, C)``."""
    return (V @ compression.flatten(1, 2).mT).unflatten(2, compression.shape[1:3])
