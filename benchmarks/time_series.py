"""ReduNetClassifier and other classifiers of time series, on the series that aeon contains.

The test series are classified as they are, and each of them at a random cyclic shift. The
competitors are MiniRocket, MultiRocket-Hydra, the nearest neighbour by dynamic time warping, and
RBF SVMs. Some of them are also trained on ten random cyclic shifts of each training series.
`pip install -e '.[benchmarks]'` installs aeon.

`--archive FOLDER` takes other series: the smaller sets of the UCR archive of 2018, of which the
folder has files such as ``Beef/Beef_TRAIN.tsv``. They have at most 200 training series of at most
720 values each, two of each class or more, and no missing values. At most 300 random test series of
a set are classified.

References
----------
Dau et al., The UCR Time Series Archive (IEEE/CAA Journal of Automatica Sinica 2019).
"""

import argparse
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import aeon
import numpy as np
import pandas as pd
import sklearn
import torch
from aeon.classification.convolution_based import MiniRocketClassifier, MultiRocketHydraClassifier
from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier
from aeon.datasets import load_from_ts_file
from tabulate import tabulate

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
MOST_SERIES, MOST_VALUES, MOST_TESTS = 200, 720, 300  # of sets of the archive
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
    parser.add_argument("--datasets", nargs="+", metavar="SET", help="by default all")
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="sets of the UCR archive")
    add_options(parser, list(METHODS))
    options = parser.parse_args()
    methods = {name: METHODS[name] for name in options.methods}
    found = list(small_sets(options.archive)) if options.archive else SETS
    names = options.datasets or found
    if unknown := set(names) - set(found):
        parser.error(f"--datasets: {sorted(unknown)} are none of {found}")
    sets = {name: partial(task, name, options.archive) for name in names}
    if list(methods) != ["ReduNet"]:
        compile_all()
    results = run(methods, sets, options.seeds, options.out)
    print(describe(torch.device("cpu")))
    print(f"- aeon {aeon.__version__}, scikit-learn {sklearn.__version__}\n")
    print(report(results))
    if options.archive:
        print("\n" + versus(results))


def task(name: str, archive: Path | None, seed: int) -> Task:
    """A data set. The shifts of its test series are the same for all methods and seeds."""
    X, y, X_test, y_test = load(name) if archive is None else load_archived(archive, name)
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


def small_sets(archive: Path) -> Iterator[str]:
    """Names of the sets of the archive that are small enough."""
    for folder in sorted(path for path in archive.iterdir() if path.is_dir()):
        files = [folder / f"{folder.name}_{split}.tsv" for split in ("TRAIN", "TEST")]
        if folder.name in SETS or not all(file.exists() for file in files):
            continue
        with files[0].open() as file:
            lines = file.readlines()
        if len(lines) > MOST_SERIES or len(lines[0].split("\t")) - 1 > MOST_VALUES:
            continue
        X, y, X_test, _ = load_archived(archive, folder.name)
        finite = np.isfinite(X).all() and np.isfinite(X_test).all()
        if finite and np.unique(y, return_counts=True)[1].min() > 1:
            yield folder.name


@cache
def load_archived(archive: Path, name: str) -> tuple[np.ndarray, ...]:
    """Training series ``(m, 1, T)`` and random test series of a set of the archive, with labels."""
    train, test = (
        np.loadtxt(archive / name / f"{name}_{split}.tsv", delimiter="\t", ndmin=2)
        for split in ("TRAIN", "TEST")
    )
    test = test[np.random.default_rng(0).permutation(len(test))[:MOST_TESTS]]
    series = (part[:, None, 1:].astype(np.float32) for part in (train, test))
    labels = (part[:, 0].astype(int) for part in (train, test))
    return tuple(array for pair in zip(series, labels, strict=True) for array in pair)


def versus(results: list[dict]) -> str:
    """Every method on shifted series, beside ReduNet, over the sets."""
    accuracy = pd.DataFrame(results).pivot_table("shifted", "set", "method", sort=False)
    rows = []
    for method in accuracy:
        gains = accuracy["ReduNet"] - accuracy[method]
        better, worse = (gains > 0).sum(), (gains < 0).sum()
        ahead = f"{gains.mean():+.3f} ± {gains.sem():.3f}"
        rows.append([method, f"{accuracy[method].mean():.3f}", ahead, f"{better} / {worse}"])
    headers = ["shifted series", "mean accuracy", "ReduNet is ahead by", "sets better / worse"]
    return tabulate(rows, headers, "github", disable_numparse=True)


def compile_all() -> None:
    """Let numba compile the code of aeon for one channel and for several, before it is timed."""
    for channels in (1, 2):
        X = np.random.default_rng(0).standard_normal((8, channels, 32), dtype=np.float32)
        for make in COMPILED:
            make(0).fit(X, np.arange(8) % 2).predict(X)


if __name__ == "__main__":
    main()
