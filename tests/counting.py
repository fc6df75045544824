"""Counts of tensor operations and of host synchronisations.

An operation is a call that starts work on a device: one kernel, or a few. Views, changes of
metadata and allocations do not count.

A synchronisation is a point at which the host waits for the device: a value or a shape that depends
on values is read, or numbers are copied between the host and the device. The counts are those of a
GPU, although they are taken on any device.
"""

import sys
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operations without work on a device: they allocate, or they return the same memory.
FREE = {
    "alias",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "scalar_tensor",  # a number in host memory
    "_linalg_check_errors",
    "_local_scalar_dense",
    "_reshape_alias",
    "_unsafe_view",
}

# Operations whose result the host has to read, or whose shape depends on values.
READING = {
    "_linalg_check_errors",
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}

# Functions that copy numbers from the device to the host.
TO_HOST = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__}

# Functions that copy numbers from the host to the device.
TO_DEVICE = {torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy}


class Counts:
    """Operations and synchronisations by name.

    Attributes
    ----------
    operations : Counter
        Names of operations.
    synchronisations : Counter
        Names of operations that wait, with the line of the package that calls them.
    """

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.synchronisations: Counter[str] = Counter()
        self.on_host: list[torch.UntypedStorage] = []  # copies, whose values are read at once

    def is_on_host(self, t: Tensor) -> bool:
        """Whether a tensor is a copy on the host, or a part of one."""
        return any(t.untyped_storage().data_ptr() == s.data_ptr() for s in self.on_host)

    def __sub__(self, other: "Counts") -> "Counts":
        """The counts that are left when those of another run are taken away."""
        difference = Counts()
        for name in ("operations", "synchronisations"):
            mine = Counter(getattr(self, name))
            mine.subtract(getattr(other, name))
            setattr(difference, name, Counter({key: n for key, n in mine.items() if n}))
        return difference

    def __repr__(self) -> str:
        """All counts, for the message of a failed test."""
        waits = ", ".join(f"{n} {name}" for name, n in self.synchronisations.most_common())
        work = ", ".join(f"{n} {name}" for name, n in self.operations.most_common())
        return (
            f"{self.synchronisations.total()} synchronisations ({waits}) and "
            f"{self.operations.total()} operations ({work})"
        )


def count(run: Callable[[], object]) -> Counts:
    """Operations and synchronisations of a call."""
    counts = Counts()
    with _Calls(counts), _Operations(counts):
        run()
    return counts


class _Operations(TorchDispatchMode):
    """Counts the operations that reach the dispatcher."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if not (func.is_view or name in FREE):
            self.counts.operations[name] += 1
        reads = name in READING and not self.counts.is_on_host(args[0])
        if reads or _selects_by_mask(name, args):
            self.counts.synchronisations[f"{name} in {_caller()}"] += 1
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Counts the functions that copy between the host and the device."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        copies = func in TO_HOST or (func in TO_DEVICE and not isinstance(args[0], Tensor))
        if copies or (func is Tensor.to and _crosses(args, result)):
            self.counts.synchronisations[f"{func.__name__} in {_caller()}"] += 1
        if func is Tensor.cpu:
            self.counts.on_host.append(result.untyped_storage())
        return result


def _crosses(args: tuple, result: Tensor) -> bool:
    """Whether ``to`` copies to another device, or is written to copy to the host."""
    return result.device != args[0].device or any(isinstance(a, str) for a in args[1:])


def _selects_by_mask(name: str, args: tuple) -> bool:
    """Whether an operation selects entries by a boolean mask, so that their number is not known."""
    if name not in {"index", "index_put", "index_put_", "_index_put_impl_"}:
        return False
    masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
    fills = name != "index" and args[2].numel() == 1  # becomes masked_fill
    return bool(masks) and not fills


def _caller() -> str:
    """The nearest line of the package, such as ``layers/layer.py:80``."""
    frame = sys._getframe(2)
    while frame is not None:
        folder, _, file = frame.f_code.co_filename.rpartition("/redunet/")
        if folder:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "the test"
