"""Two processes on this machine."""

import socket
from collections.abc import Callable
from pathlib import Path

import torch.multiprocessing as mp


def run_two(work: Callable[[int, int, str], None], folder: Path) -> None:
    """Call ``work(rank, port, folder)`` in two processes, with a free port for both."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, str(folder)), nprocs=2)
