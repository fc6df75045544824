"""Arrays in the IDX format, in which MNIST is distributed."""

import gzip
from math import prod
from pathlib import Path

import numpy as np


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Read an array of unsigned bytes in the IDX format, compressed or not.

    Parameters
    ----------
    folder : Path
        The folder of the file, or a folder that contains it in a folder ``mnist``.
    name : str
        Name of the file, without ``.gz``.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is not a complete IDX file of unsigned bytes.
    """
    candidates = [folder / sub / (name + end) for sub in ("", "mnist") for end in ("", ".gz")]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"there is no {name} or {name}.gz in {folder} or in {folder / 'mnist'}: pass the "
            "folder of MNIST's IDX files, or no folder to download them"
        )
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        content = file.read()
    # The header: two zero bytes, the type (8 for unsigned bytes), the number of axes, and their
    # big-endian lengths.
    axes = content[3] if len(content) > 3 else 0
    shape = tuple(np.frombuffer(content, ">u4", axes, 4)) if len(content) >= 4 + 4 * axes else ()
    if content[:3] != b"\0\0\x08" or len(content) != 4 + 4 * axes + prod(map(int, shape)):
        raise ValueError(f"{path} is not a complete IDX file of unsigned bytes")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
