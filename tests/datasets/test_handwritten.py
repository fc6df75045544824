import gzip
import struct

import numpy as np
import pytest
import torch

from redunet import datasets


def test_digits():
    X, labels = datasets.digits()
    assert X.shape == (1797, 1, 8, 8)
    assert (X.min(), X.max()) == (0, 1)
    assert labels[:10].tolist() == list(range(10))


def write_idx(path, array, compress):
    content = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(np.uint8).tobytes()
    path.parent.mkdir(exist_ok=True)
    with (gzip.open if compress else open)(path, "wb") as file:
        file.write(content)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("below", ["", "mnist"])
def test_mnist_from_a_folder(tmp_path, monkeypatch, compress, below):
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    end = ".gz" if compress else ""
    write_idx(tmp_path / below / f"t10k-images-idx3-ubyte{end}", images, compress)
    write_idx(tmp_path / below / f"t10k-labels-idx1-ubyte{end}", np.array([7, 2, 1]), compress)
    X, labels = datasets.mnist("test", tmp_path)
    torch.testing.assert_close(X, torch.tensor(images / 255, dtype=torch.float32)[:, None])
    assert labels.tolist() == [7, 2, 1]
    monkeypatch.setenv("REDUNET_DATA", str(tmp_path))
    assert torch.equal(datasets.mnist("test")[0], X)
    with pytest.raises(FileNotFoundError, match="there is no train-images-idx3-ubyte or"):
        datasets.mnist("train", tmp_path)


def test_mnist_files_that_are_damaged(tmp_path):
    images, labels = (tmp_path / f"train-{name}-ubyte" for name in ("images-idx3", "labels-idx1"))
    write_idx(labels, np.arange(3), compress=False)
    for content in (b"", b"\0\0\x08\x03", b"not an IDX file at all"):
        images.write_bytes(content)
        with pytest.raises(ValueError, match="is not a complete IDX file of unsigned bytes"):
            datasets.mnist("train", tmp_path)
    write_idx(images, np.zeros((2, 28, 28)), compress=False)
    with pytest.raises(ValueError, match=r"images of shape \(2, 28, 28\), labels of shape \(3,\)"):
        datasets.mnist("train", tmp_path)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'dev'"):
        datasets.mnist("dev", tmp_path)


def test_mnist_needs_a_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"set REDUNET_DATA, .*fetch_openml"):
        datasets.mnist("test")


@pytest.mark.real_data
def test_real_mnist(mnist_dir):
    X, labels = datasets.mnist("train", mnist_dir)
    assert X.shape == (60_000, 1, 28, 28)
    assert (X.min(), X.max()) == (0, 1)
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert datasets.mnist("test", mnist_dir)[1].bincount().sum() == 10_000
