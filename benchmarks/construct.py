"""One layer of construction, ours against the textbook's, on the same samples in one run.

Ours also computes the rates before each layer, which the textbook does not. Its time is that of
several layers less that of one, divided by the layers between: of a layer that is not the last.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks import textbook
from benchmarks.machine import add_device_option, describe
from redunet.construction import Settings, construct_layers, default_batch_size
from redunet.datasets import gaussians
from redunet.layer import ReduLayer
from redunet.partition import Partition
from redunet.spectrum import HalfSpectrum, project_to_sphere


class Workload(NamedTuple):
    """Shapes of a construction on features that are already lifted."""

    name: str
    samples: int
    shape: tuple[int, ...]
    classes: int


WORKLOADS = {
    "vector": Workload("vector, n=784, m=5000, k=10", 5000, (784,), 10),
    "image16": Workload("2-D, C=16, 28×28, m=500, k=10", 500, (16, 28, 28), 10),
    "image75": Workload("2-D, C=75, 28×28, m=100, k=10", 100, (75, 28, 28), 10),
    "gaussians": Workload("Gaussians, n=3, m=1500, k=3", 1500, (3,), 3),
}
SETTINGS = {"eta": 0.5, "eps_sq": 0.1, "lam": 500.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=list(WORKLOADS))
    parser.add_argument("--layers", type=int, default=5, help="of ours, to take the mean over")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, to take the best of")
    add_device_option(parser)
    options = parser.parse_args()

    rows = []
    for key in options.only:
        work = WORKLOADS[key]
        theirs, ours, difference = compare(work, options.layers, options.repeat, options.device)
        rows.append([work.name, theirs * 1e3, ours * 1e3, theirs / ours, difference])
    print(describe(options.device), end="\n\n")
    headers = ["work, per layer", "textbook [ms]", "redunet [ms]", "ratio", "max difference"]
    print(tabulate(rows, headers, "github", floatfmt=("", ".1f", ".2f", ".1f", ".1e")))


@torch.no_grad()
def compare(
    work: Workload, num_layers: int, repeat: int, device: torch.device
) -> tuple[float, float, float]:
    """Seconds a layer of the textbook and of ours, and how far their features are apart."""
    generator = torch.Generator().manual_seed(0)
    if work.name.startswith("Gaussians"):
        X, labels = gaussians(per_class=work.samples // work.classes)
    else:  # not negative, as after a lift
        X = torch.randn(work.samples, *work.shape, generator=generator).relu()
        labels = torch.arange(work.samples) % work.classes
    X, labels = X.to(device), labels.to(device)
    spectrum = HalfSpectrum(work.shape[1:]).to(device)
    ours_V, textbook_V = project_to_sphere(spectrum(X)), textbook.to_spectrum(X)

    def ours(num_layers: int) -> tuple[Tensor, list[ReduLayer]]:
        V = ours_V.clone()
        layers, _ = construct_layers(
            V,
            Partition.from_labels(labels, len(X), device=device),
            spectrum,
            Settings(num_layers, **SETTINGS),
            batch_size=default_batch_size(len(spectrum), work.shape[0], work.classes),
        )
        return V, layers

    V, _ = ours(1)  # warms up as well
    expected = textbook.layer(textbook_V, labels, **SETTINGS).V
    difference = spectrum.inverse(V) - textbook.from_spectrum(expected, X.shape)
    textbook_time = best_time(
        lambda: textbook.layer(textbook_V, labels, **SETTINGS), repeat, device
    )
    one, several = (best_time(lambda n=n: ours(n), repeat, device) for n in (1, num_layers))
    ours_time = (several - one) / (num_layers - 1)
    return textbook_time, ours_time, difference.abs().max().item()


def best_time(run: Callable[[], object], repeat: int, device: torch.device) -> float:
    """Least wall-clock seconds of several runs."""

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    times = []
    for _ in range(repeat):
        synchronise()
        start = time.perf_counter()
        run()
        synchronise()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
