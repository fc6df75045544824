"""Time of one layer on the same samples: textbook, exact, variational, with momentum.

redunet also computes the rates before each layer, which the textbook does not. Its time per layer
is the difference in time between several layers and one layer, divided by the difference in their
number. This is the time of a layer that is neither the first nor the last. The floor is the larger
of two times: the operations divided by the measured speed of a matrix product, and the bytes
divided by the measured bandwidth.
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

# Above this number, the projections of all samples on all classes in the textbook take too much
# memory.
LARGEST_TEXTBOOK = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*WORKLOADS, "evaluation"], nargs="+")
    parser.add_argument("--layers", type=int, default=4, help="layers of redunet to average over")
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of each, of which the fastest counts"
    )
    add_device_option(parser)
    options = parser.parse_args()
    chosen = options.only or [*WORKLOADS, "evaluation"]
    time_it = Timer(options.layers, options.repeat, options.device)

    roofline = Roofline.measure(options.device)
    print(describe(options.device))
    print(f"- {roofline}", end="\n\n")
    rows = [row(WORKLOADS[key], time_it, roofline) for key in chosen if key in WORKLOADS]
    ways = ["textbook", "exact", "variational", "momentum"]
    headers = [
        "ms per layer",
        *ways,
        "textbook / exact",
        "GFLOP",
        "floor",
        "floor / exact",
        "largest difference",
    ]
    print(tabulate(rows, headers, "github", floatfmt=".3g", missingval="–"))
    if "evaluation" in chosen:
        print()
        seconds = time_it.evaluation(EVALUATION)
        floor = roofline.seconds(
            EVALUATION.flops(construct=False), EVALUATION.bytes(construct=False)
        )
        rows = [[EVALUATION.name, seconds * 1e3, floor * 1e3, floor / seconds]]
        headers = ["ms per layer", "redunet", "floor", "floor / redunet"]
        print(tabulate(rows, headers, "github", floatfmt=".3g"))


def row(work: Workload, time_it: "Timer", roofline: Roofline) -> list[object]:
    """Milliseconds of each method, and the difference of the first layer from the textbook's."""
    X, labels = work.data(time_it.device)
    exact = time_it.layer(X, labels)
    variational = time_it.layer(X, labels, operators="variational", rank=work.rank)
    momentum = time_it.layer(X, labels, momentum=0.9)
    textbook_ms = ratio = difference = None
    if work.samples * work.classes * work.shape[0] < LARGEST_TEXTBOOK:
        V = textbook.to_spectrum(X)
        seconds = time_it.best(lambda: textbook.layer(V, labels, **SETTINGS))
        expected = textbook.from_spectrum(textbook.layer(V, labels, **SETTINGS).V, X.shape)
        net = ReduNet.construct(X, labels, num_layers=1, **SETTINGS)
        difference = (net(X) - expected).abs().max().item()
        ratio = seconds / exact
        textbook_ms = seconds * 1e3
    floor = roofline.seconds(work.flops(), work.bytes())
    times = [t * 1e3 for t in (exact, variational, momentum)]
    return [
        work.name,
        textbook_ms,
        *times,
        ratio,
        work.flops() / 1e9,
        floor * 1e3,
        floor / exact,
        difference,
    ]


class Timer:
    """Wall-clock seconds of the fastest of several runs."""

    def __init__(self, layers: int, repeat: int, device: torch.device):
        self.layers, self.repeat, self.device = layers, repeat, device

    def layer(self, X: Tensor, labels: Tensor, **options: object) -> float:
        """Seconds of a layer of a construction."""
        one, several = (
            self.best(lambda n=n: ReduNet.construct(X, labels, num_layers=n, **SETTINGS, **options))
            for n in (1, 1 + self.layers)
        )
        return (several - one) / self.layers

    def evaluation(self, work: Workload) -> float:
        """Seconds of a layer on new samples, in a network that was constructed from 500."""
        training = work._replace(samples=500)
        net = ReduNet.construct(*training.data(self.device), num_layers=2, **SETTINGS)
        X, _ = work.data(self.device)
        both = self.best(lambda: net.membership(X))
        net.layers = net.layers[:1]
        return both - self.best(lambda: net.membership(X))

    def best(self, run: Callable[[], object]) -> float:
        """Seconds of a function."""
        run()  # warm up
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
