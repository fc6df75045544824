"""The construction, layer by layer: gather statistics of the samples, invert, move the samples.

Both passes, to gather and to move, go over batches of any size, which may lie in files; sums over
batches may go on over processes. That is all there is to samples that are more than memory holds,
or more than a machine.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from redunet.checks import check_count, check_positive
from redunet.features import Features
from redunet.layer import RectifiedLayer, ReduLayer, extrapolated
from redunet.operators import Operators
from redunet.partition import Partition
from redunet.rates import RateReduction
from redunet.spectrum import HalfSpectrum
from redunet.statistics import (
    ClassAtoms,
    ClassMembers,
    ClassMoments,
    Population,
    Statistics,
    orthonormal_rows,
    random_sketch,
)

if TYPE_CHECKING:
    from redunet.checkpoint import Checkpoint

# Entries of the features of one batch, where the user sets no batch size.
BATCH_ENTRIES = 2**24

# Steps ηα beyond which a construction from few samples is warned about.
LONGEST_STEP = 5.0

# By how many times the precision of numbers a rate may be wrong.
ROUNDING = 10

# Subspace iterations that turn a random sketch into leading eigenvectors.
LATCHING_PASSES = 8


@dataclass(frozen=True)
class Settings:
    """What a construction is asked for; see :meth:`redunet.ReduNet.construct`."""

    num_layers: int
    tol: float | None = None
    eta: float = 0.5
    eps_sq: float = 0.1
    lam: float = 500.0
    assignment: str = "softmax"
    true_membership: bool = False
    operators: str = "exact"
    rank: int | None = None
    latch_every: int | None = None
    momentum: float = 0.0

    def __post_init__(self) -> None:
        check_count(num_layers=self.num_layers)
        check_positive(eta=self.eta, eps_sq=self.eps_sq)
        if not self.lam > 0:
            raise ValueError(f"lam must be positive (math.inf for hard membership), got {self.lam}")
        if self.tol is not None and not 0 <= self.tol < 1:
            raise ValueError(f"tol must be None or in [0, 1), got {self.tol}")
        if self.assignment not in ("softmax", "relu"):
            raise ValueError(f"assignment must be 'softmax' or 'relu', got {self.assignment!r}")
        if self.operators not in ("exact", "variational"):
            raise ValueError(f"operators must be 'exact' or 'variational', got {self.operators!r}")
        check_count(rank=self.rank, latch_every=self.latch_every)
        if self.operators == "variational" and self.rank is None:
            raise ValueError("variational operators need a rank")
        if self.operators == "exact" and (self.rank, self.latch_every) != (None, None):
            raise ValueError("rank and latch_every are settings of operators='variational'")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


@dataclass
class RateHistory:
    """Rates of the features before the first layer and after each one, in nats.

    Attributes
    ----------
    expansion, compression, delta : numpy arrays of length num_layers + 1
        R, R_c and ΔR = R − R_c; entry 0 is before layer 1.
    validation : RateHistory or None
        The same of the validation samples, if there were any.
    """

    expansion: np.ndarray = field(default_factory=lambda: np.empty(0))
    compression: np.ndarray = field(default_factory=lambda: np.empty(0))
    validation: "RateHistory | None" = None

    @property
    def delta(self) -> np.ndarray:
        """ΔR = R − R_c."""
        return self.expansion - self.compression

    def append(self, rates: RateReduction) -> None:
        """Add the rates after one more layer."""
        self.expansion = np.append(self.expansion, float(rates.expansion))
        self.compression = np.append(self.compression, float(rates.compression))

    def has_stalled(self, tol: float | None) -> bool:
        """Whether the last layer raised ΔR by less than its ``tol``-th part."""
        if tol is None or len(self.delta) < 2:
            return False
        before, after = self.delta[-2:]
        return bool(after - before < tol * abs(before))


@dataclass(frozen=True)
class Extrapolated:
    """Batches of q = v + β (v − v_previous), to be iterated any number of times."""

    current: Features
    previous: Features
    momentum: float

    def __iter__(self) -> Iterator[Tensor]:
        """Batches ``(F, m, C)``."""
        pairs = zip(self.current, self.previous, strict=True)
        return (extrapolated(V, previous, self.momentum) for V, previous in pairs)


class Samples:
    """Samples on their way through the layers.

    Parameters
    ----------
    features : Features
        On the sphere.
    partitions : list of Partition
        One for each batch of the features.
    """

    def __init__(self, features: Features, partitions: list[Partition]):
        self.partitions = partitions
        self.current = features
        self.previous: Features | None = None  # kept for momentum only

    def points(self, momentum: float) -> Iterable[Tensor]:
        """Batches of what a layer is made of and applied to: the features, or beyond them."""
        return Extrapolated(self.current, self.previous, momentum) if momentum else self.current

    def move(self, layer: ReduLayer, *, known: bool, keep: bool) -> Features:
        """Features after a layer, with known or estimated memberships.

        Unless they are to be kept, those before it are freed on the way.
        """
        moved = Features(self.current.device, self.current.home)
        for number, V in enumerate(self.points(layer.momentum)):
            moved.append(layer(V, self.partitions[number].membership if known else None))
            if not keep:
                self.current.discard(number)
        return moved

    def accept(self, moved: Features, *, keep: bool) -> None:
        """Go on from there."""
        if self.previous is not None:
            self.previous.clear()
        self.previous = self.current if keep else None
        self.current = moved


class Construction:
    """Layers, made one by one.

    Parameters
    ----------
    settings : Settings
    population : Population
        Of the samples.
    samples : Samples
        Moved along.
    validation : tuple of Population and Samples, optional
        More samples, whose rates to follow.
    offload : bool
        Put every layer into host memory as soon as it has done its work.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Algorithms 1 and 3; eq. 28 for momentum.
    """

    def __init__(
        self,
        settings: Settings,
        population: Population,
        samples: Samples,
        *,
        validation: tuple[Population, Samples] | None = None,
        offload: bool = False,
    ):
        self.settings = settings
        self.population = population
        self.samples = samples
        self.validation = validation
        self.offload = offload
        self.layers: list[ReduLayer] = []
        self.history = RateHistory(validation=RateHistory() if validation else None)
        self._found: Statistics | None = None  # of the features as they are
        precision = population.dtype.to_real()
        self._constants = (
            population.shares.to(precision),
            population.shares.new_tensor(population.alpha, dtype=precision),
            population.spectrum,
        )

    def run(self, *, progress: bool = False, checkpoint: "Checkpoint | None" = None) -> None:
        """Make all layers, or those that a checkpoint does not have."""
        self._found = self._gather(self.samples.current, 0, None)
        self._record(self._found.rates())
        if checkpoint is not None:
            checkpoint.restore(self)
            if self.layers and not self._is_finished():
                done = len(self.layers)
                self._found = self._gather(self.samples.current, done, self.layers[-1])
        with tqdm(
            total=self.settings.num_layers,
            initial=len(self.layers),
            desc="layers",
            disable=not progress,
        ) as bar:
            while not self._is_finished():
                bar.set_postfix(rate_reduction=f"{self.history.delta[-1]:.4g}")
                self._add_layer()
                if checkpoint is not None:
                    checkpoint.save(self)
                bar.update()

    def _is_finished(self) -> bool:
        settings = self.settings
        return len(self.layers) >= settings.num_layers or self.history.has_stalled(settings.tol)

    def _add_layer(self) -> None:
        """Make a layer, ahead of the features if there is momentum, and move all samples."""
        settings, samples, done = self.settings, self.samples, len(self.layers)
        keep = settings.momentum > 0
        for momentum in (0.0,) if samples.previous is None else (settings.momentum, 0.0):
            if momentum:
                operators = self._gather(
                    samples.points(momentum), done, self.layers[-1]
                ).operators()
            else:
                operators = self._found.operators()
                self._found = None  # as large as the operators
            layer = make_layer(operators, *self._constants, settings, momentum)
            moved = samples.move(layer, known=settings.true_membership, keep=keep)
            after = self._gather(moved, done + 1, layer)
            rates = after.rates()
            if not momentum or not self._falls(rates):
                break
            moved.clear()  # too far: again, from rest
        self._found = after
        samples.accept(moved, keep=keep)
        if self.validation:
            others = self.validation[1]
            others.accept(others.move(layer, known=False, keep=keep), keep=keep)
        self._record(rates)
        self.layers.append(layer.to("cpu") if self.offload else layer)

    def _falls(self, rates: RateReduction) -> bool:
        """Whether ΔR is less than it was, by more than rounding."""
        rounding = ROUNDING * torch.finfo(self.population.dtype).eps * float(rates.expansion)
        return float(rates.delta) < self.history.delta[-1] - rounding

    def _record(self, rates: RateReduction) -> None:
        self.history.append(rates)
        if self.validation:
            population, others = self.validation
            found = _gather(exact_statistics(population), others.current, others.partitions)
            self.history.validation.append(found.rates())

    def _gather(self, points: Iterable[Tensor], done: int, last: ReduLayer | None) -> Statistics:
        """Statistics of points that have ``done`` layers behind them, of which this is the last."""
        population, settings = self.population, self.settings
        if settings.operators == "exact":
            return _gather(exact_statistics(population), points, self.samples.partitions)
        if last is None:
            sketch = random_sketch(population, settings.rank)
        else:
            sketch = orthonormal_rows(last.operators.factors.to(population.counts.device))
        if last is None or (settings.latch_every and done % settings.latch_every == 0):
            for _ in range(LATCHING_PASSES):
                atoms = ClassAtoms(population, sketch)
                sketch = orthonormal_rows(_gather(atoms, points, self.samples.partitions).factors())
        return _gather(ClassAtoms(population, sketch), points, self.samples.partitions)


def exact_statistics(population: Population) -> Statistics:
    """Moments, or members where the largest class is so small that this is less work.

    Norms and sums of responses take C² products a sample and class, and r(C + r) from r members.
    """
    largest, channels = int(population.sizes.max()), population.channels
    few = largest * (channels + largest) < channels**2
    return ClassMembers(population) if few else ClassMoments(population)


def _gather(
    statistics: Statistics, points: Iterable[Tensor], partitions: list[Partition]
) -> Statistics:
    for V, partition in zip(points, partitions, strict=True):
        statistics.add(V, partition)
    return statistics.finish()


def make_layer(
    operators: Operators,
    proportions: Tensor,
    alpha: Tensor,
    spectrum: HalfSpectrum,
    settings: Settings,
    momentum: float,
) -> ReduLayer:
    """The kind of layer that the settings ask for."""
    arguments = (operators, proportions, settings.eta, settings.lam, momentum)
    if settings.assignment == "relu":
        return RectifiedLayer(*arguments, alpha=alpha, spectrum=spectrum)
    return ReduLayer(*arguments)


def default_batch_size(spectrum: HalfSpectrum, channels: int) -> int:
    """Samples whose features, and a few copies of them, are few for any machine's memory."""
    return max(64, BATCH_ENTRIES // (len(spectrum) * channels))


def warn_of_overshoot(population: Population, settings: Settings) -> None:
    """Warn where new samples will fall to chance, however good the training rates look.

    Where a class has fewer samples than channels, new samples of it have a residual that no
    training sample shows, and a layer takes the step ηα = ηC/(mε²) along it. As in any gradient
    ascent, a long step overshoots; up to 5 it was seen to do no harm, from 10 on to ruin.
    """
    step = settings.eta * population.alpha
    fewest = population.counts.min().item()
    if fewest < population.channels and step > LONGEST_STEP:
        warnings.warn(
            f"the step eta*C/(m*eps_sq) = {step:.3g} is long and a class has {fewest:g} samples, "
            f"fewer than the {population.channels} channels: features of new samples may be "
            f"meaningless; eta={settings.eta * 2 / step:.2g} or less is safe",
            stacklevel=4,
        )
