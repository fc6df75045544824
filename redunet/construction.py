"""The construction, layer by layer: accumulate class moments, invert, apply.

Everything that is learned about the samples at a layer is the second moment of each class at each
frequency. Moments are sums over samples, so samples may come in batches of any size.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from redunet.checks import check_count, check_positive
from redunet.layer import RectifiedLayer, ReduLayer
from redunet.operators import DenseOperators
from redunet.partition import Partition
from redunet.rates import RateReduction, log_det, spectral_rate_reduction
from redunet.spectrum import HalfSpectrum, norms, scaled

# Entries of all classes' responses to one batch of samples, where the user sets no batch size.
BATCH_ENTRIES = 2**25

# A run of samples with its own partition into the classes.
Batch = tuple[slice, Partition]

# Steps ηα beyond which a construction from few samples is warned about.
LONGEST_STEP = 5.0


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
    batches = list(partition.split(batch_size))
    validation_batches = list(validation[1].split(batch_size)) if validation else []
    proportions = (partition.counts / len(partition)).to(V.real.dtype)
    alpha = _scales(partition, V.shape[2], settings.eps_sq)[0]
    layers: list[ReduLayer] = []
    history = RateHistory(validation=RateHistory() if validation else None)
    with tqdm(total=settings.num_layers, desc="layers", disable=not progress) as bar:
        while True:
            moments = class_moments(V, batches)
            factors = regularised_factors(moments, partition, spectrum, settings.eps_sq)
            history.append(rates_from_factors(factors, partition, spectrum))
            if validation:
                history.validation.append(
                    spectral_rate_reduction(validation[0], spectrum, validation[1], settings.eps_sq)
                )
            bar.set_postfix(rate_reduction=f"{history.delta[-1]:.4g}")
            if len(layers) == settings.num_layers or history.has_stalled(settings.tol):
                return layers, history

            operators = operators_from_factors(factors, partition, settings.eps_sq)
            layer = make_layer(operators, proportions, spectrum, settings, alpha)
            advance(V, layer, batches, true_membership=settings.true_membership)
            if validation:
                advance(validation[0], layer, validation_batches)
            layers.append(layer)
            bar.update()


def class_moments(V: Tensor, batches: list[Batch]) -> Tensor:
    """V(p) Πʲ V(p)* for every frequency and class: ``(F, m, C)`` to ``(F, k, C, C)``."""
    frequencies, _, channels = V.shape
    num_classes = batches[0][1].num_classes
    moments = V.new_zeros(frequencies, num_classes, channels, channels)
    for run, partition in batches:
        for group in partition.groups:
            members = V[:, run][:, group.samples]  # (F, g, s, C)
            weighted = scaled(members, group.weights.to(V.real.dtype)[:, :, None])
            moments[:, group.classes] += weighted.mT @ members.conj()
    return moments


def regularised_factors(
    moments: Tensor, partition: Partition, spectrum: HalfSpectrum, eps_sq: float
) -> Tensor:
    """Cholesky factors of I + α V V* (entry 0) and all I + α_j V Πʲ V*: ``(F, 1 + k, C, C)``."""
    scales = _scales(partition, moments.shape[-1], eps_sq).to(moments.real.dtype)
    moments = torch.cat([moments.sum(1, keepdim=True), moments], 1)
    weights = spectrum.weights.to(scales.dtype)
    regularised = moments * (scales / weights[:, None])[:, :, None, None]
    regularised.diagonal(dim1=-2, dim2=-1).add_(1)
    factors, info = torch.linalg.cholesky_ex(regularised)
    if bool(info.any()):
        raise ValueError(
            f"eps_sq={eps_sq} is too fine for {moments.real.dtype}: a second moment cannot be "
            "inverted; take a larger eps_sq, or samples in float64"
        )
    return factors


def rates_from_factors(
    factors: Tensor, partition: Partition, spectrum: HalfSpectrum
) -> RateReduction:
    """The rates are the log determinants of what the operators invert."""
    log_dets = spectrum.weights.to(torch.float64) @ log_det(factors).to(torch.float64)
    rates = log_dets / (2 * spectrum.size)  # (1 + k,)
    expansion = rates[0]
    compression = partition.counts / len(partition) @ rates[1:]
    return RateReduction(expansion - compression, expansion, compression)


def operators_from_factors(factors: Tensor, partition: Partition, eps_sq: float) -> DenseOperators:
    """E = α (I + α V V*)⁻¹ and Cʲ = α_j (I + α_j V Πʲ V*)⁻¹ from their Cholesky factors."""
    scales = _scales(partition, factors.shape[-1], eps_sq).to(factors.real.dtype)
    operators = torch.cholesky_inverse(factors) * scales[:, None, None]
    return DenseOperators(operators[:, 0].clone(), operators[:, 1:].clone())


def _scales(partition: Partition, channels: int, eps_sq: float) -> Tensor:
    """α = C/(m ε²) and all α_j = C/(tr(Πʲ) ε²): ``(1 + k,)``."""
    counts = torch.cat([partition.counts.sum(0, keepdim=True), partition.counts])
    return channels / (counts * eps_sq)


def advance(
    V: Tensor, layer: ReduLayer, batches: list[Batch], *, true_membership: bool = False
) -> None:
    """Apply a layer in place, with the samples' estimated or true memberships."""
    for run, partition in batches:
        V[:, run] = layer(V[:, run], partition.membership if true_membership else None)


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
