"""Deep networks constructed from data, layer by layer, without back-propagation."""

from redunet import cluster, datasets, plots
from redunet._version import __version__
from redunet.classify import NearestSubspaceClassifier
from redunet.convolutional import ReduConvLayer, ReduConvNet
from redunet.estimator import ReduNetClassifier
from redunet.explain import explain
from redunet.export import export
from redunet.finetune import finetune
from redunet.heads import FineTuned
from redunet.lifting import (
    PCALift,
    RandomCirculantLift,
    ScatteringLift,
    ShortTimeFourierLift,
    polar_samples,
)
from redunet.losses import MCR2Loss, OLELoss, VariationalMCR2Loss
from redunet.meter import RateReductionMeter
from redunet.network import ReduNet
from redunet.rates import RateReduction, coding_rate, rate_reduction
from redunet.report import report
from redunet.training import train

__all__ = [
    "FineTuned",
    "MCR2Loss",
    "NearestSubspaceClassifier",
    "OLELoss",
    "PCALift",
    "RandomCirculantLift",
    "RateReduction",
    "RateReductionMeter",
    "ReduConvLayer",
    "ReduConvNet",
    "ReduNet",
    "ReduNetClassifier",
    "ScatteringLift",
    "ShortTimeFourierLift",
    "VariationalMCR2Loss",
    "__version__",
    "cluster",
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
