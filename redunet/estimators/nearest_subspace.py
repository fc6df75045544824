"""The nearest subspace classifier."""

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from redunet._checks import Array, check_count, check_flag, check_sample_shape
from redunet._shapes import check_layout
from redunet.estimators.validation import TensorClassifierMixin, validated, validated_pair
from redunet.rates.covariance import leading_directions
from redunet.rates.grouping import ClassBatch
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, minus_origin, squared_norms

# Number of entries of deviations from the means of all classes that are in memory at one time.
BLOCK_ENTRIES = 2**22


class NearestSubspaceClassifier(TensorClassifierMixin, BaseEstimator):
    """Classifier by the smallest squared distance to a subspace of principal directions.

    Parameters
    ----------
    n_components : int
        Dimension of each class's subspace. It is smaller if a class has lower rank.
    center : bool
        Whether to subtract each class's mean first, as the formula of Section 5.1 does. The default
        is no, because the classes of a ReduNet are subspaces, which contain the origin. With
        ``shift_invariant`` the mean is also over all shifts, so that it is constant over the
        spatial axes.
    shift_invariant : bool
        If false, every class has one subspace of flattened samples. If true, samples are
        ``(m, C, *spatial)``, and every class has one subspace for each frequency. Cyclic shifts
        then do not change the decision.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    components_ : Tensor (F, k, n_components, C)
        Orthonormal principal directions, sorted by descending eigenvalue; zero beyond the rank of
        a class. Without ``shift_invariant``, F is 1 and C is the length of a flattened sample.
    means_ : Tensor (F, k, C)
        The means that are subtracted; zero without ``center``. Both are in double precision.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.1: argmin_j ‖(I − U_j U_j*)(z − μ_j)‖². Without
    ``center``, μ_j = 0 and U_j are the leading singular vectors of the class.
    """

    def __init__(
        self, n_components: int = 10, *, center: bool = False, shift_invariant: bool = False
    ):
        self.n_components = n_components
        self.center = center
        self.shift_invariant = shift_invariant

    @torch.no_grad()
    def fit(self, Z: Array, y: Array) -> "NearestSubspaceClassifier":
        """Compute the subspaces.

        Parameters
        ----------
        Z : array-like or Tensor of shape (m, C, *spatial)
        y : array-like or Tensor of shape (m,)
            Labels, integers or strings.

        Raises
        ------
        ValueError
            If ``Z`` is not finite, the labels do not match it, or ``n_components`` is not positive.
        """
        if self.n_components is None:
            raise TypeError("n_components must be an integer, got None")
        n_components = check_count(n_components=self.n_components)
        check_flag(center=self.center, shift_invariant=self.shift_invariant)
        Z, y = validated_pair(self, Z, y)
        partition = Partition.from_labels(y, len(Z), device=Z.device)
        self.classes_ = partition.classes
        self.sample_shape_ = tuple(Z.shape[1:])
        if self.shift_invariant:
            check_layout(Z)
        self._spectrum = HalfSpectrum(Z.shape[2:] if self.shift_invariant else ()).to(Z.device)
        V = self._features(Z)
        self._origin = V[0].mean(0) if self.center else None  # so that no large numbers are squared
        V = minus_origin(V, self._origin)
        frequencies, _, channels = V.shape
        k, r = partition.num_classes, min(n_components, channels)
        self._means = V.new_zeros(frequencies, k, channels)  # about the origin
        self.components_ = V.new_zeros(frequencies, k, r, channels)
        for batch in partition.class_batches:
            members, means = self._centered_members(V, batch)
            _, directions = leading_directions(members, r)
            self._means[:, batch.classes] = means
            self.components_[:, batch.classes, : directions.shape[2]] = directions
        self.means_ = self._means.clone()
        if self._origin is not None:
            self.means_[0] += self._origin
        return self

    @torch.no_grad()
    def decision_function(self, Z: Array) -> np.ndarray:
        """Negative squared distance to each class's subspace, ``(m, k)``.

        For two classes, as in scikit-learn, this is one column ``(m,)``: the value of the second
        class minus that of the first.
        """
        distances = self._squared_distances(Z)
        if len(self.classes_) == 2:
            return (distances[:, 0] - distances[:, 1]).cpu().numpy()
        return -distances.cpu().numpy()

    @torch.no_grad()
    def predict(self, Z: Array) -> np.ndarray:
        """The label of the nearest subspace for each sample, a numpy array ``(m,)``."""
        nearest = self._squared_distances(Z).argmin(1)
        return self.classes_[nearest.cpu().numpy()]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on blobs in a plane, where subspaces are lines
        return tags

    def _features(self, Z: Tensor) -> Tensor:
        """Half spectra ``(F, m, C)`` in double precision."""
        Z = Z.double()
        return self._spectrum(Z if self.shift_invariant else Z.flatten(1))

    def _centered_members(self, V: Tensor, batch: ClassBatch) -> tuple[Tensor, Tensor]:
        """Samples of a batch of classes minus the means of their classes, and the means."""
        mask = batch.mask.to(V.real.dtype)[:, :, None]  # 0 on padding
        members = V[:, batch.samples] * mask  # (F, g, s, C)
        means = members.sum(2) / mask.sum(1)
        if not self.center:
            means.zero_()
        elif self.shift_invariant:
            means[1:] = 0  # a mean over all shifts has only frequency 0, which comes first
        return members - means.unsqueeze(2) * mask, means

    def _squared_distances(self, Z: Array) -> Tensor:
        """‖v − mean‖² minus the squared norm of its projection onto the subspace, ``(m, k)``."""
        check_is_fitted(self)
        Z = validated(self, Z, reset=False)
        check_sample_shape(Z, self.sample_shape_)
        V = self._features(Z.to(self.components_.device))
        V = minus_origin(V, self._origin).unsqueeze(1)  # (F, 1, m, C)
        size = max(1, BLOCK_ENTRIES // self._means.numel())
        return torch.cat([self._of_block(block) for block in V.split(size, 2)])

    def _of_block(self, V: Tensor) -> Tensor:
        """Squared distances of some samples ``(F, 1, m, C)``, ``(m, k)``."""
        deviations = V - self._means.unsqueeze(2) if self.center else V  # (F, k or 1, m, C)
        coordinates = deviations @ self.components_.mH
        return (squared_norms(deviations, dim=0) - squared_norms(coordinates, dim=0)).T
