"""Data sets: simulated data, digits, and files and folders of your own."""

from redunet.datasets.folders import image_folder
from redunet.datasets.handwritten import digits, mnist
from redunet.datasets.labels import corrupt_labels, subsample
from redunet.datasets.loading import load
from redunet.datasets.series import pad_series, read_ts
from redunet.datasets.synthetic import gaussians, sinusoids
from redunet.datasets.tables import read_table
from redunet.datasets.transformations import all_shifts, rotations

__all__ = [
    "all_shifts",
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
    "subsample",
]
