"""The steps of the layers: how far each layer moves the features.

The step of a layer is t = ηα with α = C/(mε²). Take the part of a new sample that is orthogonal to
its own class. It has Σ_j γ_j π_j Cʲ v = αv, and at an eigenvalue λ of the second moment of all
samples Ev = αv/(1 + αλ). A layer therefore multiplies it by 1 − tx with x = αλ/(1 + αλ), which lies
between 0 and 1. If a class has fewer samples than channels, its own samples have almost no such
part, so ΔR does not show whether it grows. Several layers multiply it by the polynomial
p(x) = Π (1 − t_l x). The steps are safe if |p(x)| ≤ 1 for all x between 0 and 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from redunet.construction.features import FeatureStore, LabelledFeatures
from redunet.layers import ReduLayer, SecondMoments

# From a function that begins a pass over points after a layer, to their second moments.
Gather = Callable[[Callable[[], Iterable[Tensor]]], SecondMoments]


class Moved(NamedTuple):
    """Samples after a layer."""

    features: FeatureStore
    moments: SecondMoments  # second moments of these features


class Steps(ABC):
    """The steps of all layers of a construction."""

    @abstractmethod
    def eta(self, number: int) -> float:
        """η of the layer that has this number, from 0, before :meth:`move` changes it."""

    def momentum(self, number: int) -> float:
        """β of the layer that has this number, by default 0."""
        return 0.0

    def are_comparable(self, count: int) -> bool:
        """Whether ΔR of the last of so many layers tells if more layers would raise it."""
        return True

    @abstractmethod
    def move(
        self,
        layer: ReduLayer,
        earlier: Sequence[float],
        samples: LabelledFeatures,
        gather: Gather,
        floor: float,
    ) -> Moved:
        """Apply a layer to all samples. It may change η of the layer.

        Parameters
        ----------
        layer : ReduLayer
        earlier : sequence of float
            η of all layers before.
        samples : LabelledFeatures
            Their current features do not change if they are kept for momentum.
        gather : callable
        floor : float
            ΔR before the layer, less a rounding error.
        """


@dataclass(frozen=True)
class GivenSteps(Steps):
    """Steps that are known before the construction.

    Parameters
    ----------
    etas, momenta : sequence of float
        η and β of the layers. The last ones hold for all further layers.
    """

    etas: Sequence[float]
    momenta: Sequence[float] = (0.0,)

    def eta(self, number: int) -> float:
        """η of the layer that has this number."""
        return self.etas[min(number, len(self.etas) - 1)]

    def momentum(self, number: int) -> float:
        """β of the layer that has this number."""
        return self.momenta[min(number, len(self.momenta) - 1)]

    def move(
        self,
        layer: ReduLayer,
        earlier: Sequence[float],
        samples: LabelledFeatures,
        gather: Gather,
        floor: float,
    ) -> Moved:
        """Apply a layer to all samples."""
        features = samples.apply(layer)
        return Moved(features, gather(lambda: features))


def longest_constant_step(momentum: float) -> float:
    """The longest safe step t = ηα if all layers take the same step: 2 without momentum.

    With momentum β, the part of a new sample in the module's description follows the recursion
    v_{l+1} = (1 − tx)((1 + β) v_l − β v_{l−1}). Its solutions are bounded for all x between 0 and 1
    if t is at most (2 + 2β)/(1 + 2β).
    """
    return (2 + 2 * momentum) / (1 + 2 * momentum)
