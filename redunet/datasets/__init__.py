"""Data sets: simulated data, digits, natural images, and files and folders of your own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redunet.datasets.folders import image_folder
from redunet.datasets.labels import corrupt_labels, subsample
from redunet.datasets.loading import load
from redunet.datasets.natural_images import cifar10, cifar100, stl10, tiny_imagenet
from redunet.datasets.series import pad_series, read_ts
from redunet.datasets.synthetic import gaussians, sinusoids
from redunet.datasets.tables import read_table
from redunet.datasets.transformations import all_shifts, rotations

if TYPE_CHECKING:  # loaded on use, because it loads scikit-learn
    from redunet.datasets.handwritten import digits, mnist

__all__ = [
    "all_shifts",
    "cifar10",
    "cifar100",
    "corrupt_labels",
    "digits",
    "gaussians",
    "image_folder",
    "load",
    "mnist",
    "pad_series",
    "read_table",
    "read_ts",
    "rotations",
    "sinusoids",
    "stl10",
    "subsample",
    "tiny_imagenet",
]


def __getattr__(name: str) -> Any:
    """Load ``digits`` and ``mnist`` when they are used."""
    if name in ("digits", "mnist"):
        return getattr(import_module("redunet.datasets.handwritten"), name)
    raise AttributeError(f"redunet.datasets has no attribute {name!r}")
