"""A demonstration: a network, constructed in seconds, recognises digits in any position.

Run it with ``python -m redunet.demo``; ``--help`` shows the options.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from redunet import datasets
from redunet.inspection.palette import MARKERS, PALETTE
from redunet.lifts import RandomCirculantLift
from redunet.network import ReduNet
from redunet.plots import plot_rates, plot_similarity

# Widths of the columns in the table of rates: three for training images, one for test images.
WIDTHS = (17, 12, 14, 16)


class Problem(NamedTuple):
    """Training and test images with their labels, and a lift that suits them."""

    name: str
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    stride: int  # difference of successive shifts in the test
    lift: RandomCirculantLift


def main(arguments: list[str] | None = None, prog: str = "python -m redunet.demo") -> None:
    """Construct networks, compare them, and draw figures."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Construct a translation-invariant ReduNet on handwritten digits and compare "
        "it with a plain ReduNet and a linear SVM, on test digits and on their cyclic shifts.",
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
    options = parser.parse_args(arguments)

    problem = mnist_problem(options.data_dir) if options.data_dir else digits_problem()
    (X, labels), (X_test, labels_test) = problem.train, problem.test
    print(f"{problem.name}: {len(X)} training and {len(X_test)} test images\n")

    start = time.perf_counter()
    net = ReduNet.construct(
        X,
        labels,
        lift=problem.lift,
        validation=problem.test,
        progress=True,
    )
    print(f"Constructed in {time.perf_counter() - start:.1f} s, without back-propagation.\n")
    print_rates(net)
    plain = ReduNet.construct(X.flatten(1), labels)
    svm = make_pipeline(StandardScaler(), LinearSVC()).fit(X.flatten(1).numpy(), labels.numpy())

    shifted = datasets.all_shifts(X_test, problem.stride)
    num_shifts = shifted.shape[1]
    accuracies = {}
    print(f"\nTest accuracy           originals   {num_shifts} cyclic shifts of each")
    for name, predict in (
        ("linear SVM on pixels", lambda images: svm.predict(images.flatten(1).numpy())),
        ("ReduNet, vectors", lambda images: plain.predict(images.flatten(1))),
        ("ReduNet, 2-D invariant", net.predict),
    ):
        on_originals = accuracy_score(labels_test, predict(X_test))
        predictions = predict(shifted.flatten(0, 1)).reshape(-1, num_shifts)
        accuracies[name] = (predictions == labels_test.numpy()[:, None]).mean(0)
        print(f"{name:<24}{on_originals:>9.3f}{accuracies[name].mean():>12.3f}")

    print("\nFigures:")
    steps = X.shape[3] // problem.stride  # the first shifts are horizontal
    sideways = {name: by_shift[:steps] for name, by_shift in accuracies.items()}
    for path in draw(net, X_test, labels_test, sideways, problem.stride, options.figures):
        print(f"  {path}")


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
    net: ReduNet,
    X: Tensor,
    labels: Tensor,
    accuracies: dict[str, np.ndarray],
    stride: int,
    folder: Path,
) -> Iterator[Path]:
    """Draw the rates by layer, similarities of samples and features, and accuracies by shift."""
    folder.mkdir(parents=True, exist_ok=True)
    figure, ax = plt.subplots(layout="constrained")
    plot_rates(net.history, ax=ax)
    yield _save(figure, folder / "demo_rates.png")

    rows = datasets.subsample(labels, 20)
    figure, axes = plt.subplots(1, 3, figsize=(14.5, 4.5), layout="constrained")
    plot_similarity(X[rows], labels[rows], ax=axes[0]).set_title("Pixels of test digits")
    plot_similarity(net(X[rows]), labels[rows], ax=axes[1]).set_title("Features of test digits")
    for (name, by_shift), color, marker in zip(accuracies.items(), PALETTE, MARKERS, strict=False):
        shifts = stride * np.arange(len(by_shift))
        axes[2].plot(shifts, by_shift, color=color, marker=marker, label=name)
    axes[2].set(
        title="Accuracy on shifted digits", xlabel="horizontal shift [pixels]", ylabel="accuracy"
    )
    axes[2].set_ylim(0, 1.02)
    axes[2].legend(frameon=False, loc="center", bbox_to_anchor=(0.5, 0.62))
    yield _save(figure, folder / "demo_similarity.png")


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path.resolve()


if __name__ == "__main__":
    main()
