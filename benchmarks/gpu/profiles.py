"""Where the time of a layer goes: the operations that take the device longest."""

from collections.abc import Callable

import torch
from tabulate import tabulate
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.budget import resized
from benchmarks.gpu.context import Context
from benchmarks.workloads import SETTINGS, WORKLOADS
from redunet import ReduNet

# Number of operations that a table names.
SHOWN = 8

# Workloads whose construction is recorded.
CONSTRUCTED = ["vector", "image16", "image75", "classes"]


def profiles(context: Context) -> str:
    """A table for ``net(X)`` on images and for the construction of each workload."""
    tables = [_profile("net(X), three layers", _network_on_images(context), context)]
    for key in CONSTRUCTED:
        if context.budget.left <= 0:
            break
        work = context.workload(WORKLOADS[key])
        X, labels = work.data(context.device)
        tables.append(_profile(f"three layers, {work.name}", _constructed(X, labels), context))
    return "\n\n".join(tables)


def _constructed(X: Tensor, labels: Tensor) -> Callable[[], object]:
    return lambda: ReduNet.construct(X, labels, num_layers=3, **SETTINGS)


def _network_on_images(context: Context) -> Callable[[], object]:
    work = context.workload(WORKLOADS["image16"])._replace(samples=4000)
    few = resized(work, 500)
    net = ReduNet.construct(*few.data(context.device), num_layers=3, **SETTINGS)
    X, _ = (few if context.is_trial else work).data(context.device)
    return lambda: net(X)


def _profile(name: str, run: Callable[[], object], context: Context) -> str:
    """The operations of a function, the device's time for each, and the host's time for all."""
    wall = context.milliseconds(run)
    is_cuda = context.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=activities) as recorded:
        run()
        if is_cuda:
            torch.cuda.synchronize()
    operations = [
        (event.key, event.self_device_time_total if is_cuda else event.self_cpu_time_total, event)
        for event in recorded.key_averages()
        if not is_cuda or event.device_type == torch.autograd.DeviceType.CUDA
    ]
    operations.sort(key=lambda operation: -operation[1])
    total = sum(microseconds for _, microseconds, _ in operations)
    rows = [
        [key[:70].replace("|", "/"), microseconds / 1e3, microseconds / total, event.count]
        for key, microseconds, event in operations[:SHOWN]
    ]
    headers = [name, "ms", "share", "calls"]
    table = tabulate(rows, headers, "github", floatfmt=("", ".3g", ".0%", ""))
    return f"{table}\n\nThe device is busy for {total / 1e3:.3g} of {wall:.3g} ms."
