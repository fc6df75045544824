"""Two processes on this machine."""

import multiprocessing
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

needs_two_processes = pytest.mark.skipif(
    not dist.is_available() or sys.platform != "linux", reason="needs torch.distributed with gloo"
)


def run_two(work: Callable[[int, int, str], None], folder: Path) -> None:
    """Call ``work(rank, port, folder)`` in two processes, with a free port for both.

    The processes are forked from a server that has imported redunet once and run nothing.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload(["redunet"])
    mp.start_processes(work, (port, str(folder)), nprocs=2, start_method="forkserver")
