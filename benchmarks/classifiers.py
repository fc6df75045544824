"""ReduNetClassifier with its defaults and scikit-learn's classifiers, on scikit-learn's data.

The tables are five-fold cross-validation, training with few labels of each class, and digits that
are shifted cyclically. Only the invariant network classifies shifted digits well.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.machine import describe
from redunet import RandomCirculantLift, ReduNetClassifier
from redunet.datasets import subsample

DATA = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
LABELS = (1, 2, 5, 10, 20)
DRAWS = 10


def classifiers() -> dict[str, ClassifierMixin]:
    """All classifiers with their default settings, on standardised features."""
    others = {
        "linear SVM": LinearSVC(random_state=0),
        "RBF SVM": SVC(),
        "k-NN": KNeighborsClassifier(),
        "LDA": LinearDiscriminantAnalysis(),
    }
    return {
        "ReduNet": ReduNetClassifier(random_state=0),
        **{name: make_pipeline(StandardScaler(), model) for name, model in others.items()},
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(describe(torch.device("cpu")))
    print("\n**Five folds.** Mean accuracy.\n")
    print(table(DATA, five_folds))
    print(f"\n**Few labels.** Digits, by labels per class. Mean accuracy of {DRAWS} draws.\n")
    print(table({str(n): n for n in LABELS}, few_labels))
    print(
        "\n**Shifts.** Digits, half for training. The others are tested with and without shifts.\n"
    )
    print(shifted_digits())


def table(columns: dict[str, object], accuracy: Callable) -> str:
    """A table with a row for each classifier."""
    rows = [
        [name, *(accuracy(model, column) for column in columns.values())]
        for name, model in tqdm(classifiers().items(), desc="classifiers")
    ]
    return tabulate(rows, ["", *columns], "github", floatfmt=".3f", missingval="–")


def five_folds(model: ClassifierMixin, load: Callable) -> float:
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(model, *load(return_X_y=True), cv=folds).mean()


def few_labels(model: ClassifierMixin, count: int) -> float | None:
    if count == 1 and "lineardiscriminantanalysis" in model.get_params():
        return None  # it needs more samples than classes
    X, y = load_digits(return_X_y=True)
    accuracies = []
    for seed in range(DRAWS):
        chosen = subsample(y, count, seed=seed).numpy()
        rest = np.setdiff1d(np.arange(len(y)), chosen)
        accuracies.append(model.fit(X[chosen], y[chosen]).score(X[rest], y[rest]))
    return float(np.mean(accuracies))


def shifted_digits() -> str:
    """Accuracy on the test digits, and on each of them with a random cyclic shift."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    steps = np.random.default_rng(0).integers(0, 8, (len(X_test), 2))
    images = X_test.reshape(-1, 8, 8)
    moved = [np.roll(image, step, (0, 1)) for image, step in zip(images, steps, strict=True)]
    shifted = np.reshape(moved, X_test.shape)
    invariant = ReduNetClassifier(
        input_shape=(1, 8, 8), lift=RandomCirculantLift(1, 32, 3, ndim=2), random_state=0
    )
    rows = []
    for name, model in {"ReduNet, 2-D": invariant, **classifiers()}.items():
        model.fit(X, y)
        rows.append([name, model.score(X_test, y_test), model.score(shifted, y_test)])
    return tabulate(rows, ["", "originals", "shifted"], "github", floatfmt=".3f")


if __name__ == "__main__":
    main()
