"""Folders of images."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet._checks import check_count, check_flag
from redunet._warnings import warn
from redunet.files.images import image_files, is_image, read_image

# The largest value of 12 bits, as a share of that of 16 bits.
TWELVE_BITS = 4095 / 65535

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
        For example ``pets``, with the files ``pets/cat/1.jpg``, ``pets/dog/7.png``, … Images in
        folders of a class, such as ``pets/cat/2020/2.jpg``, belong to the class too.
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
        If a folder contains no images, images belong to no class, or values of 16 bits use only 12.
    """
    folder = Path(folder)
    sides = np.ravel(size).tolist()
    if len(sides) not in (1, 2):
        raise ValueError(f"size must be an integer or (height, width), got {size!r}")
    height, width = sides[0], sides[-1]
    check_count(height=height, width=width)
    check_flag(color=color)
    paths = image_files(folder)
    _check_places(folder, paths)
    X = read_images(paths, (height, width), color=color)
    if 0 < X.max() <= TWELVE_BITS:
        warn(
            f"no pixel of the images in {folder} is above {TWELVE_BITS:.4f}: if they have 12 bits, "
            "multiply X by 65535 / 4095, as other images would be brighter"
        )
    classes = [unicodedata.normalize("NFC", path.relative_to(folder).parts[0]) for path in paths]
    return X, np.array(classes)


def read_images(paths: Sequence[Path], size: tuple[int, int], *, color: bool) -> Tensor:
    """Images of files, ``(m, 1, H, W)`` or ``(m, 3, H, W)``; see :func:`image_folder`."""
    X = torch.empty(len(paths), 3 if color else 1, *size)
    for image, path in zip(X, paths, strict=True):
        values = read_image(path, size, "RGB" if color else "L")
        image[:] = torch.from_numpy(values.reshape(*size, -1)).movedim(-1, 0)
    return X


def _check_places(folder: Path, paths: list[Path]) -> None:
    """Raise ValueError if it is not clear which folders are classes; warn of what is left out."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    stray = sorted(path.name for path in visible if is_image(path))
    if not paths:
        hint = f"; {stray[0]} is in no folder of a class" if stray else ""
        raise ValueError(f"expected images in {folder}/CLASS/, found none{hint}")
    if all(path.parent.parent != folder for path in paths):
        parts = paths[0].relative_to(folder).parts
        raise ValueError(
            f"expected images in {folder}/CLASS/, but all are in deeper folders, such as "
            f"{'/'.join(parts)}: pass {folder / parts[0]} if {parts[1]!r} is a class, or move the "
            f"images up if {parts[0]!r} is one"
        )
    if stray:
        warn(f"{len(stray)} images of {folder} are in no folder of a class, such as {stray[0]}")
    if {path.relative_to(folder).parts[0].lower() for path in paths} <= PARTS:
        warn(
            f"the classes of {folder} have the names of parts of a data set: if they are, pass one "
            f"of them, such as {folder / paths[0].relative_to(folder).parts[0]}"
        )
    used = {path.relative_to(folder).parts[0] for path in paths}
    empty = sorted(path.name for path in visible if path.is_dir() and path.name not in used)
    if empty:
        warn(f"{len(empty)} folders of {folder} contain no images, such as {empty[0]!r}")
