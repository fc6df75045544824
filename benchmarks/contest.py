"""A contest of classifiers: methods × data sets × conditions × seeds, as tables of Markdown.

Each result is a line of JSON in a file, so that an interrupted contest can be resumed.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import date
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.svm import SVC
from tabulate import tabulate
from tqdm import tqdm

FIGURES = {
    "originals": "Accuracy on the test samples as they are",
    "shifted": "Accuracy on the shifted test samples",
    "changed": "Share of the predictions that a shift changes",
    "fit": "Seconds to fit",
    "predict": "Seconds to predict the test samples",
}
FOLDS = 5

# Settings are chosen on at most this number of samples, because the time of a search grows with the
# square of it.
SEARCHED = 2000

# C, and the multiples of scikit-learn's default for gamma.
GRID = {"C": (0.1, 1.0, 10.0, 100.0), "gamma": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)}


class Task(NamedTuple):
    """Training samples, and the same test samples under one or more conditions.

    A condition may hold several versions of each test sample, which stand side by side.
    """

    X: np.ndarray
    y: np.ndarray
    tests: dict[str, np.ndarray]  # the first condition is the test samples as they are
    y_test: np.ndarray
    drawn: bool = True  # whether the samples depend on the seed


class Method(NamedTuple):
    """A classifier that takes part."""

    make: Callable[[int], ClassifierMixin]  # from a seed
    random: bool = True  # whether the classifier depends on the seed
    settings: dict[str, object] | None = None  # results with others are computed anew


def add_options(parser: argparse.ArgumentParser, methods: list[str]) -> None:
    """Add the options that all contests share."""
    parser.add_argument("--methods", choices=methods, default=methods, nargs="+", metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument(
        "--out", type=Path, help="file for the results; those that it has are not computed again"
    )


def run(
    methods: dict[str, Method],
    sets: dict[str, Callable[[int], Task]],
    seeds: int,
    out: Path | None = None,
) -> list[dict]:
    """Results of all methods on all sets, each a dictionary of figures.

    If neither the method nor the set depends on the seed, only the first seed is used.
    """
    saved = [json.loads(line) for line in out.read_text().splitlines()] if _exists(out) else []
    results = []
    progress = tqdm(list(product(sets, range(seeds))))
    for name, seed in progress:
        task = sets[name](seed)
        for title, method in methods.items():
            if seed > 0 and not (method.random or task.drawn):
                continue
            progress.set_description(f"{name}, {title}")
            key = {"set": name, "method": title, "seed": seed, "tests": len(task.y_test)}
            key |= method.settings or {}
            result = next((line for line in saved if key.items() <= line.items()), None)
            if result is None:
                result = key | measure(method.make(seed), task)
                if out:
                    with out.open("a") as file:
                        file.write(json.dumps(result) + "\n")
            results.append(result)
    return results


def measure(model: ClassifierMixin, task: Task) -> dict[str, object]:
    """Figures of a classifier."""
    start = time.perf_counter()
    model.fit(task.X, task.y)
    figures = {"fit": time.perf_counter() - start}
    first = None
    for condition, X in task.tests.items():
        start = time.perf_counter()
        predicted = model.predict(X)
        versions = len(X) // len(task.y_test)
        figures[condition] = float(np.mean(predicted == np.repeat(task.y_test, versions)))
        if first is None:
            first = predicted
            figures["predict"] = time.perf_counter() - start
        else:
            figures["changed"] = float(np.mean(predicted != np.repeat(first, versions)))
    return {**figures, **getattr(model, "details_", {}), "date": date.today().isoformat()}


def report(results: list[dict], *, means: bool = True) -> str:
    """A table for each figure, with the means over all sets in the last line."""
    tables = []
    for figure, title in FIGURES.items():
        if any(figure in result for result in results):
            tables.append(f"**{title}.**\n\n{table(results, figure, means=means)}")
    return "\n\n".join(tables)


def table(results: list[dict], figure: str, *, means: bool) -> str:
    """Means and standard deviations over the seeds, with a row for each set."""
    sets, methods = (
        list(dict.fromkeys(line[key] for line in results)) for key in ("set", "method")
    )
    values = {pair: [] for pair in product(sets, methods)}
    for line in results:
        values[line["set"], line["method"]].append(line[figure])
    seconds = figure in ("fit", "predict")
    rows = [[name, *(_cell(values[name, method], seconds) for method in methods)] for name in sets]
    if means:
        rows.append(["mean"])
        for method in methods:
            complete = all(values[name, method] for name in sets)
            of_sets = [fmean(values[name, method]) for name in sets] if complete else []
            rows[-1].append(_cell(of_sets and [fmean(of_sets)], seconds))
    return tabulate(rows, ["", *methods], "github", disable_numparse=True)


def _cell(values: list[float], seconds: bool) -> str:
    if not values:
        return "–"
    if seconds:
        return f"{fmean(values):.3g}"
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{spread}"


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


def random_shifts(X: np.ndarray, seed: int) -> np.ndarray:
    """Each sample ``(C, *spatial)`` at a random cyclic shift."""
    rng = np.random.default_rng(seed)
    axes = tuple(range(1, X.ndim - 1))
    return np.stack([np.roll(x, rng.integers(x.shape[1:]), axes) for x in X])


def shifted_copies(
    X: np.ndarray, y: np.ndarray, copies: int, seed: int, limit: int = 2**31
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random shifts of each sample, their labels, and the positions of the samples.

    There are fewer shifts of each sample, or of fewer samples, if there would be more than
    ``limit``.
    """
    rows = np.random.default_rng(seed).permutation(len(X))[:limit]
    rows = np.repeat(rows, max(1, min(copies, limit // len(rows))))
    return random_shifts(X[rows], seed), y[rows], rows


class OnShifts(ClassifierMixin, BaseEstimator):
    """A classifier that is trained on random cyclic shifts of each training sample."""

    def __init__(self, model: ClassifierMixin, copies: int = 10, random_state: int = 0):
        self.model = model
        self.copies = copies
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> "OnShifts":
        """Fit the classifier to the shifted samples."""
        X, y, _ = shifted_copies(X, y, self.copies, self.random_state)
        self.model.fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the classifier."""
        return self.model.predict(X)


class SearchedSVM(ClassifierMixin, BaseEstimator):
    """An RBF SVM with the C and gamma that are the most accurate in five folds.

    Shifts of one sample are in the same fold. If a class has fewer than five samples, C and gamma
    are scikit-learn's defaults.

    Parameters
    ----------
    features : callable, optional
        Applied to the samples before they are flattened.
    copies : int
        Number of random cyclic shifts of each training sample. With 0, the SVM is trained on the
        samples themselves.
    limit : int
        Largest number of shifted samples.
    random_state : int
        Seed of the shifts and of the folds.
    """

    def __init__(
        self,
        features: Callable[[np.ndarray], np.ndarray] | None = None,
        copies: int = 0,
        limit: int = 20_000,
        random_state: int = 0,
    ):
        self.features = features
        self.copies = copies
        self.limit = limit
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> "SearchedSVM":
        """Choose C and gamma, and fit the SVM to all samples."""
        groups = np.arange(len(X))
        if self.copies:
            X, y, groups = shifted_copies(X, y, self.copies, self.random_state, self.limit)
        X = self._rows(X)
        gammas = [factor / (X.shape[1] * X.var()) for factor in GRID["gamma"]]
        self.model_ = SVC(cache_size=1000)
        grid = {"C": GRID["C"], "gamma": gammas}
        self.details_, _ = search(self.model_, grid, X, y, groups, self.random_state)
        self.model_.set_params(**self.details_).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions of the SVM."""
        return self.model_.predict(self._rows(X))

    def _rows(self, X: np.ndarray) -> np.ndarray:
        return (self.features(X) if self.features else X).reshape(len(X), -1)


def search(
    model: ClassifierMixin,
    grid: dict[str, object],
    X: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[dict[str, float], float]:
    """Settings with the best accuracy in five folds, and that accuracy.

    Samples of one group are in the same fold. If a class has fewer than five groups, there are no
    settings, and the accuracy is 0.
    """
    groups = np.arange(len(X)) if groups is None else groups
    members, first = np.unique(groups, return_index=True)
    _, counts = np.unique(y[first], return_counts=True)
    if counts.min() < FOLDS:
        return {}, 0.0
    order = np.random.default_rng(seed).permutation(members)
    chosen = np.isin(groups, order[: SEARCHED * len(members) // len(groups)])
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    searched = GridSearchCV(model, grid, cv=folds, refit=False)
    searched.fit(X[chosen], y[chosen], groups=groups[chosen])
    best = {name: np.asarray(value).item() for name, value in searched.best_params_.items()}
    return best, searched.best_score_
