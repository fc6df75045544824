"""Handwritten digits: those that scikit-learn contains, and MNIST."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet.files.idx import read_idx

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
    """MNIST, from IDX files in a folder or as a download.

    Parameters
    ----------
    split : {"train", "test"}
    data_dir : path, optional
        Folder with the files ``train-images-idx3-ubyte`` and so on, with or without ``.gz``, or
        with a folder ``mnist`` that contains them. By default it is the folder that the environment
        variable ``REDUNET_DATA`` names. If that is not set either, scikit-learn downloads the copy
        of OpenML to its own data folder.

    Returns
    -------
    X : Tensor of shape (60000 or 10000, 1, 28, 28), float32
        Values in [0, 1].
    labels : Tensor of shape (60000 or 10000,), int64

    Raises
    ------
    FileNotFoundError
        If a folder is given but does not contain the files.
    ConnectionError
        If no folder is given and the download fails.
    ValueError
        If ``split`` is unknown, or a file is damaged.
    """
    if split not in _IDX_NAMES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    folder = data_dir or os.environ.get("REDUNET_DATA")
    if not folder:
        return _download_mnist(split)
    images = read_idx(Path(folder), f"{_IDX_NAMES[split]}-images-idx3-ubyte")
    labels = read_idx(Path(folder), f"{_IDX_NAMES[split]}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.shape != (len(images),):
        raise ValueError(
            f"MNIST in {folder} is damaged: images of shape {images.shape}, "
            f"labels of shape {labels.shape}"
        )
    X = torch.tensor(images, dtype=torch.float32)[:, None] / 255
    return X, torch.tensor(labels, dtype=torch.int64)


def _download_mnist(split: str) -> tuple[Tensor, Tensor]:
    """MNIST from OpenML, whose 70 000 rows are the training digits followed by the test digits."""
    from sklearn.datasets import fetch_openml

    print(
        "downloading MNIST (about 15 MB, once); set REDUNET_DATA to a folder to read it from there",
        file=sys.stderr,
    )
    try:
        bunch = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff")
    except OSError as error:  # no network, or OpenML refuses
        raise ConnectionError(
            "MNIST could not be downloaded: set REDUNET_DATA, or the argument data_dir, to the "
            f"folder of its IDX files ({error})"
        ) from error
    rows = slice(0, 60_000) if split == "train" else slice(60_000, None)
    X = torch.tensor(bunch.data[rows], dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    return X, torch.tensor(bunch.target[rows].astype(np.int64))
