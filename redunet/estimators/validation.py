"""Samples of an estimator, checked as scikit-learn does, from arrays or tensors on any device."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import column_or_1d, validate_data
from torch import Tensor

from redunet._checks import Array, as_labels, as_samples, as_tensor
from redunet._shapes import check_equal_shapes


def validated(
    estimator: BaseEstimator, X: Array, y: Array = "no_validation", *, reset: bool
) -> tuple[Tensor, Any]:
    """Samples as a tensor on their device, and labels. On the CPU, scikit-learn checks both."""
    if isinstance(X, Tensor) and X.device.type != "cpu":
        return as_samples(X), None if isinstance(y, str) else column_or_1d(as_labels(y))
    check_equal_shapes(X)
    options = {"allow_nd": True, "dtype": (np.float64, np.float32)}
    checked = validate_data(estimator, X, y, reset=reset, **options)
    X, y = checked if isinstance(checked, tuple) else (checked, None)
    return as_tensor(X), y


class TensorClassifierMixin(ClassifierMixin):
    """A scikit-learn classifier whose labels may be a tensor on any device."""

    def score(self, X: Array, y: Array, sample_weight: np.ndarray | None = None) -> float:
        """The share of samples whose label is predicted.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        y : array-like or Tensor of shape (m,)
            Labels, integers or strings.
        sample_weight : array-like of shape (m,), optional
        """
        return super().score(X, as_labels(y), sample_weight)
