"""Deep networks constructed from data, layer by layer, without back-propagation."""

from redunet import datasets, plots
from redunet._version import __version__
from redunet.classify import NearestSubspaceClassifier
from redunet.lifting import RandomCirculantLift, polar_samples
from redunet.network import ReduNet
from redunet.rates import RateReduction, coding_rate, rate_reduction

__all__ = [
    "NearestSubspaceClassifier",
    "RandomCirculantLift",
    "RateReduction",
    "ReduNet",
    "__version__",
    "coding_rate",
    "datasets",
    "plots",
    "polar_samples",
    "rate_reduction",
]
