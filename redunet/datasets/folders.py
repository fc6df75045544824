"""Folders of images. Pillow is loaded on use."""

import mimetypes
import os
import unicodedata
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_counts, check_flag
from redunet._extras import require
from redunet._warnings import warn

# Names of the parts of a data set, which are hardly names of classes.
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


def image_folder(
    folder: str | os.PathLike[str], size: int | tuple[int, int] = (32, 32), *, color: bool = False
) -> tuple[Tensor, np.ndarray]:
    """Images from a folder that contains one folder per class.

    Each image is rotated as its EXIF data says, scaled to cover ``size``, and cropped around its
    centre. Transparent images are drawn on white. Hidden files and folders, and files without the
    extension of an image format, are ignored.

    Parameters
    ----------
    folder : str or path
        For example ``parts``, with the files ``parts/bolt/1.jpg``, ``parts/nut/7.png``, … Images in
        folders of a class, such as ``parts/bolt/2020/2.jpg``, belong to the class too.
    size : int or tuple of int
        Height and width of the result, in this order; Pillow's sizes are (width, height). One
        integer stands for both.
    color : bool
        Whether the result has three channels, red, green and blue, instead of a grey one.

    Returns
    -------
    X : Tensor of shape (m, 1, H, W) or (m, 3, H, W), float32
        Values from 0 to 1, sorted by class and then by file name. Values of 16 bits are divided by
        65535. Images of floats must have values from 0 to 1.
    labels : numpy array (m,) of str
        The name of the folder of each image, with composed characters (NFC).

    Raises
    ------
    ValueError
        If the folders contain no images, an image cannot be read, or all images are in deeper
        folders, so that the classes are not clear.

    Warns
    -----
    ReduNetWarning
        If a folder contains no images, or images belong to no class.
    """
    folder = Path(folder)
    sides = check_counts(size=size, repeat=2)
    if len(sides) != 2:
        raise ValueError(f"size must be an integer or (height, width), got {size!r}")
    check_flag(color=color)
    paths = image_files(folder)
    _check_places(folder, paths)
    X = read_images(paths, (sides[0], sides[1]), color)
    classes = [unicodedata.normalize("NFC", path.relative_to(folder).parts[0]) for path in paths]
    return X, np.array(classes)


def read_images(paths: Sequence[Path], size: tuple[int, int], color: bool) -> Tensor:
    """Images of files, ``(m, 1, H, W)`` or ``(m, 3, H, W)``; see :func:`image_folder`."""
    X = torch.empty(len(paths), 3 if color else 1, *size)
    for image, path in zip(X, paths, strict=True):
        values = read_image(path, size, "RGB" if color else "L")
        image[:] = torch.from_numpy(values.reshape(*size, -1)).movedim(-1, 0)
    return X


def _check_places(folder: Path, paths: list[Path]) -> None:
    """Raise ValueError if it is not clear which folders are classes; warn of what is left out."""
    classes = {path.relative_to(folder).parts[0] for path in paths}
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    left_out = [p.name for p in visible if is_image(p) or (p.is_dir() and p.name not in classes)]
    if not paths:
        hint = f"; {left_out[0]!r} is no folder with images" if left_out else ""
        raise ValueError(f"expected images in {folder}/CLASS/, found none{hint}")
    if all(path.parent.parent != folder for path in paths):
        parts = paths[0].relative_to(folder).parts
        raise ValueError(
            f"expected images in {folder}/CLASS/, but all are in deeper folders, such as "
            f"{'/'.join(parts)}: pass {folder / parts[0]} if {parts[1]!r} is a class, or move the "
            f"images up if {parts[0]!r} is one"
        )
    if left_out:
        warn(
            f"{len(left_out)} images in no folder of a class, or folders without images, are left "
            f"out of {folder}, such as {left_out[0]!r}"
        )
    if {name.lower() for name in classes} <= PARTS:
        warn(
            f"the classes of {folder} have the names of parts of a data set: if they are, pass one "
            f"of them, such as {folder / min(classes)}"
        )


def image_files(folder: Path) -> list[Path]:
    """Images in the folders of a folder and in the folders therein, sorted by name.

    Files count by their extension, also if Pillow cannot read them. Files and folders whose names
    begin with a point are left out.
    """
    return [
        path
        for path in sorted(folder.glob("*/**/*"))
        if is_image(path) and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]


def is_image(path: Path) -> bool:
    """Whether the name of a file, or of a link to nothing, has the extension of an image format."""
    kind = mimetypes.guess_type(path.name, strict=False)[0] or ""
    named = kind.startswith("image/")
    if not named and find_spec("PIL"):
        from PIL import Image

        named = path.suffix.lower() in Image.registered_extensions()
    return named and (path.is_file() or (path.is_symlink() and not path.exists()))


def read_image(path: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    """An image, upright, on white, scaled to cover a size and cropped around its centre.

    Images of 16 bits are divided by 65535, and images of floats are taken as they are.

    Parameters
    ----------
    path : Path
    size : tuple of int
        Height and width of the result.
    mode : {"L", "RGB"}
        Grey or colour.

    Returns
    -------
    numpy array of shape (H, W) or (H, W, 3), float32
        Values from 0 to 1.

    Raises
    ------
    ValueError
        If the file cannot be read, or its values have an unknown range.
    """
    require("images")
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "F" or upright.mode.startswith("I"):
                transparent = upright.info.get("transparency")
                precise = _precise(np.asarray(upright), transparent, upright.mode)
                fitted = np.asarray(ImageOps.fit(Image.fromarray(precise), size[::-1]))
                grey = fitted.clip(0, 1)  # interpolation may go beyond
                return np.stack([grey] * 3, 2) if mode == "RGB" else grey
            if upright.has_transparency_data:
                drawing = upright.convert("RGBA")
                white = Image.new("RGBA", drawing.size, "white")
                upright = Image.alpha_composite(white, drawing)
            fitted = np.asarray(ImageOps.fit(upright.convert(mode), size[::-1]))
            return fitted.astype(np.float32) / 255
    except Exception as error:  # decoders raise errors of many classes
        hint = ""
        if isinstance(error, Image.DecompressionBombError):
            hint = "; make it smaller, or set PIL.Image.MAX_IMAGE_PIXELS"
        raise ValueError(f"cannot read the image {path}: {error}{hint}") from error


def _precise(values: np.ndarray, transparent: int | None, mode: str) -> np.ndarray:
    """Grey values of 16 bits, or floats, as floats from 0 to 1. What is transparent is white."""
    low, high = values.min(), values.max()
    most = 1 if mode == "F" else 65535
    may_have_8_bits = mode == "I" and 0 < high <= 255
    if may_have_8_bits or not (low >= 0 and high <= most):  # also if a value is NaN
        raise ValueError(
            f"its values are from {low:g} to {high:g}, and may be of 8 or 16 bits, or of neither: "
            "save it with 8 or 16 bits, or with floats from 0 to 1"
        )
    scaled = values.astype(np.float32) / most
    if transparent is not None:
        scaled[values == transparent] = 1
    return scaled
