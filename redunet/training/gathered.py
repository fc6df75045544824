"""Features and labels of several processes that train together."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array
from redunet._labels import as_labels
from redunet._processes import Processes


class GatheredFeatures(torch.autograd.Function):
    """The features of all processes, on every process.

    Every process computes the same loss from them, so it knows the gradient of its own features
    without asking the others. DistributedDataParallel divides the sum of the gradients of the
    parameters by the number of processes. The gradient is multiplied by this number here.
    """

    @staticmethod
    def forward(ctx: Any, Z: Tensor, processes: Processes) -> Tensor:
        """The features of the first process, of the second process, and so on."""
        ctx.processes, ctx.lengths = processes, _lengths(Z, processes)
        return _join(Z, ctx.lengths, processes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of the features of this process."""
        own = gradients[0].split(ctx.lengths)[ctx.processes.rank]
        return own * ctx.processes.size, None


def of_all(Z: Tensor, labels: Array, processes: Processes) -> tuple[Tensor, Array]:
    """The features and labels of all processes. Gradients flow to features and soft memberships."""
    if processes.size == 1:
        return Z, labels
    Z = GatheredFeatures.apply(Z, processes)
    if not isinstance(labels, Tensor):
        return Z, np.concatenate(processes.all_gather_object(as_labels(labels, memberships=True)))
    if labels.requires_grad:
        return Z, GatheredFeatures.apply(labels, processes)
    return Z, gathered(labels.to(Z.device), processes)


def gathered(part: Tensor, processes: Processes) -> Tensor:
    """The parts of all processes, which may have different lengths, one after the other."""
    return _join(part, _lengths(part, processes), processes)


def _join(part: Tensor, lengths: list[int], processes: Processes) -> Tensor:
    longest = max(lengths)
    padded = part.new_zeros(longest, *part.shape[1:])
    padded[: len(part)] = part.detach()
    parts = processes.all_gather(padded, longest * processes.size).split(longest)
    return torch.cat([p[:length] for p, length in zip(parts, lengths, strict=True)])


def _lengths(part: Tensor, processes: Processes) -> list[int]:
    lengths = torch.zeros(processes.size, dtype=torch.int64, device=part.device)
    lengths[processes.rank] = len(part)
    result: list[int] = processes.all_reduce(lengths).tolist()
    return result
