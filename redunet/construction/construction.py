"""The construction of the layers, one by one.

Every layer takes two passes over batches of the samples: one to sum their second moments, one to
apply the layer. The batches may lie in files, and the sums may run over processes; samples that
exceed the memory of a machine need nothing else.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from redunet.construction.feature_store import FeatureStore
from redunet.construction.history import RateHistory
from redunet.construction.labelled_features import LabelledFeatures
from redunet.construction.settings import Settings
from redunet.construction.state import ConstructionState
from redunet.layers import DatasetInfo, OperatorKind, ReduLayer, SecondMoments
from redunet.layers.operators import Exact
from redunet.rates import RateReduction

# A fall of ΔR by this many units of rounding error is not a fall.
ROUNDING = 10


class Checkpoint(Protocol):
    """A place where a construction can leave its state after every layer."""

    def load(self) -> ConstructionState | None:
        """The state that was saved last; None if there is none."""

    def save(self, state: ConstructionState) -> None:
        """Save the state after one more layer."""


class Attempt(NamedTuple):
    """A layer that may still be discarded."""

    layer: ReduLayer
    moved: FeatureStore  # features of the samples after the layer
    moments: SecondMoments  # of these features


class Construction:
    """Layers, made one by one from samples that move along.

    Parameters
    ----------
    settings : Settings
    info : DatasetInfo
        Of the samples.
    samples : LabelledFeatures
    validation : tuple of DatasetInfo and LabelledFeatures, optional
        More samples, whose rates are recorded.
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
        self.layers: list[ReduLayer] = []
        self.history = RateHistory(validation=RateHistory() if validation else None)
        self._moments: SecondMoments | None = None  # of the current features

    def run(self, *, progress: bool = False, checkpoint: Checkpoint | None = None) -> None:
        """Make all layers, or those that the checkpoint does not have yet."""
        self._moments = self._gather(self.samples.current)
        self._record(self._moments.rates())
        saved = checkpoint.load() if checkpoint else None
        if saved is not None:
            self.resume(saved)
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

    def state(self) -> ConstructionState:
        """Everything that is needed to continue after the last layer."""
        features = {"training-current": self.samples.current}
        if self.samples.previous is not None:
            features["training-previous"] = self.samples.previous
        if self.validation:
            others = self.validation[1]
            features["validation-current"] = others.current
            if others.previous is not None:
                features["validation-previous"] = others.previous
        return ConstructionState(self.layers, self.history, features, self._identity())

    def resume(self, state: ConstructionState) -> None:
        """Continue from a state that :meth:`state` gave for the same samples.

        Raises
        ------
        ValueError
            If the state belongs to other samples or settings.
        """
        self._check_identity(state)
        self.layers, self.history = state.layers, state.history
        if self._is_finished():
            return
        owners = {"training": self.samples}
        if self.validation:
            owners["validation"] = self.validation[1]
        for name, owner in owners.items():
            owner.current = state.features[f"{name}-current"]
            owner.previous = state.features.get(f"{name}-previous")
        self._moments = self._gather(self.samples.current)

    def _identity(self) -> dict[str, Any]:
        """Settings, samples and their batches; the number of layers and ``tol`` may change."""
        settings = self.settings.to_json()
        del settings["num_layers"], settings["tol"]
        return {
            "features": [self.info.channels, *self.info.spectrum.shape],
            "dtype": str(self.info.dtype),
            "class counts": self.info.counts.tolist(),
            "batches": self.samples.sizes,
            "validation": self.validation[1].sizes if self.validation else None,
            "settings": settings,
        }

    def _check_identity(self, state: ConstructionState) -> None:
        for name, expected in self._identity().items():
            if state.identity[name] != expected:
                raise ValueError(
                    f"the checkpoint holds another construction: {name} {state.identity[name]}, "
                    f"expected {expected}"
                )
        found, expected = state.history.expansion[0], self.history.expansion[0]
        if not math.isclose(found, expected, rel_tol=1e-4):
            raise ValueError(
                f"the checkpoint holds another construction: samples of coding rate {found:.6g}, "
                f"expected {expected:.6g}"
            )

    def _is_finished(self) -> bool:
        settings = self.settings
        return len(self.layers) >= settings.num_layers or self.history.has_stalled(settings.tol)

    def _add_layer(self) -> None:
        """Make one more layer and move all samples through it: one turn of Algorithm 1's loop."""
        attempt = self._attempt(self.settings.momentum)
        if attempt.layer.momentum and self._falls(attempt.moments.rates()):
            attempt = self._restart(attempt)
        self._accept(attempt)

    def _attempt(self, momentum: float) -> Attempt:
        """Steps 1 and 2 of Algorithm 1, without changing the samples' current features."""
        settings, samples = self.settings, self.samples
        # Step 1: E and all Cʲ, from the second moments of the features or of points ahead of them.
        if momentum == 0 or samples.previous is None:
            momentum = 0.0
            moments = self._moments or self._gather(samples.current)
            self._moments = None  # as large as the operators, and used up
        else:
            moments = self._gather(samples.points(momentum))
        layer = self._make_layer(moments, momentum)
        del moments
        # Step 2: every sample takes its step and is projected onto the sphere.
        moved = samples.apply(
            layer, true_membership=settings.true_membership, keep=settings.momentum > 0
        )
        return Attempt(layer, moved, self._gather(moved, layer))

    def _restart(self, attempt: Attempt) -> Attempt:
        """Make the layer again without momentum, in place of one that lowers ΔR."""
        attempt.moved.clear()
        return self._attempt(0.0)

    def _accept(self, attempt: Attempt) -> None:
        """Make the features after the layer the current ones, and record the rates."""
        layer, keep = attempt.layer, self.settings.momentum > 0
        self._moments = attempt.moments
        self.samples.advance(attempt.moved, keep=keep)
        if self.validation:
            others = self.validation[1]
            others.advance(others.apply(layer, true_membership=False, keep=keep), keep=keep)
        self._record(attempt.moments.rates())
        self.layers.append(layer.to("cpu") if self.offload else layer)

    def _make_layer(self, moments: SecondMoments, momentum: float) -> ReduLayer:
        """A layer with these operators and the settings of the step."""
        info, settings = self.info, self.settings
        precision = info.dtype.to_real()
        return ReduLayer(
            moments.operators(),
            proportions=info.proportions.to(precision),
            alpha=torch.tensor(info.alpha, dtype=precision, device=info.counts.device),
            eta=settings.eta,
            membership_rule=settings.membership,
            spectrum=info.spectrum,
            momentum=momentum,
        )

    def _falls(self, rates: RateReduction) -> bool:
        """Whether ΔR is lower than before, by more than rounding error."""
        rounding = ROUNDING * torch.finfo(self.info.dtype).eps * float(rates.expansion)
        return float(rates.delta) < self.history.delta[-1] - rounding

    def _record(self, rates: RateReduction) -> None:
        self.history.append(rates)
        if self.validation and self.history.validation is not None:
            info, others = self.validation
            moments = gather(Exact(), info, others, others.current)
            self.history.validation.append(moments.rates())

    def _gather(self, points: Iterable[Tensor], new: ReduLayer | None = None) -> SecondMoments:
        """Second moments of points that have passed all layers, and the ``new`` one if given."""
        layers = self.layers if new is None else [*self.layers, new]
        return gather(self.settings.operators, self.info, self.samples, points, layers)


def gather(
    kind: OperatorKind,
    info: DatasetInfo,
    samples: LabelledFeatures,
    points: Iterable[Tensor],
    layers: list[ReduLayer] | None = None,
) -> SecondMoments:
    """The second moments that a kind of operators needs, of points in the samples' classes."""

    def collect(moments: SecondMoments) -> None:
        for V, partition in zip(points, samples.partitions, strict=True):
            moments.add(V, partition)
        moments.finish()

    previous = layers[-1].operators if layers else None
    return kind.gather(info, collect, previous, len(layers or ()))
