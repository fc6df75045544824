"""Plot of the decision between two classes for one sample."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import FigureBase

from redunet._checks import Array, as_tensor
from redunet.inspection.axes import literal
from redunet.inspection.decision import Decision
from redunet.inspection.palette import PALETTE

# Colours of shares that speak for the winner, and of those that speak for the other class.
FOR, AGAINST = PALETTE[:2]

# The same colours for places. Where the share is zero, the sample shows through.
OVERLAY = LinearSegmentedColormap.from_list(
    "decision",
    [
        (0.0, to_rgba(AGAINST, 0.75)),
        (0.5, to_rgba(AGAINST, 0.0)),
        (0.5, to_rgba(FOR, 0.0)),
        (1.0, to_rgba(FOR, 0.75)),
    ],
)

# Grey level of the darkest pixel of an image, from 0 for white to 1 for black.
DARKEST = 0.45

# If there are several axes, only so many frequencies have a bar of their own.
NAMED_FREQUENCIES = 8


def plot_decision(decision: Decision, x: Array, *, figure: FigureBase | None = None) -> np.ndarray:
    """Draw the shares of a decision on the sample itself, by frequency and by scale.

    All shares are in percent of the difference between the squared residuals. Blue shares speak for
    the winner, orange ones for the other class. A share at a place comes from all that the kernels
    see around it, and is blurred if the band is narrow; see :class:`redunet.inspection.Decision`.
    Vectors have shares by scale only. Samples with three or more spatial axes are not drawn. Nor is
    the only scale, if there is just one.

    Parameters
    ----------
    decision : Decision
        For example ``explain(net, x).decision``.
    x : array-like or Tensor of shape net.sample_shape
        The sample.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of one to three matplotlib Axes

    Raises
    ------
    ValueError
        If the sample does not have the spatial axes of the shares.
    """
    sample = as_tensor(x).detach().cpu().numpy()
    spatial = decision.by_place.ndim
    is_drawn = spatial in (1, 2)
    if is_drawn and sample.ndim != 1 + spatial:
        raise ValueError(
            f"the sample must have one axis of channels and {spatial} of places, got shape "
            f"{sample.shape}"
        )
    names = _panels(decision, is_drawn)
    layout = _layout(names, wide=spatial == 1)
    if figure is None:
        height = 3.5 if len(layout) == 1 else 5.8
        figure = plt.figure(figsize=(6.8, height), layout="constrained")
    panels = figure.subplot_mosaic(layout)
    if is_drawn:
        draw_places(panels["places"], decision, sample)
    if spatial:
        draw_frequencies(panels["frequencies"], decision)
    if "scales" in panels:
        draw_scales(panels["scales"], decision)
    axes = np.array([panels[name] for name in names])
    winner, other = decision.classes
    axes[0].set_title(literal(f"{winner} (blue) rather than {other} (orange)"), fontsize="medium")
    return axes


def _panels(decision: Decision, is_drawn: bool) -> list[str]:
    """Names of the axes, in the order in which they are returned."""
    names = ["places"] * is_drawn + ["frequencies"] * bool(decision.by_place.ndim)
    return names + ["scales"] * (len(decision.by_scale) > 1 or not names)


def _layout(names: list[str], wide: bool) -> list[Any]:
    """Rows of axes: a series above the bars, an image beside them. Narrow pages can show both."""
    if len(names) < 2 or "places" not in names:
        return [names]
    bars = names[1:]
    return [["places"] * len(bars), bars] if wide else [["places", bar] for bar in bars]


def draw_places(ax: Axes, decision: Decision, sample: np.ndarray) -> None:
    """Draw the shares of places over an image, or behind the curves of a series."""
    shares = decision.percentages(decision.by_place)
    limit = np.abs(shares).max() or 1.0
    style: dict[str, Any] = {"cmap": OVERLAY, "vmin": -limit, "vmax": limit}
    bar: dict[str, Any]
    if sample.ndim == 3:
        grey = sample.mean(0)
        low, high = grey.min(), grey.max()
        height, width = grey.shape
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        # The darkest pixels are grey, so that they do not hide the shares.
        ax.imshow(grey, cmap="gray_r", vmin=low, vmax=low + ((high - low) or 1.0) / DARKEST)
        overlay = ax.imshow(shares, extent=extent, interpolation="bilinear", **style)
        ax.set(xticks=[], yticks=[])
        bar = {"location": "bottom", "pad": 0.04}
    else:
        ax.plot(sample.T, color="black", linewidth=0.8)
        extent = (-0.5, sample.shape[1] - 0.5, *ax.get_ylim())
        overlay = ax.imshow(shares[None], extent=extent, aspect="auto", **style)
        ax.set_xlabel("place")
        bar = {"location": "right"}
    ax.figure.colorbar(overlay, ax=ax, label="share of the place [%]", shrink=0.85, **bar)


def draw_frequencies(ax: Axes, decision: Decision) -> None:
    """Draw a bar for each frequency of one axis, or for the largest shares of several axes."""
    percentages = decision.percentages(decision.by_frequency)
    ax.set_title("By frequency", fontsize="medium")
    if decision.frequency.shape[1] == 1:
        ax.bar(decision.frequency[:, 0], percentages, width=0.8, color=_colors(percentages))
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel="frequency", ylabel="share [%]", xlim=(-1, decision.frequency.max() + 1))
        ax.locator_params(axis="x", integer=True)
        return
    order = np.argsort(-np.abs(percentages), kind="stable")
    shown, others = order[:NAMED_FREQUENCIES], order[NAMED_FREQUENCIES:]
    names = [decision.frequency_names[i] for i in shown]
    values = percentages[shown]
    if others.size:
        names.append(f"{others.size} others")
        values = np.append(values, percentages[others].sum())
    _draw_bars(ax, names, values)


def draw_scales(ax: Axes, decision: Decision) -> None:
    """Draw a bar for each scale."""
    names, shares = list(decision.by_scale), list(decision.by_scale.values())
    _draw_bars(ax, names, decision.percentages(shares))
    ax.set_title("By scale", fontsize="medium")


def _draw_bars(ax: Axes, names: list[str], percentages: np.ndarray) -> None:
    """Draw a horizontal bar for each name, the first on top."""
    ax.barh(np.arange(len(names)), percentages, color=_colors(percentages))
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("share [%]")


def _colors(percentages: np.ndarray) -> list[str]:
    return [FOR if share >= 0 else AGAINST for share in percentages]
