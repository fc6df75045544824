"""The steps of the layers: how far each layer moves the features.

The step of a layer is t = ηα with α = C/(mε²). Take the part of a new sample that is orthogonal to
its own class. It has Σ_j γ_j π_j Cʲ v = αv, and at an eigenvalue λ of the second moment of all
samples Ev = αv/(1 + αλ). A layer therefore multiplies it by 1 − tx with x = αλ/(1 + αλ), which lies
between 0 and 1. If a class has fewer samples than channels, its own samples have almost no such
part, so ΔR does not show whether it grows. Several layers multiply it by the polynomial
p(x) = Π (1 − t_l x). The steps are safe if |p(x)| ≤ 1 for all x between 0 and 1.

Equal steps are safe up to t = 2, and n of them have the sum 2n. Among all safe steps, those of the
Chebyshev polynomial p(x) = T_n(1 − 2x) have the largest sum, 2n². For n = 3 they are 2, 8 − 4√3 and
8 + 4√3. The first two steps shrink what the last one amplifies. Steps that are not given are chosen
in such rounds of three layers.

References
----------
Young. On Richardson's method for solving linear systems with positive definite matrices (Journal of
Mathematics and Physics 1953).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from redunet.layers import SecondMoments

# The steps of the first layers of a round. The last layer of a round takes a longer step.
SHORT_STEPS = (2.0, 8 - 4 * math.sqrt(3))

# Number of layers in a round.
ROUND = len(SHORT_STEPS) + 1

# Largest number of times that a step is halved.
MOST_HALVINGS = 8

# Number of points x at which p(x) is evaluated.
RESOLUTION = 4096


class Step(NamedTuple):
    """How a layer moves the features."""

    eta: float  # η
    momentum: float  # β


class Trial(NamedTuple):
    """A step that was tried."""

    step: float  # t = ηα
    moments: SecondMoments  # second moments of the moved features
    delta: float  # their ΔR


def longest_constant_step(momentum: float) -> float:
    """The longest safe step t = ηα if all layers take the same step: 2 without momentum.

    With momentum β, the part of a new sample in the module's description follows the recursion
    v_{l+1} = (1 − tx)((1 + β) v_l − β v_{l−1}). Its solutions are bounded for all x between 0 and 1
    if t is at most (2 + 2β)/(1 + 2β).
    """
    return (2 + 2 * momentum) / (1 + 2 * momentum)


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
