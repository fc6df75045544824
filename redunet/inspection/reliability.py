"""Whether probabilities can be trusted: reliability by confidence, and its mean error."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from sklearn.metrics import log_loss

from redunet._checks import Array, check_count, listed
from redunet._labels import as_labels
from redunet.network import ReduNet
from redunet.training.fine_tuned import FineTuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Number of bins of equal width.
BINS = 10


class Reliability(NamedTuple):
    """Confidence and accuracy of the samples in each bin that is not empty."""

    confidence: np.ndarray  # (b,) mean probability of the predicted class
    accuracy: np.ndarray  # (b,) share of right predictions
    samples: np.ndarray  # (b,) number of samples

    @classmethod
    def from_membership(
        cls, membership: np.ndarray, targets: np.ndarray, bins: int = BINS
    ) -> "Reliability":
        """Reliability of memberships ``(m, k)``, given the positions ``(m,)`` of the true classes.

        The bins of the confidence, the largest membership of a sample, have the same width.
        """
        confidence, right = membership.max(1), membership.argmax(1) == targets
        place = np.minimum((confidence * bins).astype(int), bins - 1)
        count = np.bincount(place, minlength=bins)
        filled = count > 0
        sure, hits = (np.bincount(place, values, bins)[filled] for values in (confidence, right))
        return cls(sure / count[filled], hits / count[filled], count[filled])

    @property
    def error(self) -> float:
        """The expected calibration error Σ_b m_b/m |confidence − accuracy|.

        References
        ----------
        Guo, Pleiss, Sun, Weinberger. On Calibration of Modern Neural Networks (ICML 2017), eq. 3.
        """
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.samples))


def calibration(membership: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Log loss and expected calibration error of memberships ``(m, k)``."""
    places = np.arange(membership.shape[1])
    return {
        "log loss": float(log_loss(targets, membership, labels=places)),
        "expected calibration error": Reliability.from_membership(membership, targets).error,
    }


def labels_among(classes: np.ndarray, labels: Array, count: int | None = None) -> np.ndarray:
    """Labels of so many samples, which must be among the classes of a model.

    Raises
    ------
    ValueError
        If the labels do not fit the samples, or one of them is no class.
    """
    labels = as_labels(labels, count, classes=classes)
    unknown = np.setdiff1d(labels, classes)
    if unknown.size:
        raise ValueError(
            f"labels must be among the classes {listed(classes, 'classes')}, got "
            f"{listed(unknown, 'labels')}"
        )
    return labels


class Classifier(Protocol):
    """A classifier of scikit-learn with probabilities."""

    classes_: np.ndarray

    def predict_proba(self, X: Array) -> np.ndarray:
        """Probabilities ``(m, k)`` of samples."""


@torch.no_grad()
def plot_reliability(
    model: ReduNet | FineTuned | Classifier,
    X: Array,
    labels: Array,
    *,
    bins: int = BINS,
    ax: "Axes | None" = None,
) -> "Axes":
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
    bins, labels = check_count(bins=bins), labels_among(model.classes_, labels)
    if isinstance(model, ReduNet | FineTuned):
        membership = model.membership(X).cpu().numpy()
    else:
        membership = np.asarray(model.predict_proba(X))
    targets = np.searchsorted(model.classes_, labels)
    from redunet.inspection.style import given_or_new

    return draw_reliability(
        given_or_new(ax), Reliability.from_membership(membership, targets, bins)
    )


def draw_reliability(ax: "Axes", reliability: Reliability) -> "Axes":
    """Draw the accuracy by confidence, and the diagonal."""
    from redunet.inspection.style import PALETTE

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
