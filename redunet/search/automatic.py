"""The lifts among which a search chooses, and the bands that suit a shape."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from redunet.lifts import MultiScaleLift, Standardize
from redunet.lifts.multi_scale import NONLINEARITIES as ALL_NONLINEARITIES
from redunet.search.regression import ExpansionRegression

# Kernels of each dilation for signals, and random projections of vectors.
KERNELS_PER_SCALE = 32
PROJECTIONS = 512

# Kernels of each dilation for a reader, which only takes the mean of their responses.
READ_KERNELS = 128

# Images have kernels of these dilations, as far as the shortest axis has room for them.
IMAGE_DILATIONS = (1, 2, 3, 4)
IMAGE_KERNEL_SIZE = 3

# Kernels have at most this number of spatial axes.
MOST_AXES = 3

# Largest frequencies of the bands, by number of spatial axes; the last are for more axes.
BANDS: Sequence[Sequence[int]] = ([], [0, 1, 2, 4, 8, 16, 32], [1, 2, 3, 4], [1, 2])

NONLINEARITIES: tuple[Literal["relu", "soft step", "step"], ...] = ("relu", "soft step", "step")


def automatic_lifts(sample_shape: Sequence[int], seed: int = 0) -> list[nn.Module]:
    """The lifts that a search compares for samples of a shape.

    All of them standardise the channels first. For vectors they are the vectors themselves with a
    constant feature, and 512 random projections with each of the nonlinearities of
    :class:`redunet.MultiScaleLift`. For signals and images they are 32 random kernels of each
    dilation with each of the nonlinearities, of the samples alone and with first differences.

    Parameters
    ----------
    sample_shape : sequence of int
        Shape ``(C, *spatial)`` of one sample.
    seed : int
        Seed of the random kernels.

    Returns
    -------
    list of nn.Module
        Lifts that are not fitted yet.

    Raises
    ------
    ValueError
        If samples have more than three spatial axes.
    """
    channels, *spatial = sample_shape
    if len(spatial) > MOST_AXES:
        raise ValueError(
            f"automatic lifts take samples of at most {MOST_AXES} spatial axes, got samples of "
            f"shape {tuple(sample_shape)}: pass a lift of your own, lift=None, or X with axes that "
            "are joined, such as X.flatten(4)"
        )
    if not spatial:
        return [
            Standardize(channels, constant=True),
            *(
                _standardized(
                    channels,
                    MultiScaleLift(
                        channels,
                        0,
                        kernels_per_scale=PROJECTIONS,
                        nonlinearity=nonlinearity,
                        seed=seed,
                    ),
                )
                for nonlinearity in NONLINEARITIES
            ),
        ]
    return [
        _standardized(
            channels,
            MultiScaleLift(
                channels,
                len(spatial),
                kernels_per_scale=KERNELS_PER_SCALE,
                dilations=_dilations(spatial),
                nonlinearity=nonlinearity,
                differences=differences,
                seed=seed,
            ),
        )
        for differences in (False, True)
        for nonlinearity in NONLINEARITIES
    ]


def automatic_reader(sample_shape: Sequence[int], seed: int = 0) -> ExpansionRegression:
    """The reader of a search: a regression on the means of thousands of channels.

    Channels are standardised first. For signals and images there are 128 random kernels of each
    dilation with all nonlinearities of :class:`redunet.MultiScaleLift`, for vectors 512 random
    projections.

    Parameters
    ----------
    sample_shape : sequence of int
        Shape ``(C, *spatial)`` of one sample.
    seed : int
        Seed of the random kernels.

    Returns
    -------
    ExpansionRegression
        A regression that is not fitted yet.
    """
    channels, *spatial = sample_shape
    lift = MultiScaleLift(
        channels,
        len(spatial),
        kernels_per_scale=READ_KERNELS if spatial else PROJECTIONS,
        dilations=_dilations(spatial) if spatial else None,
        nonlinearity=ALL_NONLINEARITIES,
        mean=True,
        seed=seed,
    )
    return ExpansionRegression(_standardized(channels, lift), seed=seed)


def automatic_bands(feature_shape: Sequence[int]) -> list[int | None]:
    """The bands that a search compares for features ``(C, *spatial)``; None stands for no band.

    For series they are 0, 1, 2, 4, 8, 16 and 32, for images 1, 2, 3 and 4, as far as they leave out
    some frequencies. Short axes also get None, unless the widest band leaves out only the highest
    frequency.
    """
    _, *spatial = feature_shape
    shortest = min(spatial, default=1)
    bands = BANDS[min(len(spatial), len(BANDS) - 1)]
    narrower = [band for band in bands if 2 * band + 1 < shortest]
    is_complete = len(narrower) == len(bands) > 0 or (narrower and 2 * narrower[-1] + 2 == shortest)
    return [*narrower] if is_complete else [*narrower, None]


def _standardized(channels: int, lift: nn.Module) -> nn.Module:
    return nn.Sequential(Standardize(channels), lift)


def _dilations(spatial: Sequence[int]) -> tuple[int, ...] | None:
    """Dilations of kernels for images; None for series, whose lift determines them itself."""
    if len(spatial) == 1:
        return None
    room = max(1, (min(spatial) - 1) // (IMAGE_KERNEL_SIZE - 1))
    return tuple(dilation for dilation in IMAGE_DILATIONS if dilation <= room)
