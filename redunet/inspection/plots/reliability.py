"""Plot of the accuracy against the confidence of predictions."""

from typing import Protocol

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from redunet._checks import Array, check_count
from redunet._labels import as_labels
from redunet.inspection.axes import given_or_new
from redunet.inspection.palette import PALETTE
from redunet.inspection.reliability import BINS, Reliability


class Membership(Protocol):
    """A network, or anything else with memberships of classes.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    """

    classes_: np.ndarray

    def membership(self, X: Array) -> Tensor:
        """Memberships ``(m, k)`` of samples."""


class Probabilities(Protocol):
    """A classifier of scikit-learn.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    """

    classes_: np.ndarray

    def predict_proba(self, X: Array) -> np.ndarray:
        """Probabilities ``(m, k)`` of samples."""


@torch.no_grad()
def plot_reliability(
    model: Membership | Probabilities,
    X: Array,
    labels: Array,
    *,
    bins: int = BINS,
    ax: Axes | None = None,
) -> Axes:
    """Plot the accuracy of predictions against their confidence.

    The confidence of a prediction is the probability of the predicted class. If probabilities can
    be trusted, the points lie on the diagonal: of the samples with a confidence of 0.8, 80 % are
    right. Points below it are too sure. Areas of points are proportional to their numbers of
    samples. The title has the expected calibration error, the mean distance from the diagonal.

    Parameters
    ----------
    model : ReduNet, FineTuned, or a classifier with predict_proba
    X : array-like or Tensor of shape (m, *sample_shape)
        Samples that are not those of the construction.
    labels : array-like or Tensor of shape (m,)
        True labels of the samples.
    bins : int
        Number of bins of the confidence, of equal width.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If a label is not a label of the model.
    """
    bins, labels = check_count(bins=bins), as_labels(labels)
    unknown = np.setdiff1d(labels, model.classes_)
    if unknown.size:
        raise ValueError(f"labels must be among the classes {model.classes_}, got {unknown}")
    if hasattr(model, "predict_proba"):
        membership = np.asarray(model.predict_proba(X))
    else:
        membership = model.membership(X).cpu().numpy()
    reliability = Reliability.of(membership, np.searchsorted(model.classes_, labels), bins)
    return draw_reliability(given_or_new(ax), reliability)


def draw_reliability(ax: Axes, reliability: Reliability) -> Axes:
    """Draw the accuracy by confidence, and the diagonal."""
    ax.plot([0, 1], [0, 1], color=PALETTE[6], linestyle=":", linewidth=1)
    ax.plot(reliability.confidence, reliability.accuracy, color=PALETTE[0])
    sizes = 300 * reliability.samples / reliability.samples.sum()
    ax.scatter(reliability.confidence, reliability.accuracy, 10 + sizes, color=PALETTE[0])
    ax.set(
        xlabel="confidence",
        ylabel="accuracy",
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
        title=f"Reliability, expected calibration error {reliability.error:.3f}",
    )
    return ax
