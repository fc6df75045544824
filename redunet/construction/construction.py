"""The construction of the layers, one by one: Algorithms 1 and 3.

Every layer takes two passes over batches of the samples: one to sum their second moments, and one
to apply the layer. A layer that chooses its step takes one more pass for each step that it tries,
and stores one more set of features. The batches may be stored in files, and the sums may run over
processes. Samples that exceed the memory of a machine therefore need no other method.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from redunet._tables import bar_options
from redunet._warnings import warn
from redunet.construction.features import LabelledFeatures
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.construction.steps import Moved, Steps
from redunet.construction.unknown_labels import ascend
from redunet.layers import DatasetInfo, Exact, ReduLayer, SecondMoments
from redunet.rates import HalfSpectrum, RateReduction
from redunet.rates.covariance import PrecisionError

# A decrease of ΔR by up to this many units of rounding error is ignored.
ROUNDING = 10

# A construction that stops because ΔR falls by more than this fraction gets a warning.
NOTICEABLE_FALL = 0.01


class Checkpoint(Protocol):
    """A place where a construction leaves its state after every layer."""

    def restore(self) -> None:
        """Continue the construction after the last layer that was saved, if there is one."""

    def save(self) -> None:
        """Save the state after one more layer."""


class Construction:
    """Construction of layers one by one. Each new layer is applied to the samples.

    Parameters
    ----------
    settings : Settings
        Settings that are complete.
    info : DatasetInfo
        Sizes and counts of the samples.
    samples : LabelledFeatures
        Features and classes of the samples.
    steps : Steps, optional
        The steps of the layers, by default those of the settings.
    validation : tuple of DatasetInfo and LabelledFeatures, optional
        Further samples, whose rates are recorded.
    offload : bool
        Move every layer to host memory as soon as it has been applied.

    Attributes
    ----------
    layers : list of ReduLayer
    history : RateHistory
    moments : SecondMoments or None
        Second moments of the current features.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Algorithms 1 and 3; eq. 28 for momentum.
    """

    def __init__(
        self,
        settings: Settings,
        info: DatasetInfo,
        samples: LabelledFeatures,
        *,
        steps: Steps | None = None,
        validation: tuple[DatasetInfo, LabelledFeatures] | None = None,
        offload: bool = False,
    ):
        self.settings = settings
        self.info = info
        self.samples = samples
        self.steps = settings.steps(info.alpha) if steps is None else steps
        self.validation = validation
        self.offload = offload
        # Layers in host memory share a spectrum there; the construction has one on its device.
        self._host_spectrum = HalfSpectrum(info.spectrum.shape) if offload else None
        samples.true_membership = settings.true_membership
        for each in (samples, *(validation or ())[1:]):
            each.keeps_previous = settings.momentum > 0
        self.layers: list[ReduLayer] = []
        self.history = RateHistory(validation=RateHistory() if validation else None)
        self.moments: SecondMoments | None = None

    def run(self, *, progress: bool = False, checkpoint: Checkpoint | None = None) -> None:
        """Construct all layers, or those that the checkpoint does not contain yet."""
        self.moments = self.gather(self.samples.points)
        self.record(self.moments.rates())
        if checkpoint:
            checkpoint.restore()
        with tqdm(
            total=self.settings.num_layers,
            initial=len(self.layers),
            desc="layers",
            **bar_options(progress),
        ) as bar:
            while not self.is_finished():
                rate = f"{self.history.delta[-1]:.4g}"
                bar.set_postfix(rate_reduction=rate, refresh=False)
                self._add_layer()
                if checkpoint:
                    checkpoint.save()
                bar.update()
        self._warn_of_a_fall()

    def is_finished(self) -> bool:
        """Whether there are as many layers as were asked for, or ΔR has stopped to rise."""
        count = len(self.layers)
        is_stalled = self.steps.are_comparable(count) and self.history.has_stalled(
            self.settings.tol
        )
        return count >= (self.settings.num_layers or 0) or is_stalled

    def _add_layer(self) -> None:
        """Construct one layer and apply it to all samples: one iteration of Algorithm 1."""
        moments = self.moments or self.gather(self.samples.points)
        if self.samples.known is not None:
            moments = self._assign(moments)
        before = moments.rates()
        floor = float(before.delta) - self._rounding_error(before)
        momentum = 0.0
        if self.samples.previous is not None:
            momentum = self.steps.momentum(len(self.layers))
        if momentum:
            # Step 1 at points ahead of the features. A layer that lowers ΔR is made again.
            ahead = self.gather(lambda: self.samples.points(momentum))
            layer = self.make_layer(ahead, momentum)
            moved = self._move(layer, floor)
            if float(moved.moments.rates().delta) >= floor:
                self._accept(layer, moved)
                return
            moved.features.clear()
        # Step 1: E and all Cʲ, from the second moments of the features.
        layer = self.make_layer(moments)
        self.moments = None  # not needed any more, and as large as the operators
        del moments
        # Step 2: move every sample by its step, and project it onto the sphere.
        self._accept(layer, self._move(layer, floor))

    def _assign(self, moments: SecondMoments) -> SecondMoments:
        """Move the memberships of samples whose class is not known up the rate reduction."""
        moved = ascend(self.info, self.samples, moments)
        if moved is None:
            return moments
        self.info = moved
        return self.gather(self.samples.points)

    def make_layer(
        self, moments: SecondMoments, momentum: float = 0.0, eta: float | None = None
    ) -> ReduLayer:
        """A layer with the operators from these moments, and by default the step of ``steps``."""
        info, precision = self.info, self.info.dtype.to_real()
        return ReduLayer(
            moments.operators(),
            proportions=info.proportions.to(precision, copy=True),
            alpha=torch.full((), info.alpha, dtype=precision, device=info.counts.device),
            eta=self.steps.eta(len(self.layers)) if eta is None else eta,
            membership_rule=self.settings.membership,
            spectrum=info.spectrum,
            momentum=momentum,
        )

    def _move(self, layer: ReduLayer, floor: float) -> Moved:
        earlier = [each.eta for each in self.layers]
        layers = [*self.layers, layer]
        return self.steps.move(
            layer, earlier, self.samples, lambda points: self.gather(points, layers), floor
        )

    def _accept(self, layer: ReduLayer, moved: Moved) -> None:
        """Make the features after the layer the current features, and record the rates."""
        self.moments = moved.moments
        self.samples.advance(moved.features)
        if self.validation:
            held_out = self.validation[1]
            held_out.advance(held_out.apply(layer))
        self.record(moved.moments.rates())
        if self._host_spectrum is not None:
            layer.spectrum = self._host_spectrum
            layer.to("cpu")
        self.layers.append(layer)

    def gather(
        self, points: Callable[[], Iterable[Tensor]], layers: list[ReduLayer] | None = None
    ) -> SecondMoments:
        """Second moments of points after some layers, by default after all of them."""
        layers = self.layers if layers is None else layers
        return self.samples.moments(self.settings.operators, self.info, points, layers)

    def record(self, rates: RateReduction) -> None:
        """Add the rates after one more layer to the history."""
        # LAPACK fails to factorise a matrix with NaN, but cuSOLVER does not say so.
        if math.isnan(float(rates.expansion)):
            raise PrecisionError(
                "the rate of the features is not a number: the lift gives values that are not "
                "finite, or a second moment cannot be inverted in the precision of the samples"
            )
        self.history.append(rates)
        if self.validation and self.history.validation is not None:
            info, held_out = self.validation
            moments = held_out.moments(Exact(), info, held_out.points)
            self.history.validation.append(moments.rates())

    def _rounding_error(self, rates: RateReduction) -> float:
        return ROUNDING * torch.finfo(self.info.dtype).eps * float(rates.expansion)

    def _warn_of_a_fall(self) -> None:
        """Warn if the construction stopped because its last layer lowered ΔR."""
        if self.settings.tol is None or not self.layers:
            return
        before, after = self.history.delta[-2:]
        if before - after > NOTICEABLE_FALL * abs(before):
            warn(
                f"the construction stopped after {len(self.layers)} layer(s) because the last one "
                f"lowered the rate reduction, from {before:.4g} to {after:.4g}: many estimated "
                "memberships are wrong, or the step is too long; scale the samples, add a constant "
                "feature of 1 to vectors, or pass a smaller eta"
            )
