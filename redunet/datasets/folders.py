"""Folders of images."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from redunet.files.images import image_files, read_image


def image_folder(
    folder: str | os.PathLike[str], size: tuple[int, int] = (32, 32), *, color: bool = False
) -> tuple[Tensor, np.ndarray]:
    """Images from a folder that contains one folder per class.

    Each image is rotated as its EXIF data says, scaled to cover ``size``, and cropped around its
    centre. Hidden files, and files without the extension of an image format, are ignored.

    Parameters
    ----------
    folder : str or path
        For example ``pets``, with the files ``pets/cat/1.jpg``, ``pets/dog/7.png``, …
    size : tuple of int
        Height and width of the result.
    color : bool
        Whether the result has three channels, red, green and blue, instead of a grey one.

    Returns
    -------
    X : Tensor of shape (m, 1, H, W) or (m, 3, H, W), float32
        Values from 0 to 1, sorted by class and then by file name.
    labels : numpy array (m,) of str
        The name of the folder of each image.

    Raises
    ------
    ValueError
        If the folders contain no images, or an image cannot be read.
    """
    paths = image_files(Path(folder))
    if not paths:
        raise ValueError(f"expected images in {folder}/CLASS/, found none")
    images = np.stack([read_image(path, size, "RGB" if color else "L") for path in paths])
    X = torch.from_numpy(images).float() / 255
    channels = X.movedim(-1, 1) if color else X.unsqueeze(1)
    return channels.contiguous(), np.array([path.parent.name for path in paths])
