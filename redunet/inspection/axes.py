"""Axes that a user gives, or new ones."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def given_or_new(ax: Axes | None, *, figsize: tuple[float, float] | None = None) -> Axes:
    """The axes if they are given, otherwise those of a new figure."""
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax
