"""Minimum incremental coding length and other classifiers on few samples in many dimensions.

The data sets are handwritten digits, tables of measurements and Gaussians in 100 dimensions. Each
Gaussian is close to a subspace of 5 dimensions. The test samples of "five times farther" are five
times as far from the mean as the training samples, in the same subspaces. All settings are chosen
on the training samples, by leave-one-out (MICL) or in five folds.
"""

import argparse
import os
from functools import cache, partial
from itertools import product

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import avg_pool2d

from benchmarks.contest import FOLDS, Method, SearchedSVM, Task, add_options, report, run
from benchmarks.machine import describe
from redunet import MICLClassifier, NearestSubspaceClassifier
from redunet.datasets import digits, mnist, subsample

TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer}

# Gaussians: classes, dimensions, dimensions of the subspaces, and standard deviation of the noise.
CLASSES = 5
DIMENSIONS = 100
RANK = 5
NOISE = 0.1


class Searched(ClassifierMixin, BaseEstimator):
    """A classifier with the settings that are the most accurate in five folds."""

    def __init__(self, model: ClassifierMixin, grid: dict[str, list], random_state: int = 0):
        self.model = model
        self.grid = grid
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Searched":
        """Choose the settings, and fit the classifier to all samples."""
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=self.random_state)
        self.search_ = GridSearchCV(self.model, self.grid, cv=folds).fit(X, y)
        self.details_ = self.search_.best_params_
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the classifier."""
        return self.search_.predict(X)


def nearest_subspace(seed: int) -> Searched:
    grid = {"n_components": [1, 2, 3, 5, 8, 12, 16], "center": [False, True]}
    return Searched(NearestSubspaceClassifier(), grid, seed)


def quadratic(seed: int) -> Searched:
    model = QuadraticDiscriminantAnalysis(solver="eigen", tol=1e-10)
    return Searched(model, {"shrinkage": [0.01, 0.03, 0.1, 0.3, 0.6, 1.0]}, seed)


METHODS = {
    "MICL": Method(lambda seed: MICLClassifier(), random=False),
    "nearest subspace": Method(nearest_subspace),
    "LDA": Method(
        lambda seed: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), random=False
    ),
    "QDA": Method(quadratic),
    "SVM": Method(lambda seed: SearchedSVM(random_state=seed)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of MNIST's IDX files; without it, MNIST is left out",
    )
    add_options(parser, list(METHODS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = {name: METHODS[name] for name in options.methods}
    results = run(methods, sets(options.data), options.seeds, options.out)
    print(describe(torch.device("cpu")))
    print(f"- scikit-learn {sklearn.__version__}\n")
    print(report(results))


def sets(data_dir: str | None) -> dict[str, partial]:
    """All data sets, with their numbers of labels of each class."""
    tasks = {f"digits, {n} labels": partial(of_digits, n) for n in (5, 10, 20, 50)}
    if data_dir:
        tasks |= {f"MNIST, {n} labels": partial(of_mnist, data_dir, n) for n in (10, 50)}
    tasks |= {f"{name}, {n} labels": partial(of_table, name, n) for name in TABLES for n in (5, 20)}
    for n, farther in product((6, 12, 24), (False, True)):
        title = f"Gaussians, {n} labels{', five times farther' if farther else ''}"
        tasks[title] = partial(of_gaussians, n, farther)
    return tasks


def of_digits(per_class: int, seed: int) -> Task:
    X, y = digits()
    return _split(X.flatten(1).double().numpy(), y.numpy(), per_class, seed)


@cache
def _pooled_mnist(data_dir: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images of 14 × 14, the means of blocks of four pixels."""
    X, y = mnist(split, data_dir)
    return avg_pool2d(X, 2).flatten(1).double().numpy(), y.numpy()


def of_mnist(data_dir: str, per_class: int, seed: int) -> Task:
    X, y = _pooled_mnist(data_dir, "train")
    X_test, y_test = _pooled_mnist(data_dir, "test")
    chosen = subsample(y, per_class, seed=seed).numpy()
    return Task(X[chosen], y[chosen], {"originals": X_test[::5]}, y_test[::5])


def of_table(name: str, per_class: int, seed: int) -> Task:
    """Measurements, standardised by the training samples."""
    X, y = TABLES[name](return_X_y=True)
    task = _split(X, y, per_class, seed)
    scaler = StandardScaler().fit(task.X)
    tests = {"originals": scaler.transform(task.tests["originals"])}
    return task._replace(X=scaler.transform(task.X), tests=tests)


def of_gaussians(per_class: int, farther: bool, seed: int) -> Task:
    """Gaussians near random subspaces, with random means of length 1."""
    rng = np.random.default_rng(seed)
    bases = np.linalg.qr(rng.normal(size=(CLASSES, DIMENSIONS, RANK)))[0]
    means = rng.normal(size=(CLASSES, 1, DIMENSIONS)) / DIMENSIONS**0.5

    def draw(count: int, scale: float) -> np.ndarray:
        coordinates = scale * rng.normal(size=(CLASSES, count, RANK))
        noise = NOISE * rng.normal(size=(CLASSES, count, DIMENSIONS))
        return (means + coordinates @ bases.transpose(0, 2, 1) + noise).reshape(-1, DIMENSIONS)

    y, y_test = (np.repeat(np.arange(CLASSES), count) for count in (per_class, 200))
    return Task(draw(per_class, 1), y, {"originals": draw(200, 5 if farther else 1)}, y_test)


def _split(X: np.ndarray, y: np.ndarray, per_class: int, seed: int) -> Task:
    chosen = subsample(y, per_class, seed=seed).numpy()
    others = np.setdiff1d(np.arange(len(y)), chosen)
    return Task(X[chosen], y[chosen], {"originals": X[others]}, y[others])


if __name__ == "__main__":
    main()
