"""An HTML report on a network and its results on samples, in one file."""

import base64
import io
import os
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jinja2 import Environment, Template
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from redunet._checks import Array, as_labels, as_samples
from redunet._version import __version__
from redunet.files.atomic import atomic_write
from redunet.inspection.explanation import Explanation, explain
from redunet.inspection.plots.architecture import plot_architecture
from redunet.inspection.plots.depth import AccuracyByDepthDisplay
from redunet.inspection.plots.rates import plot_rates
from redunet.inspection.plots.similarity import plot_similarity, plot_singular_values
from redunet.inspection.summary import description, evaluation, readable
from redunet.network import ReduNet

# Largest number of samples per class in heat maps and plots of singular values.
SHOWN = 30

# Largest number of classes for which the confusion matrix shows numbers.
NUMBERED_CLASSES = 20

DPI = 110


class Picture(NamedTuple):
    """A picture of the report."""

    title: str
    caption: str
    data: str  # a data URI


class Worst(NamedTuple):
    """One of the samples with the worst residuals."""

    explanation: Explanation
    picture: Picture


def report(
    net: ReduNet,
    X: Array,
    labels: Array,
    path: str | os.PathLike[str],
    *,
    title: str = "ReduNet",
    worst: int = 5,
    train: tuple[Array, Array] | None = None,
) -> None:
    """Write an HTML report on a network and its results on samples.

    The report shows a summary, the rates and the accuracy by layer, similarities and singular
    values before and after the network, the confusion matrix, and an explanation of the worst
    samples. Beside the accuracy of the network, it shows the chance level, which is the share of
    the largest class in ``labels``. The report is a single HTML file that contains all pictures and
    loads no other files.

    Parameters
    ----------
    net : ReduNet
        The network.
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

    Raises
    ------
    ValueError
        If samples do not have the shape that the network takes, or if a label is not a label of the
        network.
    """
    X, labels = as_samples(X), as_labels(labels)
    results = evaluation(net, X, labels, train=train)
    with torch.no_grad():
        residuals = net.residual_norms_by_layer(X).cpu().numpy()
    page = _template().render(
        title=title,
        version=__version__,
        summary=_readable(description(net)),
        results=_readable(results),
        pictures=_pictures(net, X, labels, residuals),
        worst=_worst(net, X, labels, residuals[-1], worst),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _template() -> Template:
    source = files("redunet.inspection").joinpath("report.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)


def _readable(values: dict[str, Any]) -> dict[str, str]:
    return {name: readable(value) for name, value in values.items()}


def _pictures(
    net: ReduNet, X: torch.Tensor, labels: np.ndarray, residuals: np.ndarray
) -> Iterator[Picture]:
    """Pictures of the network and of all samples together."""
    predictions = net.classes_[residuals.argmin(2)]  # (num_layers, m)
    yield _picture(
        plot_architecture(net).figure.figure,
        "Architecture",
        "Top: from samples to memberships. Bottom: the steps of one layer.",
    )
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    plot_rates(net.history, ax=axes[0])
    AccuracyByDepthDisplay((predictions == labels).mean(1)).plot(axes[1])
    yield _picture(
        figure,
        "Layer by layer",
        "Left: rates of the samples of the construction. Right: accuracy on these samples.",
    )
    rows = np.sort(np.concatenate([np.flatnonzero(labels == c)[:SHOWN] for c in np.unique(labels)]))
    with torch.no_grad():
        samples = [("samples", X[rows]), ("features", net(X[rows]))]
    figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
    for (name, Z), column in zip(samples, axes.T, strict=True):
        plot_similarity(Z, labels[rows], ax=column[0]).set_title(f"Similarity of {name}")
        plot_singular_values(Z, labels[rows], ax=column[1]).set_title(f"Singular values of {name}")
    yield _picture(
        figure,
        "Before and after",
        f"Up to {SHOWN} samples of each class. Top: |cosine similarity| of all pairs. Bottom: "
        "singular values. Ideally, features are similar only within a class, and each class fills "
        "several dimensions.",
    )
    size = 2.5 + 0.45 * min(len(net.classes_), NUMBERED_CLASSES)
    figure, ax = plt.subplots(figsize=(size + 1, size), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        labels,
        predictions[-1],
        labels=net.classes_,
        include_values=len(net.classes_) <= NUMBERED_CLASSES,
        cmap="Blues",
        xticks_rotation="vertical" if net.classes_.dtype.kind == "U" else "horizontal",
        ax=ax,
    )
    yield _picture(figure, "Confusion matrix", "Rows: true classes. Columns: predicted classes.")


def _worst(
    net: ReduNet, X: torch.Tensor, labels: np.ndarray, residuals: np.ndarray, count: int
) -> Iterator[Worst]:
    """Samples that fit their own class worst, compared with the best of the other classes."""
    if not all(layer.membership_rule.has_class_weights for layer in net.layers):
        return  # steps without memberships cannot be explained
    own = np.searchsorted(net.classes_, labels)[:, None]
    others = residuals.copy()
    np.put_along_axis(others, own, np.inf, 1)
    margins = np.take_along_axis(residuals, own, 1)[:, 0] - others.min(1)
    for number in np.argsort(-margins, kind="stable")[:count].tolist():
        explanation = explain(net, X[number])
        figure = plt.figure(figsize=(13, 3.2), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 5])[0]
        _draw_sample(left.subplots(), X[number].cpu().numpy())
        explanation.plot(figure=right)
        caption = (
            f"Sample {number}: true class {labels[number]}, "
            f"predicted class {explanation.prediction}."
        )
        picture = _picture(figure, f"Sample {number}", caption)
        yield Worst(explanation, picture)


def _draw_sample(ax: Axes, x: np.ndarray) -> None:
    """Draw an image as such, and any other sample as one curve per channel."""
    if x.ndim == 3 and x.shape[0] in (1, 3):
        grey = x.shape[0] == 1
        picture = x[0] if grey else np.moveaxis(x - x.min(), 0, -1) / max(np.ptp(x), 1e-12)
        ax.imshow(picture, cmap="gray_r" if grey else None)
        ax.set(xticks=[], yticks=[])
        return
    for channel in x.reshape(len(x), -1) if x.ndim > 1 else [x]:
        ax.plot(channel, linewidth=0.8)


def _picture(figure: Figure, title: str, caption: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(title, caption, f"data:image/png;base64,{data}")
