"""Estimators that follow scikit-learn's conventions."""

from redunet.estimators.classifier import ReduNetClassifier
from redunet.estimators.lossy_coding import LossyCodingClustering
from redunet.estimators.micl import MICLClassifier
from redunet.estimators.nearest_subspace import NearestSubspaceClassifier

__all__ = [
    "LossyCodingClustering",
    "MICLClassifier",
    "NearestSubspaceClassifier",
    "ReduNetClassifier",
]
