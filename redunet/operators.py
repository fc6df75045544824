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

    def respond(self, V: Tensor) -> Tensor:
        """Cʲ v for every sample and class: ``(F, m, C)`` to ``(F, m, k, C)``."""
        return _responses(V, self.compression)

    def residual_norms(self, V: Tensor) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels: ``(F, m, C)`` to ``(m, k)``."""
        squared = sum(
            squared_norms(_responses(V[block], self.compression[block]), dim=0)
            for block in self._frequency_blocks(V)
        )
        return safe_sqrt(squared)

    def compress(self, V: Tensor, weights: Tensor) -> Tensor:
        """Σ_j w_j Cʲ v with each sample's weights ``(m, k)``: ``(F, m, C)`` to ``(F, m, C)``.

        The weights go into the product, whose inner axis then runs over classes and channels:
        the responses of the classes are summed without ever being written.
        """
        weights = weights.to(V.real.dtype)[:, :, None]
        parts = []
        for block in self._frequency_blocks(V):
            weighted = scaled(V[block].unsqueeze(2), weights).flatten(2)  # (f, m, k·C)
            parts.append(weighted @ self.compression[block].mT.flatten(1, 2))
        return torch.cat(parts)

    def _frequency_blocks(self, V: Tensor) -> Iterator[slice]:
        frequencies, samples, channels = V.shape
        entries = samples * channels * self.compression.shape[1]
        step = max(1, BLOCK_ENTRIES.get(V.device.type, 2**27) // max(1, entries))
        return (slice(start, start + step) for start in range(0, frequencies, step))

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


def _responses(V: Tensor, compression: Tensor) -> Tensor:
    """All classes' matrices stacked into one product: ``(F, m, C)`` to ``(F, m, k, C)``."""
    return (V @ compression.flatten(1, 2).mT).unflatten(2, compression.shape[1:3])
