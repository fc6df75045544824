"""Shared by the examples on rotation and translation: data, accuracies, and figures."""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor
from torch.nn.functional import normalize

from redunet import NearestSubspaceClassifier, ReduNet, datasets
from redunet.plots import plot_rates, plot_similarity

Samples = tuple[Tensor, Tensor]
SPLITS = ("train", "test")


def argument_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that both examples have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of MNIST's IDX files (default: $REDUNET_DATA; without it, embedded digits)",
    )
    parser.add_argument("--per-class", type=int, default=10, help="training digits of each class")
    parser.add_argument("--eps-sq", type=float, default=0.1)
    parser.add_argument("--eta", type=float, default=0.5)
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random kernels of the lift"
    )
    parser.add_argument("--figures", type=Path, default=Path("figures"))
    return parser


def training_and_test_digits(per_class: int, data_dir: str | None) -> tuple[Samples, Samples]:
    """The first digits of each class for training, and ten other digits of each for testing."""
    if data_dir:
        (X, labels), (X_test, labels_test) = (datasets.mnist(s, data_dir) for s in SPLITS)
        train = datasets.subsample(labels, per_class)
        test = datasets.subsample(labels_test, 10)
        return (X[train], labels[train]), (X_test[test], labels_test[test])
    X, labels = datasets.digits()
    rows = datasets.subsample(labels, per_class + 10).reshape(10, -1)
    train, test = rows[:, :per_class].flatten(), rows[:, per_class:].flatten()
    return (X[train], labels[train]), (X[test], labels[test])


def with_shifts(samples: Samples, stride: int) -> Samples:
    """All cyclic shifts of every sample by multiples of ``stride``."""
    X, labels = samples
    shifted = datasets.all_shifts(X, stride)
    return shifted.flatten(0, 1), labels.repeat_interleave(shifted.shape[1])


def print_accuracies(net: ReduNet, train: Samples, test: Samples, stride: int) -> None:
    """Print the accuracies of three classifiers on test samples and on their shifts."""
    train_shifts, test_shifts = with_shifts(train, stride), with_shifts(test, stride)
    num_shifts = len(test_shifts[0]) // len(test[0])

    def accuracy(classifier: NearestSubspaceClassifier, samples: Samples) -> float:
        return classifier.score(net(samples[0]), samples[1])

    plain = NearestSubspaceClassifier(10).fit(net(train[0]), train[1])
    shown_shifts = NearestSubspaceClassifier(10).fit(net(train_shifts[0]), train_shifts[1])
    print(f"\nTest accuracy {'originals':>43}{f'{num_shifts} shifts of each':>20}")
    for name, on_originals, on_shifts in (
        ("nearest subspace", accuracy(plain, test), accuracy(plain, test_shifts)),
        (
            "nearest subspace, fitted on shifts",
            accuracy(shown_shifts, test),
            accuracy(shown_shifts, test_shifts),
        ),
        (
            "membership of the last layer",
            (net.predict(test[0]) == test[1].numpy()).mean(),
            (net.predict(test_shifts[0]) == test_shifts[1].numpy()).mean(),
        ),
    ):
        print(f"  {name:<36}{on_originals:>19.3f}{on_shifts:>20.3f}")
    print(f"nearest subspace on the shifted training samples: {accuracy(plain, train_shifts):.3f}")


def draw(net: ReduNet, train: Samples, test: Samples, stride: int, path: Path) -> None:
    """Figure 16 of the paper: similarities of shifted samples and of their features, and rates."""
    (X, labels), (X_test, labels_test) = with_shifts(train, stride), with_shifts(test, stride)
    Z, Z_test = net(X), net(X_test)
    figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
    plot_similarity(X, labels, ax=axes[0, 0]).set_title("Shifted training samples")
    plot_similarity(Z, labels, ax=axes[0, 1]).set_title("Their features")
    same = (labels[:, None] == labels_test).numpy()
    for name, pair in {"samples": (X, X_test), "features": (Z, Z_test)}.items():
        one, other = (normalize(A.flatten(1)) for A in pair)
        similarity = (one @ other.T).abs().numpy()
        for kind, pairs in {"different classes": ~same, "same class": same}.items():
            style = {"bins": np.linspace(0, 1, 51), "density": True, "histtype": "step"}
            axes[1, 0].hist(similarity[pairs], **style, label=f"{name}, {kind}")
    axes[1, 0].set(xlabel="|cosine similarity|", title="Pairs of a training and a test sample")
    axes[1, 0].legend(frameon=False)
    plot_rates(net.history, ax=axes[1, 1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")
