"""Lifts applied to blocks of samples, so that what they need in between fits into memory."""

import torch
from torch import Tensor, nn

# Largest number of entries between two lifts that are in memory at one time.
BLOCK_ENTRIES = 2**25


def in_blocks(lift: nn.Module, X: Tensor) -> Tensor:
    """``lift(X)``. A sequence of lifts is applied to one block of samples at a time.

    A lift of many channels may come before one that keeps a narrow band of frequencies. Its result
    for all samples could be far larger than the features in the end.
    """
    if torch.compiler.is_exporting() or not isinstance(lift, nn.Sequential) or len(lift) < 2:
        return lift(X)
    part, entries = X[:1], 1
    for module in lift:
        part = module(part)
        entries = max(entries, part.numel())
    size = max(1, BLOCK_ENTRIES // entries)
    if size >= len(X):
        return lift(X)
    return torch.cat([lift(block) for block in X.split(size)])
