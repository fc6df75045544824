"""Image files; Pillow is loaded on use."""

from pathlib import Path

import numpy as np


def image_files(folder: Path) -> list[Path]:
    """Files with the extension of an image format in the folders of a folder, sorted by name."""
    from PIL import Image

    endings = Image.registered_extensions()
    return [
        path
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in endings and not path.name.startswith(".")
    ]


def read_image(path: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    """An image, upright, scaled to cover a size and cropped around its centre.

    Parameters
    ----------
    path : Path
    size : tuple of int
        Height and width of the result.
    mode : {"L", "RGB"}
        Grey or colour.

    Returns
    -------
    numpy array of shape (H, W) or (H, W, 3), uint8

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert(mode)
            return np.asarray(ImageOps.fit(upright, size[::-1]))
    except OSError as error:
        raise ValueError(f"cannot read the image {path}: {error}") from error
