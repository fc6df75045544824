"""ReduNetClassifier and other classifiers of time series, on the series that aeon contains.

The test series are classified as they are, and each of them at a random cyclic shift. The
competitors are MiniRocket, MultiRocket-Hydra, the nearest neighbour by dynamic time warping, and
RBF SVMs. Some of them are also trained on ten random cyclic shifts of each training series.
`pip install -e '.[benchmarks]'` installs aeon.
"""

import argparse
from functools import cache, partial
from pathlib import Path

import aeon
import numpy as np
import sklearn
import torch
from aeon.classification.convolution_based import MiniRocketClassifier, MultiRocketHydraClassifier
from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier
from aeon.datasets import load_from_ts_file

from benchmarks.contest import (
    Method,
    OnShifts,
    SearchedSVM,
    Task,
    add_options,
    random_shifts,
    report,
    run,
)
from benchmarks.machine import describe
from redunet import ReduNetClassifier

SETS = [
    "ACSF1",
    "ArrowHead",
    "BasicMotions",
    "GunPoint",
    "ItalyPowerDemand",
    "JapaneseVowels",
    "OSULeaf",
    "PickupGestureWiimoteZ",
]
WINDOW = 0.1  # of dynamic time warping, as a share of the length


def dtw(seed: int) -> KNeighborsTimeSeriesClassifier:
    return KNeighborsTimeSeriesClassifier(distance="dtw", distance_params={"window": WINDOW})


def amplitudes(X: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(X))


def mini_rocket(seed: int) -> MiniRocketClassifier:
    return MiniRocketClassifier(random_state=seed)


def multi_rocket(seed: int) -> MultiRocketHydraClassifier:
    return MultiRocketHydraClassifier(random_state=seed)


METHODS = {
    "ReduNet": Method(lambda seed: ReduNetClassifier(random_state=seed)),
    "MiniRocket": Method(mini_rocket),
    "MultiRocket-Hydra": Method(multi_rocket),
    "1-NN DTW": Method(dtw, random=False),
    "SVM": Method(lambda seed: SearchedSVM(), random=False),
    "SVM on amplitudes": Method(lambda seed: SearchedSVM(amplitudes), random=False),
    "MiniRocket, ten shifts": Method(lambda seed: OnShifts(mini_rocket(seed), 10, seed)),
    "MultiRocket-Hydra, ten shifts": Method(lambda seed: OnShifts(multi_rocket(seed), 10, seed)),
}
COMPILED = [mini_rocket, multi_rocket, dtw]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", choices=SETS, default=SETS, nargs="+", metavar="SET")
    add_options(parser, list(METHODS))
    options = parser.parse_args()
    methods = {name: METHODS[name] for name in options.methods}
    sets = {name: partial(task, name) for name in options.datasets}
    if list(methods) != ["ReduNet"]:
        compile_all()
    results = run(methods, sets, options.seeds, options.out)
    print(describe(torch.device("cpu")))
    print(f"- aeon {aeon.__version__}, scikit-learn {sklearn.__version__}\n")
    print(report(results))


def task(name: str, seed: int) -> Task:
    """A data set. The shifts of its test series are the same for all methods and seeds."""
    X, y, X_test, y_test = load(name)
    tests = {"originals": X_test, "shifted": random_shifts(X_test, 0)}
    return Task(X, y, tests, y_test, drawn=False)


@cache
def load(name: str) -> tuple[np.ndarray, ...]:
    """Training and test series ``(m, C, T)`` with their labels, padded with zeros to one length."""
    folder = Path(aeon.__file__).parent / "datasets" / "data" / name
    (X, y), (X_test, y_test) = (
        load_from_ts_file(str(folder / f"{name}_{split}.ts")) for split in ("TRAIN", "TEST")
    )
    length = max(series.shape[1] for part in (X, X_test) for series in part)
    X, X_test = (
        np.stack([np.pad(series, ((0, 0), (0, length - series.shape[1]))) for series in part])
        for part in (X, X_test)
    )
    return X.astype(np.float32), y, X_test.astype(np.float32), y_test


def compile_all() -> None:
    """Let numba compile the code of aeon for one channel and for several, before it is timed."""
    for channels in (1, 2):
        X = np.random.default_rng(0).standard_normal((8, channels, 32), dtype=np.float32)
        for make in COMPILED:
            make(0).fit(X, np.arange(8) % 2).predict(X)


if __name__ == "__main__":
    main()
