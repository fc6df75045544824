"""An HTML report on a network and its results on samples, in one file."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from redunet._checks import Array
from redunet._labels import as_labels
from redunet._version import __version__
from redunet.files.atomic import atomic_write, check_place
from redunet.inspection.page import template
from redunet.inspection.plots.depth import predictions_by_layer
from redunet.inspection.reliability import Reliability
from redunet.inspection.sections import confusion, sections
from redunet.inspection.summary import constructed, description, evaluation
from redunet.inspection.text import readable
from redunet.inspection.worst import worst_samples
from redunet.network import ReduNet
from redunet.search.search import Search
from redunet.training.fine_tuned import FineTuned


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

    The report shows a summary, the rates and the accuracy by layer, similarities and singular
    values before and after the network, the accuracy by confidence, the confusion matrix, and
    explanations of the worst samples. Beside the accuracy of the network, it shows the chance
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
    X, labels = layers.samples(X), as_labels(labels, len(X), classes=net.classes_)
    names = [f"Sample {number}" for number in range(len(X))] if names is None else list(names)
    if len(names) != len(X):
        raise ValueError(f"names must be {len(X)}, one for each sample, got {len(names)}")
    results = evaluation(net, X, labels, train=train)
    with torch.no_grad():
        by_layer = layers.residual_norms_by_layer(X)
        membership = net.membership(X).cpu().numpy()
    by_layers = predictions_by_layer(layers, X, by_layer)
    predictions = by_layers[-1] if layers is net else net.predict(X)
    reliability = Reliability.of(membership, np.searchsorted(net.classes_, labels))
    page = template("report.html").render(
        title=title,
        version=__version__,
        summary=_readable(description(net)),
        results=_readable(results),
        sections=sections(layers, X, labels, by_layers, reliability, search),
        confusion=confusion(net.classes_, labels, predictions),
        worst=worst_samples(
            net,
            X,
            labels,
            by_layer[-1].cpu().numpy(),
            predictions,
            names=names,
            count=worst,
        ),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _readable(values: dict[str, Any]) -> dict[str, str]:
    return {name: readable(value) for name, value in values.items()}
