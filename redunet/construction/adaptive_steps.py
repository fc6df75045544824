"""Steps that the layers choose by the rate reduction, as long as is safe for new samples.

Equal steps are safe up to t = 2, and n of them have the sum 2n; see
:mod:`redunet.construction.steps`. Among all safe steps, those of the Chebyshev polynomial
p(x) = T_n(1 − 2x) have the largest sum, 2n². For n = 3 they are 2, 8 − 4√3 and 8 + 4√3. The first
two steps shrink what the last one amplifies.

References
----------
Young. On Richardson's method for solving linear systems with positive definite matrices (Journal of
Mathematics and Physics 1953).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from redunet.construction.features import LabelledFeatures
from redunet.construction.steps import Gather, Moved, Steps
from redunet.layers import ReduLayer, SecondMoments

# The steps of the first layers of a round. The last layer of a round takes a longer step.
SHORT_STEPS = (2.0, 8 - 4 * math.sqrt(3))

# Number of layers in a round.
ROUND = len(SHORT_STEPS) + 1

# Largest number of times that a step is halved.
MOST_HALVINGS = 8

# Number of points x at which p(x) is evaluated.
RESOLUTION = 4096


class Trial(NamedTuple):
    """A step that was tried."""

    step: float  # t = ηα
    moments: SecondMoments  # second moments of the moved features
    delta: float  # their ΔR


@dataclass(frozen=True)
class AdaptiveSteps(Steps):
    """Steps in rounds of three layers. ΔR never falls, and no step is longer than is safe.

    Parameters
    ----------
    alpha : float
        α = C/(mε²).
    """

    alpha: float

    def eta(self, number: int) -> float:
        """η of the first step that the first layer tries."""
        return SHORT_STEPS[0] / self.alpha

    def are_comparable(self, count: int) -> bool:
        """Whether a round ends. The steps of a round differ, so only its last layer counts."""
        return ends_round(count)

    def move(
        self,
        layer: ReduLayer,
        earlier: Sequence[float],
        samples: LabelledFeatures,
        gather: Gather,
        floor: float,
    ) -> Moved:
        """Move all samples by the best step, which becomes the step of the layer."""
        directions = samples.directions(layer)

        def attempt(step: float) -> Trial:
            moments = gather(lambda: samples.moved_points(directions, step / self.alpha))
            return Trial(step, moments, float(moments.rates().delta))

        best = choose_step([eta * self.alpha for eta in earlier], attempt, floor)
        layer.eta = best.step / self.alpha
        return Moved(samples.move(directions, layer.eta), best.moments)


def longest_step(taken: Sequence[float]) -> float:
    """The longest step t with |p(x)(1 − tx)| ≤ 1 for all x between 0 and 1.

    Parameters
    ----------
    taken : sequence of float
        The steps of the layers before, whose polynomial p is safe.
    """
    x = np.linspace(0, 1, RESOLUTION + 1)[1:]
    p = np.prod([1 - step * x for step in taken], axis=0) * np.ones_like(x)
    tiny = np.finfo(p.dtype).tiny
    return float(((1 + 1 / np.maximum(abs(p), tiny)) / x).min())


def first_trial(taken: Sequence[float]) -> tuple[float, bool]:
    """The step that a layer tries first, and whether it also tries shorter ones.

    The first layers of a round take :data:`SHORT_STEPS`. The last one takes the longest safe step,
    or a shorter one if this raises ΔR.

    Parameters
    ----------
    taken : sequence of float
        The steps of all layers before.
    """
    position = len(taken) % ROUND
    if position < len(SHORT_STEPS):
        return SHORT_STEPS[position], False
    return longest_step(taken[len(taken) - position :]), True


def ends_round(count: int) -> bool:
    """Whether this number of layers ends a round."""
    return count % ROUND == 0


def choose_step(taken: Sequence[float], attempt: Callable[[float], Trial], floor: float) -> Trial:
    """The step of a layer. It is halved while ΔR falls.

    The step of the last layer of a round is also halved as long as this raises ΔR. If ΔR falls with
    every step that is tried, the step with the largest ΔR is chosen.

    Parameters
    ----------
    taken : sequence of float
        The steps of all layers before.
    attempt : callable
        Function from a step to a trial.
    floor : float
        ΔR falls if it is below this value.
    """
    step, compares = first_trial(taken)
    best = attempt(step)
    for _ in range(MOST_HALVINGS):
        is_safe = best.delta >= floor
        if is_safe and not compares:
            break
        step /= 2
        shorter = attempt(step)
        if shorter.delta > best.delta:
            best = shorter
        elif is_safe:
            break
    return best
