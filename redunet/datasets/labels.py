"""Selection and corruption of labels."""

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, check_count, check_number
from redunet._labels import as_labels


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
    per_class, seed = check_count(per_class=per_class), check_count(0, seed=seed)
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
    ratio, seed = check_number(ratio=ratio), check_count(0, seed=seed)
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must be in [0, 1], got {ratio}")
    classes, positions = np.unique(as_labels(labels), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"at least two classes are needed, got 1 class: {classes.tolist()}")
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(positions))[: round(ratio * len(positions))]
    positions[wrong] += rng.integers(1, len(classes), len(wrong))
    return torch.from_numpy(classes[positions % len(classes)].astype(np.int64))
