"""How good the probabilities of new samples are: log loss, and expected calibration error.

For every set and number of training samples, random splits are drawn. "best" is the log loss at the
sharpness that is the best for the test samples, which nobody knows. The SVM has an RBF kernel and
sigmoids that are fitted in folds (Platt). Series need the package aeon, which contains them, the
penguins the package palmerpenguins, and MNIST (at 14 × 14) ``--data-dir`` or REDUNET_DATA. What is
missing is left out. ``--seeds`` draws other splits.
"""

import argparse
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tabulate import tabulate
from torch.nn.functional import avg_pool2d

from benchmarks.machine import describe
from redunet import MICLClassifier, ReduNetClassifier, datasets
from redunet.inspection.summary import by_confidence, calibration_error

TABLES = {"wine": load_wine, "iris": load_iris, "breast cancer": load_breast_cancer}
SHARES = (0.3, 0.8)  # of the samples of a table, for training
PER_CLASS = (5, 20, 100)  # labelled images
SERIES = ("GunPoint", "ItalyPowerDemand", "ArrowHead", "BasicMotions", "OSULeaf")
MOST_TESTS = 1000
TRAIN_TEST = ("TRAIN", "TEST")
HEADERS = ["set", "training", "accuracy", "log loss", "best", "ECE", "MICL", "its best", "SVM"]


class Data(NamedTuple):
    """A set of samples, and the numbers of training samples that are drawn from it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    sizes: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default=os.environ.get("REDUNET_DATA"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--most", type=int, default=1000, help="largest number of training samples")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="names of sets (default: all)")
    options = parser.parse_args()
    print(describe(torch.device("cpu")), end="\n\n")
    rows = []
    for data in sets(options.data_dir):
        if options.sets and data.name not in options.sets:
            continue
        for size in data.sizes:
            if size <= options.most:
                results = [evaluated(data, size, seed) for seed in options.seeds]
                rows.append([data.name, size, *np.mean(results, axis=0)])
    print(tabulate(rows, HEADERS, "github", floatfmt=("", "", *[".3f"] * 7)))


def sets(data_dir: str | None) -> Iterator[Data]:
    """All sets whose files are here."""
    for name, load in TABLES.items():
        X, y = load(return_X_y=True)
        yield Data(name, X, y, [round(share * len(X)) for share in SHARES])
    if package := find_spec("palmerpenguins"):
        import pandas as pd

        frame = pd.read_csv(Path(package.origin).parent / "data" / "penguins.csv").dropna()
        X = pd.get_dummies(frame.drop(columns=["species", "year"])).to_numpy(float)
        sizes = [round(share * len(X)) for share in SHARES]
        yield Data("penguins", X, frame.species.to_numpy(), sizes)
    if package := find_spec("aeon"):
        folder = Path(package.origin).parent / "datasets" / "data"
        for name in SERIES:
            parts = [datasets.load(folder / name / f"{name}_{part}.ts") for part in TRAIN_TEST]
            X, y = (np.concatenate(pair) for pair in zip(*parts, strict=True))
            yield Data(name, X, y, [len(parts[0][0])])
    X, y = datasets.digits()
    yield Data("digits", X.numpy(), y.numpy(), [10 * count for count in PER_CLASS])
    if data_dir:
        X, y = datasets.mnist("train", data_dir)
        small = avg_pool2d(X, 2).numpy()
        yield Data("MNIST", small, y.numpy(), [10 * count for count in PER_CLASS])


def evaluated(data: Data, size: int, seed: int) -> list[float]:
    """The numbers of a row, for one split."""
    tests = min(MOST_TESTS, len(data.X) - size)
    split = {"train_size": size, "test_size": tests, "stratify": data.y, "random_state": seed}
    X, X_test, y, y_test = train_test_split(data.X, data.y, **split)
    model = ReduNetClassifier().fit(X, y)
    classes = model.classes_
    places = np.searchsorted(classes, y_test)
    P = model.predict_proba(X_test)
    flat, flat_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    micl = MICLClassifier().fit(flat, y)
    folds = min(5, np.unique(y, return_counts=True)[1].min())
    svm = CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC()), cv=folds).fit(flat, y)
    return [
        (P.argmax(1) == places).mean(),
        log_loss(y_test, P, labels=classes),
        best_loss(-np.log(P.clip(np.finfo(P.dtype).tiny)), places),
        calibration_error(*by_confidence(P, places)),
        log_loss(y_test, micl.predict_proba(flat_test), labels=classes),
        best_loss(micl.increments(flat_test), places),
        log_loss(y_test, svm.predict_proba(flat_test), labels=classes),
    ]


def best_loss(residuals: np.ndarray, places: np.ndarray) -> float:
    """The least log loss of softmax(−t r) over all t."""
    own = residuals[np.arange(len(places)), places]
    unit = np.abs(residuals - own[:, None]).mean()

    def loss(log_t: float) -> float:
        t = np.exp(log_t) / unit
        return float((logsumexp(-t * residuals, axis=1) + t * own).mean())

    return float(minimize_scalar(loss, bounds=(-12, 12), method="bounded").fun)


if __name__ == "__main__":
    main()
