"""A reader of the frequency zero that pools all classes: ridge regression by the operator E."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from redunet._checks import Array, as_network_input, check_count, check_positive
from redunet._precision import makes_operators
from redunet._processes import Processes
from redunet.construction.sources import Data, KnownSamples, Source, as_source
from redunet.layers.reader import READERS, Reader
from redunet.lifts import Band, UnknownLiftError, composed, lift_from_json, lift_to_json
from redunet.lifts.base import fitted_copy, in_blocks
from redunet.rates.decomposition import Decomposition, decompose
from redunet.search.calibration import Judge
from redunet.search.subset import Subset, draw

# Candidates for ε², and what is taken if no class is large enough to judge them.
PRECISIONS = np.geomspace(1e-4, 1e4, 17)
DEFAULT_PRECISION, DEFAULT_SHARPNESS = 0.1, 10.0


class ExpansionRegression(Reader):
    """Scores of the classes by ridge regression with the expansion operator E.

    An operator Cʲ knows the samples of one class, E knows all samples, and it is a classifier too.
    Let z be the zero frequency of a lifted sample, which no cyclic shift changes, with channels
    that are standardised and divided by √C. With one-hot labels y_i, M = Σ z_i z_i* and
    E = α (I + α M)⁻¹, the scores of a sample z are those of ridge regression:

        ȳ + z* E Σ_i z_i (y_i − ȳ)*.

    It is solved on the side of the samples or of the channels, whichever is smaller. One
    eigendecomposition gives the scores for every ε², and those of samples that are left out. Their
    log loss chooses ε² and the sharpness t of the memberships softmax(t · scores).

    Parameters
    ----------
    lift : nn.Module or list of nn.Module, optional
        Applied to samples first. The regression has a copy, whose parts with a method ``fit`` are
        fitted to the samples. :class:`redunet.MultiScaleLift` with ``mean=True`` gives thousands of
        channels in little memory.
    eps_sq : float, optional
        ε², where α = C/(m ε²) as in a network. By default 17 values from 0.0001 to 10 000 are
        compared.
    most_samples : int
        Largest number of samples that are in memory together. If there are more, sums over batches
        give the regression, and random samples of this number are left out in turn.
    seed : int
        Seed of the choice of these samples.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, sorted.
    eps_sq_ : float
        ε².
    loss_, accuracy_ : float
        Mean log loss and accuracy of samples that are left out, of classes of at least three. They
        are NaN if no class is that large; ε² is then 0.1, and the sharpness 10.
    held_out_ : Tensor of shape (m, k)
        Scores of the samples, each without itself.
    mean, weights, offset : Tensor of shape (C,), (C, k) and (k,)
        Scores are the offset plus the products of the weights with a sample minus the mean.

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
    >>> kinds = ("step", "relu", "competing")
    >>> lift = MultiScaleLift(1, ndim=2, kernels_per_scale=64, nonlinearity=kinds, mean=True)
    >>> reader = ExpansionRegression(lift).fit(X[::2], labels[::2])
    >>> bool((reader.predict(X[1::2]) == labels[1::2].numpy()).mean() > 0.93)
    True
    """

    mean: Tensor
    weights: Tensor
    offset: Tensor
    sharpness: Tensor  # scalar

    def __init__(
        self,
        lift: nn.Module | Sequence[nn.Module] | None = None,
        *,
        eps_sq: float | None = None,
        most_samples: int = 5000,
        seed: int = 0,
    ):
        super().__init__()
        self.lift, self.eps_sq = composed(lift), check_positive(eps_sq=eps_sq)
        self.most_samples = check_count(most_samples=most_samples)
        self.seed = check_count(None, seed=seed)
        for name in ("mean", "weights", "offset", "sharpness"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    @makes_operators
    def fit(
        self,
        X: Array | Data,
        labels: Array | None = None,
        *,
        unknown: int | str | None = None,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
        process_group: "dist.ProcessGroup | None" = None,
    ) -> Self:
        """Fit the regression in closed form.

        Parameters
        ----------
        X, labels, unknown, device, batch_size, process_group
            As in :meth:`redunet.ReduNet.construct`. Every sample has at most one label. Samples
            whose label is not known are left out.
        """
        processes = Processes(process_group)
        source = KnownSamples(as_source(X, labels, device, unknown=unknown))
        size = check_count(batch_size=batch_size) or max(64, 2**24 // source.example.numel())
        subset = draw(source, self.most_samples, size, self.seed, processes)
        return self.fit_subset(subset, source, size, processes)

    @makes_operators
    def fit_subset(
        self, subset: Subset, source: Source, batch_size: int, processes: Processes
    ) -> Self:
        """Fit the regression to a source, of which a search has drawn a subset.

        Parameters
        ----------
        subset, source, batch_size, processes
            The arguments and the result of :func:`redunet.search.subset.draw`.
        """
        self.sample_shape, self._dtype = tuple(subset.X.shape[1:]), subset.X.dtype
        self.classes_ = subset.classes
        self.lift = None if self.lift is None else fitted_copy(self.lift, subset.X)
        Z, Y = self._features(subset.X), self._one_hot(subset.labels, subset.X.device)
        if not subset.is_whole:
            sums = self._sums(source, subset, batch_size, processes)
            ridge = Ridge.of_sums(sums, Z, Y, self._dtype)
        elif len(Z) > Z.shape[1]:
            ridge = Ridge.of_sums(Sums.of(Z, Y), Z, Y, self._dtype)
        else:
            ridge = Ridge.of_samples(Z, Y, self._dtype)
        judge = Judge(Y.argmax(1), torch.from_numpy(subset.counts).to(Z))
        grid = PRECISIONS if judge.count else np.array([DEFAULT_PRECISION])
        grid = grid if self.eps_sq is None else np.array([self.eps_sq])
        alphas = Z.shape[1] / (subset.total * torch.from_numpy(grid).to(Z))
        best = 0
        if len(grid) > 1:
            losses = torch.cat([judge.losses(-ridge.held_out(alpha)[None]) for alpha in alphas])
            best = int(losses.argmin())
        self.eps_sq_, self.held_out_ = float(grid[best]), ridge.held_out(alphas[best])
        verdict = judge.verdict(-self.held_out_)
        self.loss_, self.accuracy_ = verdict.loss, verdict.accuracy
        self.sharpness = Z.new_tensor(verdict.sharpness if judge.count else DEFAULT_SHARPNESS)
        self.mean, self.weights = ridge.mean, ridge.weights(alphas[best])
        self.offset = ridge.mean_target
        return self

    @property
    def sharpness_(self) -> float:
        """The sharpness t."""
        return float(self.sharpness)

    def forward(self, X: Tensor) -> Tensor:
        """Scores of samples ``(m, *sample_shape)``, of shape ``(m, k)``."""
        return (self._features(X).to(self.mean) - self.mean) @ self.weights + self.offset

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

    def describe(self) -> dict[str, object]:
        """A description of all but the values of the tensors, for JSON."""
        return {
            "lift": lift_to_json(self.lift),
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
        reader.eps_sq_ = description["eps_sq"]
        reader.classes_ = np.array(description["classes"])
        reader.sample_shape = tuple(description["sample_shape"])
        for name, shape in description["shapes"].items():
            setattr(reader, name, torch.empty(shape, dtype=precision, device="meta"))
        return reader

    def _features(self, X: Tensor) -> Tensor:
        """The zero frequency of lifted samples, ``(m, C)``, float64."""
        lift = nn.Identity() if self.lift is None else self.lift
        return in_blocks(lift, X, Band(0)).flatten(1).double()

    def _one_hot(self, labels: np.ndarray, device: torch.device) -> Tensor:
        """Labels as rows ``(m, k)``."""
        places = torch.from_numpy(np.searchsorted(self.classes_, labels)).to(device)
        return nn.functional.one_hot(places, len(self.classes_)).double()

    def _sums(self, source: Source, subset: Subset, size: int, processes: Processes) -> "Sums":
        """The sums of all samples of all processes."""
        total: Sums | None = None
        for batch, labels in source.labelled_batches(size):
            Z = self._features(batch.to(subset.X.device, subset.X.dtype))
            sums = Sums.of(Z, self._one_hot(labels, Z.device))
            total = sums if total is None else total + sums
        assert total is not None  # a source has samples
        return total.of_all(processes)


class Sums(NamedTuple):
    """Sums over samples, which add up over batches and processes."""

    size: Tensor  # m, a scalar
    mean: Tensor  # (C,)
    mean_target: Tensor  # (k,)
    moment: Tensor  # (C, C) of deviations from the mean
    cross: Tensor  # (C, k) of deviations from both means

    @classmethod
    def of(cls, Z: Tensor, Y: Tensor) -> "Sums":
        """The sums of samples ``(m, C)`` with targets ``(m, k)``."""
        size = Z.new_tensor(len(Z))
        mean, mean_target = Z.sum(0) / max(1, len(Z)), Y.sum(0) / max(1, len(Z))
        deviations = Z - mean
        moment, cross = deviations.mT @ deviations, deviations.mT @ (Y - mean_target)
        return cls(size, mean, mean_target, moment, cross)

    def __add__(self, other: "Sums") -> "Sums":  # type: ignore[override]
        """The sums of both sets of samples."""
        size = self.size + other.size
        share = other.size / size.clamp_min(1)
        step, target_step = other.mean - self.mean, other.mean_target - self.mean_target
        between = self.size * share * step[:, None]
        return Sums(
            size,
            self.mean + share * step,
            self.mean_target + share * target_step,
            self.moment + other.moment + between * step,
            self.cross + other.cross + between * target_step,
        )

    def of_all(self, processes: Processes) -> "Sums":
        """The sums of the samples of all processes."""
        if processes.size == 1:
            return self
        sums = (self.size, self.size * self.mean, self.size * self.mean_target)
        size, mean, mean_target = (processes.all_reduce(t.clone()) for t in sums)
        mean, mean_target = mean / size, mean_target / size
        step = self.size * (self.mean - mean)[:, None]
        moment = processes.all_reduce(self.moment + step * (self.mean - mean))
        cross = processes.all_reduce(self.cross + step * (self.mean_target - mean_target))
        return Sums(size, mean, mean_target, moment, cross)


class Ridge(NamedTuple):
    """Ridge regression with an intercept, for every penalty 1/α from one eigendecomposition.

    Let Z be the centred samples with standardised channels, and Y their centred targets. The
    coefficients are (Z*Z + 1/α)⁻¹ Z*Y = E Z*Y, with the expansion operator E of
    :mod:`redunet.layers`.

    The prediction for a sample by all others differs from its target by r_i/(1 − h_i), where r_i is
    its residual in the regression on all samples, and h_i its entry on the diagonal of the hat
    matrix (the PRESS statistic). Both are sums over eigenvectors.
    """

    mean: Tensor  # (C,)
    mean_target: Tensor  # (k,)
    gain: Tensor  # (C,) 1/(√C standard deviation); 0 for channels that do not vary
    parts: Decomposition  # of Z*Z
    projections: Tensor  # (m, r) of the samples onto the directions
    coordinates: Tensor  # (r, k) Z*Y along the directions
    targets: Tensor  # (m, k)
    intercept: Tensor  # what the intercept adds to every h_i beside the shares

    @classmethod
    def of_samples(cls, Z: Tensor, Y: Tensor, dtype: torch.dtype) -> "Ridge":
        """The regression of targets ``(m, k)`` on samples ``(m, C)``, on their side.

        ``dtype`` is the precision of the samples, whose rounding is no variance.
        """
        mean, mean_target = Z.mean(0), Y.mean(0)
        gain = _gain(mean, Z.var(0, correction=0), dtype)
        Z = (Z - mean) * gain
        mask = torch.ones(1, len(Z), dtype=torch.bool, device=Z.device)
        parts = decompose(Z[None, None], mask, centred=True, with_shares=True).one()
        projections = Z @ parts.directions
        coordinates = projections.mT @ (Y - mean_target)
        return cls(mean, mean_target, gain, parts, projections, coordinates, Y, Z.new_zeros(()))

    @classmethod
    def of_sums(cls, sums: Sums, Z: Tensor, Y: Tensor, dtype: torch.dtype) -> "Ridge":
        """The regression of all samples that were summed, on the side of the channels.

        ``Z`` and ``Y`` are the samples that are left out in turn: all or some of them.
        """
        gain = _gain(sums.mean, sums.moment.diagonal() / sums.size, dtype)
        Z, moment = (Z - sums.mean) * gain, gain[:, None] * sums.moment * gain
        parts = decompose(Z, with_shares=True, moment=moment)
        coordinates = parts.directions.mT @ (gain[:, None] * sums.cross)
        projections = Z @ parts.directions
        intercept = 1 / sums.size
        return cls(sums.mean, sums.mean_target, gain, parts, projections, coordinates, Y, intercept)

    def held_out(self, alpha: Tensor) -> Tensor:
        """Predictions ``(m, k)`` for samples that are left out one at a time."""
        assert self.parts.shares is not None
        shrunk = 1 / (1 + alpha * self.parts.values)
        remaining = self.parts.shares.remaining(shrunk[:, None]) - self.intercept  # 1 − h_i
        found = self.projections @ (alpha * shrunk[:, None] * self.coordinates)
        residuals = self.targets - self.mean_target - found
        return self.targets - residuals / remaining.clamp_min(torch.finfo(remaining.dtype).eps)

    def weights(self, alpha: Tensor) -> Tensor:
        """Coefficients ``(C, k)`` of channels that are centred, but not standardised."""
        shrunk = alpha / (1 + alpha * self.parts.values)
        return self.gain[:, None] * (self.parts.directions @ (shrunk[:, None] * self.coordinates))


def _gain(mean: Tensor, variance: Tensor, dtype: torch.dtype) -> Tensor:
    """Factors of the channels; channels that vary by rounding alone are left out."""
    varies = variance.sqrt() > 10 * torch.finfo(dtype).eps * mean.abs()
    return torch.where(varies, (len(mean) * variance).rsqrt(), 0)


READERS.register("regression", ExpansionRegression)
