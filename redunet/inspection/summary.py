"""Summaries of a network and of its results on samples, as words and numbers."""

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from redunet import _tables
from redunet._checks import Array, as_samples
from redunet._labels import as_labels
from redunet.inspection.reliability import calibration, labels_among
from redunet.network import ReduNet
from redunet.rates.coding_rates import spectral_rate_reduction, spectrum_of
from redunet.rates.partition import Partition
from redunet.training.fine_tuned import FineTuned


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
    membership = model.membership(X).cpu().numpy()
    results = {
        "samples": len(X),
        "accuracy": float(accuracy_score(labels, model.predict(X))),
        **calibration(membership, np.searchsorted(net.classes_, labels)),
        "chance level (largest class)": float(counts.max() / len(labels)),
    }
    if train is not None:
        results["accuracy of an RBF SVM"] = _accuracy_of_svm(net, *train, X, labels)
    return {
        **results,
        "rate reduction": rates.delta.item(),
        "expansion": rates.expansion.item(),
        "compression": rates.compression.item(),
    }


def _accuracy_of_svm(
    net: ReduNet, X_train: Array, labels_train: Array, X: torch.Tensor, labels: np.ndarray
) -> float:
    """Accuracy of a support vector machine on flattened samples."""
    X_train = as_samples(net.names.in_order(X_train), name="training X")
    if X_train.shape[1:] != X.shape[1:]:
        raise ValueError(
            f"training samples must have shape {tuple(X.shape[1:])}, got {tuple(X_train.shape[1:])}"
        )
    svm = make_pipeline(StandardScaler(), SVC())
    labels_train = as_labels(labels_train, len(X_train), classes=net.classes_)
    svm.fit(X_train.flatten(1).cpu().numpy(), labels_train)
    return float(svm.score(X.flatten(1).cpu().numpy(), labels))
