import gzip
import itertools
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from redunet import datasets
from redunet.datasets import image_folder


def test_gaussians():
    X, labels = datasets.gaussians(ndim=3, per_class=400, sigma=0.01, seed=1)
    assert X.shape == (1200, 3)
    assert labels.bincount().tolist() == [400] * 3
    torch.testing.assert_close(X.norm(dim=1), torch.ones(1200))
    centres = torch.stack([X[labels == j].mean(0) for j in range(3)])
    cosines = torch.tensor([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]])
    torch.testing.assert_close(centres @ centres.T, cosines, rtol=0, atol=5e-3)
    means = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    X, labels = datasets.gaussians(means, per_class=3, sigma=1e-6)
    torch.testing.assert_close(X, means[labels], rtol=0, atol=1e-5)


def test_sinusoids_of_a_class_are_shifts_of_each_other():
    X, labels = datasets.sinusoids(3, per_class=5, length=16, channels=2, noise=0)
    assert X.shape == (15, 2, 16)
    for j in range(3):
        first, *others = X[labels == j]
        shifts = torch.stack([first.roll(s, 1) for s in range(16)])
        for other in others:
            assert (shifts - other).abs().amax((1, 2)).min() < 1e-5
    spectra = torch.fft.rfft(X).abs()
    assert (spectra[labels == 0] - spectra[labels == 2][0]).abs().amax((1, 2)).min() > 1


@pytest.mark.parametrize("make", [datasets.gaussians, datasets.sinusoids])
def test_simulated_data_follow_their_seed_alone(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two, other = make(seed=0)[0], make(seed=0)[0], make(seed=1)[0]
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


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


def test_mnist_is_downloaded_where_no_folder_is_named(monkeypatch, capsys):
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    rows = np.arange(70_000)
    data = np.broadcast_to((rows % 251)[:, None], (70_000, 784))
    bunch = SimpleNamespace(data=data, target=(rows % 10).astype(str))
    monkeypatch.setattr(datasets, "fetch_openml", lambda *args, **options: bunch)
    X, labels = datasets.mnist("test")
    assert X.shape == (10_000, 1, 28, 28)
    assert X[1, 0, 0, 0].item() == pytest.approx(60_001 % 251 / 255)
    assert labels[:3].tolist() == [0, 1, 2]
    assert "downloading MNIST" in capsys.readouterr().err

    def refuse(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(datasets, "fetch_openml", refuse)
    with pytest.raises(ConnectionError, match=r"set REDUNET_DATA, .* \(no network\)"):
        datasets.mnist("test")


@pytest.mark.real_data
def test_real_mnist(mnist_dir):
    X, labels = datasets.mnist("train", mnist_dir)
    assert X.shape == (60_000, 1, 28, 28)
    assert (X.min(), X.max()) == (0, 1)
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert datasets.mnist("test", mnist_dir)[1].bincount().sum() == 10_000


def test_subsample():
    labels = np.array([1, 0, 1, 0, 1, 0, 0])
    assert datasets.subsample(labels, 2).tolist() == [1, 3, 0, 2]
    drawn = datasets.subsample(torch.tensor(labels), 3, seed=0)
    assert labels[drawn].tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(drawn.tolist())) == 6
    assert torch.equal(drawn, datasets.subsample(labels, 3, seed=0))
    with pytest.raises(ValueError, match="class 1 has 3 samples, 4 were asked for"):
        datasets.subsample(labels, 4)


@pytest.mark.parametrize(("shape", "stride"), [((5,), 1), ((4, 6), 1), ((4, 6), 2), ((2, 3, 2), 1)])
def test_all_shifts(shape, stride):
    X = torch.randn(3, 2, *shape, generator=torch.Generator().manual_seed(0))
    steps = [step for step in np.ndindex(*shape) if not any(s % stride for s in step)]
    expected = np.stack([np.roll(X.numpy(), step, tuple(range(2, X.ndim))) for step in steps], 1)
    np.testing.assert_array_equal(datasets.all_shifts(X, stride).numpy(), expected)


def test_rotations_by_quarter_turns():
    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    turned = datasets.rotations(images, 4)
    for quarter in range(4):
        # Rows run downwards, so that rot90 turns a picture counter-clockwise as one sees it.
        expected = torch.rot90(images, quarter, (2, 3))
        torch.testing.assert_close(turned[:, quarter], expected, rtol=0, atol=1e-5)


def test_half_a_turn_of_images_that_are_not_square():
    images = torch.randn(2, 1, 4, 7, generator=torch.Generator().manual_seed(0))
    turned = datasets.rotations(images, 2)[:, 1]
    torch.testing.assert_close(turned, images.flip(2, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0])
def test_corrupted_labels(ratio):
    labels = torch.tensor([3, 5, 7, 9]).repeat(500)
    corrupted = datasets.corrupt_labels(labels, ratio)
    assert (corrupted != labels).sum() == round(ratio * 2000)
    assert set(corrupted.tolist()) == {3, 5, 7, 9}
    for label, other in itertools.permutations((3, 5, 7, 9), 2):  # any other class is as likely
        share = ((labels == label) & (corrupted == other)).sum() / 500
        assert abs(share - ratio / 3) < 0.07
    assert torch.equal(corrupted, datasets.corrupt_labels(labels, ratio))


def test_corrupting_labels_needs_a_ratio_and_classes():
    with pytest.raises(ValueError, match=r"ratio must be in \[0, 1\], got 1.5"):
        datasets.corrupt_labels([0, 1], 1.5)
    with pytest.raises(ValueError, match="at least two classes are needed"):
        datasets.corrupt_labels([0, 0], 0.5)


def write_image(path, pixels, **options):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)


def test_a_folder_of_images(tmp_path):
    write_image(tmp_path / "dog" / "b.png", np.full((4, 4, 3), 255))
    write_image(tmp_path / "cat" / "z.PNG", np.tile([[[51, 0, 0]]], (4, 4, 1)))
    write_image(tmp_path / "cat" / "a.png", np.arange(16).reshape(4, 4) * 10)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._a.png").write_text("what some systems leave")
    X, labels = image_folder(tmp_path, (4, 4))
    assert X.shape == (3, 1, 4, 4)
    assert X.dtype == torch.float32
    assert labels.tolist() == ["cat", "cat", "dog"]
    np.testing.assert_allclose(X[0, 0], np.arange(16).reshape(4, 4) * 10 / 255, rtol=1e-6)
    assert (X[2] == 1).all()
    X, _ = image_folder(tmp_path, (4, 4), color=True)
    assert X.shape == (3, 3, 4, 4)
    np.testing.assert_allclose(X[1, :, 2, 1], [0.2, 0, 0], rtol=1e-6)


def test_images_are_scaled_and_cropped_around_their_middle(tmp_path):
    pixels = np.zeros((4, 8))
    pixels[:, 2:6] = 200
    write_image(tmp_path / "a" / "wide.png", pixels)
    X, _ = image_folder(tmp_path, (4, 4))
    assert (X == 200 / 255).all()
    X, _ = image_folder(tmp_path, (2, 4))
    assert X.shape == (1, 1, 2, 4)


def test_images_are_turned_as_the_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    write_image(tmp_path / "a" / "turned.png", [[0, 255], [0, 255]], exif=exif)
    X, _ = image_folder(tmp_path, (2, 2))
    assert X[0, 0].tolist() == [[0, 0], [1, 1]]


def test_folders_without_images_and_broken_images(tmp_path):
    with pytest.raises(ValueError, match=r"expected images in .*/CLASS/, found none"):
        image_folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_text("text")
    with pytest.raises(ValueError, match=r"cannot read the image .*broken\.png"):
        image_folder(tmp_path)
