"""The classifier of minimum incremental coding length."""

from collections.abc import Callable

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from redunet._checks import (
    Array,
    as_tensor,
    check_count,
    check_flag,
    check_positive,
    check_sample_shape,
)
from redunet._shapes import check_layout
from redunet.coding.increment import CodedClasses
from redunet.coding.local import local_increments
from redunet.estimators.validation import TensorClassifierMixin, validated, validated_pair
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, as_double, squared_norms
from redunet.search.calibration import calibrate

# Candidates for ε², times the mean squared norm of the samples minus their mean.
PRECISIONS = np.geomspace(1e-6, 1e2, 33)

# Number of increments, for all ε² together, that are in memory at one time.
TABLE_ENTRIES = 2**24

# ε² relative to that norm if no sample can be left out.
DEFAULT_PRECISION = 0.1


class MICLClassifier(TensorClassifierMixin, BaseEstimator):
    """Classifier by minimum incremental coding length (MICL).

    A sample belongs to the class whose code it lengthens least, together with the length of its
    label. The increments δL are in nats, so softmax(−δL) would be a probability if the samples were
    Gaussian. Probabilities are softmax(−t δL), with a sharpness t ≤ 1. With many samples, MICL
    becomes the most probable class of Gaussians with covariances Σ + ε²/D I, plus half of the
    effective dimension tr(Σ (Σ + ε²/D I)⁻¹). A class may have a degenerate covariance.

    Parameters
    ----------
    eps_sq : float, optional
        ε², the squared error of the code. By default, 33 values from 10⁻⁶ to 100, times the mean
        squared distance of the samples to their mean, are compared by exact leave-one-out. The best
        value has the least log loss of softmax(−t δL), at its best sharpness t ≤ 1. A sample that
        is alone in its class is not left out. If all are, ε² is 0.1 times that distance.
    center : bool
        Whether to code each class about its mean, and the mean itself. With ``shift_invariant``
        the mean is also over all shifts.
    shift_invariant : bool
        If false, samples are flattened. If true, samples are ``(m, C, *spatial)``, and are coded
        up to cyclic shifts, which then do not change the decision.
    n_neighbors : int, optional
        Code each sample with this number of its nearest neighbours in each class (local MICL)
        instead of with all samples of the class. With ``shift_invariant`` the distance is that to
        the nearest shift. ``fit`` then stores the samples.
    priors : array-like of shape (k,), optional
        Probabilities of the classes, in the order of the sorted labels. By default they are the
        shares of the samples.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    eps_sq_ : float
        The ε² that is used.
    searched_ : numpy array (e,)
        The values of ε² that were compared; empty if ``eps_sq`` was given, or no sample can be
        left out.
    losses_ : numpy array (e,)
        Their log losses by leave-one-out, in nats.
    sharpness_ : float
        Sharpness t of the probabilities, from the same leave-one-out; 1 if ``eps_sq`` was given, or
        no sample can be left out.

    References
    ----------
    Wright, Tao, Lin, Shum, Ma. Classification via Minimum Incremental Coding Length (NIPS 2007;
    SIAM J. Imaging Sciences 2009).

    Examples
    --------
    >>> from redunet import datasets
    >>> X, y = datasets.digits()
    >>> model = MICLClassifier().fit(X[:400], y[:400])
    >>> bool(model.score(X[400:], y[400:]) > 0.9)
    True
    """

    _coded: CodedClasses  # without n_neighbors
    _samples: Tensor | None  # with n_neighbors

    def __init__(
        self,
        eps_sq: float | None = None,
        *,
        center: bool = True,
        shift_invariant: bool = False,
        n_neighbors: int | None = None,
        priors: Array | None = None,
    ):
        self.eps_sq = eps_sq
        self.center = center
        self.shift_invariant = shift_invariant
        self.n_neighbors = n_neighbors
        self.priors = priors

    @torch.no_grad()
    def fit(self, X: Array, y: Array) -> "MICLClassifier":
        """Decompose the classes, and choose ε² if it is not given.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, C, *spatial)
        y : array-like or Tensor of shape (m,)
            Labels, integers or strings.

        Raises
        ------
        ValueError
            If ``X`` is not finite, the labels do not match it, or a parameter is out of range.
        """
        check_positive(eps_sq=self.eps_sq)
        check_count(n_neighbors=self.n_neighbors)
        check_flag(center=self.center, shift_invariant=self.shift_invariant)
        X, y = validated_pair(self, X, y)
        self._partition = Partition.from_labels(y, len(X), device=X.device)
        self.classes_ = self._partition.classes
        self._log_priors = self._checked_priors()
        self.sample_shape_ = tuple(X.shape[1:])
        if self.shift_invariant:
            check_layout(X)
        self._spectrum = HalfSpectrum(X.shape[2:] if self.shift_invariant else ()).to(X.device)
        V = self._features(X)
        self._samples = None
        if self.n_neighbors is None:
            self._fit_classes(V)
        else:
            self._fit_neighbors(V)
        return self

    @torch.no_grad()
    def increments(self, X: Array) -> np.ndarray:
        """Incremental coding lengths δL(x, j) of samples in each class, in nats, ``(m, k)``."""
        check_is_fitted(self)
        X = validated(self, X, reset=False)
        check_sample_shape(X, self.sample_shape_)
        V = self._features(X.to(self._spectrum.weights.device))
        if self._samples is None:
            return self._coded.increments(V).cpu().numpy()
        return self._local(V, self._samples, self.eps_sq_).cpu().numpy()

    def decision_function(self, X: Array) -> np.ndarray:
        """Negative incremental coding lengths −δL, ``(m, k)``.

        For two classes, as in scikit-learn, this is one column ``(m,)``: the value of the second
        class minus that of the first.
        """
        increments = self.increments(X)
        if len(self.classes_) == 2:
            return increments[:, 0] - increments[:, 1]
        return -increments

    def predict_proba(self, X: Array) -> np.ndarray:
        """Probabilities softmax(−t δL) of the classes, ``(m, k)``; t is ``sharpness_``."""
        increments = torch.from_numpy(self.increments(X))
        return torch.softmax(-self.sharpness_ * increments, 1).numpy()

    def predict(self, X: Array) -> np.ndarray:
        """The label with the least incremental coding length, a numpy array ``(m,)``."""
        nearest = self.increments(X).argmin(1)
        return self.classes_[nearest]

    def _fit_classes(self, V: Tensor) -> None:
        grid = self._grid(V)
        coded = CodedClasses.from_samples(
            V,
            self._partition,
            self._spectrum.weights,
            grid,
            center=self.center,
            log_priors=self._log_priors,
            held_out=len(grid) > 1,
        )
        self._choose(grid, lambda part: coded.at(part, held_out=True).held_out_increments(V))
        self._coded = coded.at(self.eps_sq_)

    def _fit_neighbors(self, V: Tensor) -> None:
        self._choose(self._grid(V), lambda part: self._local(V, V, part, held_out=True))
        self._samples = V.clone()  # the caller may fill its array again

    def _local(
        self, V_new: Tensor, V: Tensor, eps_sq: float | Tensor, *, held_out: bool = False
    ) -> Tensor:
        assert self.n_neighbors is not None
        return local_increments(
            V_new,
            V,
            self._partition,
            self._spectrum,
            eps_sq,
            n_neighbors=check_count(n_neighbors=self.n_neighbors),
            center=self.center,
            log_priors=self._log_priors,
            held_out=held_out,
        )

    def _grid(self, V: Tensor) -> Tensor:
        """The values of ε² to compare."""
        if self.eps_sq is not None:
            return torch.tensor(
                [check_positive(eps_sq=self.eps_sq)], dtype=torch.float64, device=V.device
            )
        scale = float(self._scale(V)) / self._spectrum.size or 1.0
        searched = bool((self._partition.sizes > 1).any())
        relative = PRECISIONS if searched else [DEFAULT_PRECISION]
        return torch.as_tensor(relative, dtype=torch.float64, device=V.device) * scale

    def _scale(self, V: Tensor) -> Tensor:
        """Mean squared norm of the samples, about their mean if classes are centred."""
        if self.center:
            V = torch.cat([V[:1] - V[:1].mean(1, keepdim=True), V[1:]])
        return squared_norms(V, dim=0).mean()

    def _choose(self, grid: Tensor, held_out: Callable[[Tensor], Tensor]) -> None:
        """Take the ε² of the least log loss.

        ``held_out`` makes increments ``(e, m, k)`` of held-out samples from values of ε² ``(e,)``.
        """
        self.searched_ = self.losses_ = np.empty(0)
        self.eps_sq_, self.sharpness_ = float(grid[0]), 1.0
        if len(grid) == 1:
            return
        targets = self._partition.membership.argmax(1)
        judged = self._partition.sizes[targets] > 1
        entries = len(targets) * self._partition.num_classes
        parts = [
            calibrate(held_out(part)[:, judged], targets[judged], most=1.0)
            for part in grid.split(max(1, TABLE_ENTRIES // entries))
        ]
        losses = torch.cat([part.losses.mean(1) for part in parts])
        sharpness = torch.cat([part.sharpness for part in parts])
        best = int(losses.argmin())
        self.searched_, self.losses_ = grid.cpu().numpy(), losses.cpu().numpy()
        self.eps_sq_, self.sharpness_ = float(grid[best]), float(sharpness[best])

    def _checked_priors(self) -> Tensor | None:
        """Logarithms of the priors, ``(k,)``."""
        if self.priors is None:
            return None
        priors = as_tensor(self.priors).double()
        k = len(self.classes_)
        if priors.shape != (k,):
            raise ValueError(f"priors must have shape ({k},), got {tuple(priors.shape)}")
        if not bool((priors > 0).all()) or not np.isclose(float(priors.sum()), 1):
            raise ValueError(f"priors must be positive and sum to 1, got {priors.tolist()}")
        return priors.log().to(self._partition.counts.device)

    def _features(self, X: Tensor) -> Tensor:
        return as_double(self._spectrum(X.double() if self.shift_invariant else X.flatten(1)))
