"""Estimators that follow scikit-learn's conventions."""

from redunet.estimators.classifier import ReduNetClassifier
from redunet.estimators.clustering import SubspaceClustering, clustering_accuracy
from redunet.estimators.nearest_subspace import NearestSubspaceClassifier

__all__ = [
    "NearestSubspaceClassifier",
    "ReduNetClassifier",
    "SubspaceClustering",
    "clustering_accuracy",
]
