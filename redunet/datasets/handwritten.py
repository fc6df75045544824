"""Handwritten digits: those that scikit-learn contains, and MNIST."""

import gzip
import os
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_IDX_NAMES = {"train": "train", "test": "t10k"}


def digits() -> tuple[Tensor, Tensor]:
    """The handwritten digits that scikit-learn contains.

    Returns
    -------
    X : Tensor of shape (1797, 1, 8, 8), float32
        Values in [0, 1].
    labels : Tensor of shape (1797,), int64
    """
    from sklearn.datasets import load_digits  # loaded on use, as it takes long

    bunch = load_digits()
    X = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    return X, torch.tensor(bunch.target, dtype=torch.int64)


def mnist(
    split: str = "train", data_dir: str | os.PathLike[str] | None = None
) -> tuple[Tensor, Tensor]:
    """MNIST, from IDX files in a folder.

    Parameters
    ----------
    split : {"train", "test"}
    data_dir : path, optional
        Folder with the files ``train-images-idx3-ubyte`` and so on, with or without ``.gz``, or
        with a folder ``mnist`` that contains them. By default it is the folder that the environment
        variable ``REDUNET_DATA`` names, or else the current one.

    Returns
    -------
    X : Tensor of shape (60000 or 10000, 1, 28, 28), float32
        Values in [0, 1].
    labels : Tensor of shape (60000 or 10000,), int64

    Raises
    ------
    FileNotFoundError
        If the folder does not contain the files.
    ValueError
        If ``split`` is unknown, or a file is damaged.
    """
    if split not in _IDX_NAMES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    folder = Path(data_dir or os.environ.get("REDUNET_DATA", ""))
    images = _read_idx(folder, f"{_IDX_NAMES[split]}-images-idx3-ubyte")
    labels = _read_idx(folder, f"{_IDX_NAMES[split]}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.shape != (len(images),):
        raise ValueError(
            f"MNIST in {folder} is damaged: images of shape {images.shape}, "
            f"labels of shape {labels.shape}"
        )
    X = torch.tensor(images, dtype=torch.float32)[:, None] / 255
    return X, torch.tensor(labels, dtype=torch.int64)


def _read_idx(folder: Path, name: str) -> np.ndarray:
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
            f"there is no {name} or {name}.gz in {folder} or in {folder / 'mnist'}: pass data_dir, "
            "or set REDUNET_DATA, the folder of MNIST's IDX files. Without them, take "
            "sklearn.datasets.fetch_openml('mnist_784', as_frame=False), which downloads the digits"
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
