"""Time, memory and files of networks from few samples of many features.

The first table is for 100 vectors of Gaussian noise around 5 centres. The second is for networks
that chose their settings themselves, and for one of 6 layers: each in a file that holds its
operators, and in a file that holds its samples instead.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from tabulate import tabulate
from torch import Tensor

from benchmarks.machine import describe
from redunet import RandomCirculantLift, ReduNet, datasets

SAMPLES, CLASSES = 100, 5
PER_CLASS = 20


def table(load: Callable[..., tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, np.ndarray]:
    """A table of scikit-learn in single precision."""
    X, labels = load(return_X_y=True)
    return torch.as_tensor(X, dtype=torch.float32), labels


def categories(m: int, columns: int, values: int, numbers: int) -> tuple[Tensor, np.ndarray]:
    """A simulated table of numbers and of categories as indicators, with two classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, m)
    drawn = random.integers(0, values, (m, columns))
    drawn = np.where(random.random(drawn.shape) < 0.15, labels[:, None], drawn)
    continuous = random.normal(labels[:, None] / 2, size=(m, numbers))
    X = np.hstack([continuous, np.eye(values)[drawn].reshape(m, -1)])
    return torch.as_tensor(X, dtype=torch.float32), labels


def few(X: Tensor, labels: Tensor, per_class: int = PER_CLASS) -> tuple[Tensor, Tensor]:
    """Some samples of each class."""
    rows = datasets.subsample(labels, per_class)
    return X[rows], labels[rows]


SETS: dict[str, Callable[[str], tuple[Tensor, Tensor | np.ndarray]]] = {
    "iris": lambda _: table(load_iris),
    "wine": lambda _: table(load_wine),
    "breast cancer": lambda _: table(load_breast_cancer),
    "5 numbers, 1 category": lambda _: categories(891, 1, 7, 5),
    "75 categories": lambda _: categories(1500, 75, 5, 0),
    "series": lambda _: datasets.sinusoids(),
    "20 digits of each class": lambda _: few(*datasets.digits()),
    "all digits": lambda _: datasets.digits(),
    "20 of each class of MNIST": lambda folder: few(*datasets.mnist("train", folder)),
}
DEEP = "20 digits of each class, 6 layers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST's IDX files"
    )
    parser.add_argument("--features", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--sets", choices=[*SETS, DEEP], nargs="+", help="default: all")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(*vectors(options.child))
        return
    print(describe(torch.device("cpu")), end="\n\n")
    rows = [[count, *measured(count)] for count in options.features]
    headers = ["features", "construction [s]", "peak [MiB]", "file [MiB]"]
    print(tabulate(rows, headers, "github", floatfmt=("d", ".2f", ".0f", ".1f")), end="\n\n")
    chosen = options.sets or [n for n in (*SETS, DEEP) if "MNIST" not in n or options.data]
    headers = ["samples", "shape", "float32 [kB]", "operators [kB]", "samples= [kB]"]
    headers += ["saving [s]", "loading [s]", "largest error"]
    formats = ("", "", *[".1f"] * 3, ".2f", ".2f", ".1g")
    rows = [files(name, options.data) for name in chosen]
    print(tabulate(rows, headers, "github", floatfmt=formats))


def measured(features: int) -> list[float]:
    """Seconds and MiB of a construction in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.few_samples", "--child", str(features)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(value) for value in result.stdout.split()]


def vectors(features: int) -> tuple[float, float, float]:
    """Seconds of a construction, peak resident memory, and size of the file."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(SAMPLES) % CLASSES
    centres = torch.randn(CLASSES, features, generator=generator)
    X = centres[labels] + 2 * torch.randn(SAMPLES, features, generator=generator)
    start = time.perf_counter()
    net = ReduNet.construct(X, labels, num_layers=1)
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.safetensors")
        net.save(path)
        return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, mebibytes(path)


def files(name: str, folder: str) -> list[object]:
    """Sizes of both files of a network, processor time of samples, and changes of memberships."""
    if name == DEEP:
        X, labels = few(*datasets.digits())
        lift = RandomCirculantLift(1, 16, 5, ndim=2, seed=0)
        net = ReduNet.construct(X, labels, lift=lift, num_layers=6)
    else:
        X, labels = SETS[name](folder)
        net = ReduNet.construct(X, labels, lift="auto")
    with tempfile.TemporaryDirectory() as temporary:
        whole, short = Path(temporary, "whole.safetensors"), Path(temporary, "short.safetensors")
        net.save(whole)
        start = time.process_time()
        net.save(short, samples=(X, labels))
        saved = time.process_time()
        twin = ReduNet.load(short)
        loaded = time.process_time()
        error = (twin.membership(X) - net.membership(X)).abs().max().item()
        sizes = [size / 1000 for size in (X.nbytes, whole.stat().st_size, short.stat().st_size)]
    shape = " × ".join(map(str, X.shape))
    return [name, shape, *sizes, saved - start, loaded - saved, error]


def mebibytes(path: Path) -> float:
    """Size of a file."""
    return path.stat().st_size / 2**20


if __name__ == "__main__":
    main()
