"""The construction of the layers, one by one.

Every layer takes two passes over batches of the samples: one to sum their second moments, and one
to apply the layer. A layer that chooses its step takes one more pass for each step that it tries,
and stores one more set of features. The batches may be stored in files, and the sums may run over
processes. Samples that exceed the memory of a machine therefore need no other method.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from redunet._warnings import warn
from redunet.construction.feature_store import FeatureStore
from redunet.construction.gathering import gather
from redunet.construction.history import RateHistory
from redunet.construction.labelled_features import LabelledFeatures
from redunet.construction.settings import Settings
from redunet.construction.state import ConstructionState
from redunet.construction.steps import Trial, choose_step, ends_round
from redunet.construction.unknown_labels import ascend, reassign
from redunet.layers import DatasetInfo, ReduLayer, SecondMoments
from redunet.layers.operators import Exact
from redunet.rates import HalfSpectrum, RateReduction
from redunet.rates.covariance import PrecisionError

# A decrease of ΔR by up to this many units of rounding error is ignored.
ROUNDING = 10

# A construction that stops because ΔR falls by more than this fraction gets a warning.
NOTICEABLE_FALL = 0.01


class Checkpoint(Protocol):
    """A place where a construction can leave its state after every layer."""

    def load(self) -> ConstructionState | None:
        """The state that was saved last; None if there is none."""

    def save(self, state: ConstructionState) -> None:
        """Save the state after one more layer."""


class Attempt(NamedTuple):
    """A new layer that may still be rejected."""

    layer: ReduLayer
    moved: FeatureStore  # features of the samples after the layer
    moments: SecondMoments  # second moments of these features


class Construction:
    """Construction of layers one by one. Each new layer is applied to the samples.

    Parameters
    ----------
    settings : Settings
    info : DatasetInfo
        Sizes and counts of the samples.
    samples : LabelledFeatures
        Features and classes of the samples.
    validation : tuple of DatasetInfo and LabelledFeatures, optional
        Further samples, whose rates are recorded.
    offload : bool
        Move every layer to host memory as soon as it has been applied.

    Attributes
    ----------
    layers : list of ReduLayer
    history : RateHistory

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
        validation: tuple[DatasetInfo, LabelledFeatures] | None = None,
        offload: bool = False,
    ):
        self.settings = settings
        self.info = info
        self.samples = samples
        self.validation = validation
        self.offload = offload
        # Layers in host memory share a spectrum there; the construction has one on its device.
        self._host_spectrum = HalfSpectrum(info.spectrum.shape) if offload else None
        self.layers: list[ReduLayer] = []
        self.history = RateHistory(validation=RateHistory() if validation else None)
        self._moments: SecondMoments | None = None  # of the current features

    def run(self, *, progress: bool = False, checkpoint: Checkpoint | None = None) -> None:
        """Construct all layers, or those that the checkpoint does not contain yet."""
        self._moments = self._gather(self.samples.current)
        self._record(self._moments.rates())
        state = checkpoint.load() if checkpoint else None
        if state is not None:
            self.resume(state)
        with tqdm(
            total=self.settings.num_layers,
            initial=len(self.layers),
            desc="layers",
            disable=not progress,
        ) as bar:
            while not self._is_finished():
                bar.set_postfix(rate_reduction=f"{self.history.delta[-1]:.4g}")
                self._add_layer()
                if checkpoint:
                    checkpoint.save(self.state())
                bar.update()
        self._warn_of_a_fall()

    def state(self) -> ConstructionState:
        """Everything that is needed to continue after the last layer."""
        features = {"training-current": self.samples.current}
        if self.samples.previous is not None:
            features["training-previous"] = self.samples.previous
        if self.samples.known is not None:
            features["training-membership"] = self.samples.memberships()
        if self.validation:
            held_out = self.validation[1]
            features["validation-current"] = held_out.current
            if held_out.previous is not None:
                features["validation-previous"] = held_out.previous
        return ConstructionState(self.layers, self.history, features)

    def resume(self, state: ConstructionState) -> None:
        """Continue from a state that :meth:`state` gave for the same samples.

        Raises
        ------
        ValueError
            If the state belongs to other samples or settings.
        """
        self._check_rates(state.history)
        self.layers, self.history = state.layers, state.history
        if self.samples.known is not None:
            if "training-membership" not in state.features:
                raise ValueError(
                    f"the checkpoint holds more than {len(state.layers)} layer(s), and memberships "
                    "of samples without labels only after the last one: ask for more layers"
                )
            membership = torch.cat(list(state.features["training-membership"]))
            self.info = reassign(self.info, self.samples, membership)
        if self._is_finished():
            return
        sets = {"training": self.samples}
        if self.validation:
            sets["validation"] = self.validation[1]
        for name, samples in sets.items():
            samples.current = state.features[f"{name}-current"]
            samples.previous = state.features.get(f"{name}-previous")
        self._moments = self._gather(self.samples.current)

    def _check_rates(self, history: RateHistory) -> None:
        """Raise ValueError unless the first rates of a history are those of the samples.

        They show what a digest of samples does not: a lift whose code has changed.
        """
        for name in ("expansion", "compression"):
            stored, own = (getattr(h, name)[0] for h in (history, self.history))
            if not math.isclose(stored, own, rel_tol=1e-4):
                raise ValueError(
                    f"the checkpoint belongs to other features: their {name} rate was {stored:.6g} "
                    f"before the first layer, and is {own:.6g}; has the code of the lift changed?"
                )

    def _is_finished(self) -> bool:
        settings, count = self.settings, len(self.layers)
        if count >= settings.num_layers:
            return True
        # The steps of a round differ, so only its last layer tells whether ΔR still rises.
        is_comparable = not settings.adaptive_eta or ends_round(count)
        return is_comparable and self.history.has_stalled(settings.tol)

    def _add_layer(self) -> None:
        """Construct one layer and apply it to all samples: one iteration of Algorithm 1."""
        if self.samples.known is not None:
            self._assign()
        attempt = self._attempt(self.settings.momentum)
        before = self.history.delta[-1]
        if attempt.layer.momentum and self._falls(attempt.moments.rates(), before):
            attempt = self._restart(attempt)
        self._accept(attempt)

    def _assign(self) -> None:
        """Move the memberships of samples whose class is not known up the rate reduction."""
        info, samples = self.info, self.samples
        moments = self._moments or self._gather(samples.current)
        moved = ascend(info, samples, moments)
        if moved is None:
            self._moments = moments
            return
        self.info = moved
        self._moments = self._gather(samples.current)

    def _attempt(self, momentum: float) -> Attempt:
        """Steps 1 and 2 of Algorithm 1. The current features of the samples do not change."""
        settings, samples = self.settings, self.samples
        # Step 1: E and all Cʲ, from the second moments of the features or of points ahead of them.
        if momentum == 0 or samples.previous is None:
            momentum = 0.0
            moments = self._moments or self._gather(samples.current)
            self._moments = None  # not needed any more, and as large as the operators
        else:
            moments = self._gather(samples.points(momentum))
        layer = self._make_layer(moments, momentum)
        before = float(moments.rates().delta) if settings.adaptive_eta else None
        del moments
        if before is not None:
            return self._choose_step(layer, before)
        # Step 2: move every sample by its step, and project it onto the sphere.
        moved = samples.apply(
            layer, true_membership=settings.true_membership, keep=settings.momentum > 0
        )
        return Attempt(layer, moved, self._gather(moved, layer))

    def _choose_step(self, layer: ReduLayer, before: float) -> Attempt:
        """Step 2 of Algorithm 1 with a step that is chosen by ΔR. It sets ``layer.eta``.

        ``before`` is ΔR of the current features.
        """
        alpha, samples = self.info.alpha, self.samples
        directions = samples.directions(layer, true_membership=self.settings.true_membership)

        def attempt(step: float) -> Trial:
            moments = self._gather(samples.along(directions, step / alpha), layer)
            return Trial(step, moments, float(moments.rates().delta))

        taken = [previous.eta * alpha for previous in self.layers]
        best = choose_step(taken, attempt, lambda trial: self._falls(trial.moments.rates(), before))
        layer.eta = best.step / alpha
        return Attempt(layer, samples.move(directions, layer.eta), best.moments)

    def _restart(self, attempt: Attempt) -> Attempt:
        """Construct the layer without momentum, to replace one that decreases ΔR."""
        attempt.moved.clear()
        return self._attempt(0.0)

    def _accept(self, attempt: Attempt) -> None:
        """Make the features after the layer the current features, and record the rates."""
        layer, keep = attempt.layer, self.settings.momentum > 0
        self._moments = attempt.moments
        self.samples.advance(attempt.moved, keep=keep)
        if self.validation:
            held_out = self.validation[1]
            held_out.advance(held_out.apply(layer, true_membership=False, keep=keep), keep=keep)
        self._record(attempt.moments.rates())
        if self._host_spectrum is not None:
            layer.spectrum = self._host_spectrum
            layer.to("cpu")
        self.layers.append(layer)

    def _make_layer(
        self, moments: SecondMoments, momentum: float, eta: float | None = None
    ) -> ReduLayer:
        """A layer with the operators from these moments and a step, by default of the settings."""
        info, settings = self.info, self.settings
        precision = info.dtype.to_real()
        return ReduLayer(
            moments.operators(),
            proportions=info.proportions.to(precision, copy=True),
            alpha=torch.full((), info.alpha, dtype=precision, device=info.counts.device),
            eta=settings.eta if eta is None else eta,
            membership_rule=settings.membership,
            spectrum=info.spectrum,
            momentum=momentum,
        )

    def _falls(self, rates: RateReduction, before: float) -> bool:
        """Whether ΔR is less than ``before`` by more than the rounding error."""
        rounding = ROUNDING * torch.finfo(self.info.dtype).eps * float(rates.expansion)
        return float(rates.delta) < before - rounding

    def _warn_of_a_fall(self) -> None:
        """Warn if the construction stopped because its last layer lowered ΔR."""
        before, after = self.history.delta[-2:]
        if self.settings.tol is not None and before - after > NOTICEABLE_FALL * abs(before):
            warn(
                f"the construction stopped after {len(self.layers)} layer(s) because the last one "
                f"lowered the rate reduction, from {before:.4g} to {after:.4g}: many estimated "
                "memberships are wrong, or the step is too long; scale the samples, add a constant "
                "feature of 1 to vectors, or pass a smaller eta"
            )

    def _record(self, rates: RateReduction) -> None:
        # LAPACK fails to factorise a matrix with NaN, but cuSOLVER does not say so.
        if math.isnan(float(rates.expansion)):
            raise PrecisionError(
                "the rate of the features is not a number: the lift gives values that are not "
                "finite, or a second moment cannot be inverted in the precision of the samples"
            )
        self.history.append(rates)
        if self.validation and self.history.validation is not None:
            info, held_out = self.validation
            moments = gather(
                self.settings.operators.for_rates or Exact(), info, held_out, held_out.current
            )
            self.history.validation.append(moments.rates())

    def _gather(self, points: Iterable[Tensor], new: ReduLayer | None = None) -> SecondMoments:
        """Second moments of points after all layers, and after the ``new`` one if it is given."""
        layers = self.layers if new is None else [*self.layers, new]
        return gather(self.settings.operators, self.info, self.samples, points, layers)
