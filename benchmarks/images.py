"""ReduNetClassifier and other classifiers of images, with few and with many labels.

The test images are classified as they are and at cyclic shifts. Each digit of 8 × 8 is tested at
all its 64 shifts, each digit of MNIST at a random one. The competitors are RBF SVMs, scattering
with logistic regression, and a small convolutional network. All settings are chosen on the training
samples.
"""

import argparse
import math
import os
import time
from functools import cache, partial

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.contest import (
    Method,
    SearchedSVM,
    Task,
    add_options,
    random_shifts,
    report,
    run,
    search,
)
from benchmarks.machine import describe
from redunet import ReduNetClassifier, ScatteringLift
from redunet.datasets import all_shifts, digits, mnist, subsample

LABELS = ["1", "2", "5", "10", "20", "100", "500", "all"]
SHIFTS = 16  # random shifts of each training image

# The convolutional network: channels of its layers, images in a batch, steps in the first cycle,
# the largest learning rate, and the smallest fall of the loss that is worth another cycle.
WIDTHS = (32, 64, 128)
BATCH = 64
STEPS = 200
LEARNING_RATE = 3e-3
FALL = 0.01


class ScatteringRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression on standardised scattering coefficients.

    J and C are those with the best accuracy in five folds. If a class has fewer than five samples,
    J is the larger candidate, and C is scikit-learn's default.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> "ScatteringRegression":
        """Choose J and C, and fit the regression to all samples."""
        J = int(math.log2(min(X.shape[2:]))) - 1
        best = 0.0
        self.details_ = {"J": J}
        for candidate in (J, J - 1):
            self.lift_ = ScatteringLift(X.shape[2:], candidate)
            chosen, accuracy = search(
                _regression(),
                {"logisticregression__C": np.logspace(-4, 0, 5)},
                self._features(X),
                y,
            )
            if accuracy > best:
                best, self.details_ = accuracy, {"J": candidate, **chosen}
        settings = {**self.details_}
        self.lift_ = ScatteringLift(X.shape[2:], settings.pop("J"))
        self.model_ = _regression().set_params(**settings).fit(self._features(X), y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the regression."""
        return self.model_.predict(self._features(X))

    def _features(self, X: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(X).split(1000)
        return torch.cat([self.lift_(part).flatten(1) for part in parts]).numpy()


def _regression() -> ClassifierMixin:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


class CircularCNN(ClassifierMixin, BaseEstimator):
    """Three convolutions with circular padding, batch norm and global average pooling.

    Adam trains the network in cycles. The learning rate falls from its largest value to zero in
    each cycle, and each cycle has twice the steps of the one before. Training ends when a cycle no
    longer lowers the loss, or when the time is spent.

    Layers of large images pool squares of 2 × 2, which makes the network invariant only to some
    shifts. It therefore sees random shifts of a few pixels while it is trained.

    Parameters
    ----------
    seconds : float
        Largest time of the training. The last cycle is shortened to end in time.
    random_state : int
    """

    def __init__(self, seconds: float = 60.0, random_state: int = 0):
        self.seconds = seconds
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> "CircularCNN":
        """Train the network until its loss no longer falls."""
        torch.manual_seed(self.random_state)
        start = time.perf_counter()
        self.classes_, positions = np.unique(y, return_inverse=True)
        images, labels = torch.from_numpy(X), torch.from_numpy(positions)
        self.net_ = _convolutions(X.shape[1], min(X.shape[2:]), len(self.classes_))
        loss, taken, length, plateau = math.inf, 0, STEPS, False
        while not plateau:
            pace = (time.perf_counter() - start) / taken if taken else 0.0
            left = self.seconds - (time.perf_counter() - start)
            steps = min(length, int(left / pace)) if taken else length
            if steps < 1:
                break
            before, loss = loss, self._cycle(images, labels, steps)
            plateau = steps == length and before - loss < FALL
            taken, length = taken + steps, 2 * length
        self.details_ = {"steps": taken, "loss": loss, "plateau": plateau}
        return self

    def _cycle(self, images: Tensor, labels: Tensor, steps: int) -> float:
        """Train for a number of steps; the mean loss of the last tenth of them."""
        self.net_.train()
        adam = torch.optim.Adam(self.net_.parameters(), LEARNING_RATE)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        losses = []
        for _ in range(steps):
            rows = torch.randperm(len(images))[:BATCH]
            batch = images[rows].roll(torch.randint(4, (2,)).tolist(), (2, 3))
            loss = cross_entropy(self.net_(batch), labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            cosine.step()
            losses.append(loss.item())
        return float(np.mean(losses[-max(1, steps // 10) :]))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The classes with the largest outputs."""
        self.net_.eval()
        with torch.no_grad():
            outputs = torch.cat([self.net_(part) for part in torch.from_numpy(X).split(1000)])
        return self.classes_[outputs.argmax(1).numpy()]


def _convolutions(channels: int, side: int, classes: int) -> nn.Sequential:
    layers = []
    for width in WIDTHS:
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, padding_mode="circular", bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        if side >= 14:
            layers.append(nn.MaxPool2d(2))
            side //= 2
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


def contestants(cnn_seconds: float) -> dict[str, Method]:
    return {
        "ReduNet": Method(lambda seed: ReduNetClassifier(random_state=seed)),
        "SVM": Method(lambda seed: SearchedSVM(), random=False),
        "SVM, shifts": Method(lambda seed: SearchedSVM(copies=SHIFTS, random_state=seed)),
        "scattering": Method(lambda seed: ScatteringRegression(), random=False),
        "CNN": Method(
            lambda seed: CircularCNN(cnn_seconds, seed), settings={"cnn_seconds": cnn_seconds}
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST")
    parser.add_argument("--datasets", choices=TASKS, default=list(TASKS), nargs="+")
    parser.add_argument(
        "--labels", choices=LABELS, default=LABELS, nargs="+", help="labels of each class"
    )
    parser.add_argument("--test", type=int, default=10_000, help="largest number of test images")
    parser.add_argument(
        "--cnn-seconds", type=float, default=300.0, help="largest time to train a CNN"
    )
    add_options(parser, list(contestants(0)))
    options = parser.parse_args()
    if "mnist" in options.datasets and not options.data:
        parser.error("set --data or REDUNET_DATA to the folder of MNIST's IDX files")
    everyone = contestants(options.cnn_seconds)
    methods = {name: everyone[name] for name in options.methods}
    sets = {
        f"{name}, {labels}": partial(TASKS[name], labels, options)
        for name in options.datasets
        for labels in options.labels
        if not (name == "digits" and labels in ("100", "500"))  # a class has only about 90 samples
    }
    results = run(methods, sets, options.seeds, options.out)
    print(describe(torch.device("cpu")))
    print(f"- scikit-learn {sklearn.__version__}")
    capped = [line for line in results if line.get("plateau") is False]
    print(f"- {len(capped)} trainings of the CNN took all of their {options.cnn_seconds:g} s\n")
    print(report(results, means=False))


def digits_task(labels: str, options: argparse.Namespace, seed: int) -> Task:
    """Half of the digits for training, and the other half with all its shifts."""
    X, y = (part.numpy() for part in digits())
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    rows = drawn(y, labels, seed)
    X_test, y_test = X_test[: options.test], y_test[: options.test]
    tests = {"originals": X_test, "shifted": all_shifts(X_test).flatten(0, 1).numpy()}
    return Task(X[rows], y[rows], tests, y_test)


def mnist_task(labels: str, options: argparse.Namespace, seed: int) -> Task:
    """MNIST. The shifts of the test images are the same for all methods and seeds."""
    X, y, X_test, y_test = load_mnist(options.data)
    rows = drawn(y, labels, seed)
    chosen = np.random.default_rng(0).permutation(len(y_test))[: options.test]
    tests = {"originals": X_test[chosen], "shifted": random_shifts(X_test[chosen], 0)}
    return Task(X[rows], y[rows], tests, y_test[chosen], drawn=labels != "all")


TASKS = {"digits": digits_task, "mnist": mnist_task}


@cache
def load_mnist(folder: str) -> tuple[np.ndarray, ...]:
    return tuple(part.numpy() for split in ("train", "test") for part in mnist(split, folder))


def drawn(y: np.ndarray, labels: str, seed: int) -> np.ndarray:
    """Positions of some samples of each class, or of all samples."""
    return np.arange(len(y)) if labels == "all" else subsample(y, int(labels), seed=seed).numpy()


if __name__ == "__main__":
    main()
