"""Images of every kind that a folder may hold."""

import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from redunet import ReduNetWarning, cli
from redunet.datasets import image_folder, load

RAMP = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, 0)


def save(folder, image, name="a/x.png", **options):
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    image.save(path, **options)
    return path


def one(folder, size=64, **options):
    X, labels = image_folder(folder, size, **options)
    assert len(X) == len(labels) == 1
    return X[0].numpy()


def test_a_folder_of_images(tmp_path):
    save(tmp_path, np.asarray(np.full((4, 4, 3), 255), np.uint8), "dog/b.png")
    save(tmp_path, np.asarray(np.tile([[[51, 0, 0]]], (4, 4, 1)), np.uint8), "cat/z.PNG")
    save(tmp_path, np.asarray(np.arange(16).reshape(4, 4) * 10, np.uint8), "cat/a.png")
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
    save(tmp_path, np.asarray(pixels, np.uint8), "a/wide.png")
    X, _ = image_folder(tmp_path, (4, 4))
    assert (X == 200 / 255).all()
    X, _ = image_folder(tmp_path, (2, 4))
    assert X.shape == (1, 1, 2, 4)


def test_images_are_turned_as_the_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    save(tmp_path, np.asarray([[0, 255], [0, 255]], np.uint8), "a/turned.png", exif=exif)
    X, _ = image_folder(tmp_path, (2, 2))
    assert X[0, 0].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (np.round(RAMP * 65535).astype(np.uint16), "a/x.png"),
        (np.round(RAMP * 65535).astype(np.uint16), "a/x.tif"),
        (np.round(RAMP * 65535).astype(">u2"), "a/x.tif"),
        (np.round(RAMP * 65535).astype(np.int32), "a/x.tif"),
        (RAMP, "a/x.tiff"),
        (np.round(RAMP * 65535).astype(np.uint16), "a/x.pgm"),
    ],
)
def test_images_of_more_than_8_bits_keep_their_values(tmp_path, pixels, name, color):
    save(tmp_path, pixels, name)
    found = one(tmp_path, color=color)
    assert found.shape == (3 if color else 1, 64, 64)
    np.testing.assert_allclose(found, np.broadcast_to(RAMP, found.shape), atol=1e-5)
    small = one(tmp_path, 8)[0, 0]
    assert (np.diff(small) > 0.1).all()  # all eight grey values are left
    assert small.min() >= 0
    assert small.max() <= 1


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            RAMP * 255,
            r"cannot read the image .*x\.tif: its values are from 0 to 255, and may be",
        ),
        (RAMP - 0.5, "its values are from -0.5 to 0.5"),
        (np.where(RAMP > 0.5, np.nan, RAMP), "from nan to nan"),
        ((RAMP * 1e6).astype(np.int32), r"from 0 to 1e\+06, .*: save it with 8 or 16 bits"),
    ],
)
def test_values_of_an_unknown_range_are_refused(tmp_path, pixels, message):
    save(tmp_path, pixels, "a/x.tif")
    with pytest.raises(ValueError, match=message):
        image_folder(tmp_path)


STRIPES = (np.arange(32)[None] % 8 < 4).repeat(32, 0)
MASK = Image.fromarray(STRIPES.astype(np.uint8) * 255)
BLACK = Image.new("L", (32, 32), 0)


def palette():
    image = Image.fromarray(STRIPES.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0] * 2 + [0] * 762)
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.merge("RGBA", [BLACK] * 3 + [MASK]), {}),
        (Image.merge("LA", [BLACK, MASK]), {}),
        (palette(), {"transparency": 0}),
        (palette(), {"transparency": bytes([0, 255])}),
        (Image.fromarray(np.where(STRIPES, 0, 7).astype(np.uint8)), {"transparency": 7}),
    ],
)
def test_transparent_drawings_are_on_white(tmp_path, image, options, color):
    save(tmp_path, image, **options)
    found = one(tmp_path, 32, color=color)
    np.testing.assert_array_equal(found, np.broadcast_to(~STRIPES, found.shape))


def test_half_transparent_is_half_white_and_opaque_stays(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for number, alpha in enumerate((255, 127)):
        image = Image.fromarray(np.dstack([pixels, np.full((8, 8), alpha, np.uint8)]))
        save(tmp_path, image, f"a/{number}.png")
    opaque, half = image_folder(tmp_path, 8, color=True)[0].numpy()
    np.testing.assert_allclose(opaque, pixels.transpose(2, 0, 1) / 255, rtol=1e-6)
    np.testing.assert_allclose(half, 1 - 127 / 255 * (1 - opaque), atol=1 / 255)


def test_images_in_deeper_folders_belong_to_the_class(tmp_path):
    files = ("cat/1.png", "cat/2020/2.png", "cat/.hidden/3.png", "owl/2020/5/1.png", ".git/a/1.png")
    for name in files:
        save(tmp_path, np.zeros((9, 9), np.uint8), name)
    assert load(tmp_path, size=9)[1].tolist() == ["cat", "cat", "owl"]


def test_a_folder_of_splits_is_refused(tmp_path):
    for name in ("test/cat/1.png", "test/dog/1.png", "train/cat/1.png"):
        save(tmp_path, np.zeros((9, 9), np.uint8), name)
    with pytest.raises(
        ValueError, match=r"such as test/cat/1\.png: pass .*/test if 'cat' is a class"
    ):
        image_folder(tmp_path)
    assert image_folder(tmp_path / "test")[1].tolist() == ["cat", "dog"]


def test_what_is_left_out_is_a_warning(tmp_path):
    save(tmp_path, np.zeros((9, 9), np.uint8), "cover.png")
    with pytest.raises(ValueError, match=r"found none; 'cover\.png' is no folder with images"):
        image_folder(tmp_path)
    save(tmp_path, np.zeros((9, 9), np.uint8), "cat/1.png")
    with pytest.warns(
        ReduNetWarning, match=r"1 images in no folder of a class.* such as 'cover\.png'"
    ):
        image_folder(tmp_path)
    (tmp_path / "cover.png").unlink()
    (tmp_path / "owl").mkdir()
    with pytest.warns(
        ReduNetWarning, match=r"or folders without images, are left out of .* such as 'owl'"
    ):
        image_folder(tmp_path)


def test_folders_may_be_links_and_names_are_composed(tmp_path):
    for form in ("NFC", "NFD"):
        save(
            tmp_path / form,
            np.zeros((9, 9), np.uint8),
            unicodedata.normalize(form, "Käse") + "/1.png",
        )
    (tmp_path / "NFC" / "link").symlink_to(tmp_path / "NFD" / unicodedata.normalize("NFD", "Käse"))
    (tmp_path / "NFC" / "link" / "loop").symlink_to(tmp_path / "NFC")
    assert image_folder(tmp_path / "NFC")[1].tolist() == ["Käse", "link"]
    assert image_folder(tmp_path / "NFD")[1].tolist() == ["Käse"]


def damaged(path):
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT")
    content[at : at + 4] = b"\x83\xf5\x1a\xad"
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [damaged, cut, empty])
def test_damaged_images_are_named(tmp_path, spoil, capsys):
    save(tmp_path, np.zeros((9, 9), np.uint8), "a/good.png")
    path = save(tmp_path, np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8), "b/bad.png")
    spoil(path)
    with pytest.raises(ValueError, match=r"cannot read the image .*b/bad\.png: "):
        image_folder(tmp_path)
    assert cli.main(["construct", str(tmp_path), "-o", str(tmp_path / "net.safetensors")]) == 1
    assert "bad.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.ppm", b"P5 2* 2 255 abcd"),
        ("x.heic", b"\x00\x00\x00\x18ftypheic"),
        ("x.svg", b"<svg/>"),
        ("x.jpg", b"\xff\xd8\xff\xe0"),
        ("x.gif", b"GIF89a"),
    ],
)
def test_files_that_pillow_cannot_read_are_named(tmp_path, name, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"cannot read the image .*{name}: "):
        image_folder(tmp_path)


def test_huge_images_are_named(tmp_path, monkeypatch):
    save(tmp_path, np.zeros((50, 50), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        ValueError, match=r"x\.png: .*make it smaller, or set PIL.Image.MAX_IMAGE_PIXELS"
    ):
        image_folder(tmp_path)


def test_sizes(tmp_path):
    save(tmp_path, np.zeros((9, 12), np.uint8))
    assert image_folder(tmp_path, 5)[0].shape == (1, 1, 5, 5)
    assert image_folder(tmp_path, np.int64(5))[0].shape == (1, 1, 5, 5)
    assert image_folder(tmp_path, (4, 6))[0].shape == (1, 1, 4, 6)  # height, width
    with pytest.raises(
        ValueError, match=r"size must be an integer or \(height, width\), got \(1, 5, 5\)"
    ):
        image_folder(tmp_path, (1, 5, 5))
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        image_folder(tmp_path, 0)
    with pytest.raises(TypeError, match=r"size must be an integer, got 4\.5"):
        image_folder(tmp_path, 4.5)


def grey_folder(folder, *names):
    """A folder with a grey image for each name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 100).save(folder / name)
    return folder


@pytest.mark.parametrize(("values", "message"), [(255, "from 100 to 100"), (1, "from 1 to 1")])
def test_integers_of_unknown_bits_are_refused(tmp_path, values, message):
    folder = grey_folder(tmp_path, "a/1.png")
    image = Image.fromarray(np.full((8, 8), min(values, 100), np.int32))
    image.save(folder / "a" / "2.tif")
    with pytest.raises(ValueError, match=message):
        image_folder(folder, 8)


def test_a_link_to_nothing_is_not_left_out(tmp_path):
    folder = grey_folder(tmp_path, "a/1.png", "b/1.png")
    (folder / "a" / "2.png").symlink_to(tmp_path / "moved.png")
    with pytest.raises(ValueError, match=r"cannot read the image .*2\.png.*No such file"):
        image_folder(folder, 8)


@pytest.mark.parametrize("stray", [(), ("train/overview.png",)])
def test_parts_of_a_data_set_are_hardly_classes(tmp_path, stray):
    names = ["train/a/1.png", "Test/a/1.png"] if stray else ["train/1.png", "Test/1.png"]
    folder = grey_folder(tmp_path, *names, *stray)
    with pytest.warns(ReduNetWarning, match="names of parts of a data set"):
        image_folder(folder, 8)


def test_color_is_a_flag(tmp_path):
    with pytest.raises(TypeError, match="color must be True or False"):
        image_folder(grey_folder(tmp_path, "a/1.png"), 8, color="no")
