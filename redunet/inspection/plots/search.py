"""Plot of the candidates of a search."""

import math
from collections.abc import Iterable
from itertools import chain, cycle
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from torch import nn

from redunet.inspection.palette import MARKERS, class_colors
from redunet.search.candidate import Candidate
from redunet.search.search import Search

# Smaller losses are drawn as this one where the axis is logarithmic.
LEAST_LOSS = 1e-4

# Line styles of the bands that were chosen.
DASHES = ("-", "--", ":", "-.")

RING: dict[str, Any] = {
    "color": "black",
    "linestyle": "",
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
}

Styles: TypeAlias = dict[nn.Module | None, dict[str, Any]]


def plot_search(search: Search, *, figure: FigureBase | None = None) -> np.ndarray:
    """Plot the log loss of all candidates by band, and of the chosen candidates by ε².

    On the left, rings mark the chosen candidates. The grey stripe is one standard error above the
    smallest loss. If there are no bands, as for vectors, each lift has a row, and bars show one
    standard error to each side.

    On the right, rings mark the chosen ε². Losses below 0.0001 are drawn as 0.0001.

    Parameters
    ----------
    search : Search
        A search that has been fitted.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of two matplotlib Axes

    Raises
    ------
    ValueError
        If the search has no losses, because no class had three samples or more.
    """
    best = search.candidates_[0]
    if math.isnan(best.loss):
        raise ValueError("the search has no losses to plot: no class had three samples or more")
    if figure is None:
        figure = plt.figure(figsize=(13, 4), layout="constrained")
    axes: np.ndarray = figure.subplots(1, 2)
    by_lift: dict[nn.Module | None, list[Candidate]] = {}
    for candidate in search.candidates_:
        by_lift.setdefault(candidate.lift, []).append(candidate)
    styles = {
        lift: {"color": color, "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
        for i, (lift, color) in enumerate(zip(by_lift, class_colors(len(by_lift)), strict=True))
    }
    chosen = [(c.lift, c.band) for c in search.chosen_]
    rings = [c for c in search.candidates_ if (c.lift, c.band) in chosen]
    stripe = best.loss, best.loss + best.standard_error
    _draw_precisions(axes[1], search.chosen_, styles)
    if all(c.band is None for c in search.candidates_):
        axes[0].axvspan(*stripe, color="0.9")
        _draw_rows(axes[0], search.candidates_, styles, rings)
    else:
        axes[0].axhspan(*stripe, color="0.9")
        _draw_bands(axes[0], by_lift, styles, rings)
        _draw_legend(axes[1], by_lift, styles, _bands(search.chosen_))
    return axes


def _draw_bands(
    ax: Axes,
    by_lift: dict[nn.Module | None, list[Candidate]],
    styles: Styles,
    rings: list[Candidate],
) -> None:
    """Draw a line for each lift, over equidistant bands."""
    bands = _bands(chain.from_iterable(by_lift.values()))
    for lift, candidates in by_lift.items():
        ordered = sorted(candidates, key=lambda candidate: _width(candidate.band))
        places = [bands.index(c.band) for c in ordered]
        ax.plot(places, [c.loss for c in ordered], linewidth=1.2, **styles[lift])
    ax.plot([bands.index(c.band) for c in rings], [c.loss for c in rings], **RING)
    ax.set_xticks(range(len(bands)), [_name(band) for band in bands])
    ax.set(title="All candidates", xlabel="band", ylabel="log loss")


def _draw_rows(
    ax: Axes, candidates: list[Candidate], styles: Styles, rings: list[Candidate]
) -> None:
    """Draw a point for each candidate, the best on top."""
    for row, c in enumerate(candidates):
        ax.errorbar(c.loss, row, xerr=c.standard_error, linewidth=1.2, **styles[c.lift])
    ax.plot([c.loss for c in rings], [candidates.index(c) for c in rings], **RING)
    ax.set_yticks(range(len(candidates)), [c.name for c in candidates])
    ax.invert_yaxis()
    ax.set(title="All candidates", xlabel="log loss")


def _draw_precisions(ax: Axes, chosen: list[Candidate], styles: Styles) -> None:
    """Draw a line for each chosen candidate."""
    bands = _bands(chosen)
    for c in chosen:
        losses, dash = np.maximum(c.losses, LEAST_LOSS), DASHES[bands.index(c.band) % len(DASHES)]
        ax.plot(c.precisions, losses, linestyle=dash, linewidth=1.2, **styles[c.lift])
        ax.plot(c.eps_sq, max(c.loss, LEAST_LOSS), **RING)
    ax.set(title="Chosen candidates", xlabel="ε²", ylabel="log loss")
    ax.set(xscale="log", yscale="log")


def _draw_legend(
    ax: Axes,
    by_lift: dict[nn.Module | None, list[Candidate]],
    styles: Styles,
    bands: list[int | None],
) -> None:
    """Draw a legend of lifts, chosen bands and rings to the right of the axes."""
    handles = [
        Line2D([], [], label=candidates[0].name, **styles[lift])
        for lift, candidates in by_lift.items()
    ]
    for dash, band in zip(cycle(DASHES), bands, strict=False):
        style: dict[str, Any] = {"color": "black", "linestyle": dash}
        handles.append(Line2D([], [], label=f"band {_name(band)}", **style))
    handles.append(Line2D([], [], label="chosen", **RING))
    ax.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _bands(candidates: Iterable[Candidate]) -> list[int | None]:
    """The bands of candidates, the narrowest first."""
    return sorted({candidate.band for candidate in candidates}, key=_width)


def _width(band: int | None) -> float:
    return math.inf if band is None else band


def _name(band: int | None) -> str:
    return "all" if band is None else str(band)
