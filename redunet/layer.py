"""One layer: a step of projected gradient ascent on the rate reduction."""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from redunet.membership import rectified_residual, soft_membership
from redunet.operators import Operators, Responses
from redunet.spectrum import HalfSpectrum, project_to_sphere


class ReduLayer(nn.Module):
    """v ← P_S[v + η (E v − Σ_j γ_j π̂_j(v) Cʲ v)] on half spectra ``(F, m, C)``.

    Parameters
    ----------
    operators : Operators
        E and all Cʲ.
    proportions : Tensor of shape (k,)
        γ_j, the share of each class in the samples of the construction.
    eta : float
        Step size η.
    lam : float
        Sharpness λ of the estimated membership.
    momentum : float
        β: the layer is meant for points beyond the features, see :func:`extrapolated`.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 22–26; Algorithms 1 and 2, and 3 for signals; eq. 28 for
    momentum.
    """

    def __init__(
        self,
        operators: Operators,
        proportions: Tensor,
        eta: float,
        lam: float,
        momentum: float = 0.0,
    ):
        super().__init__()
        self.operators = operators
        self.register_buffer("proportions", proportions.clone())
        self.eta = eta
        self.lam = lam
        self.momentum = momentum

    def residual_norms(self, V: Tensor) -> Tensor:
        """‖Cʲ v‖ of every sample against every class: ``(F, m, C)`` to ``(m, k)``."""
        respond = self.operators.responder()
        return torch.cat([respond(block).norms() for block in V.split(self._block_size(V), 1)])

    def membership(self, V: Tensor) -> Tensor:
        """Estimated membership π̂ of every sample: ``(F, m, C)`` to ``(m, k)``."""
        return soft_membership(self.residual_norms(V), self.lam)

    def compression(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """Σ_j γ_j π_j Cʲ v with the membership given ``(m, k)``, or else the estimated one."""
        parts = self._compression_parts(V, self.operators.respond(V), membership)
        return torch.cat([part for _, part in parts])

    def increment(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """The direction of the step: F times ∂ΔR/∂V where the membership is the true one."""
        return self.operators.expand(V) - self.compression(V, membership)

    def kernels(self, spectrum: HalfSpectrum) -> tuple[Tensor, Tensor]:
        """The operators as kernels of circular convolutions, in the domain of the signals.

        Parameters
        ----------
        spectrum : HalfSpectrum
            The network's.

        Returns
        -------
        expansion : Tensor of shape (C, C, *spatial)
            Of E: output channels first, as in ``torch.nn.Conv2d``, whose correlations are
            convolutions with the flipped kernel.
        compression : Tensor of shape (k, C, C, *spatial)
            Of every Cʲ.

        References
        ----------
        Chan et al., ReduNet (JMLR 2022), Propositions 4 and 5: E and Cʲ are convolutions.
        """
        E, C = self.operators.expansion, self.operators.matrices()
        compression = spectrum.kernels(C.flatten(1, 2)).unflatten(0, C.shape[1:3])
        return spectrum.kernels(E), compression

    def _compression_parts(
        self, V: Tensor, responses: Responses, membership: Tensor | None
    ) -> Iterator[tuple[slice, Tensor]]:
        """The compression, block by block of frequencies."""
        if membership is None:
            membership = soft_membership(responses.norms(), self.lam)
        return zip(responses.blocks, responses.combine(self.proportions * membership), strict=True)

    def forward(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """The next layer's features, of unit norm per sample: ``(F, m, C)`` to ``(F, m, C)``."""
        respond, size = self.operators.responder(), self._block_size(V)
        if V.shape[1] <= size:
            return self._step(V, respond(V), membership)
        blocks = V.split(size, 1)
        memberships = [None] * len(blocks) if membership is None else membership.split(size)
        return torch.cat(
            [
                self._step(block, respond(block), known)
                for block, known in zip(blocks, memberships, strict=True)
            ],
            1,
        )

    def _block_size(self, V: Tensor) -> int:
        """Samples at one time."""
        return self.operators.samples_per_block(V)

    def _step(self, V: Tensor, responses: Responses, membership: Tensor | None) -> Tensor:
        """One block of samples, block by block of frequencies."""
        E = self.operators.expansion
        moved = [
            torch.baddbmm(V[block], V[block], E[block].mT, alpha=self.eta).sub_(
                part, alpha=self.eta
            )
            for block, part in self._compression_parts(V, responses, membership)
        ]
        return project_to_sphere(*moved)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"eta={self.eta}, lam={self.lam}, momentum={self.momentum:g}"


class RectifiedLayer(ReduLayer):
    """A layer that finds the residual of a sample by rectified units instead of a softmax.

    Cʲ/α_j is nearly the projection onto the complement of class j, so Pʲ = I − Cʲ/α_j onto the
    class. As γ_j α_j = α for every class, Σ_j γ_j π_j Cʲ v becomes α (v − Σ_j ReLU(Pʲ v)).

    Parameters
    ----------
    operators, proportions, eta, lam, momentum
        As for :class:`ReduLayer`.
    alpha : Tensor, scalar
        α = C/(m ε²).
    spectrum : HalfSpectrum
        The way to the signals and back: rectification is entry by entry there.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Remark 3 and eq. 25.
    """

    def __init__(
        self,
        operators: Operators,
        proportions: Tensor,
        eta: float,
        lam: float,
        momentum: float = 0.0,
        *,
        alpha: Tensor,
        spectrum: HalfSpectrum,
    ):
        super().__init__(operators, proportions, eta, lam, momentum)
        self.register_buffer("alpha", alpha.to(proportions.dtype, copy=True))
        self.spectrum = spectrum

    def _block_size(self, V: Tensor) -> int:
        """Samples at one time: their responses are needed at all frequencies together."""
        return max(16, super()._block_size(V) // len(V))

    def _compression_parts(
        self, V: Tensor, responses: Responses, membership: Tensor | None
    ) -> Iterator[tuple[slice, Tensor]]:
        """α (v − Σ_j ReLU(Pʲ v)); the exact sum of the base class if the membership is given."""
        if membership is not None:
            return super()._compression_parts(V, responses, membership)
        scales = (self.alpha / self.proportions)[:, None]
        class_parts = V.unsqueeze(2) - responses.stack() / scales  # (F, m, k, C)
        signals = self.spectrum.inverse(class_parts.flatten(1, 2))
        signals = signals.unflatten(0, class_parts.shape[1:3])  # (m, k, C, *spatial)
        residual = rectified_residual(self.spectrum.inverse(V), signals)
        return iter([(slice(None), self.alpha * self.spectrum(residual))])


def extrapolated(V: Tensor, previous: Tensor, momentum: float) -> Tensor:
    """q = v + β (v − v_previous), ``(F, m, C)``: where a layer with momentum takes its step from.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eq. 28 (Nesterov's acceleration).
    """
    return V + momentum * (V - previous) if momentum else V


def trajectory(V: Tensor, layers: Iterable[ReduLayer]) -> Iterator[tuple[Tensor, Tensor]]:
    """Features ``(F, m, C)``, and those a layer earlier: before the first layer and after each."""
    previous = V
    yield V, previous
    for layer in layers:
        V, previous = layer(extrapolated(V, previous, layer.momentum)), V
        yield V, previous


def propagate(V: Tensor, layers: Iterable[ReduLayer]) -> tuple[Tensor, Tensor]:
    """Features ``(F, m, C)`` after the last of the layers, and before it."""
    return deque(trajectory(V, layers), maxlen=1).pop()
