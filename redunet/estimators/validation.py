"""Samples and labels of an estimator, checked as scikit-learn does, from arrays or tensors."""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from redunet._checks import (
    Array,
    as_samples,
    as_tensor,
    check_array,
    check_flag,
    check_sample_shape,
)
from redunet._labels import Label, as_array, as_labels
from redunet._shapes import check_layout
from redunet.rates.spectrum import HalfSpectrum, as_double

# The types that samples keep; others become the first of them.
DType: TypeAlias = tuple[type[np.floating], ...] | Literal["numeric"]
FLOATS: DType = (np.float64, np.float32)


def validated(
    estimator: BaseEstimator,
    X: Array,
    *,
    reset: bool,
    dtype: DType = FLOATS,
    ensure_min_samples: int = 1,
) -> Tensor:
    """Samples as a tensor on their device. On the CPU, scikit-learn checks them."""
    if isinstance(X, Tensor) and X.device.type != "cpu":
        return as_samples(X)
    X = on_host(X)
    options = {"dtype": dtype, "allow_nd": True, "ensure_min_samples": ensure_min_samples}
    return as_tensor(validate_data(estimator, X, reset=reset, **options))


def validated_pair(
    estimator: BaseEstimator,
    X: Array,
    y: Array,
    *,
    unknown: Label | None = None,
    partial: bool = False,
    dtype: DType = FLOATS,
) -> tuple[Tensor, np.ndarray]:
    """Samples of :func:`validated`, and labels of :func:`redunet._labels.as_labels`.

    Labels that may be missing, if they are ``partial``, are masked in the result.
    """
    if y is not None and not issparse(y):
        y = as_array(y)
        if y.ndim == 1 and (y.dtype == object or isinstance(y, np.ma.MaskedArray)):
            # scikit-learn would take off a mask, and make strings of numbers among strings.
            y, unknown = as_labels(y, unknown=unknown, partial=partial), None
    samples = validated(estimator, X, reset=True, dtype=dtype)
    checked = np.ma.masked_array(column_or_1d(np.ma.getdata(y), warn=True), np.ma.getmask(y))
    labels = as_labels(checked, len(samples), unknown=unknown, partial=partial)
    check_classification_targets(checked.data)
    return samples, labels


def on_host(X: Array) -> Array:
    """Tensors as arrays in host memory, where scikit-learn checks them."""
    check_array(X)
    if not isinstance(X, Tensor) or X.layout != torch.strided:
        return X
    X = X.detach().cpu()
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()


class TensorClassifierMixin(ClassifierMixin, ABC):
    """A scikit-learn classifier by the largest score, whose labels may be a tensor on any device.

    A subclass implements :meth:`_scores`.
    """

    classes_: np.ndarray

    @abstractmethod
    def _scores(self, X: Array) -> np.ndarray:
        """Scores of samples in each class, ``(m, k)``; the largest one wins."""

    def decision_function(self, X: Array) -> np.ndarray:
        """Scores of samples in each class, ``(m, k)``.

        For two classes, as in scikit-learn, this is one column ``(m,)``: the value of the second
        class minus that of the first.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Array) -> np.ndarray:
        """The label with the largest score for each sample, a numpy array ``(m,)``."""
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def score(self, X: Array, y: Array, sample_weight: np.ndarray | None = None) -> float:
        """The share of samples whose label is predicted.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        y : array-like or Tensor of shape (m,)
            Labels, integers or strings.
        sample_weight : array-like of shape (m,), optional
        """
        y = as_array(y)
        labels = as_labels(y, classes=self.classes_) if y.ndim == 1 else y
        return super().score(X, labels, sample_weight)


class SpectralMixin:
    """An estimator on half spectra in double precision, ``(F, m, C)``.

    Without ``shift_invariant``, samples are flattened, and their one frequency has all values.
    """

    shift_invariant: bool
    sample_shape_: tuple[int, ...]
    _spectrum: HalfSpectrum

    def _fit_spectra(self, X: Tensor) -> Tensor:
        """Half spectra of the samples that an estimator is fitted to."""
        check_flag(shift_invariant=self.shift_invariant)
        self.sample_shape_ = tuple(X.shape[1:])
        if self.shift_invariant:
            check_layout(X)
        self._spectrum = HalfSpectrum(X.shape[2:] if self.shift_invariant else ()).to(X.device)
        return self._spectra(X)

    def _new_spectra(self, X: Array) -> Tensor:
        """Half spectra of samples like those, on their device."""
        check_is_fitted(self)
        samples = validated(self, X, reset=False)
        check_sample_shape(samples, self.sample_shape_)
        return self._spectra(samples.to(self._spectrum.weights.device))

    def _spectra(self, X: Tensor) -> Tensor:
        return as_double(self._spectrum((X if self.shift_invariant else X.flatten(1)).double()))
