"""Seconds that losses take in an epoch, on the shapes of Table 1 of the V-MCR² paper (CVPR 2022).

A few batches of each data set are measured, and their time is multiplied by the number of batches
in an epoch. Batches hold features of unit norm. The time is that of the loss and its gradient with
respect to the features, without the network and the images. V-MCR² also updates its dictionary for
each batch, and every 50 epochs it latches, of which each epoch gets a fiftieth.

On a processor with one thread, the seconds are those of the processor, which do not include the
time that other programs take.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.losses import EPS_SQ, Batch, gradient, loop
from benchmarks.machine import add_device_option, best_time, describe
from redunet import MCR2Loss, VariationalMCR2Loss

LATCH_EVERY = 50


class Task(NamedTuple):
    """A data set: a batch, the number of training images, and the seconds that the paper prints."""

    batch: Batch
    images: int
    paper: float
    paper_variational: float

    @property
    def batches(self) -> int:
        """Number of batches in an epoch."""
        return self.images // self.batch.samples


TASKS = {
    "MNIST": Task(Batch(10, 128, 1000, 20), 60_000, 11.56, 6.29),
    "CIFAR-10": Task(Batch(10, 128, 1000, 20), 50_000, 33.06, 20.71),
    "CIFAR-100": Task(Batch(100, 500, 2000, 10), 50_000, 157.45, 31.14),
    "Tiny ImageNet": Task(Batch(200, 500, 2000, 10), 100_000, 527.85, 44.23),
}
HEADERS = [
    "seconds an epoch",
    "batches",
    "MCR², membership matrices",
    "MCR², loop",
    "MCR², redunet",
    "V-MCR², redunet",
    "paper, MCR²",
    "paper, V-MCR²",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--repeat", type=int, default=5, help="batches to measure; the best counts")
    parser.add_argument(
        "--slow", type=int, default=1, help="batches with membership matrices to measure, or 0"
    )
    add_device_option(parser)
    options = parser.parse_args()
    print(describe(options.device), end="\n\n")
    rows = [[name, *row(TASKS[name], options)] for name in options.data]
    print(tabulate(rows, HEADERS, "github", floatfmt=".3g", missingval="–"))


def row(task: Task, options: argparse.Namespace) -> list[object]:
    """The number of batches, and the seconds an epoch of each method and of the paper."""
    Z, labels = task.batch.data(options.device)

    def epoch(loss: Callable[[Tensor, Tensor], Tensor], repeat: int) -> float | None:
        if not repeat:
            return None
        run = lambda: gradient(loss, Z, labels)  # noqa: E731
        return task.batches * best_seconds(run, options.device, repeat)

    return [
        task.batches,
        epoch(membership_matrices(task.batch.classes), options.slow),
        epoch(loop(task.batch.classes, None), options.repeat),
        epoch(MCR2Loss(EPS_SQ), options.repeat),
        variational_epoch(task, Z, labels, options),
        task.paper,
        task.paper_variational,
    ]


def variational_epoch(task: Task, Z: Tensor, labels: Tensor, options: argparse.Namespace) -> float:
    """Seconds of the updates, the losses and a fiftieth of the latching."""
    loss = VariationalMCR2Loss(*task.batch[:2], task.batch.atoms_per_class, EPS_SQ)
    loss.to(options.device)
    everything = task.batch._replace(samples=task.images).data(options.device)
    latching = best_seconds(lambda: loss.latch(*everything), options.device, 1)

    def step() -> None:
        loss.update(Z, labels)
        gradient(loss, Z, labels)

    seconds = best_seconds(step, options.device, options.repeat)
    return task.batches * seconds + latching / LATCH_EVERY


def best_seconds(run: Callable[[], object], device: torch.device, repeat: int) -> float:
    """The smallest time of some runs: of the processor if it has one thread, or else elapsed."""
    if device.type != "cpu" or torch.get_num_threads() > 1:
        return best_time(run, device, repeat=repeat)
    times = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def membership_matrices(num_classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """R_c − R as eq. 11 is printed: the membership of each class is a diagonal m × m matrix."""

    def loss(Z: Tensor, labels: Tensor) -> Tensor:
        m, d = Z.shape
        identity = torch.eye(d, device=Z.device)
        value = -torch.logdet(identity + d / (m * EPS_SQ) * Z.T @ Z) / 2
        for j in range(num_classes):
            membership = torch.diag((labels == j).to(Z.dtype))
            count = membership.trace() + 1e-8
            moment = Z.T @ membership @ Z
            log_det = torch.logdet(identity + d / (count * EPS_SQ) * moment)
            value = value + count / (2 * m) * log_det
        return value

    return loss


if __name__ == "__main__":
    main()
