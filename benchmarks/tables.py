"""ReduNetClassifier and other classifiers of tables of measurements, in repeated cross-validation.

Each seed splits the samples into five folds. A mean and a standard deviation are those of all
folds of all seeds. The others are trained on standardised measurements.
"""

import argparse
from functools import partial

import sklearn
import torch
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.contest import FOLDS, Method, SearchedSVM, Task, add_options, report, run
from benchmarks.machine import describe
from redunet import ReduNetClassifier

SETS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}


def standardised(model: ClassifierMixin) -> ClassifierMixin:
    return make_pipeline(StandardScaler(), model)


METHODS = {
    "ReduNet": Method(lambda seed: ReduNetClassifier(random_state=seed)),
    "SVM": Method(lambda seed: standardised(SearchedSVM(random_state=seed))),
    "SVM, defaults": Method(lambda seed: standardised(SVC())),
    "LDA": Method(lambda seed: standardised(LinearDiscriminantAnalysis())),
    "logistic regression": Method(lambda seed: standardised(LogisticRegression(max_iter=1000))),
    "random forest": Method(lambda seed: RandomForestClassifier(random_state=seed)),
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
