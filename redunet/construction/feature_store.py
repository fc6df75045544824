"""The features of all samples between two layers, in batches, in memory or in files."""

import ctypes
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class FeatureStore:
    """Half spectra ``(F, m, C)`` of all samples, in batches.

    Parameters
    ----------
    device : torch.device
        Device of the batches that are read.
    home : torch.device or Path
        Storage of the batches: a device, or a folder with one file for each batch.
    """

    _numbers = itertools.count()

    def __init__(self, device: torch.device, home: torch.device | Path):
        self.device = device
        self.home = home
        self._batches: list[Tensor | Path] = []

    def append(self, V: Tensor) -> None:
        """Add a batch."""
        if isinstance(self.home, Path):
            file = self.home / f"features-{next(self._numbers):08d}.npy"
            write_array(file, V)
            return_freed_memory()
            self._batches.append(file)
        else:
            self._batches.append(V.to(self.home))

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def __getitem__(self, number: int) -> Tensor:
        """One batch, on the device."""
        stored = self._batches[number]
        if not isinstance(stored, Path):
            return stored.to(self.device)
        return_freed_memory()
        return read_array(stored).to(self.device)

    def __iter__(self) -> Iterator[Tensor]:
        """All batches."""
        return (self[number] for number in range(len(self)))

    def discard(self, number: int) -> None:
        """Free the memory, or the file, of a batch."""
        stored = self._batches[number]
        if isinstance(stored, Path):
            stored.unlink(missing_ok=True)
        self._batches[number] = torch.empty(0)

    def clear(self) -> None:
        """Free all batches."""
        for number in range(len(self)):
            self.discard(number)


@contextmanager
def working_folder(parent: str | os.PathLike[str] | None) -> Iterator[Path | None]:
    """A temporary folder inside ``parent``; None if there is no parent."""
    if parent is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="redunet-", dir=parent) as folder:
        yield Path(folder)


def write_array(file: Path, V: Tensor) -> None:
    """Write a tensor in NumPy's format."""
    np.save(file, V.detach().resolve_conj().cpu().numpy(), allow_pickle=False)


def read_array(file: Path) -> Tensor:
    """Read a tensor that :func:`write_array` wrote."""
    return torch.from_numpy(np.load(file, allow_pickle=False))


def return_freed_memory() -> None:
    """Ask the C library to return freed memory to the system.

    Blocks of many megabytes are allocated and freed with every batch. In the heap of glibc they
    leave gaps that are too small for later blocks, so the process would grow without limit. Other C
    libraries do not have this function and do not need it.
    """
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


_libc = ctypes.CDLL(None) if os.name == "posix" else None
