"""Growth of the time of a layer with each size: slopes in log-log scale, measured and in theory.

One size at a time is doubled twice. The leading term of the theory dominates at the other sizes.
"""

import argparse

import numpy as np
import torch
from tabulate import tabulate

from benchmarks.construct import Timer
from benchmarks.machine import add_device_option, describe
from benchmarks.workloads import SETTINGS, Workload
from redunet import ReduNet

# Size, exponent in theory for exact operators and for variational operators, and workloads.
VECTORS = Workload("", 8000, (512,), 10, 16)
IMAGES = Workload("", 512, (16, 28, 28), 10, 4)
SWEEPS = [
    ("samples m", 1, 1, [IMAGES._replace(samples=m) for m in (512, 1024, 2048)]),
    ("channels C, images", 2, 2, [IMAGES._replace(shape=(C, 28, 28)) for C in (16, 32, 64)]),
    ("channels n, vectors", 2, 2, [VECTORS._replace(shape=(n,)) for n in (512, 1024, 2048)]),
    ("frequencies F", 1, 1, [IMAGES._replace(shape=(16, s, 28)) for s in (14, 28, 56)]),
    ("classes k, vectors", 1, 1, [VECTORS._replace(classes=k) for k in (5, 10, 20)]),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of each, of which the fastest counts"
    )
    add_device_option(parser)
    options = parser.parse_args()
    time_it = Timer(layers=2, repeat=options.repeat, device=options.device)

    rows = []
    for name, exact, variational, works in SWEEPS:
        for way, theory in (("exact", exact), ("variational", variational)):
            times = [layer(work, way, time_it) for work in works]
            rows.append([name, way, *(t * 1e3 for t in times), slope(times), theory])
    for way in ("exact", "variational"):
        times = [layers(count, way, time_it) for count in (8, 16, 32)]
        rows.append(["layers", way, *(t * 1e3 for t in times), slope(times), 1])
    print(describe(options.device), end="\n\n")
    headers = ["size", "operators", "ms", "doubled", "twice doubled", "slope", "theory"]
    print(tabulate(rows, headers, "github", floatfmt=("", "", ".3g", ".3g", ".3g", ".2f", "d")))


def layer(work: Workload, way: str, time_it: Timer) -> float:
    options = {} if way == "exact" else {"operators": way, "rank": work.rank}
    return time_it.layer(*work.data(time_it.device), **options)


def layers(count: int, way: str, time_it: Timer) -> float:
    options = {} if way == "exact" else {"operators": way, "rank": IMAGES.rank}
    data = IMAGES.data(time_it.device)
    return time_it.best(lambda: ReduNet.construct(*data, num_layers=count, **SETTINGS, **options))


def slope(times: list[float]) -> float:
    """Slope of log time against log size, for sizes that double."""
    return float(np.polyfit(np.arange(len(times)), np.log2(times), 1)[0])


if __name__ == "__main__":
    with torch.no_grad():
        main()
