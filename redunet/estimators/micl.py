"""The classifier of minimum incremental coding length."""

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator
from torch import Tensor

from redunet._checks import Array, check_flag, check_positive
from redunet.coding.increment import CodedClasses
from redunet.estimators.validation import SpectralMixin, TensorClassifierMixin, validated_pair
from redunet.rates.partition import Partition
from redunet.rates.spectrum import squared_norms
from redunet.search.calibration import calibrate

# Candidates for ε², times the mean squared norm of the samples minus their mean.
PRECISIONS = np.geomspace(1e-6, 1e2, 33)

# Number of increments, for all ε² together, that are in memory at one time.
TABLE_ENTRIES = 2**24

# ε² relative to that norm if no sample can be left out.
DEFAULT_PRECISION = 0.1


class MICLClassifier(SpectralMixin, TensorClassifierMixin, BaseEstimator):
    """Classifier by minimum incremental coding length (MICL).

    A sample belongs to the class whose code it lengthens least, together with the length of its
    label. :meth:`decision_function` returns −δL. The increments δL are in nats, so softmax(−δL)
    would be a probability if the samples were Gaussian. Probabilities are softmax(−t δL), with a
    sharpness t ≤ 1. With many samples, MICL becomes the most probable class of Gaussians with
    covariances Σ + ε²/D I, plus half of the effective dimension tr(Σ (Σ + ε²/D I)⁻¹). A class may
    have a degenerate covariance.

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

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    eps_sq_ : float
        The ε² that is used.
    searched_ : numpy array (e,)
        The values of ε² that were compared.
    losses_ : numpy array (e,)
        Their log losses by leave-one-out, in nats; empty if no sample can be left out.
    sharpness_ : float
        Sharpness t of the probabilities, from the same leave-one-out; 1 if no sample can be left
        out.

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

    _coded: CodedClasses

    def __init__(
        self,
        eps_sq: float | None = None,
        *,
        center: bool = True,
        shift_invariant: bool = False,
    ):
        self.eps_sq = eps_sq
        self.center = center
        self.shift_invariant = shift_invariant

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
        check_flag(center=self.center)
        X, y = validated_pair(self, X, y)
        partition = Partition.from_labels(y, len(X), device=X.device)
        self.classes_ = partition.classes
        V = self._fit_spectra(X)
        targets = partition.membership.argmax(1)
        left_out = partition.sizes[targets] > 1
        grid = self._grid(V, is_searched=bool(left_out.any()))
        coded = CodedClasses.from_samples(
            V,
            partition,
            self._spectrum.weights,
            grid,
            center=self.center,
            held_out=True,
        )
        self.searched_, self.losses_ = grid.cpu().numpy(), np.empty(0)
        best, self.sharpness_ = 0, 1.0
        if left_out.any():
            size = max(1, TABLE_ENTRIES // (len(targets) * partition.num_classes))
            parts = [
                calibrate(
                    coded.at(some, held_out=True).held_out_increments(V)[:, left_out],
                    targets[left_out],
                    most=1.0,
                )
                for some in grid.split(size)
            ]
            self.losses_ = torch.cat([part.losses.mean(1) for part in parts]).cpu().numpy()
            best = int(self.losses_.argmin())
            self.sharpness_ = float(torch.cat([part.sharpness for part in parts])[best])
        self.eps_sq_ = float(grid[best])
        self._coded = coded.at(self.eps_sq_)
        return self

    @torch.no_grad()
    def increments(self, X: Array) -> np.ndarray:
        """Incremental coding lengths δL(x, j) of samples in each class, in nats, ``(m, k)``."""
        V = self._new_spectra(X)
        return self._coded.increments(V).cpu().numpy()

    def predict_proba(self, X: Array) -> np.ndarray:
        """Probabilities softmax(−t δL) of the classes, ``(m, k)``; t is ``sharpness_``."""
        scores = self._scores(X)
        return softmax(self.sharpness_ * scores, axis=1)

    def _scores(self, X: Array) -> np.ndarray:
        return -self.increments(X)

    def _grid(self, V: Tensor, *, is_searched: bool) -> Tensor:
        """The values of ε² to compare."""
        values = np.array([self.eps_sq])
        if self.eps_sq is None:
            deviations = V
            if self.center:
                deviations = torch.cat([V[:1] - V[:1].mean(1, keepdim=True), V[1:]])
            scale = float(squared_norms(deviations, dim=0).mean()) / self._spectrum.size or 1.0
            values = scale * (PRECISIONS if is_searched else np.array([DEFAULT_PRECISION]))
        return torch.as_tensor(values, dtype=torch.float64, device=V.device)
