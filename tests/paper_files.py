"""Small files in the formats of the data of the papers, with random images."""

import argparse
import struct

import numpy as np
from PIL import Image


def bytes_of(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def write_rows(rng, path, labels, *more_labels):
    """A binary file of CIFAR: the labels of an image, and then the image."""
    columns = [np.array(column, np.uint8)[:, None] for column in (labels, *more_labels)]
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(np.hstack([*columns, bytes_of(rng, len(labels), 3072)]).tobytes())


def write_cifar10(folder):
    rng = np.random.default_rng(0)
    inner = folder / "cifar-10-batches-bin"
    for i in range(1, 6):
        write_rows(rng, inner / f"data_batch_{i}.bin", [2 * i - 2, 2 * i - 1])
    write_rows(rng, inner / "test_batch.bin", 3 * list(range(10)))


def write_cifar100(folder):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        fine = np.array([0, 7, 7, 42, 99, 99])
        write_rows(rng, folder / "cifar-100-binary" / f"{split}.bin", fine // 5, fine)


def write_stl10(folder):
    rng = np.random.default_rng(0)
    inner = folder / "stl10_binary"
    inner.mkdir()
    for split in ("train", "test"):
        (inner / f"{split}_X.bin").write_bytes(bytes_of(rng, 4, 3, 96, 96).tobytes())
        (inner / f"{split}_y.bin").write_bytes(bytes([1, 1, 10, 10]))


def write_tiny_imagenet(folder):
    rng = np.random.default_rng(0)
    inner = folder / "tiny-imagenet-200"
    names = [f"train/{n}/images/{n}_{i}.JPEG" for n in ("n01", "n02") for i in range(3)]
    for name in [*names, "val/images/val_0.JPEG", "val/images/val_1.JPEG"]:
        (inner / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bytes_of(rng, 64, 64, 3)).save(inner / name)
    (inner / "wnids.txt").write_text("n02\nn01\n")
    listing = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    (inner / "val" / "val_annotations.txt").write_text(listing)


def write_mnist(folder, train_count=10):
    rng = np.random.default_rng(0)
    for split, count in (("train", train_count), ("t10k", 10)):
        images = bytes_of(rng, count, 28, 28)
        labels = (np.arange(count) % 10).astype(np.uint8)
        head = struct.pack(">4i", 2051, count, 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2i", 2049, count)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())


WRITE = {
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "stl10": write_stl10,
    "tiny_imagenet": write_tiny_imagenet,
}


def options_of(data, folder, paper="any", eps_sq=0.5):
    """Options of the trainings, as their command line gives them."""
    return argparse.Namespace(
        data=data,
        data_dir=folder,
        paper=paper,
        per_class=None,
        batch_size=None,
        dim=None,
        eps_sq=eps_sq,
    )
