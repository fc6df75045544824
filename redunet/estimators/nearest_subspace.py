"""The nearest subspace classifier."""

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from redunet._checks import Array, check_count, check_flag
from redunet._keywords import suggests
from redunet.coding.length import centred
from redunet.estimators.validation import SpectralMixin, TensorClassifierMixin, validated_pair
from redunet.rates.decomposition import leading_directions
from redunet.rates.partition import Partition
from redunet.rates.spectrum import minus_origin, squared_norms

# Number of entries of deviations from the means of all classes that are in memory at one time.
BLOCK_ENTRIES = 2**22


class NearestSubspaceClassifier(SpectralMixin, TensorClassifierMixin, BaseEstimator):
    """Classifier by the smallest squared distance to a subspace of principal directions.

    :meth:`decision_function` returns the negative squared distances.

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
    components_ : numpy array (F, k, n_components, C)
        Orthonormal principal directions, sorted by descending eigenvalue; zero beyond the rank of
        a class. Without ``shift_invariant``, F is 1 and C is the length of a flattened sample.
    means_ : numpy array (F, k, C)
        The means that are subtracted; zero without ``center``. Both are in double precision.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.1: argmin_j ‖(I − U_j U_j*)(z − μ_j)‖². Without
    ``center``, μ_j = 0 and U_j are the leading singular vectors of the class.
    """

    @suggests
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
        check_flag(center=self.center)
        Z, y = validated_pair(self, Z, y)
        partition = Partition.from_labels(y, len(Z), device=Z.device)
        self.classes_ = partition.classes
        V = self._fit_spectra(Z)
        self._origin = V[0].mean(0) if self.center else None  # so that no large numbers are squared
        V = minus_origin(V, self._origin)
        frequencies, _, channels = V.shape
        k, r = partition.num_classes, min(n_components, channels)
        self._means = V.new_zeros(frequencies, k, channels)  # about the origin
        self._components = V.new_zeros(frequencies, k, r, channels)
        for batch in partition.class_batches:
            members = batch.gather(V)
            if self.center:
                members, means = centred(members, batch, partition.counts[batch.classes])
                self._means[0, batch.classes] = means
            _, directions = leading_directions(members, r)
            self._components[:, batch.classes, : directions.shape[2]] = directions
        means = self._means.clone()
        if self._origin is not None:
            means[0] += self._origin
        self.components_, self.means_ = self._components.cpu().numpy(), means.cpu().numpy()
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on blobs in a plane, where subspaces are lines
        return tags

    @torch.no_grad()
    def _scores(self, X: Array) -> np.ndarray:
        """The squared norm of the projection onto the subspace minus ‖v − mean‖², ``(m, k)``."""
        V = minus_origin(self._new_spectra(X), self._origin).unsqueeze(1)  # (F, 1, m, C)
        size = max(1, BLOCK_ENTRIES // self._means.numel())
        blocks = []
        for block in V.split(size, 2):
            deviations = block - self._means.unsqueeze(2) if self.center else block
            coordinates = deviations @ self._components.mH
            blocks.append(squared_norms(coordinates, dim=0) - squared_norms(deviations, dim=0))
        return torch.cat(blocks, 1).T.cpu().numpy()
