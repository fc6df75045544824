"""Forgetting: accuracy on all classes seen so far, when MNIST's classes arrive two at a time.

An extended network, and a convolutional network without replay, get only the digits of the two new
classes at each step. The lift, the band and ε² of a network are chosen on the digits of the first
step, 0 and 1, unless they are the defaults. The convolutional networks are trained further at each
step. Only their outputs for classes that have been seen compete.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.machine import describe
from redunet import ReduNet, Search
from redunet.datasets import mnist, subsample
from redunet.search.automatic import automatic_lifts
from redunet.search.search import DEFAULT_BAND, DEFAULT_PRECISION

SHAPE = (1, 28, 28)
STEPS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]

# Training of the convolutional network at each step.
EPOCHS = 20
BATCH = 50
LEARNING_RATE = 1e-3
LARGEST_SHIFT = 2  # pixels by which training digits are moved, at random


class Digits(NamedTuple):
    """Digits of some classes."""

    X: Tensor
    y: np.ndarray

    def of(self, classes: tuple[int, ...]) -> "Digits":
        """The digits of these classes."""
        rows = np.isin(self.y, classes)
        return Digits(self.X[torch.from_numpy(rows)], self.y[rows])


# A method maps the training and test digits to the accuracy after each step.
Method = Callable[[Digits, Digits, int], list[float]]


def steps(train: Digits, test: Digits) -> Iterator[tuple[Digits, Digits, Digits]]:
    """For each step: digits of the new classes, and training and test digits of all seen."""
    for number, new in enumerate(STEPS, 1):
        seen = sum(STEPS[:number], ())
        yield train.of(new), train.of(seen), test.of(seen)


def accuracy(predicted: np.ndarray, test: Digits) -> float:
    """Share of right predictions."""
    return float((predicted == test.y).mean())


class Constructed:
    """A network that is extended at each step, or constructed again from all digits seen.

    Parameters
    ----------
    num_layers : int
    features : {"searched", "defaults", "pixels"}
        A key of :data:`SEARCHES`.
    replay : bool
        Whether the network is constructed from all digits seen.
    """

    def __init__(self, num_layers: int, *, features: str = "searched", replay: bool = False):
        self.num_layers = num_layers
        self.features = features
        self.replay = replay

    def __call__(self, train: Digits, test: Digits, seed: int) -> list[float]:
        """Accuracy after each step."""
        train, test, arguments = FEATURES(train, test, seed, self.features)
        options = {"num_layers": self.num_layers, "operators": "extensible", **arguments}
        net, accuracies = None, []
        for new, seen, seen_test in steps(train, test):
            if net is None or self.replay:
                net = ReduNet.construct(*seen, **options)
            else:
                net = net.extend(*new)
            accuracies.append(accuracy(net.predict(seen_test.X), seen_test))
        return accuracies


def automatic(seed: int) -> Search:
    """A search with all its candidates."""
    return Search(seed=seed, reader=None)


def defaults(seed: int) -> Search:
    """A search of one candidate, with the lift, the band and ε² that a search takes without data.

    Only the biases of the lift and the sharpness follow from the digits.
    """
    lift = automatic_lifts(SHAPE, seed)[0]
    size = (2 * DEFAULT_BAND + 1) ** 2
    return Search([lift], bands=[DEFAULT_BAND], eps_sq=DEFAULT_PRECISION / size)


def of_pixels(seed: int) -> Search:
    """A search for ε² without a lift, for digits as vectors."""
    return Search([None])


SEARCHES = {"searched": automatic, "defaults": defaults, "pixels": of_pixels}


class Features:
    """Features of the digits, which several methods share. Those of the last seed are kept."""

    def __init__(self):
        self._last: dict[str, tuple[int, tuple]] = {}

    def __call__(self, train: Digits, test: Digits, seed: int, name: str) -> tuple:
        """Features of training and test digits, with the other arguments of the network."""
        if name not in self._last or self._last[name][0] != seed:
            self._last[name] = seed, self._make(train, test, seed, name)
        return self._last[name][1]

    def _make(self, train: Digits, test: Digits, seed: int, name: str) -> tuple:
        parts = (train, test)
        if name == "pixels":
            parts = tuple(Digits(part.X.flatten(1), part.y) for part in parts)
        search = SEARCHES[name](seed).fit(*parts[0].of(STEPS[0]))
        best, arguments = search.best_, dict(search.arguments)
        print(f"- seed {seed}, {name}: {best.name}, band {best.band}, eps_sq {best.eps_sq:.3g}")
        lift = arguments.pop("lift")
        if lift is not None:
            lifted = (torch.cat([lift(x) for x in part.X.split(500)]) for part in parts)
            parts = tuple(Digits(X, part.y) for X, part in zip(lifted, parts, strict=True))
        return *parts, arguments


FEATURES = Features()


class Trained:
    """A small convolutional network, trained by back-propagation at each step.

    Parameters
    ----------
    replay : bool
        Whether it is trained on all digits seen, or only on those of the new classes.
    """

    def __init__(self, *, replay: bool):
        self.replay = replay

    def __call__(self, train: Digits, test: Digits, seed: int) -> list[float]:
        """Accuracy after each step."""
        torch.manual_seed(seed)
        net, accuracies = convolutions(), []
        for number, (new, seen, seen_test) in enumerate(steps(train, test), 1):
            digits = seen if self.replay else new
            with torch.enable_grad():
                fit(net, digits.X, torch.from_numpy(digits.y), 2 * number)
            logits = torch.cat([net(x) for x in seen_test.X.split(1000)])[:, : 2 * number]
            accuracies.append(accuracy(logits.argmax(1).numpy(), seen_test))
        return accuracies


def convolutions() -> nn.Sequential:
    """Two convolutions with pooling and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def fit(net: nn.Module, X: Tensor, y: Tensor, classes: int) -> None:
    """Train with Adam on randomly shifted digits. The first ``classes`` outputs compete."""
    adam = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            shift = torch.randint(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (2,)).tolist()
            loss = cross_entropy(net(X[rows].roll(shift, (2, 3)))[:, :classes], y[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()


METHODS: dict[str, Method] = {
    "ReduNet, one layer, extended": Constructed(1),
    "ReduNet, one layer, constructed from all": Constructed(1, replay=True),
    "ReduNet, three layers, extended": Constructed(3),
    "ReduNet, three layers, constructed from all": Constructed(3, replay=True),
    "ReduNet, default band and ε², one layer, extended": Constructed(1, features="defaults"),
    "ReduNet on pixels, one layer, extended": Constructed(1, features="pixels"),
    "CNN, trained on the new classes": Trained(replay=False),
    "CNN, trained on all classes seen": Trained(replay=True),
}


def main() -> None:
    """Print the accuracies as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST")
    parser.add_argument("--per-class", type=int, default=200, help="training digits of each class")
    parser.add_argument("--test", type=int, default=10_000, help="number of test digits")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options = parser.parse_args()
    if not options.data:
        parser.error("set --data or REDUNET_DATA to the folder of MNIST's IDX files")
    (X, y), (X_test, y_test) = (mnist(split, options.data) for split in ("train", "test"))
    test = Digits(X_test[: options.test], y_test[: options.test].numpy())
    print(describe(torch.device("cpu")))
    results: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    for seed in range(options.seeds):
        rows = subsample(y, options.per_class, seed=seed)
        train = Digits(X[rows], y[rows].numpy())
        for name, method in METHODS.items():
            start = time.perf_counter()
            results[name].append(method(train, test, seed))
            seconds[name] += (time.perf_counter() - start) / options.seeds
    headers = ["classes seen", *(str(2 * number) for number in range(1, len(STEPS) + 1)), "seconds"]
    table = [
        [name, *(cell(values) for values in zip(*runs, strict=True)), f"{seconds[name]:.0f}"]
        for name, runs in results.items()
    ]
    print("\n" + tabulate(table, headers, "github", disable_numparse=True))


def cell(values: tuple[float, ...]) -> str:
    """The mean and the standard deviation over the seeds."""
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{spread}"


if __name__ == "__main__":
    with torch.no_grad():
        main()
