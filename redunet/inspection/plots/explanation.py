"""Plots of the explanation of one sample: a decision, and what each layer does."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import FigureBase

from redunet.inspection.decision import Decision
from redunet.inspection.explanation import Explanation
from redunet.inspection.style import PALETTE, class_style, literal

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

# So many columns, channels or frequencies have a bar of their own.
NAMED_SHARES = 10

# Number of classes that have colours. The other classes are grey.
NAMED_CLASSES = 5


def plot_decision(decision: Decision, *, figure: FigureBase | None = None) -> np.ndarray:
    """Draw the shares of a decision: by column or channel, by place and by frequency.

    All shares are in percent of the difference between the squared residuals, and those of columns
    and channels in percent of the log odds if the network has a reader. Blue shares speak for the
    winner, orange ones for the other class. Places are drawn on the sample itself. A share at a
    place comes from all that the kernels see around it; see :class:`redunet.inspection.Decision`.
    Places of samples with three or more spatial axes are not drawn, nor is a kind of which there
    is only one share.

    Parameters
    ----------
    decision : Decision
        For example ``explain(net, x).decision``.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of one to three matplotlib Axes
    """
    draws = [_draw_inputs] * bool(decision.by_input) + [_draw_places] * _has_places(decision)
    draws = draws + [_draw_frequencies] * (len(decision.by_frequency) > 1) or [_draw_frequencies]
    rows = -(-len(draws) // 2)
    if figure is None:
        size = (6.8, 3.2 * rows) if len(draws) > 1 else (6.8, 3.6)
        figure = plt.figure(figsize=size, layout="constrained")
    axes: np.ndarray = figure.subplots(rows, min(2, len(draws)), squeeze=False).flatten()
    for ax in axes[len(draws) :]:
        ax.remove()
    for draw, ax in zip(draws, axes, strict=False):
        draw(ax, decision)
    winner, other = decision.classes
    title = literal(f"{winner} (blue) rather than {other} (orange)")
    figure.suptitle(title, fontsize="medium")
    return axes[: len(draws)]


def plot_explanation(explanation: Explanation, *, figure: FigureBase | None = None) -> np.ndarray:
    """Plot residuals, memberships and the parts of the step by layer.

    The five classes nearest to the sample have colours, and so has its true class, if the
    explanation knows it. A class has the same colour in the plots of all samples.
    :func:`plot_decision` draws the reasons.

    Parameters
    ----------
    explanation : Explanation
        The explanation of a sample; see :func:`redunet.explain`.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of three matplotlib Axes
        Residuals, memberships, and the lengths of the parts of the step.
    """
    figure = plt.figure(figsize=(9, 3), layout="constrained") if figure is None else figure
    axes: np.ndarray = figure.subplots(1, 3)
    _draw_classes(axes[0], explanation, explanation.residuals)
    axes[0].set(title="Relative residual", ylabel=r"$\|C^j v\| / \alpha_j$")
    _draw_classes(axes[1], explanation, explanation.memberships)
    axes[1].set(title="Membership", ylabel=r"$\hat{\pi}_j$", ylim=(-0.03, 1.03))
    _draw_classes(axes[2], explanation, explanation.compression, explanation.expansion)
    axes[2].set(title="Parts of the step", ylabel="length", ylim=(0, None))
    if len(explanation.angles) > 1:
        axes[2].legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def _has_places(decision: Decision) -> bool:
    """Whether shares of places can be drawn on the sample."""
    spatial = decision.by_place.ndim
    return spatial in (1, 2) and decision.sample.ndim == 1 + spatial


def _draw_inputs(ax: Axes, decision: Decision) -> None:
    """Draw a bar for each column or channel with a large share, and one for the rest."""
    shares = decision.percentages(list(decision.by_input.values()), decision.lead)
    _draw_bars(ax, list(decision.by_input), shares)
    rest = float(decision.percentages(decision.rest, decision.lead))
    if abs(rest) >= 0.5:
        names = [text.get_text() for text in ax.get_yticklabels()]
        ax.barh(len(names), rest, color="0.6")
        names.append("means")
        ax.set_yticks(range(len(names)), names)
    ax.set_title(f"By {decision.input_kind.removesuffix('s')}")
    if decision.log_odds is not None:
        ax.set_xlabel("share of the log odds [%]")


def _draw_places(ax: Axes, decision: Decision) -> None:
    """Draw the shares of places over an image, or behind the curves of a series."""
    shares, sample = decision.percentages(decision.by_place), decision.sample
    limit = float(np.abs(shares).max()) or 1.0
    if sample.ndim == 3:
        grey = sample.mean(0)
        low, high = grey.min(), grey.max()
        height, width = grey.shape
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        # The darkest pixels are grey, so that they do not hide the shares.
        ax.imshow(grey, cmap="gray_r", vmin=low, vmax=low + ((high - low) or 1.0) / DARKEST)
        ax.set(xticks=[], yticks=[])
    else:
        for channel, curve in enumerate(sample):
            ax.plot(curve, color=str(0.6 * channel / len(sample)), linewidth=0.8)
        extent = (-0.5, sample.shape[1] - 0.5, *ax.get_ylim())
        shares = shares[None]
        ax.set(xlabel="place", yticks=[])
    overlay = ax.imshow(
        shares,
        extent=extent,
        aspect="equal" if sample.ndim == 3 else "auto",
        interpolation="bilinear" if sample.ndim == 3 else "nearest",
        cmap=OVERLAY,
        vmin=-limit,
        vmax=limit,
    )
    ax.figure.colorbar(overlay, ax=ax, label="share of the place [%]", location="bottom", pad=0.02)
    ax.set(title="By place")


def _draw_frequencies(ax: Axes, decision: Decision) -> None:
    """Draw a bar for each frequency of one axis, or for the largest shares of several axes."""
    if decision.frequency.shape[1] == 1:
        percentages = decision.percentages(decision.by_frequency)
        ax.bar(decision.frequency[:, 0], percentages, width=0.8, color=_colors(percentages))
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel="frequency", ylabel="share [%]", xlim=(-1, decision.frequency.max() + 1))
        ax.locator_params(axis="x", integer=True)
    else:
        _draw_bars(ax, decision.frequency_names, decision.percentages(decision.by_frequency))
    ax.set(title="By frequency")


def _draw_bars(ax: Axes, names: list[str], percentages: np.ndarray) -> None:
    """Draw a horizontal bar for each name, those with large shares if there are many."""
    if len(names) > NAMED_SHARES:
        order = np.argsort(-np.abs(percentages), kind="stable")
        shown, others = order[: NAMED_SHARES - 1], order[NAMED_SHARES - 1 :]
        names = [*(names[i] for i in shown), f"{others.size} others"]
        percentages = np.append(percentages[shown], percentages[others].sum())
    ax.barh(np.arange(len(names)), percentages, color=_colors(percentages))
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(names)), list(map(literal, names)))
    ax.invert_yaxis()
    ax.set_xlabel("share [%]")


def _colors(percentages: np.ndarray) -> list[str]:
    return [FOR if share >= 0 else AGAINST for share in percentages]


def _draw_classes(
    ax: Axes, explanation: Explanation, values: np.ndarray, expansion: np.ndarray | None = None
) -> None:
    """Draw a curve for each class over the layers, or bars of the nearest classes if there is one.

    In curves, the nearest classes have colours and names.
    """
    classes, named = explanation.classes, explanation.nearest_classes(NAMED_CLASSES)
    if len(values) == 1:
        bars = {} if expansion is None else {"$E$": (expansion[0], "black")}
        bars |= {literal(classes[j]): (values[0, j], class_style(j)["color"]) for j in named}
        heights, colors = zip(*bars.values(), strict=True)
        ax.bar(range(len(bars)), heights, color=colors)
        ax.set_xticks(range(len(bars)), bars, rotation=45 if max(map(len, bars)) > 4 else 0)
        ax.set_xlabel("nearest classes")
        return
    layers = np.arange(1, len(values) + 1)
    if expansion is not None:
        ax.plot(layers, expansion, ".-", color="black", linewidth=2, label="$E$")
    for j in sorted(range(len(classes)), key=lambda j: (j in named, j)):
        (line,) = ax.plot(layers, values[:, j], color="0.8", linewidth=0.8)
        if j in named:
            line.set(**class_style(j), linewidth=1.5, label=f"class {literal(classes[j])}")
            line.set(markersize=4, markevery=-(-len(layers) // 30))
    ax.set(xlabel="layer", xlim=(0.5, len(layers) + 0.5))
    ax.locator_params(axis="x", integer=True)
