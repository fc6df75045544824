"""A reader of the frequency zero that pools all classes: ridge regression by the operator E."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from redunet._checks import Array, as_network_input, check_count, check_flag, check_positive
from redunet._precision import makes_operators
from redunet._processes import Processes
from redunet.construction.sources import Data, as_source
from redunet.files.tensors import Header
from redunet.layers.reader import READERS, Reader
from redunet.lifts import Band, composed, lift_from_json, lift_to_json
from redunet.lifts.base import fitted_copy, in_blocks
from redunet.rates.decomposition import Decomposition, decompose, remaining, shrinkage
from redunet.search.subset import Subset, draw

# Candidates for ε², and what is taken if no class is large enough to judge them.
PRECISIONS = np.geomspace(1e-4, 1e4, 17)
DEFAULT_PRECISION, DEFAULT_SHARPNESS = 0.1, 10.0

# The tensors of a regression, and the sums over its samples that it keeps if it is extensible.
TENSORS, SUMS = ("mean", "weights", "offset", "sharpness"), ("size", "cross", "factor")

# Number of held-out scores, for several values of ε², that are in memory together.
BLOCK_ENTRIES = 2**22


class ExpansionRegression(Reader):
    """Scores of the classes by ridge regression with the expansion operator E.

    An operator Cʲ knows the samples of one class, E knows all samples, and it is a classifier too.
    Let z be the zero frequency of a lifted sample, which no cyclic shift changes, with channels
    that are standardised and divided by √C. With one-hot labels or soft memberships y_i,
    M = Σ z_i z_i* and E = α (I + α M)⁻¹, the scores of a sample z are those of ridge regression:

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
    extensible : bool
        Keep what :meth:`extended` needs: C numbers for each sample, but at most C² in all.

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
    size: Tensor  # scalar
    cross: Tensor  # (C, k)
    factor: Tensor  # (r, C)

    def __init__(
        self,
        lift: nn.Module | Sequence[nn.Module] | None = None,
        *,
        eps_sq: float | None = None,
        most_samples: int = 5000,
        extensible: bool = False,
    ):
        super().__init__()
        self.lift, self.eps_sq = composed(lift), check_positive(eps_sq=eps_sq)
        self.most_samples = check_count(most_samples=most_samples)
        self.extensible = check_flag(extensible=extensible)
        for name in TENSORS:
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))
        for name in SUMS:
            self.register_buffer(name, None)

    @makes_operators
    def fit(
        self,
        X: Array | Data,
        labels: Array | None = None,
        *,
        unknown: int | str | None = None,
        sample_weight: Array | None = None,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
        process_group: "dist.ProcessGroup | None" = None,
    ) -> Self:
        """Fit the regression in closed form.

        Parameters
        ----------
        X, labels, unknown, sample_weight, device, batch_size, process_group
            As in :meth:`redunet.ReduNet.construct`. Samples whose label is not known are left out.
            A sample is left out in turn with its whole weight. Soft memberships are the targets;
            the log loss that chooses ε² and the sharpness is that of the largest ones.
        """
        processes, batch_size = Processes(process_group), check_count(batch_size=batch_size)
        source = as_source(X, labels, device, unknown=unknown, sample_weight=sample_weight)
        most = self.most_samples
        return self.fit_subset(draw(source, most, batch_size, 0, processes, memberships=True))

    @makes_operators
    def fit_subset(self, subset: Subset) -> Self:
        """Fit the regression to the source of a subset, which a search has drawn."""
        self.sample_shape, self._dtype = tuple(subset.X.shape[1:]), subset.X.dtype
        self.classes_ = subset.partition.classes
        self.lift = None if self.lift is None else fitted_copy(self.lift, subset.X)
        Z, of_classes = self._features(subset.X), subset.partition.membership
        if subset.is_whole:
            sums = Sums.of(Z, of_classes)
        else:
            rest = ((self._features(X), p.membership) for X, p in subset.everything(None))
            sums = Sums.of_batches(rest, Z.mean(0), len(self.classes_), subset.processes)
        ridge = Ridge.of(Z, of_classes, sums, self._dtype)
        judge = subset.judge
        grid = PRECISIONS if judge.count else np.array([DEFAULT_PRECISION])
        grid = grid if self.eps_sq is None else np.array([self.eps_sq])
        alphas = Z.shape[1] / (sums.size * torch.from_numpy(grid).to(Z))
        best = 0
        if len(grid) > 1:
            blocks = alphas.split(max(1, BLOCK_ENTRIES // of_classes.numel()))
            best = int(torch.cat([judge.losses(-ridge.held_out(b)) for b in blocks]).argmin())
        self.eps_sq_, self.held_out_ = float(grid[best]), ridge.held_out(alphas[best, None])[0]
        verdict = judge.verdict(-self.held_out_)
        self.loss_, self.accuracy_ = verdict.loss, verdict.accuracy
        self.sharpness = Z.new_tensor(verdict.sharpness if judge.count else DEFAULT_SHARPNESS)
        self._take(sums, ridge)
        return self

    @makes_operators
    def extended(self, X: Tensor, membership: Tensor, classes: np.ndarray) -> Self:
        """The regression of all samples before and of these, with the same lift, ε² and sharpness.

        Parameters
        ----------
        X, membership, classes
            As in :meth:`redunet.layers.Reader.extended`.

        References
        ----------
        Chan, Golub, LeVeque (The American Statistician 1983) for the sums over two sets.
        """
        own = torch.from_numpy(self.classes_[:, None] == classes).to(self.cross)  # (k', k)
        means = self.mean, self.offset @ own
        variance = self.factor.square().sum(0) / self.size
        before = Sums(self.size, *means, variance, self.cross @ own, factor=self.factor)
        Z = self._features(X)
        sums = before.with_samples(Z, membership)
        reader = copy.deepcopy(self)
        for name in ("loss_", "accuracy_", "held_out_"):  # those of the samples before
            vars(reader).pop(name, None)
        reader.classes_ = classes
        reader._take(sums, Ridge.of(Z, membership, sums, self._dtype))
        return reader

    def _take(self, sums: "Sums", ridge: "Ridge") -> None:
        """Take the regression with the chosen ε²."""
        alpha = len(sums.mean) / (sums.size * self.eps_sq_)
        self.mean, self.weights, self.offset = sums.mean, ridge.weights(alpha), sums.mean_target
        if self.extensible:
            self.size, self.cross, self.factor = sums.size, sums.cross, ridge.factor()

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

    def real_form(self) -> Self:
        """A copy for export, without what only an extension needs."""
        form = super().real_form()
        for name in SUMS:
            setattr(form, name, None)
        return form

    def fitted_again(self, X: Tensor, labels: np.ndarray) -> Self | None:
        """The regression of the same samples, with the same ε² and a lift that is fitted again.

        None if it is extensible, because it may have been extended.
        """
        if self.extensible:
            return None
        return type(self)(self.lift, eps_sq=self.eps_sq_).fit(X, labels)

    def describe(self) -> dict[str, object]:
        """A description of all but the tensors, for JSON."""
        return {
            "lift": lift_to_json(self.lift),
            "eps_sq": self.eps_sq_,
            "extensible": self.extensible,
            "classes": self.classes_.tolist(),
            "sample_shape": self.sample_shape,
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    @classmethod
    def restored(cls, description: Header, tensors: Mapping[str, Tensor]) -> Self:
        """The regression that :meth:`describe` described, with these tensors."""
        extensible = description.get("extensible", False)
        reader = cls(lift_from_json(description["lift"]), extensible=extensible)
        reader._dtype = getattr(torch, description["dtype"])
        reader.to(reader._dtype)
        reader.eps_sq_ = description["eps_sq"]
        reader.classes_ = np.array(description["classes"])
        reader.sample_shape = tuple(description["sample_shape"])
        for name in TENSORS + SUMS:
            setattr(reader, name, tensors.get(name, getattr(reader, name)))
        return reader

    def _features(self, X: Tensor) -> Tensor:
        """The zero frequency of lifted samples, ``(m, C)``, float64."""
        lift = nn.Identity() if self.lift is None else self.lift
        return in_blocks(lift, X, Band(0)).flatten(1).double()


class Sums(NamedTuple):
    """Weighted sums over samples, which give a regression with an intercept."""

    size: Tensor  # Σ w, a scalar
    mean: Tensor  # (C,)
    mean_target: Tensor  # (k,)
    variance: Tensor  # (C,)
    cross: Tensor  # (C, k) products of deviations from both means
    moment: Tensor | None = None  # (C, C) of deviations from the mean; None if Z is all samples
    factor: Tensor | None = None  # (r, C) whose moment is that of the samples that are not in Z

    @classmethod
    def of(cls, Z: Tensor, of_classes: Tensor) -> "Sums":
        """The sums of samples ``(m, C)``, whose rows of memberships ``(m, k)`` sum to weights."""
        weights = of_classes.sum(1)
        size = weights.sum()
        mean, mean_target = weights @ Z / size, of_classes.sum(0) / size
        deviations = Z - mean
        cross = deviations.mT @ (of_classes - weights[:, None] * mean_target)
        return cls(size, mean, mean_target, weights @ deviations.square() / size, cross)

    @classmethod
    def of_batches(
        cls,
        batches: Iterable[tuple[Tensor, Tensor]],
        origin: Tensor,
        num_classes: int,
        processes: Processes,
    ) -> "Sums":
        """The sums over the batches of all processes, about an origin that is near the mean."""
        channels = len(origin)
        total = origin.new_zeros(1 + channels, 1 + channels + num_classes)
        for Z, of_classes in batches:
            rows = nn.functional.pad(Z - origin, (1, 0), value=1)  # a constant and the deviations
            weighted = of_classes.sum(1, keepdim=True) * rows
            total += torch.cat([weighted.mT @ rows, rows.mT @ of_classes], 1)
        processes.all_reduce(total)
        size = total[0, 0]
        step, mean_target = (total[0, 1:] / size).tensor_split([channels])
        moments = total[1:, 1:] - total[1:, :1] * (total[0, 1:] / size)
        moment, cross = moments.tensor_split([channels], 1)
        return cls(size, origin + step, mean_target, moment.diagonal() / size, cross, moment)

    def with_samples(self, Z: Tensor, of_classes: Tensor) -> "Sums":
        """The sums over samples with a factor, and over further ones, which are then Z."""
        assert self.factor is not None
        new = Sums.of(Z, of_classes)
        size = self.size + new.size
        share, root = new.size / size, (self.size * new.size / size).sqrt()
        step, target_step = new.mean - self.mean, new.mean_target - self.mean_target
        return Sums(
            size,
            self.mean + share * step,
            self.mean_target + share * target_step,
            self.variance + share * (new.variance - self.variance + (1 - share) * step.square()),
            self.cross + new.cross + torch.outer(root * step, root * target_step),
            factor=torch.cat([self.factor, (self.size.sqrt() * share * step)[None]]),
        )


class Ridge(NamedTuple):
    """Ridge regression with an intercept, for every penalty 1/α from one eigendecomposition.

    Let Z be the centred samples with standardised channels, and Y their centred targets. The
    coefficients are (Z*Z + 1/α)⁻¹ Z*Y = E Z*Y, with the expansion operator E of
    :mod:`redunet.layers`. With weights, samples and targets are those times the roots of them.

    The prediction for a sample by all others differs from its target by r_i/(1 − h_i), where r_i is
    its residual in the regression on all samples, and h_i its entry on the diagonal of the hat
    matrix (the PRESS statistic). Both are sums over eigenvectors.
    """

    gain: Tensor  # (C,) 1/(√C standard deviation); 0 for channels that do not vary
    parts: Decomposition  # of Z*Z
    projections: Tensor  # (m, r) of the samples onto the directions
    coordinates: Tensor  # (r, k) Z*Y along the directions
    targets: Tensor  # (m, k)
    mean_target: Tensor  # (k,)

    @classmethod
    def of(cls, Z: Tensor, of_classes: Tensor, sums: Sums, dtype: torch.dtype) -> "Ridge":
        """The regression of all samples that were summed.

        ``Z`` and ``of_classes`` are those that are left out in turn: all or some of them. ``dtype``
        is the precision of the samples, whose rounding is no variance.
        """
        varies = sums.variance.sqrt() > 10 * torch.finfo(dtype).eps * sums.mean.abs()
        gain = torch.where(varies, (Z.shape[1] * sums.variance).rsqrt(), 0)
        Z, weights = (Z - sums.mean) * gain, of_classes.sum(1, keepdim=True)
        moment = None if sums.moment is None else (gain[:, None] * sums.moment * gain)[None, None]
        rows, constant = weights.sqrt() * Z, None
        if sums.factor is None:
            constant = (weights.T / sums.size).sqrt()  # the intercept has a share of every sample
        else:  # and no sample is left out
            rows = torch.cat([rows, sums.factor * gain])
        parts = decompose(
            rows[None, None], constant=constant, with_shares=constant is not None, moment=moment
        ).at((0, 0))
        coordinates = parts.directions.mT @ (gain[:, None] * sums.cross)
        targets = of_classes / weights
        return cls(gain, parts, Z @ parts.directions, coordinates, targets, sums.mean_target)

    def held_out(self, alphas: Tensor) -> Tensor:
        """Predictions ``(e, m, k)``, for each of ``(e,)``, of samples left out one at a time."""
        shrunk = shrinkage(self.parts, alphas)  # (r, e)
        left = remaining(self.parts, shrunk)  # 1 − h_i, (m, e)
        coordinates = (alphas * shrunk)[:, :, None] * self.coordinates[:, None]
        found = torch.tensordot(self.projections, coordinates, 1).transpose(0, 1)
        residuals = self.targets - self.mean_target - found
        least = torch.finfo(left.dtype).eps
        return self.targets - residuals / left.T.clamp_min(least)[:, :, None]

    def weights(self, alpha: Tensor) -> Tensor:
        """Coefficients ``(C, k)`` of channels that are centred, but not standardised."""
        shrunk = alpha / (1 + alpha * self.parts.values)
        return self.gain[:, None] * (self.parts.directions @ (shrunk[:, None] * self.coordinates))

    def factor(self) -> Tensor:
        """Rows ``(r, C)``, whose second moment is that of the samples about their mean."""
        scales = torch.where(self.gain > 0, self.gain, torch.inf)
        return (self.parts.directions * self.parts.values.sqrt()).mT / scales


READERS.register("regression", ExpansionRegression)
