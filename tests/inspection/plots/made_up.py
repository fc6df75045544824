"""Rates and decisions to draw."""

import numpy as np

from redunet.construction.construction import RateHistory
from redunet.inspection import Decision

RATES = RateHistory(np.array([2.0, 3.0, 4.0]), np.array([1.0, 1.5, 1.0]))


def decision(
    *shape,
    classes=("yes", "no"),
    inputs=None,
    sample=None,
):
    """A decision with random shares of places and frequencies."""
    rng = np.random.default_rng(0)
    by_place = rng.normal(size=shape)
    difference = by_place.sum()
    frequencies = np.indices((5,) * len(shape)).reshape(len(shape), 5 ** len(shape)).T
    by_frequency = rng.normal(size=len(frequencies))
    by_frequency[-1] += difference - by_frequency.sum()
    return Decision(
        classes,
        residuals=(9.0, (81 + difference) ** 0.5),
        sample=np.ones((1, *shape) if shape else 4) if sample is None else sample,
        by_input=inputs or {},
        by_place=by_place,
        frequency=frequencies,
        by_frequency=by_frequency,
        means=np.zeros(1),
    )
