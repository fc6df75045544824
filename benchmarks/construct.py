"""One layer in all its ways on the same samples: textbook, exact, variational, momentum.

Ours also computes the rates before each layer, which the textbook does not. Its time is that of
several layers less that of one, divided by the layers between: of a layer that is neither the first
nor the last. The floor is the greater of operations over the measured rate of a matrix product, and
bytes over the measured bandwidth.
"""

import argparse
import time
from collections.abc import Callable

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks import textbook
from benchmarks.machine import Roofline, add_device_option, describe
from benchmarks.workloads import EVALUATION, SETTINGS, WORKLOADS, Workload
from redunet import ReduNet

# Beyond this the textbook's projections of all samples on all classes take too much memory.
LARGEST_TEXTBOOK = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*WORKLOADS, "evaluation"], nargs="+")
    parser.add_argument("--layers", type=int, default=4, help="of ours, to take the mean over")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, to take the best of")
    add_device_option(parser)
    options = parser.parse_args()
    chosen = options.only or [*WORKLOADS, "evaluation"]
    time_it = Timer(options.layers, options.repeat, options.device)

    roofline = Roofline.measure(options.device)
    print(describe(options.device))
    print(f"- {roofline}", end="\n\n")
    rows = [row(WORKLOADS[key], time_it, roofline) for key in chosen if key in WORKLOADS]
    ways = ["textbook", "exact", "variational", "momentum"]
    headers = ["ms a layer", *ways, "textbook / exact", "GFLOP", "floor", "floor / exact", "apart"]
    print(tabulate(rows, headers, "github", floatfmt=".3g", missingval="–"))
    if "evaluation" in chosen:
        print()
        seconds = time_it.evaluation(EVALUATION)
        floor = roofline.seconds(
            EVALUATION.flops(construct=False), EVALUATION.bytes(construct=False)
        )
        rows = [[EVALUATION.name, seconds * 1e3, floor * 1e3, floor / seconds]]
        headers = ["ms a layer", "redunet", "floor", "floor / redunet"]
        print(tabulate(rows, headers, "github", floatfmt=".3g"))


def row(work: Workload, time_it: "Timer", roofline: Roofline) -> list[object]:
    """Milliseconds of each way, and how far the first layer is from the textbook's."""
    X, labels = work.data(time_it.device)
    exact = time_it.layer(X, labels)
    variational = time_it.layer(X, labels, operators="variational", rank=work.rank)
    momentum = time_it.layer(X, labels, momentum=0.9)
    theirs = ratio = apart = None
    if work.samples * work.classes * work.shape[0] < LARGEST_TEXTBOOK:
        V = textbook.to_spectrum(X)
        theirs = time_it.best(lambda: textbook.layer(V, labels, **SETTINGS))
        expected = textbook.from_spectrum(textbook.layer(V, labels, **SETTINGS).V, X.shape)
        net = ReduNet.construct(X, labels, num_layers=1, **SETTINGS)
        apart = (net(X) - expected).abs().max().item()
        ratio = theirs / exact
        theirs *= 1e3
    floor = roofline.seconds(work.flops(), work.bytes())
    times = [t * 1e3 for t in (exact, variational, momentum)]
    return [
        work.name,
        theirs,
        *times,
        ratio,
        work.flops() / 1e9,
        floor * 1e3,
        floor / exact,
        apart,
    ]


class Timer:
    """Least wall-clock seconds of several runs."""

    def __init__(self, layers: int, repeat: int, device: torch.device):
        self.layers, self.repeat, self.device = layers, repeat, device

    def layer(self, X: Tensor, labels: Tensor, **options: object) -> float:
        """Of a layer of a construction."""
        one, several = (
            self.best(lambda n=n: ReduNet.construct(X, labels, num_layers=n, **SETTINGS, **options))
            for n in (1, 1 + self.layers)
        )
        return (several - one) / self.layers

    def evaluation(self, work: Workload) -> float:
        """Of a layer on new samples, of a network from 500."""
        few = work._replace(samples=500)
        net = ReduNet.construct(*few.data(self.device), num_layers=2, **SETTINGS)
        X, _ = work.data(self.device)
        both = self.best(lambda: net.membership(X))
        net.layers = net.layers[:1]
        return both - self.best(lambda: net.membership(X))

    def best(self, run: Callable[[], object]) -> float:
        """Of anything."""
        run()  # warms up
        times = []
        for _ in range(self.repeat):
            self._synchronise()
            start = time.perf_counter()
            run()
            self._synchronise()
            times.append(time.perf_counter() - start)
        return min(times)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


if __name__ == "__main__":
    with torch.no_grad():
        main()
