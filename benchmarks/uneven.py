"""Classes of uneven size: accuracy and balanced accuracy, with and without class weights.

The balanced accuracy is the mean share of right answers in each class. Digits have from 100 down to
3 training samples of each class, and the others for tests, as images for ReduNet and as rows for
the others. ``--birdstrikes`` is the file ``birdstrikes.csv`` of the package vega-datasets of npm
(2.11). Of 2000 random rows, 60 % are for training; the classes of damage have 1779, 116, 58, 42 and
5 rows. Text is one-hot encoded, dates are left out. Features are standardised for all methods.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from tabulate import tabulate

from benchmarks.machine import describe
from redunet import ReduNetClassifier, datasets

SIZES = np.geomspace(100, 3, 10).round().astype(int)  # training samples of each digit
ROWS = 2000
Split: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # X, X_test, y, y_test
METHODS: dict[str, Callable[..., ClassifierMixin]] = {
    "ReduNet": ReduNetClassifier,
    "logistic regression": lambda **weights: of_rows(LogisticRegression(max_iter=2000, **weights)),
    "RBF SVM": lambda **weights: of_rows(SVC(**weights)),
}


def of_rows(model: ClassifierMixin) -> ClassifierMixin:
    """A classifier of rows, which are standardised first."""
    rows = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    return make_pipeline(rows, StandardScaler(), model)


def digits(seed: int) -> Split:
    """Digits, of which some have far more training samples than others."""
    (X, y), random = (part.numpy() for part in datasets.digits()), np.random.default_rng(seed)
    chosen = [random.permutation(np.flatnonzero(y == j))[:n] for j, n in enumerate(SIZES)]
    train = np.concatenate(chosen)
    test = np.setdiff1d(np.arange(len(y)), train)
    return X[train], X[test], y[train], y[test]


def birdstrikes(file: str, seed: int) -> Split:
    """Collisions with birds, and how much damage they did."""
    import pandas as pd

    frame = pd.read_csv(file).sample(ROWS, random_state=0)
    y = frame.pop("Effect Amount of damage").fillna("None").astype(str).to_numpy()
    frame = frame.drop(columns=["Flight Date", *frame.filter(regex="Cost").columns])
    X = pd.get_dummies(frame.fillna(frame.mean(numeric_only=True))).to_numpy(float)
    return train_test_split(X, y, train_size=0.6, stratify=y, random_state=seed)


def splits(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[int], Split]]]:
    """The sets whose files are here."""
    yield "digits", digits
    if options.birdstrikes:
        yield "birdstrikes", lambda seed: birdstrikes(options.birdstrikes, seed)


def evaluated(
    method: Callable[..., ClassifierMixin], split: Split, **weights: object
) -> list[float]:
    """Accuracy and balanced accuracy."""
    X, X_test, y, y_test = split
    found = method(**weights).fit(X, y).predict(X_test)
    return [accuracy_score(y_test, found), balanced_accuracy_score(y_test, found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--birdstrikes", help="birdstrikes.csv of vega-datasets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    print(describe(torch.device("cpu")), end="\n\n")
    rows = []
    for title, make in splits(options):
        drawn = [make(seed) for seed in options.seeds]
        for name, method in METHODS.items():
            for weight in (None, "balanced"):
                results = [evaluated(method, split, class_weight=weight) for split in drawn]
                mean, spread = np.mean(results, 0), np.std(results, 0)
                cells = [f"{a:.3f} ± {b:.3f}" for a, b in zip(mean, spread, strict=True)]
                rows.append([title, name, weight or "none", *cells])
    headers = ["set", "method", "class weights", "accuracy", "balanced accuracy"]
    print(tabulate(rows, headers, "github"))


if __name__ == "__main__":
    main()
