"""Image files; Pillow is loaded on use."""

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


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
    from PIL import Image

    kind = mimetypes.guess_type(path.name, strict=False)[0] or ""
    named = path.suffix.lower() in Image.registered_extensions() or kind.startswith("image/")
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
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "F" or upright.mode.startswith("I"):
                fitted = np.asarray(ImageOps.fit(_precise(upright), size[::-1]))
                grey = fitted.clip(0, 1)  # interpolation may go beyond
                return np.stack([grey] * 3, 2) if mode == "RGB" else grey
            fitted = np.asarray(ImageOps.fit(_on_white(upright).convert(mode), size[::-1]))
            return fitted.astype(np.float32) / 255
    except Exception as error:  # decoders raise errors of many classes
        hint = ""
        if isinstance(error, Image.DecompressionBombError):
            hint = "; make it smaller, or set PIL.Image.MAX_IMAGE_PIXELS"
        raise ValueError(f"cannot read the image {path}: {error}{hint}") from error


def _on_white(image: "Image.Image") -> "Image.Image":
    """An image of 8 bits as it looks on white paper; opaque images stay as they are."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    drawing = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing)


def _precise(image: "Image.Image") -> "Image.Image":
    """A grey image of 16 bits or of floats, with floats from 0 to 1."""
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    most = 1 if image.mode == "F" else 65535
    if image.mode == "I" and 0 < high <= 255:
        raise ValueError(
            f"its 32-bit values are from {low} to {high}, which may be 8 bits of 255 or 16 bits of "
            "65535: save it with 8 or 16 bits"
        )
    if not (low >= 0 and high <= most):  # also if a value is NaN
        raise ValueError(
            f"its values are from {low:g} to {high:g}, expected 0 to {most}: save it with values "
            "in this range, or with 8 bits"
        )
    scaled = values.astype(np.float32) / most
    if "transparency" in image.info:
        scaled[values == image.info["transparency"]] = 1
    return Image.fromarray(scaled)
