"""Panels that show what each layer does to one sample."""

from collections.abc import Iterable
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from redunet.inspection.axes import draw_legend, entry, literal
from redunet.inspection.palette import class_style

# Number of classes that have colours. The other classes are grey.
NAMED_CLASSES = 5

# With more layers than this, curves have only some markers.
MARKED_LAYERS = 30


class Explained(Protocol):
    """The attributes of an explanation that are drawn."""

    @property
    def classes(self) -> np.ndarray:
        """As in :class:`redunet.inspection.Explanation`."""

    @property
    def residual_norms(self) -> np.ndarray:
        """As in :class:`redunet.inspection.Explanation`."""

    @property
    def memberships(self) -> np.ndarray:
        """As in :class:`redunet.inspection.Explanation`."""

    @property
    def expansion(self) -> np.ndarray:
        """As in :class:`redunet.inspection.Explanation`."""

    @property
    def compression(self) -> np.ndarray:
        """As in :class:`redunet.inspection.Explanation`."""

    def shown_classes(self, count: int) -> list[int]:
        """Indices of the classes that have colours."""


def draw_explanation(explanation: Explained, figure: FigureBase | None) -> np.ndarray:
    """Draw all panels; returns their axes. If there are curves, the legend is a fourth panel."""
    curves = len(explanation.memberships) > 1
    rows, columns, size = (2, 2, (6.8, 5.4)) if curves else (1, 3, (6.8, 3))
    figure = plt.figure(figsize=size, layout="constrained") if figure is None else figure
    grid: np.ndarray = figure.subplots(rows, columns)
    axes = grid.flat[:3]
    draw_residuals(axes[0], explanation)
    draw_memberships(axes[1], explanation)
    draw_steps(axes[2], explanation)
    if curves:
        _draw_legend(axes[2], grid.flat[3])
    return axes


def _draw_legend(ax: Axes, place: Axes) -> None:
    """Draw the legend of a panel in the place of another one."""
    place.remove()
    legend = draw_legend(
        ax,
        title="$E$ and classes",
        frameon=False,
        loc="center",
        bbox_to_anchor=(0, 0, 1, 1),
        bbox_transform=place.transAxes,
    )
    legend.set_in_layout(False)


def draw_residuals(ax: Axes, explanation: Explained) -> None:
    """Draw ‖Cʲv‖ for each class."""
    _draw_classes(ax, explanation, explanation.residual_norms)
    ax.set(title="Residual for each class", ylabel=r"$\|C^j v\|$")


def draw_memberships(ax: Axes, explanation: Explained) -> None:
    """Draw the estimated membership of each class."""
    _draw_classes(ax, explanation, explanation.memberships)
    ax.set(title="Membership", ylabel=r"$\hat{\pi}_j$", ylim=(-0.03, 1.03))


def draw_steps(ax: Axes, explanation: Explained) -> None:
    """Draw the lengths of the parts of the step: the expansion in black, and each class."""
    _draw_classes(ax, explanation, explanation.compression, expansion=explanation.expansion)
    ax.set(title="Parts of the step", ylabel="length", ylim=(0, None))


def _draw_classes(
    ax: Axes, explanation: Explained, values: np.ndarray, expansion: Iterable[float] = ()
) -> None:
    """Draw a curve for each class over the layers, or bars if there is one layer."""
    named = explanation.shown_classes(NAMED_CLASSES)
    draw = _draw_curves if len(values) > 1 else _draw_bars
    draw(ax, explanation.classes, values, named, np.array(list(expansion)))


def _draw_curves(
    ax: Axes, classes: np.ndarray, values: np.ndarray, named: list[int], expansion: np.ndarray
) -> None:
    layers = np.arange(1, len(values) + 1)
    every = -(-len(layers) // MARKED_LAYERS)
    if expansion.size:
        ax.plot(layers, expansion, color="black", linewidth=2, label="$E$")
    for j in sorted(range(len(classes)), key=lambda j: (j in named, j)):
        style: dict[str, Any] = {"color": "0.8", "linewidth": 0.8}
        if j in named:
            style = {"linewidth": 1.5, "markersize": 4, "markevery": every, **class_style(j)}
            style["label"] = entry(classes[j])
        ax.plot(layers, values[:, j], **style)
    ax.set_xlabel("layer")
    ax.locator_params(axis="x", integer=True)


def _draw_bars(
    ax: Axes, classes: np.ndarray, values: np.ndarray, named: list[int], expansion: np.ndarray
) -> None:
    names = ["$E$"] * len(expansion) + [literal(classes[j]) for j in named]
    colors = ["black"] * len(expansion) + [class_style(j)["color"] for j in named]
    ax.bar(np.arange(len(names)), [*expansion, *values[0, named]], color=colors)
    ax.set_xticks(range(len(names)), names)
    ax.set_xlabel("nearest classes")
    if max(map(len, names)) > 4:
        ax.tick_params(axis="x", rotation=45)
