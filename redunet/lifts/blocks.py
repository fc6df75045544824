"""Lifts applied to blocks of samples, so that what they need in between fits into memory."""

import torch
from torch import Tensor, nn

from redunet.rates.spectrum import joined

# Largest number of entries between two lifts that are in memory at one time. They should fit in the
# cache.
BLOCK_ENTRIES = 2**22


def in_blocks(lift: nn.Module, X: Tensor, last: nn.Module | None = None) -> Tensor:
    """``lift(X)``, or ``last(lift(X))``. Several lifts are applied to one block at a time.

    A lift of many channels may come before one that keeps a narrow band of frequencies. Its result
    for all samples could be far larger than the features in the end. Lifts get copies of the
    samples, because ``nn.ReLU(inplace=True)`` and its like write into them.
    """
    parts = list(lift) if type(lift) is nn.Sequential else [lift]
    whole = nn.Sequential(*parts, *([] if last is None else [last]))
    if torch.compiler.is_exporting() or len(whole) == 1:
        return whole(X.clone())
    example, entries = X[:1].clone(), 1
    for part in whole:
        example = part(example)
        entries = max(entries, example.numel())
    size = max(1, BLOCK_ENTRIES // entries)
    return joined([whole(block.clone()) for block in X.split(size)])
