"""Few labels and many samples without labels: what the samples without labels are worth.

Every method gets all samples and a few labels of each class, and is judged by the labels that it
finds for the other samples. "Supervised" classifiers use the labelled samples only.
"""

import argparse
import os
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from benchmarks.contest import Method, Task, add_options, random_shifts, report, run
from benchmarks.machine import describe
from redunet import ReduNetClassifier, Search
from redunet.datasets import digits, mnist, subsample

UNKNOWN = -1
NEIGHBOURS = (5, 7, 10, 15)
SETS = ["subspaces", "digits", "digits, shifted", "MNIST", "MNIST, shifted"]

Features = Callable[[np.ndarray], np.ndarray]


class Supervised(ClassifierMixin, BaseEstimator):
    """A classifier that is fitted to the samples whose label is known."""

    def __init__(self, model: ClassifierMixin):
        self.model = model

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Supervised":
        """Fit the classifier to the labelled samples."""
        self.model.fit(X[y != UNKNOWN], y[y != UNKNOWN])
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the classifier."""
        return self.model.predict(X)


class Transduction(ClassifierMixin, BaseEstimator):
    """The labels that a model finds for the samples that it was fitted to."""

    def __init__(self, model: ClassifierMixin, features: Features | None = None):
        self.model = model
        self.features = features

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Transduction":
        """Fit the model to all samples."""
        self.model.fit(self.features(X) if self.features else X, y)
        self.found_ = self.model.transduction_[y == UNKNOWN]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The labels of the samples without labels, which ``X`` has to be."""
        return self.found_


class SelfTraining(ClassifierMixin, BaseEstimator):
    """An RBF SVM that is trained on its own confident predictions.

    Its probabilities are calibrated in up to five folds. With a single label of a class there are
    no folds, and the SVM is trained on the labelled samples only.
    """

    def __init__(self, features: Features):
        self.features = features

    def fit(self, X: np.ndarray, y: np.ndarray) -> "SelfTraining":
        """Fit the SVM, again and again with more labels."""
        _, counts = np.unique(y[y != UNKNOWN], return_counts=True)
        if counts.min() < 2:
            self.model_ = Supervised(SVC(C=10))
        else:
            calibrated = CalibratedClassifierCV(SVC(C=10), ensemble=False, cv=min(5, counts.min()))
            self.model_ = SelfTrainingClassifier(calibrated)
        self.model_.fit(self.features(X), y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the SVM."""
        return self.model_.predict(self.features(X))


def pixels(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def amplitudes(X: np.ndarray) -> np.ndarray:
    """Amplitudes of the two-dimensional Fourier transform, which shifts do not change."""
    return np.abs(np.fft.rfft2(X)).reshape(len(X), -1)


def on_features(features: Features) -> ClassifierMixin:
    """An RBF SVM on features of the samples."""
    return make_pipeline(FunctionTransformer(features), SVC(C=10))


def spreading(features: Features, neighbours: int) -> Method:
    def make(seed: int) -> Transduction:
        return Transduction(LabelSpreading(kernel="knn", n_neighbors=neighbours), features)

    return Method(make, random=False)


def contestants(features: dict[str, Features], **options: object) -> dict[str, Method]:
    """All methods. The options are those of ReduNetClassifier."""

    def redunet(seed: int, **more: object) -> ReduNetClassifier:
        return ReduNetClassifier(random_state=seed, **options, **more)

    others = {
        f"{name}, {title}": method
        for title, function in features.items()
        for name, method in {
            "SVM, supervised": Method(lambda seed, f=function: Supervised(on_features(f))),
            "SVM, self-training": Method(lambda seed, f=function: SelfTraining(f)),
            **{f"spreading, k={k}": spreading(function, k) for k in NEIGHBOURS},
        }.items()
    }
    return {
        "ReduNet": Method(lambda seed: Transduction(redunet(seed, unknown=UNKNOWN))),
        "ReduNet, supervised": Method(lambda seed: Supervised(redunet(seed))),
        **others,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST")
    parser.add_argument("--datasets", choices=SETS, default=SETS, nargs="+", metavar="SET")
    parser.add_argument("--labels", type=int, default=[1, 5, 20], nargs="+", help="of each class")
    parser.add_argument("--images", type=int, default=2000, help="number of MNIST images")
    vectors = contestants({"samples": pixels}, lift=Search([None], eps_sq=0.5))
    images = contestants({"pixels": pixels, "amplitudes": amplitudes})
    add_options(parser, list(vectors | images))
    options = parser.parse_args()
    if any("MNIST" in name for name in options.datasets) and not options.data:
        parser.error("set --data or REDUNET_DATA to the folder of MNIST's IDX files")
    results = []
    for name in options.datasets:
        everyone = vectors if name == "subspaces" else images
        methods = {title: everyone[title] for title in options.methods if title in everyone}
        sets = {
            f"{name}, {labels}": partial(task, name, labels, options) for labels in options.labels
        }
        results += run(methods, sets, options.seeds, options.out)
    print(describe(torch.device("cpu")))
    print(f"- scikit-learn {sklearn.__version__}\n")
    print(report(results, means=False))


def task(name: str, labels: int, options: argparse.Namespace, seed: int) -> Task:
    """All samples with some labels. The other samples are the test samples."""
    if name == "subspaces":
        X, y = subspaces(seed)
    else:
        X, y = load_mnist(options.data) if "MNIST" in name else load_digits()
        if "MNIST" in name:
            rows = subsample(y, options.images // 10, seed=seed).numpy()
            X, y = X[rows], y[rows]
        if "shifted" in name:
            X = random_shifts(X, seed)
    known = subsample(y, labels, seed=seed + 1000).numpy()
    partial_labels = np.full(len(y), UNKNOWN)
    partial_labels[known] = y[known]
    others = partial_labels == UNKNOWN
    return Task(X, partial_labels, {"originals": X[others]}, y[others])


def subspaces(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """300 samples near five random subspaces of four dimensions in 40."""
    random = np.random.default_rng(seed)
    bases = [np.linalg.qr(random.normal(size=(40, 4)))[0] for _ in range(5)]
    X = np.concatenate([random.normal(size=(60, 4)) @ basis.T for basis in bases])
    return X + 0.05 * random.normal(size=X.shape), np.repeat(np.arange(5), 60)


@cache
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = (part.numpy() for part in digits())
    return X, y


@cache
def load_mnist(folder: str) -> tuple[np.ndarray, np.ndarray]:
    X, y = (part.numpy() for part in mnist("train", folder))
    return X, y


if __name__ == "__main__":
    main()
