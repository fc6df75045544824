"""One layer: a step of projected gradient ascent on the rate reduction."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from redunet._precision import full_precision
from redunet.files.tensors import Header, with_prefix
from redunet.layers.membership import MEMBERSHIPS, Membership
from redunet.layers.operators import REPRESENTATIONS
from redunet.layers.operators.operator import ClassSums, Operator, OperatorMatrices, Operators
from redunet.layers.operators.responses import block_entries
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
        moved = self.increment(V, membership).mul_(self.eta).add_(V)
        return project_to_sphere(moved, inplace=True)  # eq. 26

    @full_precision
    def increment(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """The direction E v − Σ_j γ_j π_j Cʲ v of the step (eq. 22), ``(F, m, C)``.

        With true memberships π ``(m, k)`` it is F times ∂ΔR/∂V.
        """
        if membership is None and self.membership_rule.rectifies:
            return self.operators.expand(V) - self.rectified(V)
        increments = []
        for run, responses in self.operators.compression.responses(V):  # blocks of samples
            pi = self.assign(responses.norms()) if membership is None else membership[run]
            sums = zip(responses.blocks, responses.combine(self.proportions * pi), strict=True)
            blocks = [self.operators.expand(V[p, run], p) - compression for p, compression in sums]
            increments.append(joined(blocks))
        return joined(increments, 1)

    def rectified(self, V: Tensor) -> Tensor:
        """α (v − Σ_j ReLU(Pʲ v)), at all frequencies together (eq. 25); see :class:`Rectified`."""
        gamma, spectrum, compressed = self.proportions[:, None], self.spectrum, []
        blocks: tuple[Tensor, ...] = (V,)
        if not torch.compiler.is_exporting():  # an exported graph takes any number of samples
            entries = V.shape[0] * V.shape[2] * len(gamma)
            blocks = V.split(max(16, block_entries(V) // entries), 1)
        for block in blocks:
            # α is a factor of all parts. Then α Pʲ v = α v − γ_j Cʲ v, because α = γ_j α_j. A class
            # without samples has the projection 0.
            scaled_V = self.alpha * block
            responses = self.operators.respond(block)  # (F, m, k, C)
            parts = torch.addcmul(scaled_V.unsqueeze(2), responses, gamma, value=-1)
            parts = parts.where(gamma > 0, 0)
            # Rectification acts on the entries of signals, not of half spectra. All classes are
            # transformed together, as if each part were a sample.
            signals = spectrum.inverse(parts.flatten(1, 2)).unflatten(0, parts.shape[1:3])
            compressed.append(spectrum(spectrum.inverse(scaled_V) - signals.relu().sum(1)))
        return torch.cat(compressed, 1)

    @full_precision
    def residual_norms(self, V: Tensor) -> Tensor:
        """‖Cʲ v‖ of every sample against every class: ``(F, m, C)`` to ``(m, k)``."""
        return self.operators.compression.residual_norms(V)

    def membership(self, V: Tensor) -> Tensor:
        """Estimated memberships π̂ of every sample: ``(F, m, C)`` to ``(m, k)``."""
        return self.assign(self.residual_norms(V))

    def assign(self, residual_norms: Tensor) -> Tensor:
        """Memberships from residual norms: ``(m, k)`` to ``(m, k)`` (eq. 23)."""
        if self.membership_rule.relative:
            residual_norms = residual_norms * (self.proportions / self.alpha)  # 1/α_j = γ_j/α
        return self.membership_rule(residual_norms, self.proportions)

    def comparison_weights(self) -> Tensor:
        """Weights ``(k,)``: the class with the smallest weight times residual norm wins."""
        return self.membership_rule.weights(self.proportions, self.alpha)

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

    def describe(self) -> dict[str, object]:
        """A description of all but the tensors, for JSON; see :meth:`restored`."""
        return {
            "eta": self.eta,
            "momentum": self.momentum,
            "membership": MEMBERSHIPS.to_json(self.membership_rule),
            "expansion": REPRESENTATIONS.name_of(self.operators.expansion),
            "compression": REPRESENTATIONS.name_of(self.operators.compression),
        }

    @classmethod
    def restored(
        cls, description: Header, tensors: Mapping[str, Tensor], spectrum: HalfSpectrum
    ) -> Self:
        """The layer that :meth:`describe` described, with the tensors of its ``state_dict()``."""
        sums = with_prefix(tensors, "operators.sums.")
        operators = Operators(
            _restored(description["expansion"], with_prefix(tensors, "operators.expansion.")),
            _restored(description["compression"], with_prefix(tensors, "operators.compression.")),
            ClassSums(**sums) if sums else None,
        )
        return cls(
            operators,
            proportions=tensors["proportions"],
            alpha=tensors["alpha"],
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


def _restored(name: str, tensors: dict[str, Tensor]) -> Operator:
    """An operator of the kind that has this name. Its constructor takes its tensors by name."""
    kind: Callable[..., Operator] = REPRESENTATIONS[name]
    return kind(**tensors)
