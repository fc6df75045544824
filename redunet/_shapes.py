"""Shapes of samples that were probably not meant, and what to write instead."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from redunet._warnings import warn

# The numbers of channels of images whose channels come last: grey, two, red-green-blue, and alpha.
FEW_CHANNELS = 4

# Images and series are at least so long, if their channels seem to come last.
LONG = 8

# Squares of at least this size seem to be grey images.
SQUARE = 12

# An axis is much longer than another one if it is longer by this factor. An axis that is longer by
# the smaller factor is a doubt only if the values are rougher along it by this factor, too.
MUCH_LONGER = 8
LARGER = 2

# The roughness of both axes of an image is below this value.
SMOOTH = 0.7

# At most this number of samples are looked at.
EXAMPLES = 64


def check_layout(X: Tensor, name: str = "X") -> None:
    """Warn if samples ``(m, C, *spatial)`` seem to have their channels last, or no channels.

    Series are in doubt if they have far more channels than values, and the channels are not
    rougher than the values; or more channels than values, and values that jump about while
    neighbouring channels are alike. Images are in doubt if their last axis has at most four places,
    and all others eight. Large squares that are smooth along both axes look like grey images.
    """
    _, channels, *spatial = (1, *X.shape[1:]) if X.ndim == 1 else X.shape
    if not spatial or channels < LONG:
        return
    last = spatial[-1]
    if len(spatial) > 1:
        if last <= FEW_CHANNELS and min(channels, *spatial[:-1]) >= LONG:
            order = (0, len(spatial) + 1, *range(1, len(spatial) + 1))
            _warn_of_channels(X, name, f"images of {channels} channels", order)
        return
    first_roughness, last_roughness = (roughness(X[:EXAMPLES], axis) for axis in (1, 2))
    if channels == last >= SQUARE and max(first_roughness, last_roughness) < SMOOTH:
        warn(
            f"{name} of shape {tuple(X.shape)} is taken for series of {channels} channels: if "
            f"these are grey images, give them an axis for their channel, {name}[:, None]"
        )
    elif (channels >= MUCH_LONGER * last and not LARGER * last_roughness < first_roughness) or (
        channels >= LARGER * last and LARGER * first_roughness < last_roughness
    ):
        _warn_of_channels(X, name, f"series of {channels} channels and {last} values", (0, 2, 1))


def _warn_of_channels(X: Tensor, name: str, taken: str, order: Sequence[int]) -> None:
    warn(
        f"{name} of shape {tuple(X.shape)} is taken for {taken}, as samples have shape (m, C, "
        f"*spatial): if the {X.shape[-1]} channels come last, pass {name}.transpose{tuple(order)}, "
        f"or {name}.movedim(-1, 1) if it is a tensor"
    )


def roughness(X: Tensor, axis: int) -> float:
    """The mean squared difference of neighbours along an axis, over twice the variance along it.

    It is near 0 for smooth values, 1 for values that do not depend on their neighbours, and NaN if
    all values are equal (von Neumann's ratio).
    """
    X = X.detach().double()
    if X.shape[axis] < 2:
        return math.nan
    steps = X.diff(dim=axis).square().mean()
    return (steps / (2 * X.var(axis).mean())).item()


def advice(shape: Sequence[int], expected: Sequence[int]) -> str:
    """What to write if ``X`` has a shape whose samples do not have the expected shape."""
    shape, expected = tuple(shape), tuple(expected)
    sample = shape[1:]
    if shape == expected:
        return ": pass X[None] if this is one sample"
    if expected[0] == 1 and sample == expected[1:]:
        return ": give the samples an axis for their channel, X[:, None]"
    if len(sample) == len(expected) > 1 and (sample[-1], *sample[:-1]) == expected:
        order = (0, len(sample), *range(1, len(sample)))
        return f": channels come first, X.transpose{order}, or X.movedim(-1, 1) of a tensor"
    if 1 in (len(sample), len(expected)) and math.prod(sample) == math.prod(expected):
        return f": pass X.reshape(len(X), {', '.join(map(str, expected))}) if the order fits"
    return ""


def check_equal_shapes(samples: object) -> None:
    """Raise ValueError, which says what to write, if samples have different shapes."""
    shapes = [tuple(np.shape(one)) for one in samples] if isinstance(samples, Iterable) else []
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is None:
        return
    raise ValueError(
        f"samples must have one shape, got {shapes[0]} and {other}: if these are series (C, T_i), "
        "pass datasets.pad_series(X); bring images to one size, as datasets.image_folder does"
    )
