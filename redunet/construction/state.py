"""The state of a construction between two layers."""

from dataclasses import dataclass

from redunet.construction.feature_store import FeatureStore
from redunet.construction.history import RateHistory
from redunet.layers import ReduLayer


@dataclass
class ConstructionState:
    """Everything that is needed to continue a construction.

    Attributes
    ----------
    layers : list of ReduLayer
        The layers made so far.
    history : RateHistory
        Their rates.
    features : dict of str to FeatureStore
        Features after the last layer (and before it if there is momentum) of the training and
        validation samples.
    """

    layers: list[ReduLayer]
    history: RateHistory
    features: dict[str, FeatureStore]
