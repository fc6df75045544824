"""One layer: a step of projected gradient ascent on the rate reduction."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from redunet._precision import full_precision
from redunet.layers.membership import MEMBERSHIPS, Membership
from redunet.layers.operators import REPRESENTATIONS, OperatorMatrices, Operators, Responses
from redunet.rates.spectrum import HalfSpectrum, joined, project_to_sphere


class ReduLayer(nn.Module):
    """v ← P_S[v + η (E v − Σ_j γ_j π̂_j(v) Cʲ v)] on half spectra ``(F, m, C)``.

    Parameters
    ----------
    operators : Operators
        E and all Cʲ.
    proportions : Tensor of shape (k,)
        γ_j, the share of each class in the samples of the construction.
    alpha : Tensor, scalar
        α = C/(m ε²), of the same type as ``proportions``.
    eta : float
        Step size η.
    membership_rule : Membership
        How the layer estimates memberships π̂.
    spectrum : HalfSpectrum
        The transform between the features and signals.
    momentum : float
        β. The layer takes its step from a point ahead of the features; see :func:`extrapolate`.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 22–26; Algorithms 1 and 2, and 3 for signals; eq. 28 for
    momentum.
    """

    operators: Operators
    proportions: Tensor
    alpha: Tensor

    def __init__(
        self,
        operators: Operators,
        *,
        proportions: Tensor,
        alpha: Tensor,
        eta: float,
        membership_rule: Membership,
        spectrum: HalfSpectrum,
        momentum: float = 0.0,
    ):
        super().__init__()
        self.operators = operators
        self.register_buffer("proportions", proportions)
        self.register_buffer("alpha", alpha)
        self.eta = eta
        self.membership_rule = membership_rule
        self.spectrum = spectrum
        self.momentum = momentum

    @full_precision
    def forward(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """Features after the layer, of unit norm per sample.

        Parameters
        ----------
        V : Tensor of shape (F, m, C)
        membership : Tensor of shape (m, k), optional
            True memberships, which replace the estimated ones.

        Returns
        -------
        Tensor of shape (F, m, C)
        """
        return self._in_blocks(self._step, V, membership)

    def _in_blocks(
        self,
        function: Callable[[Tensor, Responses, Tensor | None], Tensor],
        V: Tensor,
        membership: Tensor | None,
    ) -> Tensor:
        """Apply a function to one block of samples at a time."""
        respond, size = self.operators.responder(), self.operators.samples_per_block(V)
        if V.shape[1] <= size:
            return function(V, respond(V), membership)
        blocks = V.split(size, 1)
        known = [None] * len(blocks) if membership is None else membership.split(size)
        pairs = zip(blocks, known, strict=True)
        return torch.cat([function(block, respond(block), pi) for block, pi in pairs], 1)

    def _step(self, V: Tensor, responses: Responses, membership: Tensor | None) -> Tensor:
        """Step 2 of Algorithm 1 for a block of samples, one block of frequencies at a time."""
        # Line 9, the soft assignment, is in _compress. Line 11 is the step and the projection.
        directions = self._directions(V, responses, membership)
        moved = ((block, torch.add(V[block], d, alpha=self.eta)) for block, d in directions)
        return project_to_sphere(_joined(moved, V), inplace=True)

    def _directions(
        self, V: Tensor, responses: Responses, membership: Tensor | None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of frequencies, with E v − Σ_j γ_j π_j Cʲ v at these frequencies."""
        for block, compression in self._compress(V, responses, membership):
            yield block, self.operators.expand(V[block], block) - compression

    def _compress(
        self, V: Tensor, responses: Responses, membership: Tensor | None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of frequencies, with Σ_j γ_j π_j Cʲ v at these frequencies."""
        if membership is None:
            return self.membership_rule.compress(V, responses, self)
        return zip(responses.blocks, responses.combine(self.proportions * membership), strict=True)

    @full_precision
    def compression(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """Σ_j γ_j π_j Cʲ v with given memberships ``(m, k)``; by default with estimated ones."""
        return _joined(self._compress(V, self.operators.responder()(V), membership), V)

    @full_precision
    def increment(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """The direction of the step. With true memberships it is F times ∂ΔR/∂V."""
        return self._in_blocks(self._increment, V, membership)

    def _increment(self, V: Tensor, responses: Responses, membership: Tensor | None) -> Tensor:
        return _joined(self._directions(V, responses, membership), V)

    @full_precision
    def residual_norms(self, V: Tensor) -> Tensor:
        """‖Cʲ v‖ of every sample against every class: ``(F, m, C)`` to ``(m, k)``."""
        respond = self.operators.responder()
        blocks = V.split(self.operators.samples_per_block(V), 1)
        return torch.cat([respond(block).norms() for block in blocks])

    def membership(self, V: Tensor) -> Tensor:
        """Estimated memberships π̂ of every sample: ``(F, m, C)`` to ``(m, k)``."""
        return self.assign(self.residual_norms(V))

    def assign(self, residual_norms: Tensor) -> Tensor:
        """Memberships from residual norms: ``(m, k)`` to ``(m, k)``."""
        return self.membership_rule.assign(residual_norms, self)

    def kernels(self) -> OperatorMatrices:
        """The operators as kernels of circular convolutions between signals.

        Output channels come first, as in ``torch.nn.Conv2d``, whose correlations are convolutions
        with the flipped kernel.

        Returns
        -------
        expansion : Tensor of shape (C, C, *spatial)
            Kernel of E.
        compression : Tensor of shape (k, C, C, *spatial)
            Kernel of each Cʲ.

        References
        ----------
        Chan et al., ReduNet (JMLR 2022), Propositions 4 and 5: E and Cʲ are convolutions.
        """
        E, C = self.operators.matrices()
        compression = self.spectrum.kernels(C.flatten(1, 2)).unflatten(0, C.shape[1:3])
        return OperatorMatrices(self.spectrum.kernels(E), compression)

    def describe(self) -> dict[str, Any]:
        """A description of all but the values of the tensors, for JSON; see :meth:`empty`."""
        return {
            "eta": self.eta,
            "momentum": self.momentum,
            "membership": MEMBERSHIPS.to_json(self.membership_rule),
            "dtype": _name_of(self.proportions.dtype),
            "representation": REPRESENTATIONS.name_of(self.operators),
            "tensors": {
                name: {"dtype": _name_of(t.dtype), "shape": list(t.shape)}
                for name, t in self.operators.state_dict().items()
            },
        }

    @classmethod
    def empty(cls, description: Mapping[str, Any], spectrum: HalfSpectrum) -> Self:
        """A layer that fits a description. Its tensors are on the meta device."""

        def tensor(dtype: str, shape: list[int] | tuple[int, ...]) -> Tensor:
            return torch.empty(tuple(shape), dtype=getattr(torch, dtype), device="meta")

        tensors = {name: tensor(**fields) for name, fields in description["tensors"].items()}
        operators = REPRESENTATIONS[description["representation"]].from_tensors(tensors)
        return cls(
            operators,
            proportions=tensor(description["dtype"], (operators.num_classes,)),
            alpha=tensor(description["dtype"], ()),
            eta=description["eta"],
            membership_rule=MEMBERSHIPS.from_json(description["membership"]),
            spectrum=spectrum,
            momentum=description["momentum"],
        )

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"eta={self.eta:.4g}, {self.membership_rule}, momentum={self.momentum:g}"


def extrapolate(V: Tensor, previous: Tensor, momentum: float) -> Tensor:
    """q = v + β (v − v_previous), ``(F, m, C)``: the point from which a layer takes its step.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 28 (Nesterov's acceleration).
    """
    return V + momentum * (V - previous) if momentum else V


def trajectory(V: Tensor, layers: Iterable[ReduLayer]) -> Iterator[tuple[Tensor, Tensor]]:
    """Features ``(F, m, C)`` before the first layer and after each, with the previous features."""
    previous = V
    yield V, previous
    for layer in layers:
        V, previous = layer(extrapolate(V, previous, layer.momentum)), V
        yield V, previous


def propagate(V: Tensor, layers: Iterable[ReduLayer]) -> tuple[Tensor, Tensor]:
    """Features ``(F, m, C)`` after the last layer, and features before the last layer."""
    return deque(trajectory(V, layers), maxlen=1).pop()


def _joined(parts: Iterable[tuple[slice, Tensor]], like: Tensor) -> Tensor:
    """Blocks of frequencies as one tensor of the shape of ``like``.

    Without gradients each block is copied as soon as it is made, while it is in the cache.
    """
    blocks, whole = [], None
    for frequencies, part in parts:
        if part.requires_grad or part.shape == like.shape:
            blocks.append(part)
        else:
            whole = part.new_empty(like.shape) if whole is None else whole
            whole[frequencies] = part
    return joined(blocks) if whole is None else whole


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
