"""Whether probabilities can be trusted: reliability by confidence, and its mean error."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import log_loss

from redunet._checks import Array, quoted
from redunet._labels import as_labels

# Number of bins of equal width.
BINS = 10


class Reliability(NamedTuple):
    """Confidence and accuracy of the samples in each bin that is not empty."""

    confidence: np.ndarray  # (b,) mean probability of the predicted class
    accuracy: np.ndarray  # (b,) share of right predictions
    samples: np.ndarray  # (b,) number of samples

    @classmethod
    def from_membership(cls, membership: np.ndarray, targets: np.ndarray) -> "Reliability":
        """Reliability of memberships ``(m, k)``, given the positions ``(m,)`` of the true classes.

        The bins of the confidence, the largest membership of a sample, have the same width.
        """
        confidence, right = membership.max(1), membership.argmax(1) == targets
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count = np.bincount(place, minlength=BINS)
        filled = count > 0
        sure, hits = (np.bincount(place, values, BINS)[filled] for values in (confidence, right))
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
            f"labels must be among the classes {quoted(classes)}, got {quoted(unknown)}"
        )
    return labels
