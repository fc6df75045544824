"""Measurements that fit in a given time, with fewer samples if the full size takes too long."""

import time
from collections.abc import Callable

import torch

from benchmarks.machine import best_time
from benchmarks.workloads import Workload

# The size of the first run of a measurement, as a fraction of the full size.
SMALL = 1 / 32


class Budget:
    """A number of seconds, from now on, of a device."""

    def __init__(self, seconds: float, device: torch.device):
        self.device = device
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.perf_counter())

    def share(self, fraction: float) -> "Budget":
        """A budget of a fraction of the seconds that are left."""
        return Budget(fraction * self.left, self.device)


def fitted(
    work: Workload,
    budget: Budget,
    prepare: Callable[[Workload], Callable[[], object]],
    runs: int,
) -> Workload | None:
    """The workload with as many samples as can be run in the time; None if that is too few.

    Two small sizes give the time of a run as a constant and a part for each sample.
    """
    small, larger = (resized(work, int(f * work.samples)) for f in (SMALL, 4 * SMALL))
    times = []
    for size in (small, larger):
        run = prepare(size)
        run()  # warm up
        times.append(best_time(run, budget.device, repeat=1))
        if runs * times[-1] > budget.left:
            return None if size is small else small
    each = max(1e-9, (times[1] - times[0]) / max(1, larger.samples - small.samples))
    most = larger.samples + (budget.left / runs - times[1]) / each
    return work if most >= work.samples else resized(work, int(most))


def resized(work: Workload, samples: int) -> Workload:
    """The workload with another number of samples, at least two of each class."""
    samples = min(work.samples, max(2 * work.classes, samples))
    name = work.name.replace(f"m={work.samples}", f"m={samples}")
    return work._replace(samples=samples, name=name)


def reduced(work: Workload) -> Workload:
    """A workload of the same kind that takes little time, for a trial."""
    channels, *spatial = work.shape
    shape = (max(3, channels // 8), *(min(length, 8) for length in spatial))
    work = work._replace(samples=work.samples // 8, shape=shape, classes=min(work.classes, 10))
    return work._replace(
        name=f"trial, {'×'.join(map(str, shape))}, m={work.samples}, k={work.classes}",
        rank=min(work.rank, 2),
    )
