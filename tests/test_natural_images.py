"""The files of CIFAR, STL-10 and Tiny ImageNet, as the examples read them."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.paper_files import bytes_of, write_cifar10, write_stl10, write_tiny_imagenet


@pytest.fixture
def reader(imported):
    return imported("natural_images")


def test_cifar(reader, tmp_path):
    rng = np.random.default_rng(0)
    for folder, labels in (("cifar-10-batches-bin", [[9]]), ("cifar-100-binary", [[19], [99]])):
        pixels = bytes_of(rng, 1, 3, 32, 32)
        rows = np.hstack([*np.array(labels, np.uint8)[:, None], pixels.reshape(1, -1)])
        (tmp_path / folder).mkdir()
        for name in ("test_batch.bin", "test.bin"):
            (tmp_path / folder / name).write_bytes(rows.tobytes())
        load = reader.cifar10 if len(labels) == 1 else reader.cifar100
        X, y = load("test", tmp_path)
        torch.testing.assert_close(X, torch.tensor(pixels / 255, dtype=torch.float32))
        assert y.tolist() == labels[-1]
    assert reader.cifar100("test", tmp_path, coarse=True)[1].tolist() == [19]
    write_cifar10(tmp_path / "all")
    assert reader.cifar10("train", tmp_path / "all")[1].tolist() == list(range(10))


def test_stl10_is_stored_column_by_column(reader, tmp_path):
    write_stl10(tmp_path)
    pixels = bytes_of(np.random.default_rng(0), 4, 3, 96, 96)
    X, y = reader.stl10("train", str(tmp_path))
    torch.testing.assert_close(X, torch.tensor(pixels / 255, dtype=torch.float32).mT)
    assert y.tolist() == [0, 0, 9, 9]


def test_tiny_imagenet_is_labelled_by_the_sorted_names(reader, tmp_path):
    write_tiny_imagenet(tmp_path)
    X, y = reader.tiny_imagenet("train", tmp_path)
    assert (X.shape, y.tolist()) == ((6, 3, 64, 64), [0, 0, 0, 1, 1, 1])
    grey = Image.fromarray(np.full((64, 64), 51, np.uint8))
    grey.save(tmp_path / "tiny-imagenet-200" / "val" / "images" / "val_0.JPEG")
    X, y = reader.tiny_imagenet("val", tmp_path)
    torch.testing.assert_close(X[0], torch.full((3, 64, 64), 0.2))
    assert y.tolist() == [1, 0]


def test_damaged_files_are_named(reader, tmp_path):
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"test_batch\.bin has .* rows of 3073 bytes"):
        reader.cifar10("test", tmp_path)
    path.write_bytes(bytes([10] + [0] * 3072))
    with pytest.raises(ValueError, match="labels of 10 classes, got 10 to 10"):
        reader.cifar10("test", tmp_path)
    with pytest.raises(FileNotFoundError):
        reader.stl10("train", tmp_path)
