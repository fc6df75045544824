"""What a part of the benchmark of a GPU needs to know."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.budget import Budget, reduced
from benchmarks.construct import Timer
from benchmarks.machine import best_time
from benchmarks.workloads import Workload


class Context(NamedTuple):
    """The device, the time of a part, and the sizes."""

    device: torch.device
    budget: Budget
    timer: Timer
    data: str | None
    is_trial: bool  # whether all sizes are small

    def workload(self, work: Workload) -> Workload:
        """A workload, which is reduced in a trial."""
        return reduced(work) if self.is_trial else work

    def milliseconds(self, run: Callable[[], object], repeat: int = 3) -> float:
        """Milliseconds of the fastest of several runs, after one more."""
        run()
        return 1e3 * best_time(run, self.device, repeat=repeat)
