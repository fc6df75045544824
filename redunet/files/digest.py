"""Digests of samples, labels and tensors, which tell whether they are the same."""

import hashlib

import torch
from torch import Tensor


class Digest:
    """The digest of tensors that come batch by batch. Batches may have any size.

    The order of the samples matters, and so do their shape and their type.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._hash = hashlib.sha256()
        self._kind = ""
        for t in tensors:
            self.add(t)

    def add(self, t: Tensor) -> None:
        """Add a batch."""
        t = t.detach().resolve_conj().resolve_neg().cpu().contiguous()
        kind = f"{t.dtype} of shape {tuple(t.shape[1:])}"
        if kind != self._kind:
            self._hash.update(kind.encode())
            self._kind = kind
        # numpy has no half precision of 8 exponent bits, but everything has bytes
        self._hash.update(t.reshape(-1).view(torch.uint8).numpy().data if t.numel() else b"")

    def __str__(self) -> str:
        """The digest of everything that was added."""
        return f"sha256:{self._hash.hexdigest()}"
