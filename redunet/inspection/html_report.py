"""An HTML report on a network and its results on samples, in one file; see ``report.html``."""

import base64
import html
import io
import math
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from redunet._extras import require

require("report")

import matplotlib.pyplot as plt
import numpy as np
import torch
from jinja2 import Environment
from matplotlib.axes import Axes
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from redunet._checks import Array
from redunet._tables import readable
from redunet._version import __version__
from redunet.files.atomic import atomic_write, check_place
from redunet.inspection.explanation import explain
from redunet.inspection.plots.explanation import plot_decision, plot_explanation
from redunet.inspection.plots.features import plot_similarity, shown_rows
from redunet.inspection.plots.network import plot_rates
from redunet.inspection.plots.reliability import plot_reliability
from redunet.inspection.plots.search import plot_search
from redunet.inspection.style import literal
from redunet.inspection.summary import constructed, description, evaluation, labels_among
from redunet.network import ReduNet
from redunet.search.search import Search
from redunet.training.fine_tuned import FineTuned

# Pixels per inch in files and on pages. Files have more, for screens of high resolution.
DPI = 150
PAGE_DPI = 96

# Size of a panel in inches. Its text remains readable if it is as wide as a phone.
PANEL = (4.2, 3.5)

# Largest number of classes whose names and numbers are written into pictures.
NAMED_CLASSES = 20

# Largest numbers of candidates of a search and of kinds of errors, and of worst samples, in tables.
LISTED = 10
LISTED_SAMPLES = 30


class Report(NamedTuple):
    """A report. A notebook shows it below the cell whose last value it is."""

    page: str  # HTML
    path: Path | None

    def __repr__(self) -> str:
        return f"Report({'not written' if self.path is None else str(self.path)!r})"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 40rem; border: 1px solid #ddd"
        return f'<iframe srcdoc="{html.escape(self.page)}" style="{style}"></iframe>'


@torch.no_grad()
def report(
    net: ReduNet | FineTuned,
    X: Array,
    labels: Array,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "ReduNet",
    worst: int = 5,
    train: tuple[Array, Array] | None = None,
    names: Sequence[str] | None = None,
    search: Search | None = None,
) -> Report:
    """Write an HTML report on a network and its results on samples, and show it in a notebook.

    The report shows a summary, the rates by layer, the accuracy by confidence, residuals by class,
    similarities before and after the network, the confusion matrix, and explanations of the worst
    samples. Beside the accuracy of the network, it shows the chance level, which is the share of
    the largest class in ``labels``. A class has the same colour in all pictures.

    The report is a single HTML file that contains all pictures, loads no other files and has no
    script.

    Parameters
    ----------
    net : ReduNet or FineTuned
        The network. Residuals are those of the layers. Predictions of a fine-tuned network are
        those of its head.
    X : array-like or Tensor of shape (m, *net.sample_shape)
        Samples, preferably other samples than those of the construction.
    labels : array-like or Tensor of shape (m,)
        Labels of the samples.
    path : str or path, optional
        Conventionally ``*.html``. The file is written completely or not at all. By default no file
        is written.
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

    Returns
    -------
    Report
        Its ``page`` is the HTML. A notebook shows it.

    Raises
    ------
    ValueError
        If samples do not have the shape that the network takes, if a label is not a label of the
        network, or if the number of names differs from that of the samples.
    """
    model, net = net, constructed(net)
    if path is not None:
        check_place(path)
    X = net.samples(X)
    labels = labels_among(net.classes_, labels, len(X))
    names = [f"Sample {number}" for number in range(len(X))] if names is None else list(names)
    if len(names) != len(X):
        raise ValueError(f"names must be {len(X)}, one for each sample, got {len(names)}")
    predictions, rows = model.predict(X), shown_rows(labels)
    residuals = (net.residual_norms(X) * net.layers[-1].comparison_weights()).cpu().numpy()
    order = rows[np.argsort(labels[rows], kind="stable")]
    pictures = {
        "rates": picture(plot_rates(net.history, ax=_panel())),
        "reliability": picture(plot_reliability(model, X, labels, ax=_panel())),
        "residuals": picture(_draw_residuals(residuals[order], net.classes_)),
        "confusion": picture(_draw_confusion(net.classes_, labels, predictions)),
    }
    has_places = len(net.feature_shape) > 1
    for name, Z in {"samples": X[rows], "features": net(X[rows])}.items():
        shifts = has_places and Z.ndim > 2
        ax = plot_similarity(Z, labels[rows], shift_invariant=shifts, ax=_panel())
        ax.set_title(f"Similarity of {name}")
        pictures[f"similarity of {name}"] = picture(ax)
    printed = ""
    if search is not None and not math.isnan(search.candidates_[0].loss):
        pictures["search"] = picture(plot_search(search))
        printed = "\n".join(str(search).splitlines()[: LISTED + 2])
    explained: list[dict[str, object]] = []
    table: list[list[object]] = []
    if worst and not any(layer.membership_rule.rectifies for layer in net.layers):
        order, table = _worst(net.classes_, residuals, labels, predictions, names)
        for i in order[:worst].tolist():
            explanation = explain(model, X[i], label=labels[i])
            sample = {"name": names[i], "link": f"sample-{i}", "explanation": explanation}
            sample["decision"] = picture(plot_decision(explanation.decision))
            sample["layers"] = picture(plot_explanation(explanation))
            explained.append(sample)
    source = files("redunet.inspection").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["readable"] = readable
    page = environment.from_string(source.lstrip()).render(
        title=title,
        version=__version__,
        summary=description(model),
        results=evaluation(model, X, labels, train=train),
        pictures=pictures,
        printed=printed,
        errors=_errors(net.classes_, labels, predictions),
        has_places=has_places,
        is_deep=len(net.layers) > 1,
        explained=explained,
        worst=table[: max(LISTED_SAMPLES, worst)],
    )
    if path is not None:
        with atomic_write(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return Report(page, None if path is None else Path(path))


def _worst(
    classes: np.ndarray,
    residuals: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    names: list[str],
) -> tuple[np.ndarray, list[list[object]]]:
    """Samples that fit their own class worst, compared with the best of the others, and a table."""
    own = labels[:, None] == classes
    fit, rival = residuals[own], np.where(own, np.inf, residuals).min(1)
    order = np.argsort(rival - fit, kind="stable")
    columns = (names, labels.tolist(), predictions.tolist(), fit, rival, fit - rival)
    return order, [[column[i] for column in columns] for i in order.tolist()]


def _errors(classes: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> list[list[object]]:
    """The kinds of errors that occur most often, with their numbers."""
    errors = confusion_matrix(labels, predictions, labels=classes)
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:LISTED]
    pairs = [divmod(position, len(classes)) for position in order.tolist()]
    return [[classes[i], classes[j], int(errors[i, j])] for i, j in pairs if errors[i, j]]


def _draw_residuals(residuals: np.ndarray, classes: np.ndarray) -> Axes:
    """A heat map of the residuals of samples, each compared with its other residuals."""
    ax = _panel()
    low, high = residuals.min(1, keepdims=True), residuals.max(1, keepdims=True)
    relative = (residuals - low) / np.where(high > low, high - low, 1)
    image = ax.imshow(relative, cmap="Blues_r", aspect="auto", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="0 smallest, 1 largest of the sample", shrink=0.85)
    if len(classes) <= NAMED_CLASSES:
        ax.set_xticks(range(len(classes)), list(map(literal, classes)), rotation=90)
    ax.set(title="Residuals by class", ylabel="samples, by true class", yticks=[])
    return ax


def _draw_confusion(classes: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> Axes:
    counts = confusion_matrix(labels, predictions, labels=classes)
    named = len(classes) <= NAMED_CLASSES
    names = [literal(name) for name in classes]
    side = max(4.2, min(9, 2 + 0.45 * len(classes)))
    ax = plt.subplots(figsize=(side, side), layout="constrained")[1]
    ConfusionMatrixDisplay(counts, display_labels=names if named else None).plot(
        ax=ax,
        cmap="Blues",
        include_values=named,
        colorbar=not named,
        xticks_rotation="vertical" if max(map(len, names)) > 3 else "horizontal",
        values_format="d",
    )
    return ax


def _panel() -> Axes:
    """New axes of the size of a panel."""
    return plt.subplots(figsize=PANEL, layout="constrained")[1]


def picture(drawn: Axes | np.ndarray) -> dict[str, object]:
    """The figure of one or several axes as a data URI, and its width in pixels; it is closed."""
    figure = np.ravel(np.array(drawn, dtype=object))[0].get_figure(root=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    data = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"data": data, "width": round(figure.get_figwidth() * PAGE_DPI)}
