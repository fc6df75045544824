"""A demonstration: a network that chooses its own settings recognises digits in any position.

Run it with ``python examples/demo.py``; ``--help`` shows the options.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch import Tensor

from redunet import datasets
from redunet.estimators import ReduNetClassifier
from redunet.lifts import RandomCirculantLift
from redunet.network import ReduNet
from redunet.plots import PALETTE, plot_rates, plot_search, plot_similarity
from redunet.search import Search

# Widths of the columns in the table of rates: three for training images, one for test images.
WIDTHS = (17, 12, 14, 16)

# Number of candidates of the search that are printed.
PRINTED = 5

# The colour and the marker of each curve.
STYLES = ((PALETTE[1], "s"), (PALETTE[2], "^"), (PALETTE[0], "o"))


class Problem(NamedTuple):
    """Training and test images with their labels, and a lift for a deep network."""

    name: str
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    stride: int  # difference of successive shifts in the figure
    lift: RandomCirculantLift


def main() -> None:
    """Construct networks, compare them, and draw figures."""
    parser = argparse.ArgumentParser(
        description="Construct a translation-invariant ReduNet on handwritten digits, which "
        "chooses its own settings. Compare it with a plain ReduNet and an RBF SVM, on test digits "
        "and on their cyclic shifts. Construct a deep network for features.",
    )
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of MNIST's IDX files (default: the environment variable REDUNET_DATA; "
        "without either, scikit-learn's embedded digits)",
    )
    parser.add_argument(
        "--figures", type=Path, default=Path("figures"), help="folder for the figures"
    )
    options = parser.parse_args()

    problem = mnist_problem(options.data_dir) if options.data_dir else digits_problem()
    (X, labels), (X_test, labels_test) = problem.train, problem.test
    print(f"{problem.name}: {len(X)} training and {len(X_test)} test images\n")

    start = time.perf_counter()
    model = ReduNetClassifier(progress=True).fit(X, labels)
    seconds = time.perf_counter() - start
    print(f"Chose its settings and constructed a network in {seconds:.1f} s.\n")
    print_search(model.search_)
    plain = ReduNet.construct(X.flatten(1), labels)
    svm = SVC().fit(X.flatten(1), labels)
    predictors = {
        "RBF SVM on pixels": lambda images: svm.predict(images.flatten(1)),
        "ReduNet, vectors": lambda images: plain.predict(images.flatten(1)),
        'ReduNet, lift="auto"': model.predict,
    }

    shifted = at_random_shifts(X_test)
    accuracies = {}
    print("\nTest accuracy           originals   each at a random cyclic shift")
    for name, predict in predictors.items():
        accuracies[name] = [
            accuracy_score(labels_test.numpy(), predict(X_test.roll(shift, 3)))
            for shift in range(0, X.shape[3], problem.stride)
        ]
        on_shifted = accuracy_score(labels_test.numpy(), predict(shifted))
        print(f"{name:<24}{accuracies[name][0]:>9.3f}{on_shifted:>12.3f}")

    start = time.perf_counter()
    net = ReduNet.construct(X, labels, lift=problem.lift, validation=problem.test, progress=True)
    seconds = time.perf_counter() - start
    print(f"\nConstructed {len(net.layers)} layers for features in {seconds:.1f} s.\n")
    print_rates(net)

    print("\nFigures:")
    for path in draw(model.search_, net, X_test, labels_test, accuracies, problem, options.figures):
        print(f"  {path}")


def at_random_shifts(X: Tensor) -> Tensor:
    """Each image at a random cyclic shift."""
    rng = np.random.default_rng(0)
    return torch.stack([x.roll(rng.integers(x.shape[1:]).tolist(), (1, 2)) for x in X])


def digits_problem() -> Problem:
    """scikit-learn's digits, half for training and half for testing."""
    X, labels = datasets.digits()
    rows, rows_test = train_test_split(
        np.arange(len(X)), test_size=0.5, stratify=labels, random_state=0
    )
    return Problem(
        "scikit-learn's digits, 8 × 8",
        (X[rows], labels[rows]),
        (X[rows_test], labels[rows_test]),
        stride=1,
        lift=RandomCirculantLift(1, 32, 3, ndim=2),
    )


def mnist_problem(data_dir: str) -> Problem:
    """MNIST, with 50 digits of each class for training and 20 for testing."""
    X, labels = datasets.mnist("train", data_dir)
    X_test, labels_test = datasets.mnist("test", data_dir)
    rows, rows_test = datasets.subsample(labels, 50), datasets.subsample(labels_test, 20)
    return Problem(
        "MNIST, 28 × 28",
        (X[rows], labels[rows]),
        (X_test[rows_test], labels_test[rows_test]),
        stride=4,
        lift=RandomCirculantLift(1, 16, 7, ndim=2),
    )


def print_search(search: Search) -> None:
    """Print the best candidates of a search, and the accuracy by leave-one-out."""
    lines = str(search).splitlines()
    print("\n".join(lines[: 2 + PRINTED]))
    print(f"{len(search.candidates_)} candidates; those with a star form the network.")
    print(f"Accuracy on the training images, each left out in turn: {search.accuracy_:.3f}")


def print_rates(net: ReduNet) -> None:
    """Print the rates before the first layer and after each layer."""
    history = net.history
    columns = [history.delta, history.expansion, history.compression]
    if history.validation is not None:
        columns.append(history.validation.delta)
    print("layer   rate reduction = expansion - compression   (test images)")
    for layer, rates in enumerate(zip(*columns, strict=True)):
        cells = (f"{rate:>{width}.3f}" for rate, width in zip(rates, WIDTHS, strict=False))
        print(f"{layer:>5}{''.join(cells)}")


def draw(
    search: Search,
    net: ReduNet,
    X: Tensor,
    labels: Tensor,
    accuracies: dict[str, list[float]],
    problem: Problem,
    folder: Path,
) -> Iterator[Path]:
    """Draw the search, the rates by layer, similarities, and accuracies by shift."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = plot_search(search)
    yield _save(axes[0].figure, folder / "demo_search.png")

    figure, ax = plt.subplots(layout="constrained")
    plot_rates(net.history, ax=ax)
    yield _save(figure, folder / "demo_rates.png")

    rows = datasets.subsample(labels, 20)
    figure, panels = plt.subplot_mosaic("PF;AA", figsize=(8.5, 7), layout="constrained")
    plot_similarity(X[rows], labels[rows], ax=panels["P"]).set_title("Pixels of test digits")
    plot_similarity(net(X[rows]), labels[rows], ax=panels["F"]).set_title("Features of test digits")
    plot_shifts(accuracies, problem.stride, panels["A"])
    yield _save(figure, folder / "demo_similarity.png")


def plot_shifts(accuracies: dict[str, list[float]], stride: int, ax: Axes) -> None:
    """Draw the accuracy of each method against the shift of the images."""
    for (name, by_shift), (color, marker) in zip(accuracies.items(), STYLES, strict=True):
        shifts = stride * np.arange(len(by_shift))
        ax.plot(shifts, by_shift, color=color, marker=marker, label=name)
    ax.set(
        title="Accuracy on shifted digits", xlabel="horizontal shift [pixels]", ylabel="accuracy"
    )
    ax.set_ylim(0, 1.02)
    ax.legend(frameon=False, loc="center", bbox_to_anchor=(0.5, 0.62))


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path.resolve()


if __name__ == "__main__":
    main()
