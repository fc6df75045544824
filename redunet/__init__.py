"""Deep networks constructed from data, layer by layer, without back-propagation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redunet import _moved, datasets
from redunet._version import __version__
from redunet._warnings import ReduNetWarning
from redunet.coding import coding_length
from redunet.estimators import (
    LossyCodingClustering,
    MICLClassifier,
    NearestSubspaceClassifier,
    ReduNetClassifier,
)
from redunet.files import export
from redunet.inspection import explain
from redunet.layers import Exact, Extensible, Rectified, SharedDictionary, Softmax, Variational
from redunet.lifts import (
    Band,
    JoinedLift,
    Lift,
    MultiScaleLift,
    PCALift,
    RandomCirculantLift,
    ScatteringLift,
    ShortTimeFourierLift,
    Standardize,
    polar_samples,
)
from redunet.network import ReduNet
from redunet.rates import RateReduction, RateReductionMeter, coding_rate, rate_reduction
from redunet.search import ExpansionRegression, Search
from redunet.training import (
    FineTuned,
    MCR2Loss,
    OLELoss,
    ReduConvLayer,
    ReduConvNet,
    VariationalMCR2Loss,
    finetune,
    train,
)

if TYPE_CHECKING:  # loaded on use, because they load matplotlib
    from redunet import plots
    from redunet.inspection.html_report import report

__all__ = [
    "Band",
    "Exact",
    "ExpansionRegression",
    "Extensible",
    "FineTuned",
    "JoinedLift",
    "Lift",
    "LossyCodingClustering",
    "MCR2Loss",
    "MICLClassifier",
    "MultiScaleLift",
    "NearestSubspaceClassifier",
    "OLELoss",
    "PCALift",
    "RandomCirculantLift",
    "RateReduction",
    "RateReductionMeter",
    "Rectified",
    "ReduConvLayer",
    "ReduConvNet",
    "ReduNet",
    "ReduNetClassifier",
    "ReduNetWarning",
    "ScatteringLift",
    "Search",
    "SharedDictionary",
    "ShortTimeFourierLift",
    "Softmax",
    "Standardize",
    "Variational",
    "VariationalMCR2Loss",
    "__version__",
    "coding_length",
    "coding_rate",
    "datasets",
    "explain",
    "export",
    "finetune",
    "plots",
    "polar_samples",
    "rate_reduction",
    "report",
    "train",
]

_moved.install()


def __getattr__(name: str) -> Any:
    """Load ``plots`` and ``report``, which need matplotlib, when they are used."""
    if name == "plots":
        return import_module("redunet.plots")
    if name == "report":
        return import_module("redunet.inspection.html_report").report
    raise AttributeError(_moved.explain(f"redunet.{name}") or f"redunet has no attribute {name!r}")
