"""A ReduNet as a scikit-learn classifier that chooses its own settings."""

import copy
from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Literal

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from redunet._checks import (
    Array,
    as_samples,
    check_count,
    check_device,
    check_sample_shape,
)
from redunet._keywords import suggests
from redunet._names import Names
from redunet.estimators.validation import TensorClassifierMixin, on_host, validated, validated_pair
from redunet.layers import OperatorKind
from redunet.lifts import Standardize, composed
from redunet.network import ReduNet
from redunet.search import Search
from redunet.search.subset import ClassWeight


class ReduNetClassifier(
    ClassNamePrefixFeaturesOutMixin, TensorClassifierMixin, TransformerMixin, BaseEstimator
):
    """Classifier for tables, series and images, whose network chooses its own settings.

    A sample is assigned to the class with the smallest relative residual r_j = ‖(I + α_j M_j)⁻¹ v‖
    in the first layer. Signals are classified alike at every cyclic shift.

    Lift, band, ε² and sharpness are those with the smallest log loss on training samples that are
    left out one at a time, which has a closed form; see :class:`redunet.Search`. The network is
    then constructed from all samples.

    Parameters
    ----------
    num_layers : int
        Number of layers. The first one decides the class. Further layers give features in which the
        classes are orthogonal subspaces.
    eps_sq : float, optional
        ε², the squared precision of the code; by default found by the search.
    lift : "auto", Search, nn.Module, sequence of nn.Module or None
        Applied to the samples first. "auto" lets a search choose from
        :func:`redunet.search.automatic_lifts`, and adds a second reader; a :class:`redunet.Search`
        says what to compare, takes samples as they are, and has ``eps_sq``, ``class_weight`` and a
        seed of its own. With a lift of your own, or with None for the samples themselves, only ε²
        and the sharpness are chosen. Samples are then standardised first: every feature of vectors,
        or every channel of signals, gets zero mean and unit variance, and vectors get a constant
        feature of 1, without which the network would ignore their norms.
    operators : {"exact", "extensible", "variational"} or OperatorKind
        See :meth:`redunet.ReduNet.construct`.
    rank : int, optional
        Rank of variational operators.
    class_weight : "balanced", dict or None
        Weights of the classes, as in scikit-learn. They multiply ``sample_weight``. "balanced"
        chooses settings and fits the second reader as if all classes had as many samples; without
        it, samples in doubt are put in large classes.
    unknown : int or str, optional
        The label of training samples whose class is not known, such as −1. Masked labels are not
        known either. The search leaves these samples out. Their memberships then move with the
        network; see :meth:`redunet.ReduNet.construct`. With few labels, this can raise the accuracy
        by much.
    random_state : int, RandomState instance or None
        Random state of kernels and projections. None draws a new one from NumPy's global state.
    device : str or torch.device, optional
        Device for construction and evaluation; by default the CPU.
    progress : bool
        Show progress bars on standard error.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    n_features_in_ : int
        Number of columns or channels of ``X``.
    feature_names_in_ : numpy array of str
        Names of the columns, if ``X`` was a frame whose columns have such names.
    net_ : ReduNet
        The network, which takes samples as they are.
    search_ : Search
        The search, with a table of all candidates.
    eps_sq_ : float
        ε² of the network.
    sharpness_ : float
        Sharpness t of the probabilities softmax(−t r).
    transduction_ : numpy array (m,)
        The labels of the training samples, with those that were found for unknown ones.
    label_distributions_ : numpy array (m, k)
        Memberships of the training samples.

    Raises
    ------
    ValueError
        If samples are not finite, labels do not fit, or there are fewer than two classes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ReduNetClassifier().fit(X[::2], y[::2])
    >>> bool(model.score(X[1::2], y[1::2]) > 0.95)
    True
    """

    @suggests
    def __init__(
        self,
        num_layers: int = 1,
        *,
        eps_sq: float | None = None,
        lift: Literal["auto"] | Search | nn.Module | Sequence[nn.Module] | None = "auto",
        operators: Literal["exact", "extensible", "variational"] | OperatorKind = "exact",
        rank: int | None = None,
        class_weight: ClassWeight | None = None,
        unknown: int | str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str | torch.device | None = None,
        progress: bool = False,
    ):
        self.num_layers = num_layers
        self.eps_sq = eps_sq
        self.lift = lift
        self.operators = operators
        self.rank = rank
        self.class_weight = class_weight
        self.unknown = unknown
        self.random_state = random_state
        self.device = device
        self.progress = progress

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> "ReduNetClassifier":
        """Search for the settings, and construct the network.

        Parameters
        ----------
        X : array-like of shape (m, n), (m, C, T), (m, C, H, W), …
            Rows, series of C channels, or images of C channels. Automatic lifts take at most three
            spatial axes, lifts of your own any number.
        y : array-like of shape (m,)
            Labels, integers or strings.
        sample_weight : array-like of shape (m,), optional
            Weights of the samples, at least 0. With given settings, a weight of 2 is the same as a
            sample that occurs twice. In leave-one-out a sample is left out with its whole weight.
        """
        check_device(self.device)
        names = Names.from_data(X, y)
        samples, labels = validated_pair(
            self, on_host(X), y, unknown=self.unknown, partial=True, dtype="numeric"
        )
        samples = as_samples(samples, device=self.device)
        self.search_ = self._search(samples.shape[1], is_signal=samples.ndim > 2)
        self.net_ = ReduNet.construct(
            samples,
            labels,
            sample_weight=sample_weight,
            num_layers=check_count(num_layers=self.num_layers),
            lift=self.search_,
            operators=self.operators,
            rank=self.rank,
            progress=self.progress,
        )
        self.classes_ = self.net_.classes_
        self.net_.names = names
        found = self.net_.label_distributions_
        known = (labels[:, None] == self.classes_).astype(float)
        self.label_distributions_ = known if found is None else found.cpu().numpy()
        self.transduction_ = labels.copy() if found is None else self.net_.transduction_
        self.sharpness_ = self.search_.sharpness_
        self.eps_sq_ = self.net_.settings.eps_sq
        return self

    def transform(self, X: Array) -> np.ndarray:
        """Features after the last layer, flattened and of unit norm, ``(m, n_features_out)``.

        Parameters
        ----------
        X : array-like of the shape that :meth:`fit` takes
        """
        samples = self._validated(X)
        with torch.no_grad():
            return self.net_(samples).flatten(1).cpu().numpy()

    def predict_proba(self, X: Array) -> np.ndarray:
        """Membership ``(m, k)``: softmax of t times the scores of :meth:`decision_function`.

        The score of a class is −r_j, the negative relative residual. A residual is 0 if the class
        explains the sample, and 1 if it explains nothing of it. The scores of a second reader are
        added, times the quotient of both sharpnesses.

        Parameters
        ----------
        X : array-like of the shape that :meth:`fit` takes
        """
        scores = self._scores(X)
        return softmax(self.sharpness_ * scores, axis=1)

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn's tools may expect."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return prod(self.net_.feature_shape)

    @torch.no_grad()
    def _scores(self, X: Array) -> np.ndarray:
        """−r_j before the first layer, plus the scores of the reader on this scale, ``(m, k)``."""
        samples, net = self._validated(X), self.net_
        of_reader = net.reader_logits(samples) / self.sharpness_
        return (of_reader - net.relative_residuals(samples, 0)).cpu().numpy()

    def _validated(self, X: Array) -> Tensor:
        check_is_fitted(self)
        if not hasattr(self, "feature_names_in_"):  # scikit-learn knows names that are strings
            X = self.net_.names.in_order(X)
        X = on_host(X)
        if len(self.net_.sample_shape) > 1 and np.ndim(X) > 1:
            check_sample_shape(np.asarray(X), self.net_.sample_shape)
        samples = validated(self, X, reset=False, dtype="numeric")
        return as_samples(samples, device=self.device)

    def _search(self, channels: int, *, is_signal: bool) -> Search:
        """The search that the parameters ask for. A search among them does not change."""
        if isinstance(self.lift, Search):
            for name in ("eps_sq", "class_weight"):
                if getattr(self, name) is not None:
                    raise ValueError(f"a Search chooses {name} itself: pass it to Search({name}=)")
            return copy.deepcopy(self.lift)
        make = partial(
            Search, eps_sq=self.eps_sq, class_weight=self.class_weight, seed=self.random_state
        )
        if isinstance(self.lift, str):
            if self.lift != "auto":
                raise ValueError(
                    'lift must be "auto", a Search, None, a module or a list of them, got '
                    f"{self.lift!r}"
                )
            return make()
        lift = composed(self.lift)
        parts = [] if lift is None else list(lift) if type(lift) is nn.Sequential else [lift]
        standardize = Standardize(channels, constant=not is_signal)
        return make([nn.Sequential(standardize, *parts)], bands=[None])
