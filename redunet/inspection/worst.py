"""The section of a report on the samples that fit their own class worst."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from redunet.inspection.axes import draw_legend, literal
from redunet.inspection.decision import Decision
from redunet.inspection.explanation import Explanation, explain
from redunet.inspection.page import Cell, Panel, Table, drawn
from redunet.inspection.plots.by_layer import draw_memberships, draw_residuals, draw_steps
from redunet.inspection.plots.decision import draw_frequencies, draw_places, draw_scales
from redunet.inspection.summary import constructed
from redunet.inspection.text import three_digits
from redunet.network import ReduNet
from redunet.training.fine_tuned import FineTuned

# Largest number of samples in the table.
LISTED = 30

# Number of classes in the table of a sample.
NAMED_CLASSES = 3

# Size of a panel in inches.
SIZE = (3.4, 2.9)


class Explained(NamedTuple):
    """A sample with its pictures."""

    name: str
    link: str
    text: str
    panels: list[Panel]
    table: Table


class Worst(NamedTuple):
    """A table of the worst samples, and explanations of the first of them."""

    table: Table
    explained: list[Explained]


def worst_samples(
    model: ReduNet | FineTuned,
    X: Tensor,
    labels: np.ndarray,
    residuals: np.ndarray,
    predictions: np.ndarray,
    *,
    names: list[str],
    count: int,
) -> Worst | None:
    """Samples that fit their own class worst, compared with the best of the other classes.

    Parameters
    ----------
    model : ReduNet or FineTuned
    X : Tensor of shape (m, *net.sample_shape)
    labels : numpy array (m,)
    residuals : numpy array (m, k)
        ‖Cʲv‖ before the last layer. The table has the relative residuals of
        :class:`redunet.inspection.Decision`.
    predictions : numpy array (m,)
        The labels that the model predicts.
    names : list of m str
    count : int
        Number of samples that are explained.

    Returns
    -------
    Worst or None
        None if no sample is explained, or the steps of the network are not weighted by memberships.
    """
    net = constructed(model)
    if not count or not all(layer.membership_rule.has_class_weights for layer in net.layers):
        return None
    last = net.layers[-1]
    residuals = residuals * last.membership_rule.weights(last).cpu().numpy()
    own, classes = np.searchsorted(net.classes_, labels), net.classes_.tolist()
    predicted = predictions.tolist()
    rows = np.arange(len(X))
    others = residuals.copy()
    others[rows, own] = np.inf
    rivals = others.argmin(1)
    margins = residuals[rows, own] - others[rows, rivals]
    order = np.argsort(-margins, kind="stable").tolist()
    table = [
        [
            Cell(names[i], names[i], f"sample-{i}" if place < count else ""),
            classes[own[i]],
            predicted[i],
            float(residuals[i, own[i]]),
            float(others[i, rivals[i]]),
            float(margins[i]),
        ]
        for place, i in enumerate(order[: max(LISTED, count)])
    ]
    headers = ["sample", "true class", "predicted class"]
    headers += ["residual, own class", "residual, other class", "difference"]
    explained = [
        _explained(model, X[i], net.classes_[[own[i], rivals[i]]], names[i], f"sample-{i}")
        for i in order[:count]
    ]
    return Worst(Table.of(headers, table), explained)


def _explained(
    model: ReduNet | FineTuned, x: Tensor, pair: np.ndarray, name: str, link: str
) -> Explained:
    """The explanation of a sample of the first class of a pair, whose rival is the second."""
    label = pair.tolist()[0]
    explanation = explain(model, x, label=label)
    wrong = explanation.prediction != label
    decision = Decision.from_network(constructed(model), x, classes=pair[::-1] if wrong else pair)
    headers, rows = explanation.table(NAMED_CLASSES)
    return Explained(
        name,
        link,
        f"True class {label}, predicted class {explanation.prediction}. {_sentence(decision)}",
        [*_decision_panels(decision, x), *_panels_by_layer(explanation)],
        Table.of(headers, [[layer, *map(float, values)] for layer, *values in rows]),
    )


def _sentence(decision: Decision) -> str:
    """The decision of the first layer in words."""
    (one, other), (smaller, larger) = decision.classes, decision.residuals
    return (
        f"In the first layer, its relative residual is {three_digits(smaller)} in class {one} and "
        f"{three_digits(larger)} in class {other}."
    )


def _decision_panels(decision: Decision, x: Tensor) -> list[Panel]:
    """The sample, and the shares of places, frequencies and scales as far as there are any."""
    sample = x.cpu().numpy()
    one, other = decision.classes
    title = f"{one} (blue) against {other} (orange)"
    places = decision.by_place.ndim
    panels = [drawn(lambda ax: draw_sample(ax, sample), "The sample", size=SIZE)]
    if places in (1, 2) and sample.ndim == 1 + places:
        panels.append(drawn(_titled(draw_places, title, decision, sample), title, size=SIZE))
    if places:
        panels.append(drawn(lambda ax: draw_frequencies(ax, decision), "By frequency", size=SIZE))
    if len(decision.by_scale) > 1:
        panels.append(drawn(lambda ax: draw_scales(ax, decision), "By scale", size=SIZE))
    return panels


def _titled(draw: Callable[..., object], title: str, *arguments: Any) -> Callable[[Axes], None]:
    """A function that draws with some arguments and sets a title."""

    def drawing(ax: Axes) -> None:
        draw(ax, *arguments)
        ax.set_title(literal(title), fontsize="medium")

    return drawing


def _panels_by_layer(explanation: Explanation) -> list[Panel]:
    """Residuals, memberships and, if there are several layers, the parts of the steps."""
    panels = {
        "Residuals by layer": draw_residuals,
        "Memberships by layer": draw_memberships,
        "Parts of the step by layer": draw_steps,
    }
    if len(explanation.angles) == 1:
        del panels["Parts of the step by layer"]
    return [
        drawn(partial(_with_legend, draw, explanation), name, size=SIZE)
        for name, draw in panels.items()
    ]


def _with_legend(draw: Callable[..., None], explanation: Explanation, ax: Axes) -> None:
    draw(ax, explanation)
    if ax.get_legend_handles_labels()[0]:
        draw_legend(
            ax,
            frameon=False,
            fontsize="small",
            ncols=3,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
        )


def draw_sample(ax: Axes, x: np.ndarray) -> None:
    """Draw an image as such, and any other sample as one curve per channel."""
    ax.set_title("The sample", fontsize="medium")
    if x.ndim == 3 and x.shape[0] in (1, 3):
        grey = x.shape[0] == 1
        picture = x[0] if grey else np.moveaxis(x - x.min(), 0, -1) / max(np.ptp(x), 1e-12)
        ax.imshow(picture, cmap="gray_r" if grey else None)
        ax.set(xticks=[], yticks=[])
        return
    for channel in x.reshape(len(x), -1) if x.ndim > 1 else [x]:
        ax.plot(channel, linewidth=0.8)
    ax.set_xlabel("place" if x.ndim > 1 else "entry")
    ax.margins(x=0)
