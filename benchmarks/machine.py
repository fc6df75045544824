"""Description of the machine of a benchmark, and measurements of its speed."""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch


def describe(device: torch.device) -> str:
    """Machine, versions, date and command, as lines of Markdown."""
    name = _gpu(device) if device.type == "cuda" else "the processor"
    path = Path(sys.argv[0])
    module = f"benchmarks.{path.parent.name if path.stem == '__main__' else path.stem}"
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return "\n".join(
        [
            f"- Processor: {_processor()}, {os.cpu_count()} cores, "
            f"{torch.get_num_threads()} threads of torch",
            f"- Device: {name}",
            f"- torch {torch.__version__}, Python {platform.python_version()}",
            f"- {date.today().isoformat()}, `{command}`",
        ]
    )


class Roofline(NamedTuple):
    """The largest measured speeds of a machine."""

    flops: float  # operations per second in a large product of float32 matrices
    bytes: float  # bytes per second that a copy reads and writes

    @classmethod
    def measure(cls, device: torch.device, *, size: int = 4096) -> "Roofline":
        """Speeds of a product of ``size`` × ``size`` and a copy of 32 times its memory, of five.

        By default these are 4096 × 4096 numbers and 512 MiB. The best of five runs counts.
        """
        A = torch.randn(size, size, device=device)
        x = torch.randn(8 * size**2, device=device)
        y = torch.empty_like(x)
        return cls(
            2 * size**3 / best_time(lambda: A @ A, device),
            2 * x.nbytes / best_time(lambda: y.copy_(x), device),
        )

    def seconds(self, flops: float, moved: float) -> float:
        """A lower bound for the time of these operations and of bytes to and from memory."""
        return max(flops / self.flops, moved / self.bytes)

    def __str__(self) -> str:
        """A line for the report."""
        return (
            f"Measured: {self.flops / 1e9:.0f} GFLOP/s in float32 products, "
            f"{self.bytes / 1e9:.0f} GB/s in copies"
        )


def best_time(run: Callable[[], object], device: torch.device, *, repeat: int = 5) -> float:
    times = []
    for _ in range(repeat):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def add_device_option(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Add the option ``--device``, which all benchmarks share."""
    parser.add_argument(
        "--device", type=torch.device, default=torch.device(default), help="cpu, cuda, cuda:1, …"
    )


def _gpu(device: torch.device) -> str:
    """Name of a GPU, its memory, its driver and the CUDA version of torch."""
    properties = torch.cuda.get_device_properties(device)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout
        driver = shown.splitlines()[0].strip()
    except (OSError, IndexError, subprocess.TimeoutExpired):
        driver = "unknown"
    memory = properties.total_memory / 2**30
    return f"{properties.name}, {memory:.0f} GiB, driver {driver}, CUDA {torch.version.cuda}"


def _processor() -> str:
    """Model of the processor, which Linux gives only in a file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
