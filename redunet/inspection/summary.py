"""Summaries of a network and of its results on samples, as words and numbers."""

import numpy as np
import torch
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from redunet import _tables
from redunet._checks import Array, quoted
from redunet._labels import as_labels
from redunet.network import ReduNet
from redunet.rates.coding_rates import spectral_rate_reduction, spectrum_of
from redunet.rates.partition import Partition
from redunet.training.fine_tuned import FineTuned

# Number of bins of equal width that confidences are sorted into.
BINS = 10


def description(model: ReduNet | FineTuned) -> dict[str, object]:
    """Layers, shapes, parameters, memory, settings and rates of a network, as plain values."""
    head = {"head": type(model.head).__name__} if isinstance(model, FineTuned) else {}
    return _tables.description(constructed(model)) | head


def constructed(model: ReduNet | FineTuned) -> ReduNet:
    """The network whose layers are shown: that below the head of a fine-tuned network."""
    return model.net if isinstance(model, FineTuned) else model


@torch.no_grad()
def evaluation(
    model: ReduNet | FineTuned, X: Array, labels: Array, *, train: tuple[Array, Array] | None = None
) -> dict[str, object]:
    """Accuracy of a network on labelled samples, what to compare it with, and rates.

    Log loss and expected calibration error tell whether memberships are good probabilities. The
    chance level is the share of the largest class in ``labels``. If training samples are given,
    the accuracy of a support vector machine with an RBF kernel is added. It is trained on the
    flattened training samples, scaled feature by feature.

    Raises
    ------
    ValueError
        If samples do not have the shape that the network takes, or if a label is not a label of the
        network.
    """
    net = constructed(model)
    X = net.samples(X)
    labels = labels_among(net.classes_, labels, len(X))
    Z = net(X)
    # Samples of a single class, or a single sample, have rates too; classes without samples add 0.
    partition = Partition.from_labels(
        labels, len(X), device=Z.device, classes=net.classes_, partial=True
    )
    spectrum = spectrum_of(Z)
    eps_sq = net.settings.eps_sq
    assert eps_sq is not None
    rates = spectral_rate_reduction(spectrum(Z), spectrum, partition, eps_sq)
    _, counts = np.unique(labels, return_counts=True)
    membership, targets = model.membership(X).cpu().numpy(), np.searchsorted(net.classes_, labels)
    results = {
        "samples": len(X),
        "accuracy": float(accuracy_score(labels, model.predict(X))),
        "log loss": float(log_loss(targets, membership, labels=range(len(net.classes_)))),
        "expected calibration error": calibration_error(*by_confidence(membership, targets)),
        "chance level (largest class)": float(counts.max() / len(labels)),
    }
    if train is not None:
        X_train, y_train = net.samples(train[0]), as_labels(train[1], classes=net.classes_)
        svm = make_pipeline(StandardScaler(), SVC())
        svm.fit(X_train.flatten(1).cpu().numpy(), y_train)
        accuracy = svm.score(X.flatten(1).cpu().numpy(), labels)
        results["accuracy of an RBF SVM"] = float(accuracy)
    return {
        **results,
        "rate reduction": rates.delta.item(),
        "expansion": rates.expansion.item(),
        "compression": rates.compression.item(),
    }


def by_confidence(
    membership: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, accuracy and share of the samples in each bin that is not empty.

    The bins of the confidence, the largest membership ``(m, k)`` of a sample, have the same width.
    The positions ``(m,)`` of the true classes are given.
    """
    confidence, right = membership.max(1), membership.argmax(1) == targets
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    _, places, counts = np.unique(places, return_inverse=True, return_counts=True)
    sums = (np.bincount(places, values) for values in (confidence, right))
    sure, hits = (of_bins / counts for of_bins in sums)
    return sure, hits, counts / len(targets)


def calibration_error(confidence: np.ndarray, accuracy: np.ndarray, shares: np.ndarray) -> float:
    """The expected calibration error Σ_b m_b/m |confidence − accuracy|.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger. On Calibration of Modern Neural Networks (ICML 2017), eq. 3.
    """
    return float(shares @ np.abs(confidence - accuracy))


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
