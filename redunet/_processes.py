"""Collective operations between processes that each hold a shard of the samples."""

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


class Processes:
    """Collective operations over torch.distributed, which do nothing in a single process.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or None
        The group of processes; None for a single process.
    """

    def __init__(self, group: "dist.ProcessGroup | None" = None):
        self._group = group
        self.size = 1 if group is None else dist.get_world_size(group)
        self.rank = 0 if group is None else dist.get_rank(group)

    def all_reduce(self, t: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(torch.view_as_real(t) if t.is_complex() else t, group=self._group)
        return t

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether a flag is set on one of the processes. Sums are taken on a device."""
        if self.size == 1:
            return flag
        return bool(self.all_reduce(torch.tensor(int(flag), device=device)))

    def all_gather_object(self, value: Value) -> list[Value]:
        """The values of all processes, which must be small."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value, group=self._group)
        return values

    def shard(self, t: Tensor) -> Tensor:
        """The part of this process of ``(F, k, …)``, with the first two axes joined.

        Lengths of parts differ by at most one.
        """
        return t.flatten(0, 1).tensor_split(self.size)[self.rank]

    def all_gather(self, part: Tensor, length: int) -> Tensor:
        """The parts of all processes, joined to a leading axis of ``length``, on every process."""
        if self.size == 1:
            return part
        longest = -(-length // self.size)
        padded = part.new_zeros(longest, *part.shape[1:])
        padded[: len(part)] = part
        if part.is_complex():  # not every backend supports complex numbers
            padded = torch.view_as_real(padded)
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded, group=self._group)
        lengths = (len(t) for t in torch.arange(length).tensor_split(self.size))
        whole = torch.cat([p[:n] for p, n in zip(parts, lengths, strict=True)])
        return torch.view_as_complex(whole) if part.is_complex() else whole
