"""Peak memory of a construction for two numbers of samples, each in a process of its own.

Streamed samples are generated on demand, so only one batch of them is in memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile

import torch
from tabulate import tabulate
from torch.utils.data import Dataset, default_collate

from benchmarks.machine import describe
from redunet import ReduNet

SHAPE, CLASSES = (16, 28, 28), 10
WAYS = ("array", "stream, in memory", "stream, in files")


class Clusters(Dataset):
    """Images around a centre for each class, which are generated on demand."""

    def __init__(self, samples: int):
        self.samples = samples
        self.centres = torch.randn(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        label = index % CLASSES
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(index))
        return (self.centres[label] + noise).relu(), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000, help="smaller number of samples")
    parser.add_argument("--factor", type=int, default=10, help="ratio of the numbers of samples")
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, samples = options.child
        print(json.dumps(peak(way, int(samples), options.batch_size, options.layers)))
        return
    rows = []
    for way in WAYS:
        small, large = (
            measure(way, n, options) for n in (options.samples, options.samples * options.factor)
        )
        rows.append([way, small, large, large / small])
    print(describe(torch.device("cpu")), end="\n\n")
    headers = [
        "samples",
        f"peak [MiB], m={options.samples}",
        f"m={options.samples * options.factor}",
        "ratio",
    ]
    print(tabulate(rows, headers, "github", floatfmt=("", ".0f", ".0f", ".2f")))


def measure(way: str, samples: int, options: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", "--child", way, str(samples)]
    command += ["--batch-size", str(options.batch_size), "--layers", str(options.layers)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout)


def peak(way: str, samples: int, batch_size: int, layers: int) -> float:
    """Peak resident memory in MiB of constructing a network."""
    data = Clusters(samples)
    settings = {"num_layers": layers, "batch_size": batch_size}
    if way == "array":
        X, labels = default_collate([data[i] for i in range(samples)])
        ReduNet.construct(X, labels, **settings)
    elif way == "stream, in memory":
        ReduNet.construct(data, **settings)
    else:
        with tempfile.TemporaryDirectory() as folder:
            ReduNet.construct(data, **settings, workdir=folder)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
