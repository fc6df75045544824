"""The sections of a report on a network, except for those on single samples."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.metrics import confusion_matrix
from torch import Tensor

from redunet.inspection.page import PANEL, Panel, Section, Table, drawn, panel
from redunet.inspection.plots.architecture import plot_architecture
from redunet.inspection.plots.depth import AccuracyByDepthDisplay
from redunet.inspection.plots.rates import plot_rates
from redunet.inspection.plots.reliability import draw_reliability
from redunet.inspection.plots.search import draw_candidates, draw_precisions, has_bands
from redunet.inspection.plots.similarity import (
    cosine_similarity,
    draw_similarity,
    plot_singular_values,
    similarity_over_shifts,
)
from redunet.inspection.reliability import Reliability
from redunet.network import ReduNet
from redunet.search.search import Search

# Largest numbers of samples in heat maps and plots of singular values, per class and in all.
SHOWN = 30
SHOWN_IN_ALL = 300

# Largest number of classes for which the confusion matrix is a table.
NUMBERED_CLASSES = 20

# Largest numbers of candidates of a search, and of kinds of errors, in tables.
LISTED = 10

SEARCH = (
    "The lift, the band of frequencies and ε² were chosen by leaving out each training sample in "
    "turn. Candidates with a star form the network. The smaller the log loss, the better."
)
RATES = (
    "Rates of the samples of the construction. R is the rate of all samples together, R_c the rate "
    "class by class. Layers raise the difference ΔR = R − R_c. R_c usually rises too, because each "
    "class spreads within its own subspace. R rises by more, because these subspaces become "
    "orthogonal."
)
DEPTH = (
    "Accuracy on the samples of this report. The first layers decide the class, and later layers "
    "move each sample towards it, so accuracy hardly changes with depth. Depth is for the "
    "features: it makes the classes orthogonal, which raises ΔR."
)
ONE_LAYER = (
    "The network has a single layer, which decides the class. Further layers would hardly change "
    "the accuracy. Depth is for the features: it makes the classes orthogonal, which raises ΔR."
)
RELIABILITY = (
    "The confidence of a prediction is the probability of the predicted class. Points on the "
    "diagonal mean that probabilities can be trusted; points below it are too sure. The expected "
    "calibration error is the mean distance from the diagonal."
)
SHIFTS = (
    "The similarity of a pair is the largest |cosine similarity| over all cyclic shifts of one of "
    "the two samples, because the network does not distinguish shifts."
)


def sections(
    net: ReduNet,
    X: Tensor,
    labels: np.ndarray,
    predictions: np.ndarray,
    reliability: Reliability,
    search: Search | None,
) -> Iterator[Section]:
    """Sections on the network and on all samples together.

    Parameters
    ----------
    net : ReduNet
    X : Tensor of shape (m, *net.sample_shape)
    labels : numpy array (m,)
    predictions : numpy array (num_layers, m)
        The labels that each layer estimates.
    reliability : Reliability
        The accuracy by confidence.
    search : Search, optional
        The search that chose the settings.
    """
    yield Section("Architecture", [], [_architecture(net)])
    if search is not None and not math.isnan(search.candidates_[0].loss):
        yield _search(search)
    panels = [drawn(lambda ax: plot_rates(net.history, ax=ax), "Rates by layer", RATES)]
    if len(predictions) > 1:
        display = AccuracyByDepthDisplay((predictions == labels).mean(1))
        panels.append(drawn(display.plot, "Accuracy by layer", DEPTH))
    yield Section("Layer by layer", [] if len(predictions) > 1 else [ONE_LAYER], panels)
    drawing = drawn(lambda ax: draw_reliability(ax, reliability), "Accuracy by confidence", "")
    yield Section("Probabilities", [RELIABILITY], [drawing])
    yield _before_and_after(net, X, labels)


def _architecture(net: ReduNet) -> Panel:
    figure = plot_architecture(net).figure.figure
    return panel(
        figure,
        "Diagram of the network",
        "Left: from samples to memberships. Right: the steps of one layer.",
    )


def _search(search: Search) -> Section:
    """The best candidates of a search, and its plots."""
    tall = (PANEL[0], 5.2)
    panels = [
        drawn(
            partial(draw_candidates, search=search),
            "Log loss of all candidates",
            "The grey stripe is one standard error above the smallest loss. Rings mark the chosen "
            "candidates.",
        ),
        drawn(
            partial(draw_precisions, search=search, legend=has_bands(search)),
            "Log loss of the chosen candidates by ε²",
            "Rings mark the chosen ε².",
            size=tall if has_bands(search) else PANEL,
        ),
    ]
    chosen = {(c.lift, c.band) for c in search.chosen_}
    rows = [
        [
            "*" if (c.lift, c.band) in chosen else "",
            c.name,
            "all" if c.band is None else c.band,
            c.eps_sq,
            c.loss,
            c.accuracy,
        ]
        for c in search.candidates_[:LISTED]
    ]
    texts = [SEARCH]
    if len(search.candidates_) > LISTED:
        texts.append(f"The table shows the best {LISTED} of {len(search.candidates_)} candidates.")
    headers = ["chosen", "lift", "band", "ε²", "log loss", "accuracy"]
    return Section("Leave-one-out", texts, panels, Table.of(headers, rows))


def _before_and_after(net: ReduNet, X: Tensor, labels: np.ndarray) -> Section:
    """Similarities and singular values of samples and of their features."""
    rows = shown_rows(labels)
    X, labels = X[rows], labels[rows]
    with torch.no_grad():
        Z = net(X)
    places = net.feature_shape[1:]
    text = (
        f"Up to {SHOWN} samples of each class. Ideally, features are similar only within a class, "
        "and each class fills several dimensions."
    )
    both = {"samples": X, "features": Z}
    panels = [_similarity(name, A, labels, X.shape[2:], bool(places)) for name, A in both.items()]
    panels += [_singular_values(name, A, labels) for name, A in both.items()]
    return Section("Before and after", [text, SHIFTS] if places else [text], panels)


def shown_rows(labels: np.ndarray) -> np.ndarray:
    """Rows of the first samples of each class: up to 30 of each, and about 300 in all."""
    classes = np.unique(labels)
    count = min(SHOWN, max(2, SHOWN_IN_ALL // len(classes)))
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in classes]))


def _similarity(
    name: str, Z: Tensor, labels: np.ndarray, places: tuple[int, ...], over_shifts: bool
) -> Panel:
    """Similarities of samples or features; over the shifts of the samples' places if wanted."""
    if over_shifts and Z.ndim > 2:
        grid = places if len(places) == Z.ndim - 2 else None
        similarity = similarity_over_shifts(Z, Z, grid=grid)
    else:
        similarity = cosine_similarity(Z, Z)
    title = f"Similarity of {name}"
    return drawn(lambda ax: draw_similarity(ax, similarity, labels).set_title(title), title)


def _singular_values(name: str, Z: Tensor, labels: np.ndarray) -> Panel:
    title = f"Singular values of {name}"
    return drawn(lambda ax: plot_singular_values(Z, labels, ax=ax).set_title(title), title)


def confusion(classes: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """The confusion matrix as a table, or as a picture if there are many classes."""
    counts = confusion_matrix(labels, predictions, labels=classes)
    numbered = len(classes) <= NUMBERED_CLASSES
    names = [str(name) for name in classes]
    return {
        "names": names,
        "rows": _matrix(names, counts) if numbered else [],
        "panels": [] if numbered else [drawn(_heat_map(counts), "Confusion matrix", size=(6, 5))],
        "frequent": _frequent(names, counts),
    }


def _matrix(names: list[str], counts: np.ndarray) -> list[list[dict[str, Any]]]:
    """Counts, colours and descriptions of all cells, row by row."""
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    return [
        [
            {
                "count": count,
                "text": f"True class {true}, predicted class {predicted}: {count} "
                f"sample{'s' * (count != 1)}",
                "background": f"rgba(0, 114, 178, {share:.2f})",
                "color": "white" if share > 0.5 else "inherit",
            }
            for predicted, count, share in zip(names, row, row_shares, strict=True)
        ]
        for true, row, row_shares in zip(names, counts.tolist(), shares, strict=True)
    ]


def _heat_map(counts: np.ndarray) -> Callable[[Axes], object]:
    def draw(ax: Axes) -> None:
        image = ax.imshow(counts, cmap="Blues")
        ax.figure.colorbar(image, ax=ax, label="samples", shrink=0.85)
        ax.set(xlabel="predicted class (position)", ylabel="true class (position)")

    return draw


def _frequent(names: list[str], counts: np.ndarray) -> Table:
    """The kinds of errors that occur most often."""
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:LISTED]
    places = [divmod(position, len(names)) for position in order.tolist()]
    rows = [[names[i], names[j], int(errors[i, j])] for i, j in places if errors[i, j]]
    return Table.of(["true class", "predicted class", "samples"], rows)
