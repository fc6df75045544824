"""Block-diagonal operators: every block of channels is coded by itself, with an ε² of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from redunet._checks import check_count, check_positive, set_fields
from redunet.layers.operators.base import ALL, OperatorMatrices, Operators, Responses
from redunet.layers.operators.dense import DenseOperators
from redunet.layers.operators.exact import exact_moments
from redunet.layers.operators.few_samples import FewSamplesOperators
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.low_rank import LowRankOperators
from redunet.layers.operators.moments import DatasetInfo, SecondMoments
from redunet.rates.coding_rates import RateReduction
from redunet.rates.partition import Partition
from redunet.rates.spectrum import safe_sqrt, total


@dataclass(frozen=True)
class BlockDiagonal(OperatorKind):
    """E = α (I + α_b M_b)⁻¹ and Cʲ = α_j (I + α_jb M_jb)⁻¹ for every block b of channels.

    M_b and M_jb are the second moments of the channels of a block, α_b = C_b/(m ε_b²) and
    α_jb = C_b/(m_j ε_b²). No operator mixes two blocks. The squared residual of a sample is the
    sum of its squared residuals in the blocks. The network ascends Σ_b (α/α_b) ΔR_b, the sum of the
    rate reductions of the blocks. :class:`redunet.JoinedLift` gives blocks of channels.

    Parameters
    ----------
    channels : sequence of int
        Number of channels C_b of each block.
    eps_sq : sequence of float
        ε_b² of each block. ε² of the construction determines only the common factors α and α_j.
    frequencies : sequence of (int or None), optional
        For each block the largest frequency P that its features have, or None for all. At higher
        frequencies, where its features are zero, the block takes no work. By default None for each.

    Raises
    ------
    ValueError
        If there are not as many values for each option, or a value is out of range.
    """

    channels: Sequence[int]
    eps_sq: Sequence[float]
    frequencies: Sequence[int | None] = ()

    def __post_init__(self) -> None:
        bands = tuple(self.frequencies) or (None,) * len(self.channels)
        set_fields(
            self,
            channels=tuple(check_count(channels=each) for each in self.channels),
            eps_sq=tuple(check_positive(eps_sq=each) for each in self.eps_sq),
            frequencies=tuple(check_count(0, frequencies=each) for each in bands),
        )
        if not len(self.channels) == len(self.eps_sq) == len(bands) > 0:
            raise ValueError(
                "channels, eps_sq and frequencies must have one value for each block, got "
                f"{len(self.channels)}, {len(self.eps_sq)} and {len(bands)} values"
            )

    def check(self, channels: int) -> None:
        """Raise ValueError unless the blocks have this number of channels together."""
        if sum(self.channels) != channels:
            raise ValueError(
                f"the blocks have {' + '.join(map(str, self.channels))} = {sum(self.channels)} "
                f"channels, but the features have {channels}"
            )

    @property
    def for_rates(self) -> OperatorKind:
        """Itself, because rates are sums over the blocks."""
        return self

    def moments(self, info: DatasetInfo, previous: Operators | None, depth: int) -> SecondMoments:
        """Second moments of the blocks."""
        return BlockMoments(info, self)


class BlockMoments(SecondMoments):
    """Second moments of each block of channels, at the frequencies that the block has."""

    def __init__(self, info: DatasetInfo, kind: BlockDiagonal):
        super().__init__(info)
        shape = info.spectrum.shape
        self._bands = [
            tuple(n if band is None else min(n, 2 * band + 1) for n in shape)
            for band in kind.frequencies
        ]
        self._positions = [info.spectrum.positions_of(band) for band in self._bands]
        self._channels = list(kind.channels)
        self._blocks = [
            exact_moments(info.of_block(band, C, eps_sq))
            for band, C, eps_sq in zip(self._bands, kind.channels, kind.eps_sq, strict=True)
        ]

    def add(self, V: Tensor, partition: Partition) -> None:
        """Add a batch of samples ``(F, m, C)`` with their classes."""
        parts = V.split(self._channels, 2)
        for block, positions, part in zip(self._blocks, self._positions, parts, strict=True):
            block.add(part[positions], partition)

    def finish(self) -> None:
        """Sum over all processes and factorise. The host waits once for all blocks."""
        for block in self._blocks:
            block.checks = False
            block.finish()
        self.check(*(factor for block in self._blocks for factor in block.covariances))

    def device_rates(self) -> RateReduction:
        """Σ_b (α/α_b) ΔR_b, and R and R_c summed alike."""
        factors = [
            weight * block.info.spectrum.size / self.info.spectrum.size
            for weight, block in zip(self._weights, self._blocks, strict=True)
        ]
        rates = [block.device_rates() for block in self._blocks]
        sums = (
            total(factor * value for factor, value in zip(factors, values, strict=True))
            for values in zip(*rates, strict=True)
        )
        return RateReduction(*sums)

    def class_log_dets(self) -> Tensor:
        """Σ_b (α/α_b) log det(I + α_jb M_jb(p)) for every frequency and class, ``(F, k)``."""
        parts = [block.class_log_dets().double() for block in self._blocks]
        log_dets = parts[0].new_zeros(len(self.info.spectrum), parts[0].shape[1])
        for weight, positions, part in zip(self._weights, self._positions, parts, strict=True):
            log_dets.index_add_(0, positions, weight * part)
        return log_dets

    def operators(self) -> "BlockDiagonalOperators":
        """The operators of the blocks, with their factors α/α_b."""
        blocks = [block.operators() for block in self._blocks]
        device, precision = self.info.counts.device, self.info.dtype.to_real()
        # The host would wait for a copy of its numbers.
        parts = [torch.full((1,), w, dtype=precision, device=device) for w in self._weights]
        return BlockDiagonalOperators(blocks, self._positions, torch.cat(parts))

    @property
    def _weights(self) -> list[float]:
        """α/α_b."""
        return [self.info.alpha / block.info.alpha for block in self._blocks]


class BlockDiagonalOperators(Operators):
    """Operators that act on blocks of channels, each at some of the frequencies.

    Features of a block at other frequencies are ignored: they are zero, and stay zero.

    Parameters
    ----------
    blocks : sequence of Operators
        The operators of each block.
    positions : sequence of Tensor (F_b,)
        For each block the positions of its frequencies among all F, ascending. At least one block
        has all frequencies.
    weights : Tensor of shape (B,)
        Factors of the operators of each block.
    parts : {1, 2}
        2 if features are real parts of all channels, followed by imaginary parts of all channels.
    """

    blocks: nn.ModuleList
    weights: Tensor

    def __init__(
        self,
        blocks: Sequence[Operators],
        positions: Sequence[Tensor],
        weights: Tensor,
        parts: int = 1,
    ):
        super().__init__(blocks[0].num_classes, sum(block.channels for block in blocks))
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("weights", weights)
        for number, where in enumerate(positions):
            self.register_buffer(f"positions_{number}", where)
        self.parts = parts

    def expand(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """E v for every sample, ``(F, m, C)`` to ``(F, m, C)``."""
        return self._apply_blocks(V, frequencies, "expand")

    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """Cʲ v for every sample and class, ``(F, m, k, C)``."""
        return self._apply_blocks(V, frequencies, "respond")

    def responder(self) -> Callable[[Tensor], Responses]:
        """A function that maps blocks of samples ``(F, m, C)`` to their responses."""
        responders = [block.responder() for block in self._operators()]
        return lambda V: BlockResponses(V, self, responders)

    def real_form(self) -> "BlockDiagonalOperators":
        """The same operators on real and imaginary parts ``(F, m, 2C)``."""
        is_complex = next(self.parameters()).is_complex()
        blocks = [block.real_form() for block in self._operators()]
        return BlockDiagonalOperators(
            blocks, self._positions(), self.weights.clone(), parts=2 if is_complex else 1
        )

    def matrices(self) -> OperatorMatrices:
        """E ``(F, C, C)`` and all Cʲ ``(F, k, C, C)`` as matrices."""
        like = next(self.parameters())
        units = torch.eye(self.channels, dtype=like.dtype, device=like.device)
        units = units.expand(self.num_frequencies, -1, -1)
        return OperatorMatrices(self.expand(units).mT, self.respond(units).permute(0, 2, 3, 1))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Construct operators from their parameters and buffers, by name."""
        count = len(tensors["weights"])
        blocks: list[Operators] = []
        for number in range(count):
            prefix = f"blocks.{number}."
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            blocks.append(_representation_of(own).from_tensors(own))
        positions = [tensors[f"positions_{number}"] for number in range(count)]
        return cls(blocks, positions, tensors["weights"])

    @property
    def num_frequencies(self) -> int:
        """Number of frequencies, F."""
        return max(len(positions) for positions in self._positions())

    @property
    def description(self) -> str:
        """A short name of the representation."""
        return " + ".join(block.description for block in self._operators())

    def select(self, V: Tensor) -> list[Tensor]:
        """The features of each block, ``(F, m, C)`` to B times ``(F_b, m, C_b)``."""
        channels = [block.channels // self.parts for block in self._operators()]
        whole = V.unflatten(2, (self.parts, sum(channels))).split(channels, 3)
        return [
            (part if len(positions) == len(V) else part[positions]).flatten(2)
            for part, positions in zip(whole, self._positions(), strict=True)
        ]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Results of all blocks ``(F_b, …, C_b)``, times their factors, as ``(F, …, C)``."""
        joined = []
        for part, weight, positions in zip(parts, self.weights, self._positions(), strict=True):
            part = (part * weight).unflatten(-1, (self.parts, -1))
            if len(positions) < self.num_frequencies:
                missing = len(positions)  # the position of a row of zeros
                source = positions.new_full((self.num_frequencies,), missing)
                source = source.index_copy(
                    0, positions, torch.arange(missing, device=positions.device)
                )
                part = torch.cat([part, torch.zeros_like(part[:1])])[source]
            joined.append(part)
        return torch.cat(joined, -1).flatten(-2)

    def _apply_blocks(self, V: Tensor, frequencies: slice, method: str) -> Tensor:
        if len(V) < self.num_frequencies:  # other frequencies as zeros, which stay zero
            whole = V.new_zeros(self.num_frequencies, *V.shape[1:])
            whole[frequencies] = V
            return self._apply_blocks(whole, ALL, method)[frequencies]
        pairs = zip(self._operators(), self.select(V), strict=True)
        return self.join([getattr(block, method)(part) for block, part in pairs])

    def _operators(self) -> Iterator[Operators]:
        for block in self.blocks:
            assert isinstance(block, Operators)
            yield block

    def _positions(self) -> list[Tensor]:
        return [getattr(self, f"positions_{number}") for number in range(len(self.blocks))]


def _representation_of(names: Iterable[str]) -> type[Operators]:
    """The representation of the operators of a block, by the names of its tensors."""
    if "compression" in names:
        return DenseOperators
    return FewSamplesOperators if "total_factor" in names else LowRankOperators


class BlockResponses(Responses):
    """Responses of the blocks of channels, at all frequencies."""

    def __init__(
        self,
        V: Tensor,
        operators: BlockDiagonalOperators,
        responders: Sequence[Callable[[Tensor], Responses]],
    ):
        self.blocks = [slice(0, len(V))]
        self._operators_of_blocks = operators
        parts = operators.select(V)
        self._responses = [respond(part) for respond, part in zip(responders, parts, strict=True)]

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``."""
        weights = self._operators_of_blocks.weights.square()
        norms = (responses.norms() for responses in self._responses)
        return safe_sqrt(total(w * n.square() for w, n in zip(weights, norms, strict=True)))

    def quadratic_forms(self) -> Tensor:
        """v* Cʲ v, summed over all frequencies, ``(m, k)``."""
        weights = self._operators_of_blocks.weights
        return total(
            weight * block.quadratic_forms()
            for weight, block in zip(weights, self._responses, strict=True)
        )

    def combine(self, weights: Tensor) -> Iterator[Tensor]:
        """Σ_j w_j Cʲ v with the weights ``(m, k)`` of each sample, ``(F, m, C)``."""
        parts = [torch.cat(list(responses.combine(weights))) for responses in self._responses]
        yield self._operators_of_blocks.join(parts)
