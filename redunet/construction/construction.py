"""The construction of the layers, one by one: Algorithms 1 and 3.

Every layer takes two passes over batches of the samples: one to sum their second moments, and one
to apply the layer. A layer that chooses its step takes one more pass for each step that it tries,
and stores one more set of features. The batches may be stored in files, and the sums may run over
processes. Samples that exceed the memory of a machine therefore need no other method.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from redunet._tables import bar_options
from redunet._warnings import warn
from redunet.construction.features import FeatureStore, LabelledFeatures, Points
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.construction.steps import ROUND, Step, Trial, choose_step
from redunet.construction.unknown_labels import ascend
from redunet.layers import Exact, ReduLayer, SecondMoments
from redunet.rates import HalfSpectrum, RateReduction
from redunet.rates.covariance import PrecisionError

if TYPE_CHECKING:
    from redunet.construction.checkpoint import FolderCheckpoint

# A decrease of ΔR by up to this many units of rounding error is ignored.
ROUNDING = 10

# A construction that stops because ΔR falls by more than this fraction gets a warning.
NOTICEABLE_FALL = 0.01


class Construction:
    """Construction of layers one by one. Each new layer is applied to the samples.

    Parameters
    ----------
    settings : Settings
        Settings that are complete.
    samples : LabelledFeatures
        Features and classes of the samples.
    steps : sequence of Step, optional
        The steps of the layers, by default those of the settings.
    validation : LabelledFeatures, optional
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
        samples: LabelledFeatures,
        *,
        steps: Sequence[Step] | None = None,
        validation: LabelledFeatures | None = None,
        offload: bool = False,
    ):
        self.settings = settings
        self.samples = samples
        self.chooses_steps = steps is None and settings.adaptive_eta
        self.steps = settings.steps() if steps is None else steps
        self.validation = validation
        self.offload = offload
        # Layers in host memory share a spectrum there; the construction has one on its device.
        self._host_spectrum = HalfSpectrum(samples.info.spectrum.shape) if offload else None
        samples.true_membership = settings.true_membership
        for each in (samples, validation):
            if each is not None:
                each.keeps_previous = settings.momentum > 0
        self.layers: list[ReduLayer] = []
        self.history = RateHistory(validation=None if validation is None else RateHistory())
        self.moments: SecondMoments | None = None

    def run(self, *, progress: bool = False, checkpoint: "FolderCheckpoint | None" = None) -> None:
        """Construct all layers, or those that the checkpoint does not contain yet."""
        self.moments = self.gather()
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
        """Whether there are as many layers as were asked for, or ΔR has stopped to rise.

        Steps that are chosen differ within a round, so only the last layer of a round counts.
        """
        count = len(self.layers)
        is_comparable = not self.chooses_steps or count % ROUND == 0
        is_stalled = is_comparable and self.history.has_stalled(self.settings.tol)
        return count >= (self.settings.num_layers or 0) or is_stalled

    def _add_layer(self) -> None:
        """Construct one layer and apply it to all samples: one iteration of Algorithm 1."""
        samples, momentum = self.samples, self.steps[len(self.layers)].momentum
        moments = self.moments or self.gather()
        if samples.known is not None and ascend(samples, moments):
            moments = self.gather()
        before = moments.rates()
        rounding = ROUNDING * torch.finfo(samples.info.dtype).eps * float(before.expansion)
        floor = float(before.delta) - rounding
        if momentum and samples.previous is not None:
            # Step 1 at points ahead of the features. A layer that lowers ΔR is made again.
            layer = self.make_layer(self.gather(lambda: samples.points(momentum)), momentum)
            features, after = self._move(layer, floor)
            if float(after.rates().delta) >= floor:
                self._accept(layer, features, after)
                return
            features.clear()
        # Step 1: E and all Cʲ, from the second moments of the features.
        layer = self.make_layer(moments)
        self.moments = None  # not needed any more, and as large as the operators
        del moments
        # Step 2: move every sample by its step, and project it onto the sphere.
        self._accept(layer, *self._move(layer, floor))

    def make_layer(self, moments: SecondMoments, momentum: float = 0.0) -> ReduLayer:
        """A layer with the operators from these moments, and the η that is its turn."""
        info, precision = self.samples.info, self.samples.info.dtype.to_real()
        return ReduLayer(
            moments.operators(),
            proportions=info.proportions.to(precision, copy=True),
            alpha=torch.full((), info.alpha, dtype=precision, device=info.counts.device),
            eta=self.steps[len(self.layers)].eta,
            membership_rule=self.settings.membership,
            spectrum=info.spectrum,
            momentum=momentum,
        )

    def _move(self, layer: ReduLayer, floor: float) -> tuple[FeatureStore, SecondMoments]:
        """The features after a layer, and their second moments.

        If no step is given, the layer gets the best of several steps, by ΔR. It falls if it is
        below ``floor``: ΔR before the layer, less a rounding error.
        """
        samples, layers, alpha = self.samples, [*self.layers, layer], self.samples.info.alpha
        if not self.chooses_steps:
            features = samples.apply(layer)
            return features, self.gather(lambda: iter(features), layers)
        directions = samples.directions(layer)

        def attempt(step: float) -> Trial:
            moments = self.gather(lambda: samples.moved(directions, step / alpha), layers)
            return Trial(step, moments, float(moments.rates().delta))

        best = choose_step([each.eta * alpha for each in self.layers], attempt, floor)
        layer.eta = best.step / alpha
        return samples.move(directions, layer.eta), best.moments

    def _accept(self, layer: ReduLayer, features: FeatureStore, moments: SecondMoments) -> None:
        """Make the features after the layer the current features, and record the rates."""
        self.moments = moments
        self.samples.advance(features)
        if self.validation is not None:
            self.validation.advance(self.validation.apply(layer))
        self.record(moments.rates())
        if self._host_spectrum is not None:
            layer.spectrum = self._host_spectrum
            layer.to("cpu")
        self.layers.append(layer)

    def gather(
        self, points: Points | None = None, layers: Sequence[ReduLayer] | None = None
    ) -> SecondMoments:
        """Second moments of points after some layers, by default of features after all of them."""
        layers = self.layers if layers is None else layers
        return self.samples.moments(self.settings.operators, points, layers)

    def record(self, rates: RateReduction) -> None:
        """Add the rates after one more layer to the history."""
        # LAPACK fails to factorise a matrix with NaN, but cuSOLVER does not say so.
        if math.isnan(float(rates.expansion)):
            raise PrecisionError(
                "the rate of the features is not a number: the lift gives values that are not "
                "finite, or a second moment cannot be inverted in the precision of the samples"
            )
        self.history.append(rates)
        if self.validation is not None and self.history.validation is not None:
            self.history.validation.append(self.validation.moments(Exact()).rates())

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
