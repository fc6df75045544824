"""Natural images: CIFAR-10, CIFAR-100, STL-10 and Tiny ImageNet, from their original files."""

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet.files.images import read_image
from redunet.files.plain_pickle import read_plain_pickle

_Folder = str | os.PathLike[str] | None
_CIFAR_SHAPE = (3, 32, 32)
_STL_SHAPE = (3, 96, 96)


def cifar10(split: str = "train", data_dir: _Folder = None) -> tuple[Tensor, Tensor]:
    """CIFAR-10, from its python version or its binary version.

    Parameters
    ----------
    split : {"train", "test"}
    data_dir : path, optional
        Folder that contains ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or one of these
        folders. By default it is the folder that the environment variable ``REDUNET_DATA`` names.

    Returns
    -------
    X : Tensor of shape (50000 or 10000, 3, 32, 32), float32
        Values in [0, 1], in the order of the files.
    labels : Tensor of shape (50000 or 10000,), int64
        From 0 to 9.

    Raises
    ------
    FileNotFoundError
        If no folder is named, or a file is missing.
    ValueError
        If ``split`` is unknown, or a file is damaged.
    """
    _check_split(split, ("train", "test"))
    batches = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    python = ("cifar-10-batches-py", batches)
    binary = ("cifar-10-batches-bin", [f"{name}.bin" for name in batches])
    parts = [
        _read_binary_cifar(path, label_bytes=1, label=0)
        if path.suffix == ".bin"
        else _read_python_cifar(path, "labels")
        for path in _files("CIFAR-10", data_dir, [python, binary])
    ]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return _tensors("CIFAR-10", images, labels, num_classes=10)


def cifar100(
    split: str = "train", data_dir: _Folder = None, *, coarse: bool = False
) -> tuple[Tensor, Tensor]:
    """CIFAR-100, from its python version or its binary version.

    Parameters
    ----------
    split : {"train", "test"}
    data_dir : path, optional
        Folder that contains ``cifar-100-python`` or ``cifar-100-binary``, or one of these folders.
        By default it is the folder that the environment variable ``REDUNET_DATA`` names.
    coarse : bool
        Take the 20 superclasses instead of the 100 classes.

    Returns
    -------
    X : Tensor of shape (50000 or 10000, 3, 32, 32), float32
        Values in [0, 1], in the order of the file.
    labels : Tensor of shape (50000 or 10000,), int64
        From 0 to 99, or from 0 to 19.

    Raises
    ------
    FileNotFoundError
        If no folder is named, or the file is missing.
    ValueError
        If ``split`` is unknown, or the file is damaged.
    """
    _check_split(split, ("train", "test"))
    layouts = [("cifar-100-python", [split]), ("cifar-100-binary", [f"{split}.bin"])]
    (path,) = _files("CIFAR-100", data_dir, layouts)
    if path.suffix == ".bin":  # the coarse label comes first
        images, labels = _read_binary_cifar(path, label_bytes=2, label=0 if coarse else 1)
    else:
        images, labels = _read_python_cifar(path, "coarse_labels" if coarse else "fine_labels")
    return _tensors("CIFAR-100", images, labels, num_classes=20 if coarse else 100)


def stl10(split: str = "train", data_dir: _Folder = None) -> tuple[Tensor, Tensor]:
    """STL-10, from its binary version.

    Parameters
    ----------
    split : {"train", "test", "unlabeled"}
        The 100 000 images without labels take 11 GB.
    data_dir : path, optional
        Folder that contains ``stl10_binary``, or this folder. By default it is the folder that the
        environment variable ``REDUNET_DATA`` names.

    Returns
    -------
    X : Tensor of shape (5000, 8000 or 100000, 3, 96, 96), float32
        Values in [0, 1].
    labels : Tensor of shape (5000, 8000 or 100000,), int64
        From 0 to 9, where the files have 1 to 10; −1 for images without labels.

    Raises
    ------
    FileNotFoundError
        If no folder is named, or a file is missing.
    ValueError
        If ``split`` is unknown, or a file is damaged.
    """
    _check_split(split, ("train", "test", "unlabeled"))
    names = [f"{split}_X.bin"] + ([] if split == "unlabeled" else [f"{split}_y.bin"])
    paths = _files("STL-10", data_dir, [("stl10_binary", names)])
    images = _read_rows(paths[0], prod(_STL_SHAPE)).reshape(-1, *_STL_SHAPE)
    images = images.swapaxes(2, 3)  # the files hold images column by column
    if split == "unlabeled":
        return _scaled(images), torch.full((len(images),), -1)
    labels = np.fromfile(paths[1], np.uint8).astype(np.int64) - 1
    return _tensors("STL-10", images, labels, num_classes=10)


def tiny_imagenet(split: str = "train", data_dir: _Folder = None) -> tuple[Tensor, Tensor]:
    """Tiny ImageNet, from its folder of JPEG files.

    Parameters
    ----------
    split : {"train", "val"}
        The test images of this data set have no labels. Papers test on the images of ``val``.
    data_dir : path, optional
        Folder that contains ``tiny-imagenet-200``, or this folder. By default it is the folder that
        the environment variable ``REDUNET_DATA`` names.

    Returns
    -------
    X : Tensor of shape (100000 or 10000, 3, 64, 64), float32
        Values in [0, 1]; the training images take 5 GB. Grey images have three equal channels.
        Images of another size would be scaled and cropped.
    labels : Tensor of shape (100000 or 10000,), int64
        Position of the class in the sorted names of ``wnids.txt``, from 0 to 199.

    Raises
    ------
    FileNotFoundError
        If no folder is named, or a file is missing.
    ValueError
        If ``split`` is unknown, a file is damaged, or a class is not in ``wnids.txt``.
    """
    _check_split(split, ("train", "val"))
    listing = [] if split == "train" else ["val/val_annotations.txt"]
    names = ["wnids.txt", *listing]
    wnids, *annotations = _files("Tiny ImageNet", data_dir, [("tiny-imagenet-200", names)])
    classes = np.array(sorted(wnids.read_text().split()))
    if annotations:
        rows = [line.split("\t") for line in annotations[0].read_text().splitlines()]
        paths = [wnids.parent / "val" / "images" / row[0] for row in rows]
        owners = [row[1] if len(row) > 1 else "" for row in rows]
    else:
        paths = sorted((wnids.parent / "train").glob("*/images/*.JPEG"))
        owners = [path.parents[1].name for path in paths]
    return _read_tiny_images(paths, wnids.parent, split), _positions(owners, classes, wnids)


def _check_split(split: str, splits: Sequence[str]) -> None:
    if split not in splits:
        *others, last = map(repr, splits)
        raise ValueError(f"split must be {', '.join(others)} or {last}, got {split!r}")


def _files(name: str, data_dir: _Folder, layouts: list[tuple[str, list[str]]]) -> list[Path]:
    """All files of the first layout, a folder with names of files, that is complete."""
    folder = data_dir or os.environ.get("REDUNET_DATA")
    if not folder:
        raise FileNotFoundError(
            f"pass the folder of {name} as data_dir, or name it by the environment variable "
            "REDUNET_DATA"
        )
    root = Path(folder)
    missing: list[str] = []
    for inner, names in layouts:
        for base in (root / inner, root):
            absent = [file for file in names if not (base / file).is_file()]
            if not absent:
                return [base / file for file in names]
            if len(absent) < len(names):  # an incomplete layout says more than an absent one
                missing.insert(0, f"there is no {', '.join(absent)} in {base}")
        missing.append(f"there is no {names[0]} in {root} or in {root / inner}")
    raise FileNotFoundError(f"{name} is not complete: {missing[0]}")


def _read_python_cifar(path: Path, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(m, 3, 32, 32)`` and labels ``(m,)`` of a pickle."""
    content = read_plain_pickle(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must contain a dictionary, got {type(content).__name__}")
    fields = {k.decode() if isinstance(k, bytes) else k: v for k, v in content.items()}
    if not {"data", labels} <= fields.keys():
        raise ValueError(f"{path} must contain 'data' and {labels!r}, got {sorted(fields)}")
    data, positions = fields["data"], np.asarray(fields[labels])
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        raise ValueError(f"{path} is damaged: its data is not a matrix of unsigned bytes")
    if data.shape[1] != prod(_CIFAR_SHAPE) or positions.dtype.kind != "i":
        raise ValueError(
            f"{path} is damaged: data of shape {data.shape}, labels of type {positions.dtype}"
        )
    return data.reshape(-1, *_CIFAR_SHAPE), positions


def _read_binary_cifar(path: Path, label_bytes: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(m, 3, 32, 32)`` and one of the labels ``(m,)`` that stand before each image."""
    rows = _read_rows(path, label_bytes + prod(_CIFAR_SHAPE))
    return rows[:, label_bytes:].reshape(-1, *_CIFAR_SHAPE), rows[:, label].astype(np.int64)


def _read_rows(path: Path, length: int) -> np.ndarray:
    """A file of bytes as rows of this length."""
    content = np.fromfile(path, np.uint8)
    if not len(content) or len(content) % length:
        raise ValueError(
            f"{path} is damaged: expected rows of {length} bytes, got {len(content)} bytes"
        )
    return content.reshape(-1, length)


def _read_tiny_images(paths: list[Path], folder: Path, split: str) -> Tensor:
    if not paths:
        raise FileNotFoundError(f"Tiny ImageNet is not complete: no images in {folder / split}")
    images = np.empty((len(paths), 64, 64, 3), np.uint8)
    for image, path in zip(images, paths, strict=True):
        if not path.is_file():
            raise FileNotFoundError(
                f"Tiny ImageNet is not complete: there is no {path.name} in {path.parent}"
            )
        image[:] = np.rint(255 * read_image(path, (64, 64), "RGB"))
    return _scaled(images.transpose(0, 3, 1, 2))


def _positions(owners: list[str], classes: np.ndarray, wnids: Path) -> Tensor:
    unknown = sorted(set(owners) - set(classes.tolist()))
    if unknown:
        raise ValueError(f"the class {unknown[0]!r} of an image is not in {wnids}")
    return torch.from_numpy(np.searchsorted(classes, np.array(owners))).to(torch.int64)


def _tensors(
    name: str, images: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Images as floats and labels as integers, after a check that they belong together."""
    if labels.shape != (len(images),):
        raise ValueError(
            f"{name} is damaged: images of shape {images.shape}, labels of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"{name} is damaged: expected labels from 0 to {num_classes - 1}, got {labels.min()} "
            f"to {labels.max()}"
        )
    return _scaled(images), torch.from_numpy(labels.astype(np.int64))


def _scaled(images: np.ndarray) -> Tensor:
    """Bytes ``(m, 3, H, W)`` as floats in [0, 1]."""
    return torch.from_numpy(images.astype(np.float32, order="C")).div_(255)
