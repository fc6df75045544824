"""The samples' features between two layers: batch by batch, in memory or in files."""

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


class Features:
    """Half spectra ``(F, m, C)`` of samples in batches, which are replaced layer by layer.

    Parameters
    ----------
    device : torch.device
        Where batches are used.
    home : torch.device or Path
        Where they are kept: on a device, or each in a file of a folder.
    """

    _numbers = itertools.count()

    def __init__(self, device: torch.device, home: torch.device | Path):
        self.device = device
        self.home = home
        self._kept: list[Tensor | Path] = []

    def append(self, V: Tensor) -> None:
        """Keep one more batch."""
        if isinstance(self.home, Path):
            file = self.home / f"features-{next(self._numbers):08d}.npy"
            write_array(file, V)
            return_freed_memory()
            self._kept.append(file)
        else:
            self._kept.append(V.to(self.home))

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._kept)

    def __getitem__(self, number: int) -> Tensor:
        """One batch, on the device."""
        kept = self._kept[number]
        if not isinstance(kept, Path):
            return kept.to(self.device)
        return_freed_memory()
        return read_array(kept).to(self.device)

    def __iter__(self) -> Iterator[Tensor]:
        """All batches."""
        return (self[number] for number in range(len(self)))

    def discard(self, number: int) -> None:
        """Free the memory, or the file, of a batch."""
        kept = self._kept[number]
        if isinstance(kept, Path):
            kept.unlink(missing_ok=True)
        self._kept[number] = torch.empty(0)

    def clear(self) -> None:
        """Free all batches."""
        for number in range(len(self)):
            self.discard(number)


@contextmanager
def working_folder(parent: str | os.PathLike[str] | None) -> Iterator[Path | None]:
    """A folder inside of ``parent`` that is gone in the end, or None without a parent."""
    if parent is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="redunet-", dir=parent) as folder:
        yield Path(folder)


def write_array(file: Path, V: Tensor) -> None:
    """As NumPy's format has it, complex numbers as they are."""
    np.save(file, V.detach().resolve_conj().cpu().numpy(), allow_pickle=False)


def read_array(file: Path) -> Tensor:
    """What :func:`write_array` wrote."""
    return torch.from_numpy(np.load(file, allow_pickle=False))


def return_freed_memory() -> None:
    """Have the C library give back what it keeps of freed memory.

    Blocks of many megabytes come and go with every batch. In glibc's heap they leave gaps that the
    next ones do not quite fit, so that a process grows and grows; other libraries do without.
    """
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


_libc = ctypes.CDLL(None) if os.name == "posix" else None
