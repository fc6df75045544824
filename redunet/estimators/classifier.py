"""A ReduNet as a scikit-learn classifier that chooses its own settings."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from redunet._checks import Array, check_count
from redunet.construction.defaults import default_eps_sq
from redunet.layers import OperatorKind, Softmax
from redunet.network import ReduNet
from redunet.rates.covariance import PrecisionError

# Candidates for ε² of vectors. For signals they are divided by the number of frequencies.
CANDIDATES = np.geomspace(1e-3, 3, 8)

# The sharpness of memberships where cross-validation does not calibrate it.
DEFAULT_SHARPNESS = 10.0
FOLDS = 5

# With more samples than this, one fold is enough.
FEW_SAMPLES = 1000


class ReduNetClassifier(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Classifier with a network that is constructed from standardised samples.

    A sample is assigned to the class with the smallest residual γ_j ‖Cʲ v‖ in the last layer. The
    paper's membership uses ‖Cʲ v‖ instead, which depends on the sizes of the classes.

    If ``eps_sq`` is not given, ε² and the depth are those with the smallest log loss on held-out
    samples. The loss comes from five-fold cross-validation, or from the first fold alone if there
    are more than 1000 samples. The candidates for ε² are 0.001 to 3, divided by the number of
    frequencies. They are compared in networks of one layer, because the first layer nearly decides
    the class. The depths are then compared in networks of ``num_layers`` layers. If a class has
    fewer than five samples, ε² is 0.5 divided by the number of frequencies, and the depth is
    ``num_layers``. The final network is constructed from all samples.

    Parameters
    ----------
    num_layers : int
        Number of layers, or the largest number if ``eps_sq`` is not given.
    eps_sq : float, optional
        ε², the squared precision of the code; by default selected as above.
    eta : float, optional
        Step size η; by default such that the step ηC/(mε²) is 2.
    lift : nn.Module or sequence of nn.Module, optional
        Applied to the standardised samples first; see :meth:`redunet.ReduNet.construct`.
    input_shape : tuple of int, optional
        Shape ``(C, *spatial)`` of one sample, whose values are a row of ``X``. The network is then
        invariant to cyclic shifts. By default samples are vectors.
    operators : {"exact", "variational"} or OperatorKind
        See :meth:`redunet.ReduNet.construct`.
    rank : int, optional
        Rank of variational operators.
    standardize : bool
        Scale every feature of vectors, or every channel of signals, to zero mean and unit variance.
        Vectors also get a constant feature of 1. Without it, the network would ignore their norms.
    random_state : int, RandomState instance or None
        Random state of the split into folds.
    device : str or torch.device, optional
        Device for construction and evaluation; by default the CPU.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    n_features_in_ : int
        Number of columns of ``X``.
    net_ : ReduNet
        The network, which takes standardised samples.
    eps_sq_, eta_ : float
        ε² and η of the network.
    mean_, scale_ : numpy arrays
        Means and standard deviations for the standardisation; deviations of 0 are replaced by 1.
    sharpness_ : float
        Sharpness of the softmax in :meth:`predict_proba`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ReduNetClassifier(random_state=0).fit(X[::2], y[::2])
    >>> bool(model.score(X[1::2], y[1::2]) > 0.9)
    True
    """

    def __init__(
        self,
        num_layers: int = 5,
        *,
        eps_sq: float | None = None,
        eta: float | None = None,
        lift: nn.Module | Sequence[nn.Module] | None = None,
        input_shape: tuple[int, ...] | None = None,
        operators: Literal["exact", "variational"] | OperatorKind = "exact",
        rank: int | None = None,
        standardize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device | None = None,
    ):
        self.num_layers = num_layers
        self.eps_sq = eps_sq
        self.eta = eta
        self.lift = lift
        self.input_shape = input_shape
        self.operators = operators
        self.rank = rank
        self.standardize = standardize
        self.random_state = random_state
        self.device = device

    def fit(self, X: Array, y: Array) -> "ReduNetClassifier":
        """Standardise the samples, select ε² and the depth, and construct the network.

        Parameters
        ----------
        X : array-like of shape (m, n)
        y : array-like of shape (m,)
            Labels, integers or strings.
        """
        check_count(num_layers=self.num_layers)
        rows, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(labels)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"at least two classes are needed, got 1 class: {self.classes_.tolist()}"
            )
        if self.input_shape and prod(self.input_shape) != rows.shape[1]:
            raise ValueError(
                f"input_shape {tuple(self.input_shape)} has {prod(self.input_shape)} values, "
                f"X has {rows.shape[1]} features"
            )
        self._fit_scale(rows)
        samples = self._samples(rows)
        self.sharpness_ = DEFAULT_SHARPNESS
        if self.eps_sq is None:
            self.eps_sq_, depth = self._search(samples, targets)
        else:
            self.eps_sq_, depth = self.eps_sq, self.num_layers
        self.net_ = self._construct(samples, targets, depth, self.eps_sq_)
        self.eta_ = self.net_.settings.eta
        return self

    def transform(self, X: Array) -> np.ndarray:
        """Features after the last layer, flattened and of unit norm, ``(m, n_features_out)``.

        Parameters
        ----------
        X : array-like of shape (m, n)
        """
        samples = self._validated(X)
        with torch.no_grad():
            return self.net_(samples).flatten(1).cpu().numpy()

    def decision_function(self, X: Array) -> np.ndarray:
        """Negative residuals −γ_j ‖Cʲ v‖ of each sample in each class, ``(m, k)``.

        For two classes, as in scikit-learn, this is one column ``(m,)``: the value of the second
        class minus that of the first.

        Parameters
        ----------
        X : array-like of shape (m, n)
        """
        scores = -self._residuals(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Array) -> np.ndarray:
        """Membership ``(m, k)``: a softmax of the negative residuals.

        The sharpness of the softmax is calibrated on the held-out samples from the selection of ε².
        It is 10 if there was no selection.

        Parameters
        ----------
        X : array-like of shape (m, n)
        """
        residuals = self._residuals(X)
        return softmax(-self.sharpness_ * residuals, axis=1)

    def predict(self, X: Array) -> np.ndarray:
        """The label of the class with the smallest residual for each sample, ``(m,)``.

        Parameters
        ----------
        X : array-like of shape (m, n)
        """
        nearest = self._residuals(X).argmin(1)
        return self.classes_[nearest]

    @property
    def _n_features_out(self) -> int:
        return prod(self.net_.feature_shape)

    def _residuals(self, X: Array) -> np.ndarray:
        samples = self._validated(X)
        return _relative_residuals(self.net_, samples)

    def _validated(self, X: Array) -> Tensor:
        check_is_fitted(self)
        return self._samples(validate_data(self, X, reset=False, dtype=(np.float64, np.float32)))

    def _fit_scale(self, X: np.ndarray) -> None:
        shaped = self._shaped(X)
        axes = (0, *range(2, shaped.ndim))
        self.mean_ = shaped.mean(axes, keepdims=True)[0]
        scale = shaped.std(axes, keepdims=True)[0]
        self.scale_ = np.where(scale > 0, scale, 1)

    def _shaped(self, X: np.ndarray) -> np.ndarray:
        return X.reshape(len(X), *self.input_shape) if self.input_shape else X

    def _samples(self, X: np.ndarray) -> Tensor:
        """Samples in the shape that the network takes, after standardisation if it is enabled."""
        shaped = self._shaped(X)
        if self.standardize:
            shaped = (shaped - self.mean_) / self.scale_
            if not self.input_shape:
                shaped = np.concatenate([shaped, np.ones((len(X), 1))], 1)
        return torch.tensor(shaped.astype(X.dtype), device=self.device)

    def _construct(
        self, samples: Tensor, targets: np.ndarray, num_layers: int, eps_sq: float
    ) -> ReduNet:
        return ReduNet.construct(
            samples,
            targets,
            num_layers=num_layers,
            eta=self.eta,
            eps_sq=eps_sq,
            lift=self.lift,
            membership=Softmax(balanced=True),  # as predictions, whatever the sizes of the classes
            operators=self.operators,
            rank=self.rank,
        )

    def _search(self, samples: Tensor, targets: np.ndarray) -> tuple[float, int]:
        """ε² and depth with the smallest loss on held-out samples; also sets ``sharpness_``."""
        frequencies = prod(self.input_shape[1:]) if self.input_shape else 1
        if np.bincount(targets).min() < FOLDS:
            return default_eps_sq(frequencies), self.num_layers
        random = check_random_state(self.random_state)
        folds = list(
            StratifiedKFold(FOLDS, shuffle=True, random_state=random).split(targets, targets)
        )
        if len(targets) > FEW_SAMPLES:
            folds = folds[:1]
        held_out_targets = np.concatenate([targets[test] for _, test in folds])

        def losses(eps_sq: float, depth: int) -> list[tuple[float, float]]:
            """Log loss on held-out samples and its best sharpness, for depths up to ``depth``."""
            try:
                nets = [
                    self._construct(samples[train], targets[train], depth, eps_sq)
                    for train, _ in folds
                ]
            except PrecisionError:  # a candidate that is too small for the type of the samples
                return [(np.inf, DEFAULT_SHARPNESS)] * depth
            return [
                _least_loss(
                    np.concatenate(
                        [
                            _relative_residuals(net, samples[test], layer)
                            for net, (_, test) in zip(nets, folds, strict=True)
                        ]
                    ),
                    held_out_targets,
                )
                for layer in range(depth)
            ]

        eps_sq = min(CANDIDATES / frequencies, key=lambda candidate: losses(candidate, 1)[0])
        _, self.sharpness_, depth = min(
            (*loss, layer + 1) for layer, loss in enumerate(losses(eps_sq, self.num_layers))
        )
        return float(eps_sq), depth


@torch.no_grad()
def _relative_residuals(net: ReduNet, samples: Tensor, layer: int = -1) -> np.ndarray:
    """Residuals γ_j ‖Cʲ v‖ = α ‖(I + α_j V Πʲ V*)⁻¹ v‖ of each sample in each class, ``(m, k)``.

    ‖Cʲ v‖ itself has a factor of 1/m_j, which favours large classes.
    """
    return (net.residual_norms(samples, layer) * net.layers[layer].proportions).cpu().numpy()


def _least_loss(residuals: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The smallest log loss of memberships over all sharpnesses, and its sharpness."""

    def loss(log_sharpness: float) -> float:
        logits = -np.exp(log_sharpness) * residuals
        return float((logsumexp(logits, axis=1) - logits[np.arange(len(targets)), targets]).mean())

    minimum = minimize_scalar(loss, bounds=(-5, 10), method="bounded")
    return minimum.fun, float(np.exp(minimum.x))
