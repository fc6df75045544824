"""The construction, layer by layer: accumulate the classes' covariances, invert, apply.

Everything that a layer learns about the samples is the second moment of each class at each
frequency: a sum over samples, which may come in batches of any size.
"""

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from redunet.checks import check_count, check_positive
from redunet.covariance import RegularisedCovariance, second_moment
from redunet.layer import RectifiedLayer, ReduLayer
from redunet.operators import DenseOperators
from redunet.partition import Partition
from redunet.rates import RateReduction, spectral_rate_reduction
from redunet.spectrum import HalfSpectrum, norms

# Entries of all classes' responses to one batch of samples, where the user sets no batch size.
BATCH_ENTRIES = 2**25

# Steps ηα beyond which a construction from few samples is warned about.
LONGEST_STEP = 5.0


class Covariances(NamedTuple):
    """Everything that a layer is made of."""

    total: RegularisedCovariance  # (F,)
    classes: list[tuple[Tensor, RegularisedCovariance]]  # positions (g,) of classes, and (F, g)


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

    def __post_init__(self) -> None:
        check_count(num_layers=self.num_layers)
        check_positive(eta=self.eta, eps_sq=self.eps_sq)
        if not self.lam > 0:
            raise ValueError(f"lam must be positive (math.inf for hard membership), got {self.lam}")
        if self.tol is not None and not 0 <= self.tol < 1:
            raise ValueError(f"tol must be None or in [0, 1), got {self.tol}")
        if self.assignment not in ("softmax", "relu"):
            raise ValueError(f"assignment must be 'softmax' or 'relu', got {self.assignment!r}")


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


def construct_layers(
    V: Tensor,
    partition: Partition,
    spectrum: HalfSpectrum,
    settings: Settings,
    *,
    batch_size: int,
    validation: tuple[Tensor, Partition] | None = None,
    progress: bool = False,
) -> tuple[list[ReduLayer], RateHistory]:
    """Construct layers on the half spectrum ``V`` of the samples, which is moved along in place.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Features on the sphere; overwritten by those after the last layer.
    partition : Partition
        The samples' classes.
    spectrum : HalfSpectrum
        Where ``V`` came from.
    settings : Settings
    batch_size : int
        Samples at one time.
    validation : tuple of Tensor and Partition, optional
        Features whose rates to follow; overwritten as well.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    layers : list of ReduLayer
    history : RateHistory

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Algorithms 1 and 3.
    """
    proportions = (partition.counts / len(partition)).to(V.real.dtype)
    alpha = proportions.new_tensor(V.shape[2] / (len(partition) * settings.eps_sq))
    layers: list[ReduLayer] = []
    history = RateHistory(validation=RateHistory() if validation else None)
    with tqdm(total=settings.num_layers, desc="layers", disable=not progress) as bar:
        while True:
            found = covariances(V, partition, spectrum, settings.eps_sq, batch_size)
            history.append(rates(found, partition, spectrum))
            if validation:
                history.validation.append(
                    spectral_rate_reduction(validation[0], spectrum, validation[1], settings.eps_sq)
                )
            bar.set_postfix(rate_reduction=f"{history.delta[-1]:.4g}")
            if len(layers) == settings.num_layers or history.has_stalled(settings.tol):
                return layers, history

            operators = make_operators(found, partition, settings.eps_sq)
            layer = make_layer(operators, proportions, spectrum, settings, alpha)
            advance(
                V, layer, batch_size, partition.membership if settings.true_membership else None
            )
            if validation:
                advance(validation[0], layer, batch_size)
            layers.append(layer)
            bar.update()


def covariances(
    V: Tensor, partition: Partition, spectrum: HalfSpectrum, eps_sq: float, batch_size: int
) -> Covariances:
    """I + α V(p) V(p)* and all I + α_j V(p) Πʲ V(p)* of the half spectrum ``(F, m, C)``.

    Of a class with fewer samples than channels the samples themselves are kept, of others the
    second moment, accumulated batch by batch; either way no more than the operators will hold.
    """
    frequencies, m, channels = V.shape
    weights = spectrum.weights.to(V.real.dtype)[:, None]
    scales = channels / (partition.counts * eps_sq)
    total = V.new_zeros(frequencies, channels, channels)
    classes = []
    for group in partition.groups:
        scale = scales[group.classes].to(weights.dtype) / weights  # (F, g)
        if group.samples.shape[1] < channels:
            members = group.members(V)
            total += second_moment(members.flatten(1, 2))
            covariance = RegularisedCovariance.from_samples(members, scale)
        else:
            moments = sum(second_moment(part.members(V)) for part in group.split(batch_size))
            total += moments.sum(1)
            covariance = RegularisedCovariance.from_moment(moments, scale)
        classes.append((group.classes, covariance))
    scale = channels / (m * eps_sq) / weights[:, 0]
    return Covariances(RegularisedCovariance.from_moment(total, scale), classes)


def rates(found: Covariances, partition: Partition, spectrum: HalfSpectrum) -> RateReduction:
    """The rates are the log determinants of what the operators invert."""
    weights = spectrum.weights / (2 * spectrum.size)
    expansion = weights @ found.total.log_det().to(weights.dtype)
    compression = torch.zeros_like(expansion)
    for classes, covariance in found.classes:
        shares = partition.counts[classes] / len(partition)
        compression += weights @ covariance.log_det().to(weights.dtype) @ shares
    return RateReduction(expansion - compression, expansion, compression)


def make_operators(found: Covariances, partition: Partition, eps_sq: float) -> DenseOperators:
    """E = α (I + α V V*)⁻¹ and all Cʲ = α_j (I + α_j V Πʲ V*)⁻¹."""
    channels = found.total.factor.shape[-1]
    expansion = found.total.inverse().mul_(channels / (len(partition) * eps_sq))
    scales = (channels / (partition.counts * eps_sq)).to(expansion.real.dtype)
    grouped = [cov.inverse().mul_(scales[classes, None, None]) for classes, cov in found.classes]
    if len(grouped) == 1:  # of all classes, in their order: not copied once more
        return DenseOperators(expansion, grouped[0])
    order = torch.cat([classes for classes, _ in found.classes]).argsort()
    return DenseOperators(expansion, torch.cat(grouped, 1)[:, order])


def advance(V: Tensor, layer: ReduLayer, batch_size: int, membership: Tensor | None = None) -> None:
    """Apply a layer in place, with the samples' estimated memberships or those given ``(m, k)``."""
    for start in range(0, V.shape[1], batch_size):
        run = slice(start, start + batch_size)
        V[:, run] = layer(V[:, run], None if membership is None else membership[run])


def make_layer(
    operators: DenseOperators,
    proportions: Tensor,
    spectrum: HalfSpectrum,
    settings: Settings,
    alpha: Tensor,
) -> ReduLayer:
    """The kind of layer that the settings ask for."""
    if settings.assignment == "relu":
        return RectifiedLayer(operators, proportions, settings.eta, settings.lam, alpha, spectrum)
    return ReduLayer(operators, proportions, settings.eta, settings.lam)


def default_batch_size(frequencies: int, channels: int, classes: int) -> int:
    """Samples whose responses to all operators are few enough for any machine's memory."""
    return max(64, BATCH_ENTRIES // (frequencies * channels * classes))


def warn_of_zeros(V: Tensor) -> None:
    """Warn of samples that cannot be put on the sphere."""
    zeros = int((norms(V) == 0).sum())
    if zeros:
        warnings.warn(f"{zeros} of {V.shape[1]} samples have zero norm and stay zero", stacklevel=4)


def warn_of_overshoot(partition: Partition, channels: int, settings: Settings) -> None:
    """Warn where new samples will fall to chance, however good the training rates look.

    Where a class has fewer samples than channels, new samples of it have a residual that no
    training sample shows, and a layer takes the step ηα = ηC/(mε²) along it. As in any gradient
    ascent, a long step overshoots; up to 5 it was seen to do no harm, from 10 on to ruin.
    """
    step = settings.eta * channels / (len(partition) * settings.eps_sq)
    fewest = partition.counts.min().item()
    if fewest < channels and step > LONGEST_STEP:
        warnings.warn(
            f"the step eta*C/(m*eps_sq) = {step:.3g} is long and a class has {fewest:g} samples, "
            f"fewer than the {channels} channels: features of new samples may be meaningless; "
            f"eta={settings.eta * 2 / step:.2g} or less is safe",
            stacklevel=4,
        )
