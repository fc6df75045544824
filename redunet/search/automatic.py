"""The lifts among which a search chooses, and the bands that suit a shape."""

from collections.abc import Sequence

from torch import nn

from redunet.lifts import MultiScaleLift, Standardize
from redunet.lifts.multi_scale import NONLINEARITIES as ALL_NONLINEARITIES
from redunet.lifts.multi_scale import Nonlinearity
from redunet.search.regression import ExpansionRegression

# Kernels of each dilation for signals, and random projections of vectors.
KERNELS_PER_SCALE = 32
PROJECTIONS = 512

# Kernels of each dilation for a reader, which only takes the mean of their responses. For vectors,
# its projections see one column, two, three and all columns, in turn.
READ_KERNELS = 128
READ_PROJECTIONS, READ_COLUMNS = 1024, (1, 2, 3, None)

# Images have kernels of these dilations, as far as they fit into the shortest axis.
IMAGE_DILATIONS = (1, 2, 3, 4)

# Kernels have at most this number of spatial axes.
MOST_AXES = 3

# Largest frequencies of the bands, by number of spatial axes; the last are for more axes.
BANDS: Sequence[Sequence[int]] = ([], [0, 1, 2, 4, 8, 16, 32], [1, 2, 3, 4], [1, 2])

NONLINEARITIES: tuple[Nonlinearity, ...] = ("relu", "soft step", "step")


def automatic_lifts(sample_shape: Sequence[int], seed: int = 0) -> list[nn.Module]:
    """The lifts that a search compares for samples of a shape.

    All of them standardise the channels first. For vectors they are 512 random projections with
    each of the nonlinearities of :class:`redunet.MultiScaleLift`, and the vectors themselves with a
    constant feature. For signals and images they are 32 random kernels of each dilation with each
    of the nonlinearities, with first differences and of the samples alone. The first one is best
    for classes of one or two samples, which cannot be left out.

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
    number = KERNELS_PER_SCALE if spatial else PROJECTIONS
    kernels = [
        _kernels(sample_shape, number, seed, nonlinearity, differences=differences)
        for differences in ((True, False) if spatial else (False,))
        for nonlinearity in NONLINEARITIES
    ]
    return kernels if spatial else [*kernels, Standardize(channels, constant=True)]


def automatic_reader(sample_shape: Sequence[int], seed: int = 0) -> ExpansionRegression:
    """The reader of a search: a regression on the means of thousands of channels.

    Channels are standardised first. For signals and images there are 128 random kernels of each
    dilation with all nonlinearities of :class:`redunet.MultiScaleLift`. For vectors there are 1024
    random projections of one, two, three or all columns with all but the competing ones.

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
    if len(sample_shape) > 1:
        lift = _kernels(sample_shape, READ_KERNELS, seed, ALL_NONLINEARITIES, mean=True)
    else:
        columns = READ_COLUMNS
        lift = _kernels(sample_shape, READ_PROJECTIONS, seed, NONLINEARITIES, columns=columns)
    return ExpansionRegression(lift)


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


def _kernels(
    sample_shape: Sequence[int],
    number: int,
    seed: int,
    nonlinearity: Nonlinearity | Sequence[Nonlinearity],
    *,
    columns: Sequence[int | None] | None = None,
    differences: bool = False,
    mean: bool = False,
) -> nn.Module:
    """Random kernels after a standardisation, so many of each dilation."""
    channels, *spatial = sample_shape
    dilations = None  # for series the lift determines them itself
    if len(spatial) > 1:
        dilations = [d for d in IMAGE_DILATIONS if 2 * d < min(spatial)] or [1]
    lift = MultiScaleLift(
        channels,
        len(spatial),
        kernels_per_scale=number,
        dilations=dilations,
        nonlinearity=nonlinearity,
        channels_per_kernel=columns,
        differences=differences,
        mean=mean,
        seed=seed,
    )
    return nn.Sequential(Standardize(channels), lift)
