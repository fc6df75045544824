"""A lift by random kernels of many dilations, each with a bias of its own."""

import math
from collections.abc import Sequence
from typing import Literal, Self, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional

from redunet._checks import Array, as_samples, check_count, check_counts, check_flag
from redunet.lifts.base import Lift

# Length of the kernels along each axis, by number of axes; it is 3 for more axes.
KERNEL_SIZES = {0: 1, 1: 9}

# Biases lie between these quantiles of the responses.
QUANTILES = (0.2, 0.8)

# The width of the soft step, in standard deviations of the responses.
SOFTNESS = 0.3

# Number of kernels that compete with each other.
GROUP = 8

# The least response that competes, in standard deviations of the responses. Where a signal is
# constant, only rounding would decide which response is the strongest.
SILENCE = 1e-3

Nonlinearity: TypeAlias = Literal["step", "soft step", "relu", "competing"]
NONLINEARITIES: tuple[Nonlinearity, ...] = get_args(Nonlinearity)

# Where a bias lies between two responses. If all samples are whole numbers, other responses may lie
# half-way.
GOLDEN = (math.sqrt(5) - 1) / 2

# Number of responses that are in memory at one time. A block should fit in the cache of a CPU.
BLOCK_ENTRIES = {"cpu": 2**18, "cuda": 2**24}

# Number of responses of each kernel that determine its bias, and of those that are sorted for it.
FIT_ENTRIES = 2**15
SORTED_ENTRIES = 2**12


class MultiScaleLift(Lift):
    """Circular correlations with random kernels of many dilations, followed by a nonlinearity.

    A response r of a kernel is compared with the bias b of the kernel, a random quantile of its
    responses on the training samples. Call :meth:`fit` first, which determines the biases. The
    output has ``kernels_per_scale`` channels for each dilation and nonlinearity. Kernels are
    random, with unit norm and zero mean. The level of a signal therefore does not matter. Only
    kernels of a single entry have another mean.

    The lift commutes with cyclic shifts. With the step, the zero frequency of a channel is √N times
    the share of the N responses that are above the bias. This share is the feature "PPV" of ROCKET.
    A network uses the other frequencies too.

    Competing kernels ignore the biases. At every place, only the strongest and the weakest of the
    responses of eight kernels pass. The channels of a group are the responses of its kernels where
    they are the strongest and 0 elsewhere, and then 1 where they are the weakest and 0 elsewhere.
    Their means over all places are what Hydra counts. Only positive responses are strong and only
    negative ones weak, and their modulus must be a thousandth of a standard deviation.

    For vectors (``ndim=0``) the kernels are random projections.

    Parameters
    ----------
    in_channels : int
        Number of channels of the samples.
    ndim : int
        Number of spatial axes.
    kernels_per_scale : int
        Number of kernels for each dilation.
    kernel_size : int, optional
        Length of the kernels along each axis. By default 9 for one axis, 3 for more.
    dilations : sequence of int, optional
        Distances between neighbouring entries of a kernel. By default :meth:`fit` takes 1, 2, 4, …
        as long as half a kernel is shorter than the shortest axis.
    nonlinearity : {"step", "soft step", "relu", "competing"}, or sequence of them
        "step" is 1 if r > b and 0 otherwise. "soft step" is the logistic function of
        (r − b)/(0.3 s), with s the standard deviation of r. "relu" is max(r − b, 0). "competing"
        is the competition of eight kernels; it needs a multiple of 8 as ``kernels_per_scale``, and
        gives twice as many channels. Several nonlinearities share the responses, and their channels
        stand side by side.
    channels_per_kernel : sequence of (int or None), optional
        How many input channels a kernel sees, for the kernels in turn. The channels are random;
        None stands for all of them. By default every kernel sees all channels. Kernels that see one
        column of a table, or two, find thresholds that projections of all columns blur.
    differences : bool
        Whether to add the circular first differences along each axis as input channels.
    mean : bool
        Whether to return vectors, the mean of each channel over all places. It is the zero
        frequency of the channel divided by √N. Channels are averaged as soon as they are made, so
        thousands of them take little memory.
    seed : int
        Seed of kernels and quantiles. Torch's global random state is neither used nor changed.

    Raises
    ------
    ValueError
        If a setting is out of range, or samples have another shape.
    RuntimeError
        If the lift is used before it is fitted.

    References
    ----------
    Dempster, Petitjean, Webb. ROCKET: exceptionally fast and accurate time series classification
    using random convolutional kernels (Data Mining and Knowledge Discovery 2020), for dilations,
    biases and PPV; MiniRocket (KDD 2021), for biases at quantiles of the responses; Hydra (Data
    Mining and Knowledge Discovery 2023), for competing kernels.
    """

    ndim: int
    kernels: Tensor
    biases: Tensor
    spreads: Tensor

    def __init__(
        self,
        in_channels: int,
        ndim: int,
        *,
        kernels_per_scale: int = 32,
        kernel_size: int | None = None,
        dilations: Sequence[int] | None = None,
        nonlinearity: Nonlinearity | Sequence[Nonlinearity] = "step",
        channels_per_kernel: Sequence[int | None] | None = None,
        differences: bool = False,
        mean: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        self.in_channels, self.kernels_per_scale, kernel_size = check_count(
            in_channels=in_channels, kernels_per_scale=kernels_per_scale, kernel_size=kernel_size
        )
        ndim, seed = check_count(0, ndim=ndim), check_count(None, seed=seed)
        if ndim > 3:
            raise ValueError(f"ndim must be 0, 1, 2 or 3, got {ndim}")
        self.nonlinearity = nonlinearity if isinstance(nonlinearity, str) else tuple(nonlinearity)
        if not self._nonlinearities or not set(self._nonlinearities) <= set(NONLINEARITIES):
            raise ValueError(
                f"nonlinearity must be one of {NONLINEARITIES}, or several of them, got "
                f"{nonlinearity!r}"
            )
        if "competing" in self._nonlinearities and self.kernels_per_scale % GROUP:
            raise ValueError(
                f"competing kernels form groups of {GROUP}: kernels_per_scale must be a multiple "
                f"of {GROUP}, got {kernels_per_scale}"
            )
        self.channels_per_kernel = None
        if channels_per_kernel is not None:
            self.channels_per_kernel = check_counts(channels_per_kernel=channels_per_kernel)
            if not self.channels_per_kernel:
                raise ValueError(
                    "channels_per_kernel must have a number, or be None for all, got ()"
                )
        self.ndim, self.seed = ndim, seed
        self.kernel_size = kernel_size or KERNEL_SIZES.get(ndim, 3)
        self.dilations = None if dilations is None else check_counts(dilations=dilations)
        self._follows_samples = dilations is None
        self.differences, self.mean = check_flag(differences=differences, mean=mean)
        self._make_kernels()

    @property
    def _nonlinearities(self) -> tuple[Nonlinearity, ...]:
        several = self.nonlinearity
        return (several,) if isinstance(several, str) else several

    def _make_kernels(self) -> None:
        """Random kernels for the dilations, without biases."""
        scales = len(self.dilations or ())
        channels = self.in_channels * (1 + self.ndim * self.differences)
        places = (self.kernel_size,) * self.ndim
        shape = (scales, self.kernels_per_scale, channels, *places)
        generator = torch.Generator().manual_seed(self.seed)
        kernels = torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64)
        kernels = kernels.reshape(*shape[:3], math.prod(places))
        if self.channels_per_kernel:
            turns = -(-self.kernels_per_scale // len(self.channels_per_kernel))
            numbers = [number or channels for number in self.channels_per_kernel * turns]
            most = torch.tensor(numbers[: self.kernels_per_scale], device="cpu")
            ranks = torch.rand(shape[:3], generator=generator, device="cpu").argsort(2)
            kernels = kernels * (ranks < most[:, None])[..., None]
        if kernels.shape[3] > 1:
            kernels = kernels - kernels.mean(3, keepdim=True)
        kernels = kernels / torch.linalg.vector_norm(kernels, dim=(2, 3), keepdim=True)
        dtype = torch.get_default_dtype()
        self.register_buffer("kernels", kernels.reshape(shape).to(dtype))
        self.register_buffer("biases", torch.zeros(shape[:2], dtype=dtype))
        self.register_buffer("spreads", torch.zeros(shape[:2], dtype=dtype))

    @torch.no_grad()
    def fit(self, X: Array) -> Self:
        """Determine the biases, and the dilations if they are not given.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, in_channels, *spatial)
            Training samples. If they have more than 2¹⁵ responses to a kernel, random samples of
            them are used, and the quantiles come from 2¹² of their responses.
        """
        X = as_samples(X)
        self._check_shape(X)
        if self._follows_samples:
            self.dilations = automatic_dilations(tuple(X.shape[2:]), self.kernel_size)
            self._make_kernels()
        self.to(X.device, X.dtype)
        generator = torch.Generator().manual_seed(self.seed + 1)
        most = max(1, FIT_ENTRIES // math.prod(X.shape[2:]))
        chosen = torch.randperm(len(X), generator=generator, device="cpu")[:most].to(X.device)
        samples = self._with_differences(X[chosen])
        entries = len(samples) * math.prod(X.shape[2:])
        places = torch.randperm(entries, generator=generator, device="cpu")[:SORTED_ENTRIES].to(
            X.device
        )
        low, high = QUANTILES
        quantiles = low + (high - low) * torch.rand(
            self.biases.shape, generator=generator, device="cpu"
        )
        # What rounding can change in a response to each of the samples, (m,), and to any of them.
        unit = 2 * torch.finfo(X.dtype).eps * math.sqrt(self.kernels[0, 0].numel())
        of_samples = unit * samples.abs().flatten(1).amax(1)
        near, rounding = of_samples[places // math.prod(X.shape[2:])], of_samples.max()
        for scale in range(len(self.biases)):
            responses = self._respond(samples, scale).transpose(0, 1).flatten(1)  # (K, m·N)
            ranks = (quantiles[scale] * (len(places) - 2)).round().long().clamp_min(0)
            biases = _above_rank(responses[:, places], ranks.to(X.device), near)
            # Where responses do not vary, rounding should neither compete nor pass a step.
            spreads = responses.double().std(1, correction=0)
            dead = (rounding / SILENCE).clamp_min(torch.finfo(X.dtype).tiny)
            self.biases[scale] = torch.where(spreads > rounding, biases, biases + dead)
            self.spreads[scale] = torch.where(spreads > rounding, spreads, dead)
        return self

    def forward(self, X: Tensor) -> Tensor:
        """Lift ``(m, in_channels, *spatial)`` to ``(m, channels, *spatial)``.

        With ``mean=True``, the result has shape ``(m, channels)``.
        """
        self._check_shape(X)
        if torch.compiler.is_exporting():  # a graph for any number of samples has no blocks
            return self._lift(X)
        self._check_fitted(self.spreads)
        scales = 1 if self.mean else len(self.biases)
        entries = scales * self.kernels_per_scale * math.prod(X.shape[2:])
        blocks = X.split(max(1, _block_entries(X) // entries))
        return torch.cat([self._lift(block) for block in blocks])

    def _lift(self, X: Tensor) -> Tensor:
        X, scales = self._with_differences(X), range(len(self.biases))
        return torch.cat([self._channels(X, scale) for scale in scales], 1)

    def _channels(self, X: Tensor, scale: int) -> Tensor:
        """The channels of one dilation, ``(m, K, *spatial)``, or their means over all places."""
        size = max(1, _block_entries(X) // math.prod(X.shape[2:]) // GROUP) * GROUP
        found: list[list[Tensor]] = [[] for _ in self._nonlinearities]
        for start in range(0, self.kernels_per_scale, size):
            chosen = slice(start, start + size)
            above = self._respond(X, scale, chosen, -self.biases[scale, chosen])
            for nonlinearity, blocks in zip(self._nonlinearities, found, strict=True):
                channels = self._activate(above, nonlinearity, scale, chosen)
                average = self.mean and self.ndim > 0
                blocks.append(channels.flatten(2).mean(2) if average else channels)
        return torch.cat([block for blocks in found for block in blocks], 1)

    def _respond(
        self, X: Tensor, scale: int, chosen: slice = slice(None), offsets: Tensor | None = None
    ) -> Tensor:
        """Responses to kernels of one dilation, ``(m, K, *spatial)``, plus offsets ``(K,)``."""
        kernels = self.kernels[scale, chosen]
        if self.ndim == 0:
            return functional.linear(X, kernels, offsets)
        dilation = (self.dilations or ())[scale]
        for axis in range(2, X.ndim):
            X = X.index_select(axis, self._around(X.shape[axis], dilation, X.device))
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[self.ndim - 1]
        return convolve(X, kernels, offsets, dilation=dilation)

    def _around(self, length: int, dilation: int, device: torch.device) -> Tensor:
        """Positions along a periodic axis, with half a kernel more at each end."""
        before = (self.kernel_size - 1) // 2 * dilation
        after = self.kernel_size // 2 * dilation
        return torch.arange(-before, length + after, device=device) % length

    def _activate(
        self, above: Tensor, nonlinearity: Nonlinearity, scale: int, chosen: slice
    ) -> Tensor:
        """A nonlinearity of r − b, ``(m, K, *spatial)``.

        Signs are faster than comparisons, whose booleans would have to become floats.
        """
        along = (-1, *[1] * self.ndim)
        spreads = self.spreads[scale, chosen]
        if nonlinearity == "step":
            return above.sign().relu_()
        if nonlinearity == "relu":
            return above.relu()
        if nonlinearity == "soft step":
            return above.div(SOFTNESS * spreads.view(along)).sigmoid_()
        responses = above.add(self.biases[scale, chosen].view(along))
        least = SILENCE * spreads.view(-1, GROUP, *along[1:]).amax(1, keepdim=True)
        return _compete(responses.unflatten(1, (-1, GROUP)), least)

    def _with_differences(self, X: Tensor) -> Tensor:
        if not self.differences:
            return X
        return torch.cat([X, *(X - X.roll(1, axis) for axis in range(2, X.ndim))], 1)


def _block_entries(X: Tensor) -> int:
    return BLOCK_ENTRIES.get(X.device.type, BLOCK_ENTRIES["cuda"])


def _compete(groups: Tensor, least: Tensor) -> Tensor:
    """The channels of competing kernels, ``(m, K/8, 8, *spatial)`` to ``(m, 2K, *spatial)``.

    All kernels that share an extreme pass, so that their order does not matter. A response competes
    if its modulus is at least ``least``, ``(K/8, 1, …)``.
    """
    strongest = (groups - groups.amax(2, keepdim=True).maximum(least)).sign_().add_(1)
    weakest = (groups.amin(2, keepdim=True).minimum(-least) - groups).sign_().add_(1)
    return torch.cat([groups * strongest, weakest], 2).flatten(1, 2)


def _above_rank(responses: Tensor, ranks: Tensor, rounding: Tensor) -> Tensor:
    """A bias ``(K,)`` above the response at each rank, and below the next other one.

    Samples of whole numbers have many responses that are equal up to rounding, which differs from
    place to place. No response may lie that near to a bias, or shifts would change its step.
    ``rounding`` is that of the responses, ``(n,)``.
    """
    ordered, order = responses.sort(1)
    chosen, last = ordered.gather(1, ranks[:, None]), ordered.shape[1]
    rounding = rounding[order.gather(1, ranks[:, None])]
    above, first = (ordered <= chosen + rounding).sum(1), (ordered < chosen - rounding).sum(1)
    upper = torch.where(above < last, above, first).clamp_min(min(1, last - 1))
    low, high = ordered.gather(1, torch.stack([upper - 1, upper], 1).clamp_min(0)).unbind(1)
    return low + GOLDEN * (high - low)


def automatic_dilations(shape: tuple[int, ...], kernel_size: int) -> tuple[int, ...]:
    """1, 2, 4, … as long as half a kernel is shorter than the shortest axis; at least 1."""
    half, shortest = max(1, kernel_size // 2), min(shape, default=0)
    return tuple(2**i for i in range(shortest.bit_length()) if half * 2**i < shortest) or (1,)
