"""Time, memory and files of networks from few samples of many features.

The first table is for 100 vectors of Gaussian noise around 5 centres. The second is for images: a
network in a file that holds its operators, and in a file that holds its samples instead. The images
are those of MNIST if its folder is given, otherwise embedded digits.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks.machine import describe
from redunet import RandomCirculantLift, ReduNet, datasets

SAMPLES, CLASSES = 100, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST's IDX files"
    )
    parser.add_argument("--features", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--per-class", type=int, default=30, help="images of each class")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(*vectors(options.child))
        return
    print(describe(torch.device("cpu")), end="\n\n")
    rows = [[count, *measured(count)] for count in options.features]
    headers = ["features", "construction [s]", "peak [MiB]", "file [MiB]"]
    print(tabulate(rows, headers, "github", floatfmt=("d", ".2f", ".0f", ".1f")), end="\n\n")
    headers = ["images", "operators [MiB]", "samples [MiB]", "loading samples [s]", "largest error"]
    formats = ("", ".1f", ".2f", ".1f", ".1g")
    print(tabulate(images(options), headers, "github", floatfmt=formats))


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


def images(options: argparse.Namespace) -> list[list[object]]:
    """Sizes of both files, and what loading the samples takes and changes."""
    X, labels = datasets.mnist("train", options.data) if options.data else datasets.digits()
    rows = datasets.subsample(labels, options.per_class)
    new = X[-200:]
    X, labels = X[rows], labels[rows]
    ways = {
        "searched lift, 1 layer": {"lift": "auto"},
        "16 random channels, 6 layers": {
            "lift": RandomCirculantLift(1, 16, 5, ndim=2, seed=0),
            "num_layers": 6,
        },
    }
    table = []
    for name, settings in ways.items():
        net = ReduNet.construct(X, labels, **settings)
        with tempfile.TemporaryDirectory() as folder:
            whole, short = Path(folder, "whole.safetensors"), Path(folder, "short.safetensors")
            net.save(whole)
            net.save(short, samples=(X, labels))
            start = time.perf_counter()
            twin = ReduNet.load(short)
            seconds = time.perf_counter() - start
            error = (twin(new) - net(new)).abs().max().item()
            table.append([name, mebibytes(whole), mebibytes(short), seconds, error])
    return table


def mebibytes(path: Path) -> float:
    """Size of a file."""
    return path.stat().st_size / 2**20


if __name__ == "__main__":
    main()
