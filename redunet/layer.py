"""One layer: a step of projected gradient ascent on the rate reduction."""

from torch import Tensor, nn

from redunet.membership import rectified_residual, soft_membership
from redunet.operators import DenseOperators
from redunet.spectrum import HalfSpectrum, project_to_sphere


class ReduLayer(nn.Module):
    """v ← P_S[v + η (E v − Σ_j γ_j π̂_j(v) Cʲ v)] on half spectra ``(F, m, C)``.

    Parameters
    ----------
    operators : DenseOperators
        E and all Cʲ.
    proportions : Tensor of shape (k,)
        γ_j, the share of each class in the samples of the construction.
    eta : float
        Step size η.
    lam : float
        Sharpness λ of the estimated membership.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 22–26; Algorithms 1 and 2, and 3 for signals.
    """

    def __init__(self, operators: DenseOperators, proportions: Tensor, eta: float, lam: float):
        super().__init__()
        self.operators = operators
        self.register_buffer("proportions", proportions.clone())
        self.eta = eta
        self.lam = lam

    def membership(self, V: Tensor) -> Tensor:
        """Estimated membership π̂ of every sample: ``(F, m, C)`` to ``(m, k)``."""
        return soft_membership(self.operators.respond(V).norms(), self.lam)

    def compression(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """Σ_j γ_j π_j Cʲ v with the membership given ``(m, k)``, or else the estimated one."""
        responses = self.operators.respond(V)
        if membership is None:
            membership = soft_membership(responses.norms(), self.lam)
        return responses.combine(self.proportions * membership)

    def increment(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """The direction of the step: F times ∂ΔR/∂V where the membership is the true one."""
        return self.operators.expand(V) - self.compression(V, membership)

    def forward(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """The next layer's features, of unit norm per sample: ``(F, m, C)`` to ``(F, m, C)``."""
        return project_to_sphere(V + self.eta * self.increment(V, membership))

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"eta={self.eta}, lam={self.lam}"


class RectifiedLayer(ReduLayer):
    """A layer that finds the residual of a sample by rectified units instead of a softmax.

    Cʲ/α_j is nearly the projection onto the complement of class j, so Pʲ = I − Cʲ/α_j onto the
    class. As γ_j α_j = α for every class, Σ_j γ_j π_j Cʲ v becomes α (v − Σ_j ReLU(Pʲ v)).

    Parameters
    ----------
    operators, proportions, eta, lam
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
        operators: DenseOperators,
        proportions: Tensor,
        eta: float,
        lam: float,
        alpha: Tensor,
        spectrum: HalfSpectrum,
    ):
        super().__init__(operators, proportions, eta, lam)
        self.register_buffer("alpha", alpha.to(proportions.dtype, copy=True))
        self.spectrum = spectrum

    def compression(self, V: Tensor, membership: Tensor | None = None) -> Tensor:
        """α (v − Σ_j ReLU(Pʲ v)); the exact sum of the base class if the membership is given."""
        if membership is not None:
            return super().compression(V, membership)
        scales = (self.alpha / self.proportions)[:, None]
        class_parts = V.unsqueeze(2) - self.operators.respond(V).stack() / scales  # (F, m, k, C)
        signals = self.spectrum.inverse(class_parts.flatten(1, 2))
        signals = signals.unflatten(0, class_parts.shape[1:3])  # (m, k, C, *spatial)
        residual = rectified_residual(self.spectrum.inverse(V), signals)
        return self.alpha * self.spectrum(residual)
