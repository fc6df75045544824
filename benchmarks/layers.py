"""ΔR by layer, and the time of a layer, with several ways to choose the step.

The step of a layer is ηα with α = C/(mε²). The ways are η = 0.5 as in the papers, a constant step
of 2, η = 0.5 with momentum, and the default, with which every layer chooses its step. The target is
ΔR after 100 layers with η = 0.5. The samples are Gaussians, digits as vectors, and digits as
images. The digits are those of MNIST if its folder is given, otherwise the embedded ones. The
accuracy is that of the nearest subspaces of features of new samples.
"""

import argparse
import os
import time
from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.machine import add_device_option, describe
from redunet import Band, MultiScaleLift, NearestSubspaceClassifier, ReduNet, datasets

SHOWN = (1, 2, 3, 4, 6, 8, 9, 10, 20)

# Number of layers whose ΔR is the target.
LAYERS = 100


class Problem(NamedTuple):
    """Samples with the settings of a construction."""

    name: str
    X: Tensor
    labels: Tensor
    X_new: Tensor
    labels_new: Tensor
    eps_sq: float
    lift: list[torch.nn.Module] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST's IDX files"
    )
    parser.add_argument("--per-class", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--only", choices=["gaussians", "vectors", "images"], nargs="+")
    parser.add_argument("--layers", type=int, default=max(SHOWN), help="layers of most ways")
    parser.add_argument("--no-target", action="store_true", help="leave out the 100 layers")
    add_device_option(parser)
    options = parser.parse_args()
    print(describe(options.device))
    for problem in problems(options):
        print(f"\n{problem.name}\n")
        shown = [layer for layer in SHOWN if layer <= options.layers]
        headers = ["", *(f"ΔR @{n}" for n in shown), "to target", "ms per layer", "accuracy"]
        rows = table(problem, shown, options)
        print(tabulate(rows, headers, "github", floatfmt=".4g", missingval="–"), flush=True)


def problems(options: argparse.Namespace) -> list[Problem]:
    """The samples that are asked for."""
    names = options.only or ["gaussians", "vectors", "images"]
    if options.data:
        train, test = (datasets.mnist(split, options.data) for split in ("train", "test"))
    else:
        X, labels = datasets.digits()
        train, test = (X[:1000], labels[:1000]), (X[1000:], labels[1000:])
    chosen = []
    if "gaussians" in names:
        X, labels = datasets.gaussians()
        means = torch.stack([X[labels == j].mean(0) for j in labels.unique()])
        new = datasets.gaussians(means, per_class=100, seed=1)
        chosen += [Problem(f"Gaussians, ε² = {e}", X, labels, *new, e) for e in (0.1, 0.5)]
    rows_new = datasets.subsample(test[1], 50)
    new = test[0][rows_new].to(options.device), test[1][rows_new]
    for per_class in options.per_class:
        rows = datasets.subsample(train[1], per_class)
        X, labels = train[0][rows].to(options.device), train[1][rows]
        if "vectors" in names:
            name = f"digits as vectors, {per_class} of each class"
            chosen.append(Problem(name, X.flatten(1), labels, new[0].flatten(1), new[1], 0.5))
        if "images" in names:
            lift = [MultiScaleLift(1, ndim=2).fit(X), Band(2)]
            name = f"digits as images, {per_class} of each class"
            chosen.append(Problem(name, X, labels, *new, 0.5 / 25, lift))
    return chosen


def table(problem: Problem, shown: list[int], options: argparse.Namespace) -> list[list[object]]:
    """A row for every way."""
    default = construct(problem, 1)[0]
    ways: dict[str, dict[str, float]] = {
        "η = 0.5": {"eta": 0.5},
        "step 2": {"eta": default.settings.eta},
        "momentum 0.9": {"eta": 0.5, "momentum": 0.9},
        "default": {},
    }
    rows, target = [], np.inf
    for name, way in ways.items():
        is_target = name == "η = 0.5" and not options.no_target
        net, seconds = construct(problem, LAYERS if is_target else options.layers, **way)
        delta = net.history.delta
        if is_target:
            target = delta[-1]
        reached = np.flatnonzero(delta >= target)
        layers = int(reached[0]) if len(reached) else None
        rates = [delta[n] for n in shown]
        rows.append([name, *rates, layers, 1e3 * seconds / len(net.layers), accuracy(net, problem)])
    return rows


def construct(problem: Problem, num_layers: int, **way: float) -> tuple[ReduNet, float]:
    """A network and its time."""
    start = time.perf_counter()
    net = ReduNet.construct(
        problem.X,
        problem.labels,
        num_layers=num_layers,
        eps_sq=problem.eps_sq,
        lift=problem.lift,
        **way,
    )
    return net, time.perf_counter() - start


def accuracy(net: ReduNet, problem: Problem) -> float:
    """Accuracy of the nearest subspaces on features of new samples."""
    Z = net(problem.X)
    components = min(10, Z[0].numel() // len(net.classes_))
    classifier = NearestSubspaceClassifier(components).fit(Z, problem.labels)
    return float(classifier.score(net(problem.X_new), problem.labels_new))


if __name__ == "__main__":
    with torch.no_grad():
        main()
