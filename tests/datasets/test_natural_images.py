import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from redunet import datasets
from redunet.datasets import cifar10, cifar100, stl10, tiny_imagenet

RNG = np.random.default_rng(0)


def bytes_of(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def python_2_pickle(fields):
    """A pickle as Python 2 wrote CIFAR's: strings of bytes, an array of bytes, and lists."""

    def pickled(value):
        if isinstance(value, list):
            return b"](" + b"".join(b"K" + bytes([v]) for v in value) + b"e"
        array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        shape = b"".join(b"J" + struct.pack("<i", n) for n in value.shape) + b"\x86"
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        dtype += b"J\xff\xff\xff\xffK\x00tb"
        content = b"T" + struct.pack("<i", value.nbytes) + value.tobytes()
        return array + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"

    entries = (b"U" + bytes([len(k)]) + k.encode() + pickled(v) for k, v in fields.items())
    return b"\x80\x02}(" + b"".join(entries) + b"u."


def python_3_pickle(fields):
    return pickle.dumps({key.encode(): value for key, value in fields.items()})


def write_cifar10(folder, version, images, labels):
    """Batches of equal size, five of them for training."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] if len(images) % 5 == 0 else ["test_batch"]
    parts = zip(np.split(images, len(names)), np.split(labels, len(names)), strict=True)
    for name, (X, y) in zip(names, parts, strict=True):
        rows = X.reshape(len(X), -1)
        if version == "binary":
            content = np.column_stack([y.astype(np.uint8), rows]).tobytes()
            (folder / f"{name}.bin").write_bytes(content)
        else:
            write = python_2_pickle if version == "python 2" else python_3_pickle
            (folder / name).write_bytes(write({"data": rows, "labels": y.tolist()}))


@pytest.mark.parametrize("version", ["python 2", "python 3", "binary"])
@pytest.mark.parametrize("inner", [True, False])
def test_cifar_10(tmp_path, monkeypatch, version, inner):
    images, labels = bytes_of(10, 3, 32, 32), np.arange(10)[::-1].copy()
    folder = tmp_path / f"cifar-10-batches-{'bin' if version == 'binary' else 'py'}"
    write_cifar10(folder if inner else tmp_path, version, images, labels)
    X, y = cifar10("train", tmp_path)
    assert (X.dtype, y.dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(X, torch.tensor(images / 255, dtype=torch.float32))
    assert y.tolist() == labels.tolist()
    with pytest.raises(FileNotFoundError, match=r"CIFAR-10 is not complete: .*no test_batch"):
        cifar10("test", tmp_path)
    write_cifar10(folder, version, images[:3], labels[:3])
    monkeypatch.setenv("REDUNET_DATA", str(tmp_path))
    assert cifar10("test")[1].tolist() == [9, 8, 7]


@pytest.mark.parametrize("version", ["python", "binary"])
def test_cifar_100(tmp_path, version):
    images, fine, coarse = bytes_of(4, 3, 32, 32), np.array([0, 99, 7, 20]), np.array([19, 0, 3, 2])
    folder = tmp_path / f"cifar-100-{version}"
    folder.mkdir()
    rows = images.reshape(4, -1)
    if version == "binary":
        content = np.column_stack([coarse, fine, rows]).astype(np.uint8).tobytes()
        (folder / "test.bin").write_bytes(content)
    else:
        fields = {"data": rows, "fine_labels": fine.tolist(), "coarse_labels": coarse.tolist()}
        (folder / "test").write_bytes(python_2_pickle(fields))
    X, y = cifar100("test", tmp_path)
    torch.testing.assert_close(X, torch.tensor(images / 255, dtype=torch.float32))
    assert y.tolist() == fine.tolist()
    assert cifar100("test", tmp_path, coarse=True)[1].tolist() == coarse.tolist()


def test_stl_10(tmp_path):
    images, folder = bytes_of(3, 3, 96, 96), tmp_path / "stl10_binary"
    folder.mkdir()
    for split in ("train", "unlabeled"):  # by columns, as the files are
        (folder / f"{split}_X.bin").write_bytes(images.swapaxes(2, 3).tobytes())
    (folder / "train_y.bin").write_bytes(bytes([1, 10, 3]))
    X, y = stl10("train", folder)
    torch.testing.assert_close(X, torch.tensor(images / 255, dtype=torch.float32))
    assert X.is_contiguous()
    assert y.tolist() == [0, 9, 2]
    unlabeled, none = stl10("unlabeled", tmp_path)
    assert torch.equal(unlabeled, X)
    assert none.tolist() == [-1] * 3
    (folder / "train_y.bin").write_bytes(bytes([1, 10, 0]))
    with pytest.raises(ValueError, match="expected labels from 0 to 9, got -1 to 9"):
        stl10("train", tmp_path)


@pytest.fixture
def tiny(tmp_path):
    """Two classes, with two training images each, and two validation images."""
    folder = tmp_path / "tiny-imagenet-200"
    for path, value in (
        ("train/n02/images/n02_0.JPEG", 20),
        ("train/n02/images/n02_1.JPEG", 21),
        ("train/n01/images/n01_0.JPEG", 10),
        ("val/images/val_0.JPEG", 200),
        ("val/images/val_1.JPEG", 100),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64), value, np.uint8)).save(folder / path)
    Image.fromarray(np.full((64, 64, 3), [90, 9, 9], np.uint8)).save(folder / path)
    (folder / "wnids.txt").write_text("n02\nn01\n")
    listing = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    (folder / "val" / "val_annotations.txt").write_text(listing)
    return folder


def test_tiny_imagenet(tiny):
    X, y = tiny_imagenet("train", tiny.parent)
    assert X.shape == (3, 3, 64, 64)
    torch.testing.assert_close(X[:, 0, 5, 5] * 255, torch.tensor([10.0, 20.0, 21.0]))
    assert y.tolist() == [0, 1, 1]
    X, y = tiny_imagenet("val", tiny)
    assert y.tolist() == [1, 0]
    torch.testing.assert_close(X[0, :, 9, 9] * 255, torch.tensor([200.0] * 3))
    assert X[1, 0, 9, 9] > 3 * X[1, 1, 9, 9]  # red


def test_tiny_imagenet_that_is_damaged(tiny):
    listing = tiny / "val" / "val_annotations.txt"
    listing.write_text("val_7.JPEG\tn01\t0\t0\t9\t9\n")
    with pytest.raises(FileNotFoundError, match=r"there is no val_7\.JPEG in .*images"):
        tiny_imagenet("val", tiny)
    for row, name in (("val_0.JPEG\tn09", "n09"), ("val_0.JPEG", "")):
        listing.write_text(row)
        with pytest.raises(ValueError, match=f"the class '{name}' of an image is not in .*wnids"):
            tiny_imagenet("val", tiny)
    listing.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no val/val_annotations\.txt in"):
        tiny_imagenet("val", tiny)
    (tiny / "train" / "n01" / "images" / "n01_0.JPEG").write_text("text")
    with pytest.raises(ValueError, match=r"cannot read the image .*n01_0\.JPEG"):
        tiny_imagenet("train", tiny)


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (cifar10, "CIFAR-10"),
        (cifar100, "CIFAR-100"),
        (stl10, "STL-10"),
        (tiny_imagenet, "Tiny ImageNet"),
    ],
)
def test_missing_folders_and_unknown_splits(tmp_path, monkeypatch, load, name):
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=f"pass the folder of {name} as data_dir"):
        load()
    with pytest.raises(FileNotFoundError, match=rf"{name} is not complete: there is no .* in "):
        load("train", tmp_path)
    with pytest.raises(ValueError, match=r"split must be 'train'.* or .*, got 'dev'"):
        load("dev", tmp_path)


def test_the_missing_batch_is_named(tmp_path):
    write_cifar10(tmp_path, "binary", bytes_of(5, 3, 32, 32), np.arange(5))
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no data_batch_3\.bin in"):
        cifar10("train", tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([1, 2], "must contain a dictionary, got list"),
        ({"data": 1}, "must contain 'data' and 'labels', got"),
        ({"data": [0], "labels": [0]}, "is damaged: its data is not a matrix of unsigned bytes"),
        ({"data": bytes_of(1, 9), "labels": [0]}, r"is damaged: data of shape \(1, 9\)"),
        ({"data": bytes_of(2, 3072), "labels": [0]}, r"labels of shape \(1,\)"),
        ({"data": bytes_of(2, 3072), "labels": ["a", "b"]}, "labels of type <U1"),
        ({"data": bytes_of(2, 3072), "labels": [3, 10]}, "labels from 0 to 9, got 3 to 10"),
        ({"data": bytes_of(0, 3072), "labels": []}, "is damaged"),
    ],
)
def test_python_versions_that_are_damaged(tmp_path, fields, message):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(fields))
    with pytest.raises(ValueError, match=message):
        cifar10("test", tmp_path)


@pytest.mark.parametrize("size", [0, 100, 3074])
def test_binary_versions_that_are_damaged(tmp_path, size):
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"expected rows of 3073 bytes, got {size} bytes"):
        cifar10("test", tmp_path)


def test_they_are_public():
    assert {"cifar10", "cifar100", "stl10", "tiny_imagenet"} <= set(datasets.__all__)
