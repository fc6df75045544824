"""Plot of the candidates of a search."""

import math
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from torch import nn

from redunet.inspection.style import class_style
from redunet.search.candidate import Candidate
from redunet.search.search import Search

# Smaller losses are drawn as this one where the axis is logarithmic.
LEAST_LOSS = 1e-4

RING: dict[str, Any] = {
    "color": "black",
    "linestyle": "",
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
}

Styles: TypeAlias = dict[nn.Module | None, dict[str, Any]]


def plot_search(search: Search, *, figure: FigureBase | None = None) -> np.ndarray:
    """Plot the log loss of all candidates by band, and of the chosen one by ε².

    In the upper plot, a ring marks the chosen candidate. The grey stripe is one standard error
    above the smallest loss. If there are no bands, as for vectors, each lift has a row, and bars
    show one standard error to each side.

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
    best = search.candidates_[0]
    if math.isnan(best.loss):
        raise ValueError("the search has no losses to plot: no class had three samples or more")
    if figure is None:
        figure = plt.figure(figsize=(6.8, 7.5), layout="constrained")
    axes: np.ndarray = figure.subplots(2, 1)
    draw_candidates(axes[0], search)
    draw_precisions(axes[1], search)
    if has_bands(search):
        _draw_legend(axes[1], search, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return axes


def draw_candidates(ax: Axes, search: Search) -> None:
    """Draw the log loss of all candidates by band, or a row for each if there are no bands."""
    best = search.candidates_[0]
    stripe = best.loss, best.loss + best.standard_error
    if has_bands(search):
        ax.axhspan(*stripe, color="0.9")
        _draw_bands(ax, search)
    else:
        ax.axvspan(*stripe, color="0.9")
        _draw_rows(ax, search)


def draw_precisions(ax: Axes, search: Search, *, legend: bool = False) -> None:
    """Draw the log loss of the chosen candidate by ε²; with a legend below if wanted."""
    best = search.best_
    losses = np.maximum(best.losses, LEAST_LOSS)
    ax.plot(best.precisions, losses, linewidth=1.2, **_styles(search)[best.lift])
    ax.plot(best.eps_sq, max(best.loss, LEAST_LOSS), **RING)
    ax.set(title="Chosen candidate", xlabel="ε²", ylabel="log loss")
    ax.set(xscale="log", yscale="log")
    if legend:
        _draw_legend(ax, search, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize="small")


def has_bands(search: Search) -> bool:
    """Whether the candidates have bands, as those for signals have."""
    return any(candidate.band is not None for candidate in search.candidates_)


def _by_lift(search: Search) -> dict[nn.Module | None, list[Candidate]]:
    """The candidates of each lift, the best first."""
    by_lift: dict[nn.Module | None, list[Candidate]] = {}
    for candidate in search.candidates_:
        by_lift.setdefault(candidate.lift, []).append(candidate)
    return by_lift


def _styles(search: Search) -> Styles:
    """The colour and the marker of each lift."""
    return {lift: {**class_style(i), "markersize": 5} for i, lift in enumerate(_by_lift(search))}


def _draw_bands(ax: Axes, search: Search) -> None:
    """Draw a line for each lift, over equidistant bands."""
    best, styles = search.candidates_[0], _styles(search)
    bands = sorted({candidate.band for candidate in search.candidates_}, key=_width)
    for lift, candidates in _by_lift(search).items():
        ordered = sorted(candidates, key=lambda candidate: _width(candidate.band))
        places = [bands.index(c.band) for c in ordered]
        ax.plot(places, [c.loss for c in ordered], linewidth=1.2, **styles[lift])
    ax.plot(bands.index(best.band), best.loss, **RING)
    ax.set_xticks(range(len(bands)), [_name(band) for band in bands])
    ax.set(title="All candidates", xlabel="band", ylabel="log loss")
    low, high = ax.get_ylim()
    if low < 0:  # losses are not negative
        ax.set_ylim(-0.03 * high, high)


def _draw_rows(ax: Axes, search: Search) -> None:
    """Draw a point for each candidate, the best on top."""
    candidates, styles = search.candidates_, _styles(search)
    for row, c in enumerate(candidates):
        ax.errorbar(c.loss, row, xerr=c.standard_error, linewidth=1.2, **styles[c.lift])
    ax.plot(candidates[0].loss, 0, **RING)
    ax.set_yticks(range(len(candidates)), [c.name for c in candidates])
    ax.invert_yaxis()
    ax.set(title="All candidates", xlabel="log loss")


def _draw_legend(ax: Axes, search: Search, **placement: Any) -> None:
    """Draw a legend of lifts, and of the ring with the chosen band."""
    styles = _styles(search)
    handles = [
        Line2D([], [], label=candidates[0].name, **styles[lift])
        for lift, candidates in _by_lift(search).items()
    ]
    handles.append(Line2D([], [], label=f"chosen, band {_name(search.best_.band)}", **RING))
    ax.legend(handles=handles, frameon=False, **placement)


def _width(band: int | None) -> float:
    return math.inf if band is None else band


def _name(band: int | None) -> str:
    return "all" if band is None else str(band)
