import numpy as np
import pytest
import torch
from PIL import Image

from redunet.datasets import image_folder


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
