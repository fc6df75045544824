"""One process, or the processes that torchrun started."""

import argparse
import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Launch(NamedTuple):
    """The place of this process among the processes that train together."""

    rank: int
    size: int
    device: str

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Launch":
        """One process, unless torchrun started this one.

        Processes use one GPU each. If there are fewer GPUs than processes, they use the CPU.
        """
        if "RANK" not in os.environ:
            return cls(0, 1, options.device)
        enough = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        on_gpu = enough and options.device.startswith("cuda")
        device = f"cuda:{os.environ['LOCAL_RANK']}" if on_gpu else "cpu"
        if on_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if on_gpu else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def group(self) -> "dist.ProcessGroup | None":
        """The group of all processes, or None for a single process."""
        return None if self.size == 1 else dist.group.WORLD

    def share(self, featurizer: nn.Module) -> nn.Module:
        """The featurizer for all processes.

        On GPUs, batch normalisation uses the whole batch. On CPUs each process normalises its part,
        because torch has no other way there.
        """
        if self.size == 1:
            return featurizer
        if self.device.startswith("cuda"):
            featurizer = nn.SyncBatchNorm.convert_sync_batchnorm(featurizer)
            return DistributedDataParallel(featurizer, device_ids=[torch.device(self.device)])
        return DistributedDataParallel(featurizer)

    def end(self) -> None:
        """Leave the group of processes."""
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
