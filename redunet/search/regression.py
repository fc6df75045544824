"""A reader of the frequency zero that pools all classes: ridge regression by the operator E."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from redunet._checks import Array, as_network_input, check_count, check_flag, check_positive
from redunet._precision import makes_operators
from redunet._processes import Processes
from redunet.construction.sources import Data, KnownSamples, Source, as_source, known_membership
from redunet.construction.sources import weighted_memberships as weighted
from redunet.layers.reader import READERS, Reader
from redunet.lifts import Band, UnknownLiftError, composed, lift_from_json, lift_to_json
from redunet.lifts.blocks import in_blocks
from redunet.rates import Partition
from redunet.search.calibration import Judge
from redunet.search.candidate import fitted_copy
from redunet.search.ridge import OfChannels, OfSamples, Ridge, Sums, choose
from redunet.search.subset import Subset, draw

# Candidates for ε², and what is taken if no class is large enough to judge them.
PRECISIONS = np.geomspace(1e-4, 1e4, 17)
DEFAULT_PRECISION, DEFAULT_SHARPNESS = 0.1, 10.0


class ExpansionRegression(Reader):
    """Scores of the classes by ridge regression with the expansion operator E.

    An operator Cʲ knows the samples of one class, E knows all samples, and it is a classifier too.
    Let z be the zero frequency of a lifted sample, which no cyclic shift changes, with channels
    that are standardised and divided by √C. With memberships y_i, weights w_i, M = Σ w_i z_i z_i*
    and E = α (I + α M)⁻¹, the scores of a sample z are those of ridge regression:

        ȳ + z* E Σ_i w_i z_i (y_i − ȳ)*.

    It is solved on the side of the samples or of the channels, whichever is smaller. One
    eigendecomposition gives the scores for every ε², and those of samples that are left out. Their
    log loss chooses the degree, ε² and the sharpness t of the memberships softmax(t · scores).

    Parameters
    ----------
    lift : nn.Module or list of nn.Module, optional
        Applied to samples first. The regression has a copy, whose parts with a method ``fit`` are
        fitted to the samples. :class:`redunet.MultiScaleLift` with ``mean=True`` gives thousands of
        channels in little memory.
    degree : {1, 2}, optional
        2 takes the kernel (1 + z* z')², which also sees products of two channels. By default 1,
        unless 2 has a loss that is smaller by more than 1/m.
    eps_sq : float, optional
        ε², where α = C/(m ε²) as in a network. By default 17 values from 0.0001 to 10 000 are
        compared.
    balanced : bool
        Give every class the same total weight.
    most_samples : int
        Largest number of samples that are in memory together. If there are more, sums over batches
        give a regression of degree 1, and random samples of this number are left out in turn.
    seed : int
        Seed of the choice of these samples.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    degree_ : int
        The degree.
    eps_sq_ : float
        ε².
    loss_, accuracy_ : float
        Mean log loss and accuracy of samples that are left out, of classes of at least three. They
        are NaN if no class is that large; ε² is then 0.1, the sharpness 10 and the degree 1.
    held_out_ : Tensor of shape (m, k)
        Scores of the samples, each without itself.

    Raises
    ------
    ValueError
        If an option is out of range, or samples or labels do not fit.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Remark 2, for E as ridge regression; Allen (Technometrics
    1974) for the scores of samples that are left out.

    Examples
    --------
    >>> from redunet import ExpansionRegression, MultiScaleLift, datasets
    >>> X, labels = datasets.digits()
    >>> lift = MultiScaleLift(1, ndim=2, nonlinearity=("relu", "competing"), mean=True)
    >>> reader = ExpansionRegression(lift).fit(X[::2], labels[::2])
    >>> bool((reader.predict(X[1::2]) == labels[1::2].numpy()).mean() > 0.93)
    True
    """

    mean: Tensor  # (C,) of the features
    gain: Tensor  # (C,) 1/(√C standard deviation); 0 for channels that do not vary
    samples: Tensor | None  # (m, C) standardised, for degree 2
    weights: Tensor  # (C, k), or (m, k) for degree 2
    offset: Tensor  # (k,)
    sharpness: Tensor  # scalar

    def __init__(
        self,
        lift: nn.Module | Sequence[nn.Module] | None = None,
        *,
        degree: Literal[1, 2] | None = None,
        eps_sq: float | None = None,
        balanced: bool = False,
        most_samples: int = 5000,
        seed: int = 0,
    ):
        super().__init__()
        degree, self.most_samples = check_count(degree=degree, most_samples=most_samples)
        if degree not in (None, 1, 2):
            raise ValueError(f"degree must be 1, 2 or None, got {degree!r}")
        self.lift = composed(lift)
        self.degree, self.eps_sq = degree, check_positive(eps_sq=eps_sq)
        self.balanced, self.seed = check_flag(balanced=balanced), check_count(None, seed=seed)
        for name in ("mean", "gain", "weights", "offset", "sharpness"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))
        self.register_buffer("samples", None)

    @makes_operators
    def fit(
        self,
        X: Array | Data,
        labels: Array | None = None,
        *,
        sample_weight: Array | None = None,
        unknown: int | str | None = None,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
        process_group: "dist.ProcessGroup | None" = None,
    ) -> Self:
        """Fit the regression in closed form.

        Parameters
        ----------
        X, labels, unknown, device, batch_size, process_group
            As in :meth:`redunet.ReduNet.construct`. Samples whose label is not known are left out.
        sample_weight : array-like of shape (m,), optional
            Weights of the samples, if ``X`` is an array. Only their ratios matter.
        """
        processes, names = Processes(process_group), None
        if sample_weight is not None:
            X, labels, names = weighted(X, labels, sample_weight, unknown)
        source = KnownSamples(as_source(X, labels, device, unknown=unknown))
        size = batch_size or max(64, 2**24 // source.example.numel())
        subset = draw(source, self.most_samples, size, self.seed, processes, soft=True)
        if names is None and subset.labels.ndim == 2:
            Partition.from_labels(subset.labels, len(subset.X), partial=True)  # checks them
        self.fit_subset(subset, source, size, processes)
        self.classes_ = subset.classes if names is None else names
        return self

    @makes_operators
    def fit_subset(
        self, subset: Subset, source: Source, batch_size: int, processes: Processes
    ) -> None:
        """Fit the regression to a source, of which a search has drawn a subset.

        Parameters
        ----------
        subset, source, batch_size, processes
            The arguments and the result of :func:`redunet.search.subset.draw`.
        """
        if len(subset.classes) < 2:
            raise ValueError(
                f"at least two classes are needed, got 1 class: {subset.classes.tolist()}"
            )
        is_whole = len(subset.X) == subset.total
        if self.degree == 2 and not is_whole:
            raise ValueError(
                f"degree 2 keeps all samples in memory, and {subset.total} are more than "
                f"most_samples={self.most_samples}: pass degree=1 or a larger most_samples"
            )
        self.sample_shape, self._dtype = tuple(subset.X.shape[1:]), subset.X.dtype
        self.classes_ = subset.classes
        self.lift = None if self.lift is None else fitted_copy(self.lift, subset.X)
        Z = self._features(subset.X)
        Y, weights = self._targets(subset.labels, subset, Z.device)
        sums = Sums.of(Z, Y, weights) if is_whole and len(Z) > Z.shape[1] else None
        if not is_whole:
            sums = self._sums(source, subset, batch_size, processes)
        total = weights.sum() if sums is None else sums.weight
        self._standardize(Z, weights / total, sums)
        Z = (Z - self.mean) * self.gain
        ridges: dict[int, Ridge] = {}
        for degree in (1, 2) if is_whole else (1,):
            if self.degree not in (None, degree):
                continue
            if degree == 1 and sums is not None:
                ridges[degree] = OfChannels(sums, self.gain, Z, Y, weights)
            else:
                ridges[degree] = OfSamples(_kernel(Z, Z, degree), Y, weights)
        counts = torch.from_numpy(subset.counts).to(Z.device).double()
        judge = Judge(Y.argmax(1), counts)
        precisions = PRECISIONS if judge.count else np.array([DEFAULT_PRECISION])
        if self.eps_sq is not None:
            precisions = np.array([self.eps_sq])
        penalties = total * torch.from_numpy(precisions).to(Z) / len(self.mean)  # 1/α
        choice = choose(ridges, penalties, judge)
        self.degree_, self.eps_sq_ = choice.degree, float(precisions[choice.place])
        self.held_out_ = choice.held_out
        self.loss_, self.accuracy_ = choice.verdict.loss, choice.verdict.accuracy
        sharpness = choice.verdict.sharpness if judge.count else DEFAULT_SHARPNESS
        self.sharpness = torch.tensor(sharpness).to(Z)
        self.weights, self.offset = ridges[choice.degree].solution(penalties[choice.place])
        self.samples = Z if self.degree_ == 2 else None
        if self.degree_ == 1 and sums is None:
            self.weights = Z.mT @ self.weights

    @property
    def sharpness_(self) -> float:
        """The sharpness t."""
        return float(self.sharpness)

    def _standardize(self, Z: Tensor, shares: Tensor, sums: Sums | None) -> None:
        """Determine the means and the gains of the channels, from all samples or their sums."""
        if sums is None:
            self.mean = shares @ Z
            variance = shares @ (Z - self.mean).square()
        else:
            self.mean = sums.mean
            variance = sums.moment.diagonal() / sums.weight
        rounding = 10 * torch.finfo(self._dtype).eps * self.mean.abs()
        varies = variance.sqrt() > rounding
        self.gain = torch.where(varies, (len(variance) * variance).rsqrt(), 0)

    def forward(self, X: Tensor) -> Tensor:
        """Scores of samples ``(m, *sample_shape)``, of shape ``(m, k)``."""
        Z = (self._features(X) - self.mean) * self.gain
        basis = Z if self.samples is None else _kernel(Z, self.samples, 2)
        return basis @ self.weights + self.offset

    def membership(self, X: Array) -> Tensor:
        """Memberships softmax(t · scores).

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1; columns are in the order of ``classes_``.

        Raises
        ------
        ValueError
            If the shape of the samples is another one, or samples in host memory are not finite.
        RuntimeError
            If the regression is not fitted.
        """
        if self.sharpness.ndim > 0:
            raise RuntimeError(
                "this ExpansionRegression is not fitted: call fit with samples first"
            )
        X = as_network_input(X, self.sample_shape, device=self.mean.device, dtype=self._dtype)
        return torch.softmax(self.logits(X), 1)

    @torch.no_grad()
    def predict(self, X: Array) -> np.ndarray:
        """The label with the largest score for each sample, a numpy array ``(m,)``."""
        return self.classes_[self.membership(X).argmax(1).cpu().numpy()]

    @property
    def description(self) -> str:
        """The regression in words."""
        return f"ExpansionRegression, degree {self.degree_}"

    def describe(self) -> dict[str, Any]:
        """A description of all but the values of the tensors, for JSON."""
        return {
            "lift": lift_to_json(self.lift),
            "degree": self.degree_,
            "eps_sq": self.eps_sq_,
            "classes": self.classes_.tolist(),
            "sample_shape": self.sample_shape,
            "dtype": str(self._dtype),
            "precision": str(self.mean.dtype),
            "shapes": {name: list(t.shape) for name, t in self.named_buffers(recurse=False)},
        }

    @classmethod
    def empty(cls, description: Mapping[str, Any]) -> Self:
        """A regression that fits a description. Its buffers are on the meta device."""
        try:
            lift = lift_from_json(description["lift"])
        except UnknownLiftError as kind:
            raise ValueError(
                f"the lift of the reader is of class {kind}, whose code a file cannot hold: "
                "register it first, as docs/extending.md shows"
            ) from None
        reader = cls(lift)
        types = {str(t): t for t in (torch.float32, torch.float64)}
        reader._dtype, precision = types[description["dtype"]], types[description["precision"]]
        if reader.lift is not None:
            reader.lift.to(reader._dtype)
        reader.degree_, reader.eps_sq_ = description["degree"], description["eps_sq"]
        reader.classes_ = np.array(description["classes"])
        reader.sample_shape = tuple(description["sample_shape"])
        for name, shape in description["shapes"].items():
            setattr(reader, name, torch.empty(shape, dtype=precision, device="meta"))
        return reader

    def _features(self, X: Tensor) -> Tensor:
        """The zero frequency of lifted samples, ``(m, C)``, float64."""
        lift = nn.Identity() if self.lift is None else self.lift
        return in_blocks(lift, X, Band(0)).flatten(1).double()

    def _targets(
        self, labels: np.ndarray, subset: Subset, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Memberships ``(m, k)`` and weights ``(m,)`` of labelled samples."""
        if labels.ndim == 1:
            labels = known_membership(labels, np.ones(len(labels), bool), subset.classes)
        Y = torch.from_numpy(labels).to(device).double()
        weights = Y.sum(1)
        Y = Y / weights[:, None]
        if self.balanced:
            counts = torch.from_numpy(subset.counts).to(Y)
            weights = weights * (Y @ (counts.mean() / counts))
        return Y, weights

    def _sums(self, source: Source, subset: Subset, size: int, processes: Processes) -> Sums:
        """The sums of all samples of all processes."""
        total: Sums | None = None
        for batch, labels in source.labelled_batches(size):
            Z = self._features(batch.to(subset.X.device, subset.X.dtype))
            sums = Sums.of(Z, *self._targets(labels, subset, Z.device))
            total = sums if total is None else total + sums
        assert total is not None  # a source has samples
        return total.of_all(processes)


def _kernel(Z: Tensor, samples: Tensor, degree: int) -> Tensor:
    """Products of samples ``(m, C)`` and ``(n, C)``, or the kernel of degree 2, ``(m, n)``."""
    products = Z @ samples.mT
    return products if degree == 1 else (1 + products).square()


READERS.register("regression", ExpansionRegression)
