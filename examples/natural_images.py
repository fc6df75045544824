"""CIFAR-10, CIFAR-100, STL-10 and Tiny ImageNet, from the files of their authors.

CIFAR and STL-10 are read in their binary versions, ``cifar-10-binary.tar.gz``,
``cifar-100-binary.tar.gz`` and ``stl10_binary.tar.gz``, and Tiny ImageNet from its JPEG files.
Images are float32 from 0 to 1, and labels are int64 from 0.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Samples = tuple[Tensor, Tensor]


def cifar10(split: str, folder: str) -> Samples:
    """Images ``(m, 3, 32, 32)`` of the split "train" or "test"; ``cifar-10-batches-bin``."""
    names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    inner = Path(folder) / "cifar-10-batches-bin"
    rows = torch.cat([_rows(inner / f"{name}.bin", 1 + 3072) for name in names])
    return _images(rows[:, 1:], 32), _labels(rows[:, 0], 10, inner)


def cifar100(split: str, folder: str, *, coarse: bool = False) -> Samples:
    """Images ``(m, 3, 32, 32)`` of "train" or "test", with 100 classes or 20 coarse ones."""
    path = Path(folder) / "cifar-100-binary" / f"{split}.bin"
    rows = _rows(path, 2 + 3072)
    labels = _labels(rows[:, 0], 20, path) if coarse else _labels(rows[:, 1], 100, path)
    return _images(rows[:, 2:], 32), labels


def stl10(split: str, folder: str) -> Samples:
    """Images ``(m, 3, 96, 96)`` of "train" or "test"; the files hold them column by column."""
    inner = Path(folder) / "stl10_binary"
    images = _images(_rows(inner / f"{split}_X.bin", 3 * 96 * 96), 96).mT.contiguous()
    labels = _labels(_rows(inner / f"{split}_y.bin", 1)[:, 0].long() - 1, 10, inner)
    if len(labels) != len(images):
        raise ValueError(f"{inner} has {len(images)} images and {len(labels)} labels of {split}")
    return images, labels


def tiny_imagenet(split: str, folder: str) -> Samples:
    """Images ``(m, 3, 64, 64)`` of "train" or "val", whose classes are sorted by name."""
    inner = Path(folder) / "tiny-imagenet-200"
    classes = sorted((inner / "wnids.txt").read_text().split())
    if split == "train":
        paths = sorted((inner / "train").glob("*/images/*.JPEG"))
        owners = [path.parents[1].name for path in paths]
    else:
        listing = (inner / "val" / "val_annotations.txt").read_text().splitlines()
        names, owners = zip(*(line.split("\t")[:2] for line in listing), strict=True)
        paths = [inner / "val" / "images" / name for name in names]
    if not paths:
        raise FileNotFoundError(f"there are no images of {split} in {inner}")
    X = torch.empty(len(paths), 3, 64, 64)
    for image, path in zip(X, paths, strict=True):
        with Image.open(path) as opened:
            image[:] = torch.from_numpy(np.array(opened.convert("RGB"))).movedim(2, 0) / 255
    return X, torch.tensor([classes.index(owner) for owner in owners])


def _rows(path: Path, length: int) -> Tensor:
    """A file of bytes as rows of this length."""
    content = torch.from_numpy(np.fromfile(path, np.uint8))
    if not len(content) or len(content) % length:
        raise ValueError(f"{path} has {len(content)} bytes, expected rows of {length} bytes")
    return content.reshape(-1, length)


def _images(rows: Tensor, size: int) -> Tensor:
    return rows.reshape(-1, 3, size, size).float().div_(255)


def _labels(labels: Tensor, count: int, path: Path) -> Tensor:
    labels = labels.long()
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"{path} should have labels of {count} classes, got {labels.min()} to {labels.max()}"
        )
    return labels
