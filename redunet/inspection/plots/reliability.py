"""Plot of the accuracy of predictions by their confidence."""

from typing import Protocol

import numpy as np
import torch
from matplotlib.axes import Axes

from redunet._checks import Array
from redunet.inspection.style import PALETTE, given_or_new
from redunet.inspection.summary import by_confidence, calibration_error, labels_among
from redunet.network import ReduNet
from redunet.training.fine_tuned import FineTuned


class Classifier(Protocol):
    """A classifier of scikit-learn with probabilities."""

    classes_: np.ndarray

    def predict_proba(self, X: Array) -> np.ndarray:
        """Probabilities ``(m, k)`` of samples."""


@torch.no_grad()
def plot_reliability(
    model: ReduNet | FineTuned | Classifier, X: Array, labels: Array, *, ax: Axes | None = None
) -> Axes:
    """Plot the accuracy of predictions against their confidence.

    The confidence of a prediction is the probability of the predicted class. If probabilities can
    be trusted, the points lie on the diagonal: of the samples with a confidence of 0.8, 80 % are
    right. Points below it are too sure. There are ten bins of the same width. Areas of points are
    proportional to their numbers of samples. The title has the expected calibration error, the mean
    distance from the diagonal.

    Parameters
    ----------
    model : ReduNet, FineTuned, or a classifier with predict_proba
    X : array-like or Tensor of shape (m, *sample_shape)
        Samples that are not those of the construction.
    labels : array-like or Tensor of shape (m,)
        True labels of the samples.
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
    labels = labels_among(model.classes_, labels)
    if isinstance(model, ReduNet | FineTuned):
        membership = model.membership(X).cpu().numpy()
    else:
        membership = np.asarray(model.predict_proba(X))
    bins = by_confidence(membership, np.searchsorted(model.classes_, labels))
    ax = given_or_new(ax)
    confidence, accuracy, shares = bins
    ax.plot([0, 1], [0, 1], color=PALETTE[6], linestyle=":", linewidth=1)
    ax.plot(confidence, accuracy, color=PALETTE[0])
    ax.scatter(confidence, accuracy, 10 + 300 * shares, color=PALETTE[0])
    limits = (-0.03, 1.03)
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=limits, ylim=limits)
    ax.set_title(f"Reliability, expected calibration error {calibration_error(*bins):.3f}")
    return ax
