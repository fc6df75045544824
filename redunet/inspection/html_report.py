"""An HTML report on a network and its results on samples, in one file."""

import base64
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

from redunet._extras import require

require("report")

import matplotlib.pyplot as plt
import numpy as np
import torch
from jinja2 import Environment
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
from torch import Tensor

from redunet._checks import Array
from redunet._version import __version__
from redunet.files.atomic import atomic_write, check_place
from redunet.inspection.decision import compared
from redunet.inspection.explanation import Explanation, explain
from redunet.inspection.plots.explanation import plot_decision, plot_explanation
from redunet.inspection.plots.features import (
    cosine_similarity,
    draw_similarity,
    plot_singular_values,
    shown_rows,
    similarity_over_shifts,
)
from redunet.inspection.plots.network import plot_architecture, plot_rates
from redunet.inspection.plots.search import plot_search
from redunet.inspection.reliability import Reliability, draw_reliability, labels_among
from redunet.inspection.style import literal
from redunet.inspection.summary import constructed, description, evaluation
from redunet.inspection.text import readable, three_digits
from redunet.network import ReduNet
from redunet.search.search import Search
from redunet.training.fine_tuned import FineTuned

# Pixels per inch in files and on pages. Files have more, for screens of high resolution.
DPI = 150
PAGE_DPI = 96

# Size of a panel in inches. Its text remains readable if it is as wide as a phone.
PANEL = (4.2, 3.5)

# Largest number of classes whose numbers are written into the confusion matrix.
NUMBERED_CLASSES = 20

# Largest numbers of candidates of a search and of kinds of errors, and of worst samples, in tables.
LISTED = 10
LISTED_SAMPLES = 30

SEARCH = (
    "The lift, the band of frequencies and ε² were chosen by leaving out each training sample in "
    "turn. The candidate with a star forms the network. The smaller the log loss, the better. The "
    "grey stripe is one standard error above the smallest loss. A ring marks what was chosen."
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
RESIDUALS = (
    "Each row is a sample, and has its residual in each class, compared with its other residuals. "
    "The class with the smallest residual wins. Rows are sorted by their true class, so a good "
    "network has dark blocks on the diagonal."
)
FEATURES = (
    "Samples are sorted by class. Ideally, features are similar only within a class, and each "
    "class fills several dimensions."
)
FEATURES_OF_ONE_LAYER = (
    "A single layer moves features only a little from what the lift makes of the samples, so they "
    "need not look better than the samples. The prediction does not need that: it goes by the "
    "residuals. If you want features in which the classes are orthogonal, construct more layers, "
    "for example with num_layers=12."
)
SHIFTS = (
    "The similarity of a pair is the largest |cosine similarity| over all cyclic shifts of one of "
    "the two samples, because the network does not distinguish shifts."
)


class Panel(NamedTuple):
    """A picture with its description."""

    data: str  # a data URI
    alt: str
    caption: str
    width: int  # on a page, in pixels


class Table(NamedTuple):
    """A table with a row of headers."""

    headers: list[str]
    rows: Sequence[Sequence[object]]
    links: Sequence[str] = ()  # places on the page to which the first rows are linked


class Section(NamedTuple):
    """A part of a page with a title of its own."""

    title: str
    texts: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    table: Table | None = None
    printed: str = ""
    anchor: str = ""


def report(
    net: ReduNet | FineTuned,
    X: Array,
    labels: Array,
    path: str | os.PathLike[str],
    *,
    title: str = "ReduNet",
    worst: int = 5,
    train: tuple[Array, Array] | None = None,
    names: Sequence[str] | None = None,
    search: Search | None = None,
) -> None:
    """Write an HTML report on a network and its results on samples.

    The report shows a summary, the rates and the accuracy by layer, the accuracy by confidence,
    residuals, similarities and singular values before and after the network, the confusion matrix,
    and explanations of the worst samples. Beside the accuracy of the network, it shows the chance
    level, which is the share of the largest class in ``labels``. A class has the same colour in all
    pictures.

    The report is a single HTML file that contains all pictures and loads no other files. A few
    lines of script sort its tables. The page can be read without them.

    Parameters
    ----------
    net : ReduNet or FineTuned
        The network. Accuracies by layer and residuals are those of the layers. Predictions of a
        fine-tuned network are those of its head.
    X : array-like or Tensor of shape (m, *net.sample_shape)
        Samples, preferably other samples than those of the construction.
    labels : array-like or Tensor of shape (m,)
        Labels of the samples.
    path : str or path
        Conventionally ``*.html``. The file is written completely or not at all.
    title : str
        Title of the report.
    worst : int
        Number of samples to explain. These are the samples whose residual for their own class
        exceeds the smallest other residual by the most.
    train : tuple of (X, labels), optional
        Training samples. The report then also shows the accuracy of a support vector machine with
        an RBF kernel that is trained on these samples, flattened and scaled feature by feature.
    names : sequence of m str, optional
        Names of the samples, for example of their files. By default they are numbered from 0.
    search : Search, optional
        The search that chose the settings, for example ``model.search_`` of a
        :class:`redunet.ReduNetClassifier`. The report then shows its candidates.

    Raises
    ------
    ValueError
        If samples do not have the shape that the network takes, if a label is not a label of the
        network, or if the number of names differs from that of the samples.
    """
    layers = constructed(net)
    check_place(path)
    X = layers.samples(X)
    labels = labels_among(layers.classes_, labels, len(X))
    names = [f"Sample {number}" for number in range(len(X))] if names is None else list(names)
    if len(names) != len(X):
        raise ValueError(f"names must be {len(X)}, one for each sample, got {len(names)}")
    source = files("redunet.inspection").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"csp_hash": csp_hash, "readable": readable}
    page = environment.from_string(source.lstrip()).render(
        title=title,
        version=__version__,
        summary=description(net),
        results=evaluation(net, X, labels, train=train),
        sections=list(_sections(net, X, labels, names, worst, search)),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


@torch.no_grad()
def _sections(
    model: ReduNet | FineTuned,
    X: Tensor,
    labels: np.ndarray,
    names: list[str],
    worst: int,
    search: Search | None,
) -> Iterator[Section]:
    """All sections, with the residuals of all layers computed once."""
    net = constructed(model)
    norms = net.residual_norms_by_layer(X)  # (num_layers, m, k)
    pairs = list(zip(net.layers, norms, strict=True))
    memberships = [layer.assign(own) for layer, own in pairs]
    memberships[-1] = net.pool(memberships[-1], X)
    by_layer = net.classes_[torch.stack(memberships).argmax(2).cpu().numpy()]
    predictions = by_layer[-1] if model is net else model.predict(X)
    residuals = compared(norms[-1], net.layers[-1]).cpu().numpy()
    diagram = plot_architecture(net).figure.figure
    text = "Left: from samples to memberships. Right: the steps of one layer."
    yield Section("Architecture", panels=[panel(diagram, "Diagram of the network", text)])
    if search is not None and not math.isnan(search.candidates_[0].loss):
        figure = plt.figure(figsize=(6.8, 7.5), layout="constrained")
        plot_search(search, figure=figure)
        lines = str(search).splitlines()[: LISTED + 2]
        table = "\n".join(lines)
        yield Section(
            "Leave-one-out", [SEARCH], [panel(figure, "Log loss of all candidates")], printed=table
        )
    panels = [drawn(lambda ax: plot_rates(net.history, ax=ax), "Rates by layer", RATES)]
    if len(by_layer) > 1:
        accuracies = (by_layer == labels).mean(1)
        panels.append(
            drawn(lambda ax: _draw_accuracies(ax, accuracies), "Accuracy by layer", DEPTH)
        )
    yield Section("Layer by layer", [] if len(by_layer) > 1 else [ONE_LAYER], panels)
    membership = model.membership(X).cpu().numpy()
    targets = np.searchsorted(net.classes_, labels)
    reliability = Reliability.from_membership(membership, targets)
    panels = [drawn(lambda ax: draw_reliability(ax, reliability), "Accuracy by confidence")]
    yield Section("Probabilities", [RELIABILITY], panels)
    yield _features(net, X, labels, residuals)
    yield from _confusion(net.classes_, labels, predictions)
    if worst and all(layer.membership_rule.has_class_weights for layer in net.layers):
        yield from _worst(model, X, targets, residuals, predictions, names, worst)


def _draw_accuracies(ax: Axes, accuracies: np.ndarray) -> None:
    ax.plot(range(1, len(accuracies) + 1), accuracies, "." if len(accuracies) < 60 else "-", ls="-")
    ax.set(xlabel="layer", ylabel="accuracy", title="Accuracy of memberships, layer by layer")
    ax.set_ylim(None, 1.01)
    ax.locator_params(axis="x", integer=True)


def _features(net: ReduNet, X: Tensor, labels: np.ndarray, residuals: np.ndarray) -> Section:
    """Residuals, and similarities and singular values of samples and of their features."""
    rows = shown_rows(labels)
    X, labels = X[rows], labels[rows]
    order = np.argsort(labels, kind="stable")
    texts = [f"Up to {len(rows)} samples.", RESIDUALS, FEATURES]
    texts += [FEATURES_OF_ONE_LAYER] * (len(net.layers) == 1)
    panels = [
        drawn(
            lambda ax: _draw_residuals(ax, residuals[rows][order], net.classes_),
            "Residuals by class",
        )
    ]
    places = net.feature_shape[1:]
    texts += [SHIFTS] * bool(places)
    for name, Z in {"samples": X, "features": net(X)}.items():
        if places and Z.ndim > 2:
            grid = X.shape[2:] if X.ndim == Z.ndim else None
            similarity = similarity_over_shifts(Z, Z, grid=grid)
        else:
            similarity = cosine_similarity(Z, Z)
        title = f"Similarity of {name}"
        _, ax = plt.subplots(figsize=PANEL, layout="constrained")
        draw_similarity(ax, similarity, labels).set_title(title)
        panels.append(panel(ax.figure.figure, title))
        title = f"Singular values of {name}"
        _, ax = plt.subplots(figsize=PANEL, layout="constrained")
        plot_singular_values(Z, labels, ax=ax).set_title(title)
        panels.append(panel(ax.figure.figure, title))
    return Section("Before and after", texts, panels)


def _draw_residuals(ax: Axes, residuals: np.ndarray, classes: np.ndarray) -> None:
    """A heat map of the residuals of samples, each compared with its other residuals."""
    low, high = residuals.min(1, keepdims=True), residuals.max(1, keepdims=True)
    relative = (residuals - low) / np.where(high > low, high - low, 1)
    image = ax.imshow(relative, cmap="Blues_r", aspect="auto", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="0 smallest, 1 largest of the sample", shrink=0.85)
    if len(classes) <= NUMBERED_CLASSES:
        ax.set_xticks(range(len(classes)), [literal(name) for name in classes], rotation=90)
    ax.set(title="Residuals by class", ylabel="samples, by true class", yticks=[])


def _confusion(
    classes: np.ndarray, labels: np.ndarray, predictions: np.ndarray
) -> Iterator[Section]:
    """The confusion matrix, and the kinds of errors that occur most often."""
    counts = confusion_matrix(labels, predictions, labels=classes)
    numbered = len(classes) <= NUMBERED_CLASSES
    names = [literal(name) for name in classes]
    shown = ConfusionMatrixDisplay(counts, display_labels=names if numbered else None)
    size = (max(4.2, min(9, 2 + 0.45 * len(classes))),) * 2
    _, ax = plt.subplots(figsize=size, layout="constrained")
    shown.plot(
        ax=ax,
        cmap="Blues",
        include_values=numbered,
        colorbar=not numbered,
        xticks_rotation="vertical" if max(map(len, names)) > 3 else "horizontal",
        values_format="d",
    )
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:LISTED]
    found = [divmod(position, len(classes)) for position in order.tolist()]
    rows = [[classes[i], classes[j], int(errors[i, j])] for i, j in found if errors[i, j]]
    table = Table(["true class", "predicted class", "samples"], rows) if rows else None
    text = "Rows are true classes, columns are predicted classes."
    if rows:
        text += " The table has the most frequent errors."
    yield Section("Confusion matrix", [text], [panel(ax.figure.figure, "Confusion matrix")], table)


WORST = (
    "The relative residual of a sample in a class is 0 if the class explains all of the sample, "
    "and about 1 if it explains nothing of it. These residuals are those before the last layer. "
    "The worst samples are those whose residual in their own class exceeds the smallest other "
    "residual by the most. Samples with a positive difference are classified wrongly.",
    "For the first of these samples, pictures show why the first layer prefers one of two classes. "
    "The difference of the squared residuals is a sum of shares of columns or channels, of places, "
    "frequencies and scales. Blue shares speak for the first class, orange shares for the second. "
    "The other pictures show the classes nearest to the sample, and its true class.",
)


def _worst(
    model: ReduNet | FineTuned,
    X: Tensor,
    own: np.ndarray,
    residuals: np.ndarray,
    predictions: np.ndarray,
    names: list[str],
    count: int,
) -> Iterator[Section]:
    """Samples that fit their own class worst, compared with the best of the other classes."""
    rows, classes = np.arange(len(X)), constructed(model).classes_.tolist()
    others = residuals.copy()
    others[rows, own] = np.inf
    margins = residuals[rows, own] - others.min(1)
    order = np.argsort(-margins, kind="stable").tolist()
    values = predictions.tolist(), residuals[rows, own], others.min(1), margins
    table = [
        [names[i], classes[own[i]], *(column[i] for column in values)]
        for i in order[: max(LISTED_SAMPLES, count)]
    ]
    headers = ["sample", "true class", "predicted class"]
    headers += ["residual, own class", "residual, other class", "difference"]
    links = [f"sample-{i}" for i in order[:count]]
    yield Section("Worst samples", WORST, table=Table(headers, table, links))
    for i, anchor in zip(order[:count], links, strict=True):
        explanation = explain(model, X[i], label=classes[own[i]])
        figure = plt.figure(figsize=(6.8, 6), layout="constrained")
        plot_explanation(explanation, figure=figure)
        panels = [_draw_sample(X[i].cpu().numpy()), _decision(explanation)]
        panels.append(panel(figure, "Layer by layer"))
        table_by_layer = Table(*explanation.table())
        yield Section(names[i], [_sentence(explanation)], panels, table_by_layer, anchor=anchor)


def _sentence(explanation: Explanation) -> str:
    """The decision of the first layer in words."""
    (one, other), (smaller, larger) = explanation.decision.classes, explanation.decision.residuals
    return (
        f"True class {explanation.label}, predicted class {explanation.prediction}. In the first "
        f"layer, its relative residual is {three_digits(smaller)} in class {one} and "
        f"{three_digits(larger)} in class {other}."
    )


def _decision(explanation: Explanation) -> Panel:
    axes = plot_decision(explanation.decision)
    one, other = explanation.decision.classes
    return panel(axes[0].figure.figure, f"{one} (blue) rather than {other} (orange)")


def _draw_sample(x: np.ndarray) -> Panel:
    """An image as such, and any other sample as one curve per channel."""
    figure, ax = plt.subplots(figsize=(3.4, 2.9), layout="constrained")
    ax.set_title("The sample", fontsize="medium")
    if x.ndim == 3 and x.shape[0] in (1, 3):
        grey = x.shape[0] == 1
        picture = x[0] if grey else np.moveaxis(x - x.min(), 0, -1) / max(np.ptp(x), 1e-12)
        ax.imshow(picture, cmap="gray_r" if grey else None)
        ax.set(xticks=[], yticks=[])
    else:
        ax.plot(x.reshape(len(x), -1).T if x.ndim > 1 else x, linewidth=0.8)
        ax.set_xlabel("place" if x.ndim > 1 else "entry")
        ax.margins(x=0)
    return panel(figure, "The sample")


def drawn(draw: Callable[[Axes], object], alt: str, caption: str = "") -> Panel:
    """A panel with one set of axes, on which a function draws."""
    figure, ax = plt.subplots(figsize=PANEL, layout="constrained")
    draw(ax)
    return panel(figure, alt, caption)


def panel(figure: Figure, alt: str, caption: str = "") -> Panel:
    """A figure as a panel; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    width = round(figure.get_figwidth() * PAGE_DPI)
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Panel(f"data:image/png;base64,{data}", alt, caption, width)


def csp_hash(script: str) -> str:
    """The hash of a script that permits it in a Content Security Policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
