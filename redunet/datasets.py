"""Data sets: simulated data, digits from scikit-learn, MNIST, and folders of images."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import fetch_openml, load_digits
from torch import Tensor
from torch.nn import functional

from redunet._checks import Array, as_labels, as_samples, check_count, check_positive
from redunet.files.idx import read_idx
from redunet.files.images import image_files, read_image

Samples = tuple[Tensor, Tensor]

_IDX_NAMES = {"train": "train", "test": "t10k"}


def gaussians(
    means: Sequence[Sequence[float]] | Tensor | None = None,
    *,
    ndim: int = 3,
    per_class: int = 500,
    sigma: float = 0.1,
    seed: int = 0,
) -> Samples:
    """Mixture of Gaussians, projected onto the unit sphere.

    Parameters
    ----------
    means : array-like of shape (k, ndim), optional
        Centres of the classes; by default ``ndim`` centres that are 60 degrees from each other.
    ndim : int
        Dimension n of the space: 2 for the circle S¹, 3 for the sphere S².
    per_class : int
        Number of samples of each class.
    sigma : float
        Standard deviation of every coordinate before the projection.
    seed : int

    Returns
    -------
    X : Tensor of shape (k·per_class, n), float32
        Samples of unit norm, sorted by class.
    labels : Tensor of shape (k·per_class,), int64

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Figure 15.
    """
    check_count(ndim=ndim, per_class=per_class)
    check_positive(sigma=sigma)
    generator = torch.Generator().manual_seed(seed)
    if means is None:
        # The centres e_j + t·1 with 2t + nt² = 1 have cosines of 1/2.
        means = functional.normalize(torch.eye(ndim) + (math.sqrt(1 + ndim) - 1) / ndim)
    means = torch.as_tensor(means, dtype=torch.float32)
    k, n = means.shape
    X = means[:, None] + sigma * torch.randn(k, per_class, n, generator=generator)
    labels = torch.arange(k).repeat_interleave(per_class)
    return functional.normalize(X.flatten(0, 1)), labels


def sinusoids(
    num_classes: int = 3,
    *,
    per_class: int = 100,
    length: int = 64,
    channels: int = 3,
    noise: float = 0.1,
    seed: int = 0,
) -> Samples:
    """Multi-channel sinusoids at random times, with a frequency and phase lags for each class.

    The signal of a class is the sum of a sinusoid and its second harmonic. Both have a lag of their
    own in every channel. A sample is this signal, shifted cyclically by a random time, plus white
    noise.

    Parameters
    ----------
    num_classes : int
        Number of classes. Class j has j + 1 periods in the signal.
    per_class, length, channels : int
        Number of samples of each class, length T of the signals, and number C of channels.
    noise : float
        Standard deviation of the noise.
    seed : int

    Returns
    -------
    X : Tensor of shape (num_classes·per_class, channels, length), float32
    labels : Tensor of shape (num_classes·per_class,), int64
    """
    check_count(num_classes=num_classes, per_class=per_class, length=length, channels=channels)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    lags = 2 * math.pi * torch.rand(num_classes, channels, 2, generator=generator)
    starts = torch.randint(length, (len(labels), 1, 1), generator=generator)
    periods = (labels + 1)[:, None, None]
    phase = 2 * math.pi * periods * (torch.arange(length) + starts) / length  # (m, 1, T)
    lag = lags[labels]  # (m, C, 2)
    X = (phase + lag[:, :, :1]).sin() + 0.5 * (2 * phase + lag[:, :, 1:]).sin()
    return X + noise * torch.randn(X.shape, generator=generator), labels


def digits() -> Samples:
    """The handwritten digits that scikit-learn contains.

    Returns
    -------
    X : Tensor of shape (1797, 1, 8, 8), float32
        Values in [0, 1].
    labels : Tensor of shape (1797,), int64
    """
    bunch = load_digits()
    X = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    return X, torch.tensor(bunch.target, dtype=torch.int64)


def mnist(split: str = "train", data_dir: str | os.PathLike[str] | None = None) -> Samples:
    """MNIST, from IDX files in a folder or as a download.

    Parameters
    ----------
    split : {"train", "test"}
    data_dir : path, optional
        Folder with the files ``train-images-idx3-ubyte`` and so on, with or without ``.gz``, or
        with a folder ``mnist`` that contains them. By default it is the folder that the environment
        variable ``REDUNET_DATA`` names. If that is not set either, scikit-learn downloads the copy
        of OpenML to its own data folder.

    Returns
    -------
    X : Tensor of shape (60000 or 10000, 1, 28, 28), float32
        Values in [0, 1].
    labels : Tensor of shape (60000 or 10000,), int64

    Raises
    ------
    FileNotFoundError
        If a folder is given but does not contain the files.
    ConnectionError
        If no folder is given and the download fails.
    ValueError
        If ``split`` is unknown, or a file is damaged.
    """
    if split not in _IDX_NAMES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    folder = data_dir or os.environ.get("REDUNET_DATA")
    if not folder:
        return _download_mnist(split)
    images = read_idx(Path(folder), f"{_IDX_NAMES[split]}-images-idx3-ubyte")
    labels = read_idx(Path(folder), f"{_IDX_NAMES[split]}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.shape != (len(images),):
        raise ValueError(
            f"MNIST in {folder} is damaged: images of shape {images.shape}, "
            f"labels of shape {labels.shape}"
        )
    X = torch.tensor(images, dtype=torch.float32)[:, None] / 255
    return X, torch.tensor(labels, dtype=torch.int64)


def _download_mnist(split: str) -> Samples:
    """MNIST from OpenML, whose 70 000 rows are the training digits followed by the test digits."""
    print(
        "downloading MNIST (about 15 MB, once); set REDUNET_DATA to a folder to read it from there",
        file=sys.stderr,
    )
    try:
        bunch = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff")
    except OSError as error:  # no network, or OpenML refuses
        raise ConnectionError(
            "MNIST could not be downloaded: set REDUNET_DATA, or the argument data_dir, to the "
            f"folder of its IDX files ({error})"
        ) from error
    rows = slice(0, 60_000) if split == "train" else slice(60_000, None)
    X = torch.tensor(bunch.data[rows], dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    return X, torch.tensor(bunch.target[rows].astype(np.int64))


def subsample(labels: Array, per_class: int, *, seed: int | None = None) -> Tensor:
    """Positions of the same number of samples of each class.

    Parameters
    ----------
    labels : array-like or Tensor of shape (m,)
    per_class : int
        Number of samples of each class.
    seed : int, optional
        Seed of a random selection. By default the first ones in file order are selected.

    Returns
    -------
    Tensor of shape (k·per_class,), int64
        Sorted by class.

    Raises
    ------
    ValueError
        If a class has fewer than ``per_class`` samples.
    """
    check_count(per_class=per_class)
    labels = as_labels(labels)
    order = np.arange(len(labels))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    chosen = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        if len(members) < per_class:
            raise ValueError(
                f"class {label} has {len(members)} samples, {per_class} were asked for"
            )
        chosen.append(members[:per_class])
    return torch.from_numpy(np.concatenate(chosen))


def corrupt_labels(labels: Array, ratio: float, *, seed: int = 0) -> Tensor:
    """Labels with a share of wrong ones, which are uniform over the other classes.

    Parameters
    ----------
    labels : array-like or Tensor of shape (m,)
        Integers.
    ratio : float
        Share of the samples with wrong labels, in [0, 1], up to rounding to whole samples.
    seed : int

    Returns
    -------
    Tensor of shape (m,), int64

    Raises
    ------
    ValueError
        If the ratio is out of range, or there is only one class.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.1, Table 1.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must be in [0, 1], got {ratio}")
    classes, positions = np.unique(as_labels(labels), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"at least two classes are needed, got 1 class: {classes.tolist()}")
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(positions))[: round(ratio * len(positions))]
    positions[wrong] += rng.integers(1, len(classes), len(wrong))
    return torch.from_numpy(classes[positions % len(classes)].astype(np.int64))


def all_shifts(X: Array, stride: int = 1) -> Tensor:
    """All cyclic shifts of samples along all their spatial axes.

    Parameters
    ----------
    X : array-like or Tensor of shape (m, C, *spatial)
    stride : int
        Step between shifts: they are multiples of ``stride``.

    Returns
    -------
    Tensor of shape (m, S, C, *spatial)
        S shifts of each sample; the first is the sample itself. ``flatten(0, 1)`` turns the shifts
        into samples, which have the labels ``labels.repeat_interleave(S)``.
    """
    check_count(stride=stride)
    X = as_samples(X)
    axes = tuple(range(1, X.ndim - 1))  # the spatial axes of one sample (C, *spatial)
    grid = torch.cartesian_prod(*(torch.arange(0, n, stride) for n in X.shape[2:]))
    steps = grid.reshape(-1, len(axes)).tolist()
    return torch.stack([X.roll(step, [a + 1 for a in axes]) for step in steps], 1)


def rotations(images: Array, count: int) -> Tensor:
    """Images rotated counter-clockwise about their centre by multiples of 2π/count.

    Parameters
    ----------
    images : array-like or Tensor of shape (m, C, H, W)
    count : int
        Number of rotations. The first is by 0.

    Returns
    -------
    Tensor of shape (m, count, C, H, W)
        Bilinearly interpolated; zero outside of the original image.
    """
    check_count(count=count)
    images = as_samples(images, name="images")
    height, width = images.shape[2:]
    rotated = []
    for step in range(count):
        angle = 2 * math.pi * step / count
        cos, sin = math.cos(angle), math.sin(angle)
        # The affine map takes each target pixel to its source; coordinates run over [−1, 1].
        aspect = max(1, height - 1) / max(1, width - 1)
        affine = torch.tensor([[cos, -sin * aspect, 0], [sin / aspect, cos, 0]], dtype=images.dtype)
        grid = functional.affine_grid(
            affine.to(images.device).expand(len(images), 2, 3),
            list(images.shape),
            align_corners=True,
        )
        rotated.append(functional.grid_sample(images, grid, align_corners=True))
    return torch.stack(rotated, 1)


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
