"""Plot of the candidates of a search."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from redunet.inspection.style import class_style
from redunet.search.search import Search

# Smaller losses are drawn as this one where the axis is logarithmic.
LEAST_LOSS = 1e-4


def plot_search(search: Search, *, figure: FigureBase | None = None) -> np.ndarray:
    """Plot the log loss of all candidates by band, and of the chosen one by ε².

    In the upper plot, a ring marks the chosen candidate. The grey stripe is one standard error
    above the smallest loss.

    In the lower plot, a ring marks the chosen ε². Losses below 0.0001 are drawn as 0.0001.

    Parameters
    ----------
    search : Search
        A search that has been fitted.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of two matplotlib Axes, the upper one first

    Raises
    ------
    ValueError
        If the search has no losses, because no class had three samples or more.
    """
    candidates = search.candidates_
    first, best = candidates[0], search.best_
    if math.isnan(first.loss):
        raise ValueError("the search has no losses to plot: no class had three samples or more")
    if figure is None:
        figure = plt.figure(figsize=(6.8, 7.5), layout="constrained")
    axes: np.ndarray = figure.subplots(2, 1)
    upper, lower = axes
    lifts = list(dict.fromkeys(candidate.lift for candidate in candidates))
    bands = sorted({candidate.band for candidate in candidates}, key=_width)
    for number, lift in enumerate(lifts):
        own = [c for band in bands for c in candidates if (c.lift, c.band) == (lift, band)]
        places, losses = [bands.index(c.band) for c in own], [c.loss for c in own]
        upper.plot(places, losses, label=own[0].name, markersize=5, **class_style(number))
    edge, label = first.loss + first.standard_error, "one standard error"
    upper.axhspan(first.loss, edge, color="0.9", label=label)
    has_bands = bands != [None]  # tables have none
    label = f"chosen, band {_name(best.band)}" if has_bands else "chosen"
    _draw_ring(upper, bands.index(first.band), first.loss, label=label)
    upper.set_xticks(range(len(bands)), [_name(band) for band in bands])
    upper.set(title="All candidates", xlabel="band", ylabel="log loss")
    upper.xaxis.set_visible(has_bands)
    low, high = upper.get_ylim()
    upper.set_ylim(max(low, -0.03 * high), high)  # losses are not negative
    entries = upper.get_legend_handles_labels()
    lower.legend(*entries, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    losses = np.maximum(best.losses, LEAST_LOSS)
    lower.plot(best.precisions, losses, markersize=5, **class_style(lifts.index(first.lift)))
    _draw_ring(lower, best.eps_sq, max(best.loss, LEAST_LOSS))
    lower.set(title="Chosen candidate", xlabel="ε²", ylabel="log loss", xscale="log", yscale="log")
    return axes


def _draw_ring(ax: Axes, x: float, y: float, label: str = "") -> None:
    ax.plot(x, y, "o", color="black", markersize=11, markerfacecolor="none", label=label)


def _width(band: int | None) -> float:
    return math.inf if band is None else band


def _name(band: int | None) -> str:
    return "all" if band is None else str(band)
