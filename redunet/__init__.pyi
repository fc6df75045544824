"""The public names, and the modules that hold them. They are loaded when they are used."""

from redunet import datasets, plots
from redunet._version import __version__
from redunet._warnings import ReduNetWarning
from redunet.coding import coding_length
from redunet.estimators import (
    LossyCodingClustering,
    MICLClassifier,
    NearestSubspaceClassifier,
    ReduNetClassifier,
)
from redunet.files.exporting import export
from redunet.inspection import explain
from redunet.inspection.html_report import report
from redunet.layers import Exact, Extensible, Rectified, SharedDictionary, Softmax, Variational
from redunet.lifts import (
    Band,
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
from redunet.rates import (
    RateReduction,
    RateReductionMeter,
    coding_rate,
    optimal_rate_reduction,
    rate_reduction,
)
from redunet.search import ExpansionRegression, Search
from redunet.training import (
    FineTuned,
    MCR2Loss,
    OLELoss,
    ReduConvLayer,
    ReduConvNet,
    TokenStatisticsAttention,
    VariationalMCR2Loss,
    finetune,
)

__all__ = [
    "Band",
    "Exact",
    "ExpansionRegression",
    "Extensible",
    "FineTuned",
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
    "TokenStatisticsAttention",
    "Variational",
    "VariationalMCR2Loss",
    "__version__",
    "coding_length",
    "coding_rate",
    "datasets",
    "explain",
    "export",
    "finetune",
    "optimal_rate_reduction",
    "plots",
    "polar_samples",
    "rate_reduction",
    "report",
]
