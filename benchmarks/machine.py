"""What a benchmark ran on: a time without its machine says nothing."""

import argparse
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path

import torch


def describe(device: torch.device) -> str:
    """Machine, versions, date and command, as lines of Markdown."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    module = f"benchmarks.{Path(sys.argv[0]).stem}"
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return "\n".join(
        [
            f"- Processor: {_processor()}, {os.cpu_count()} cores, "
            f"{torch.get_num_threads()} threads of torch",
            f"- Device: {where}",
            f"- torch {torch.__version__}, Python {platform.python_version()}",
            f"- {date.today().isoformat()}, `{command}`",
        ]
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """``--device``, alike in all benchmarks."""
    parser.add_argument(
        "--device", type=torch.device, default=torch.device("cpu"), help="cpu, cuda, cuda:1, …"
    )


def _processor() -> str:
    """Model of the processor; Linux tells it only in a file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
