"""The search for the lifts, bands and precisions of a network."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
import torch.distributed as dist
from sklearn.utils.multiclass import check_classification_targets
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from redunet._checks import Array, check_count, check_positive
from redunet._processes import Processes
from redunet.construction.sources import Data, Source, as_source
from redunet.layers import BlockDiagonal, Exact, Softmax
from redunet.layers.encoding import default_batch_size, encode
from redunet.lifts import Band, JoinedLift, Lift
from redunet.lifts.blocks import in_blocks
from redunet.rates import HalfSpectrum, Partition
from redunet.rates.covariance import second_moment
from redunet.search.calibration import calibrate
from redunet.search.candidates import automatic_bands, automatic_lifts
from redunet.search.leave_one_out import LeaveOneOut, as_double
from redunet.search.subset import Subset, draw

# Candidates for ε², times the number of frequencies.
PRECISIONS = np.geomspace(1e-4, 1e2, 13)

# Where no class has two samples, nothing can be left out: ε² times the number of frequencies, the
# band, and the sharpness are these.
DEFAULT_PRECISION = 0.1
DEFAULT_BAND = 2
DEFAULT_SHARPNESS = 10.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A lift with a band, and its leave-one-out results.

    Attributes
    ----------
    name : str
        The lift in words.
    lift : nn.Module or None
        The fitted lift, which ends with the band.
    band : int or None
        Largest frequency that is kept; None for all.
    channels : int
        Number of channels, C.
    precisions : numpy array (e,)
        The values of ε² that were compared.
    losses : numpy array (e,)
        Mean log loss at each of them.
    eps_sq : float
        The ε² with the smallest loss.
    loss, standard_error, accuracy : float
        Mean log loss at this ε², its standard error, and the share of samples that are assigned to
        their own class. Each sample is left out of its class.
    """

    name: str
    lift: nn.Module | None
    band: int | None
    channels: int
    precisions: np.ndarray
    losses: np.ndarray
    eps_sq: float
    loss: float
    standard_error: float
    accuracy: float
    squared_residuals: Tensor = field(repr=False)  # (m, k) at this ε²


class Search:
    """Choice of the lifts, their bands, ε² and the sharpness, by exact leave-one-out.

    Every candidate is a lift with a band. Its operators are not constructed: the residual of every
    training sample in a network of one layer without this sample follows in closed form from one
    eigendecomposition for each class and frequency, for all ε² at once. The log loss of
    softmax(−t r) of the residuals r, at the best sharpness t, is the measure of a candidate.

    On small sets many candidates are equally good, as far as the samples can tell. Those within one
    standard error of the best loss, or within 1/m of it, are joined to one network, but at most
    ``most_blocks``: a :class:`redunet.JoinedLift` with :class:`redunet.layers.BlockDiagonal`
    operators, which average the squared residuals.

    Samples of a class of one cannot be left out, and are not counted. If there is no larger class,
    all lifts are joined, with ε² = 0.1 divided by the number of frequencies, and a band of 2.

    Parameters
    ----------
    candidates : sequence of nn.Module or None, optional
        Lifts to compare; None stands for the samples themselves. Lifts with a method ``fit`` are
        fitted to the samples. By default :func:`automatic_lifts`.
    bands : sequence of (int or None), optional
        Bands to compare; None stands for all frequencies. By default they suit the shape of the
        features.
    eps_sq : float, optional
        A fixed ε². By default 13 values are compared, from 0.0001 to 100, divided by the number of
        frequencies.
    most_blocks : int
        Largest number of candidates that are joined.
    most_samples : int
        Largest number of samples that are compared. With more, a random subset determines lifts
        and bands. ε² and the sharpness then follow from the operators of all samples, each sample
        of the subset left out in turn.
    seed : int
        Seed of random kernels, and of the subset.

    Attributes
    ----------
    candidates_ : list of Candidate
        All candidates, sorted by their loss.
    chosen_ : list of Candidate
        Those that form the network.
    loss_, accuracy_ : float
        Log loss and accuracy of the network by leave-one-out. The candidates were chosen by the
        same samples, so they are slightly too good.
    sharpness_ : float
        The sharpness t.

    Raises
    ------
    ValueError
        If samples are not finite, labels do not fit, or an option is out of range.

    Examples
    --------
    >>> from redunet import ReduNet, Search, datasets
    >>> X, labels = datasets.digits()
    >>> search = Search(bands=[2]).fit(X[:200], labels[:200])
    >>> net = ReduNet.construct(X[:200], labels[:200], **search.arguments)
    >>> bool((net.predict(X[200:]) == labels[200:].numpy()).mean() > 0.9)
    True
    """

    candidates_: list[Candidate]
    chosen_: list[Candidate]
    loss_: float
    accuracy_: float
    sharpness_: float

    def __init__(
        self,
        candidates: Sequence[nn.Module | None] | None = None,
        *,
        bands: Sequence[int | None] | None = None,
        eps_sq: float | None = None,
        most_blocks: int = 8,
        most_samples: int = 5000,
        seed: int = 0,
    ):
        check_count(most_blocks=most_blocks, most_samples=most_samples)
        check_positive(eps_sq=eps_sq)
        self.candidates = candidates
        self.bands = bands
        self.eps_sq = eps_sq
        self.most_blocks = most_blocks
        self.most_samples = most_samples
        self.seed = seed

    @torch.no_grad()
    def fit(
        self,
        X: Array | Data,
        labels: Array | None = None,
        *,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
        process_group: "dist.ProcessGroup | None" = None,
        progress: bool = False,
    ) -> Self:
        """Compare all candidates.

        Parameters
        ----------
        X, labels, device, batch_size, process_group, progress
            As in :meth:`redunet.ReduNet.construct`. Every sample has one label.
        """
        processes = Processes(process_group)
        source = as_source(X, labels, device)
        size = batch_size or max(64, 2**24 // source.example.numel())
        self._subset = subset = draw(source, self.most_samples, size, self.seed, processes)
        check_classification_targets(subset.classes)
        partition = Partition.from_labels(
            subset.labels, len(subset.X), device=subset.X.device, classes=subset.classes
        )
        if len(subset.classes) < 2:
            raise ValueError(
                f"at least two classes are needed, got 1 class: {subset.classes.tolist()}"
            )
        self._partition = partition
        self._targets = torch.from_numpy(np.searchsorted(subset.classes, subset.labels)).to(
            subset.X.device
        )
        self._counts = torch.from_numpy(subset.counts).to(subset.X.device).double()
        self._judged = self._counts[self._targets] > 1
        lifts = self.candidates
        if lifts is None:
            lifts = automatic_lifts(tuple(subset.X.shape[1:]), self.seed)
        own = self._compare(lifts[processes.rank :: processes.size], progress)
        everyone = [c for part in processes.all_gather_object(own) for c in part]
        self.candidates_ = sorted(everyone, key=lambda candidate: candidate.loss)
        self.chosen_ = self._choose()
        if len(subset.X) < subset.counts.sum():
            self.chosen_ = [
                self._refined(candidate, source, batch_size, processes)
                for candidate in self.chosen_
            ]
        self._calibrate()
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of :meth:`redunet.ReduNet.construct` that were chosen."""
        blocks = len(self.chosen_)
        channels = [candidate.channels for candidate in self.chosen_]
        precisions = [candidate.eps_sq for candidate in self.chosen_]
        eps_sq = float(np.exp(np.mean(np.log(precisions))))
        alpha = sum(channels) / (self._counts.sum().item() * eps_sq)
        if blocks == 1:
            lift, operators = self.chosen_[0].lift, Exact()
        else:
            lift = JoinedLift([candidate.lift or nn.Identity() for candidate in self.chosen_])
            operators = BlockDiagonal(
                channels,
                [value / blocks for value in precisions],
                [candidate.band for candidate in self.chosen_],
            )
        sharpness = self.sharpness_ / (len(self._counts) * alpha)
        return {
            "lift": lift,
            "operators": operators,
            "eps_sq": eps_sq,
            "membership": Softmax(sharpness, balanced=True),
        }

    def _compare(self, lifts: Sequence[nn.Module | None], progress: bool) -> list[Candidate]:
        """The results of all bands of some lifts."""
        candidates = []
        with tqdm(lifts, desc="lifts", disable=not progress) as bar:
            for lift in bar:
                fitted = None if lift is None else _fitted(lift, self._subset.X)
                candidates += self._bands_of(lift, fitted)
        return candidates

    def _bands_of(self, lift: nn.Module | None, fitted: nn.Module | None) -> Iterator[Candidate]:
        """The results of one lift with each band."""
        X, name = self._subset.X, _name(lift)
        example = X[:1] if fitted is None else fitted(X[:1])
        shape = tuple(example.shape[1:])
        bands = automatic_bands(shape) if self.bands is None else self.bands
        widest = None if None in bands else Band(max(b for b in bands if b is not None))
        whole = _sequence(fitted, widest)
        features = X if whole is None else in_blocks(whole, X)
        for band in bands if shape[1:] else [None]:
            limit = None if band is None else Band(band)
            yield self._candidate(
                name,
                _sequence(fitted, limit),
                band,
                features if limit is None else limit(features),
            )

    def _candidate(
        self,
        name: str,
        lift: nn.Module | None,
        band: int | None,
        features: Tensor,
        moments: Tensor | None = None,
    ) -> Candidate:
        """The results of a lift, from its features of the samples ``(m, C, *spatial)``."""
        spectrum = HalfSpectrum(features.shape[2:]).to(features.device)
        V = encode(features, None, spectrum)
        counts = None if moments is None else self._counts
        held_out = LeaveOneOut(
            V, self._partition, spectrum.weights, moments=moments, counts=counts
        )
        precisions = PRECISIONS / spectrum.size
        if self.eps_sq is not None:
            precisions = np.array([self.eps_sq])
        elif not self._judged.any():
            precisions = np.array([DEFAULT_PRECISION / spectrum.size])
        table = held_out.squared_residuals(torch.from_numpy(precisions).to(V.device))
        losses = self._losses(table)
        best = int(losses.mean(1).nan_to_num(math.inf).argmin())
        return Candidate(
            name,
            lift,
            band,
            features.shape[1],
            precisions,
            losses.mean(1).cpu().numpy(),
            float(precisions[best]),
            losses[best].mean().item(),
            losses[best].std(correction=0).item() / max(1, losses.shape[1]) ** 0.5,
            self._accuracy(table[best]),
            table[best],
        )

    def _losses(self, table: Tensor) -> Tensor:
        """Log losses ``(e, m')`` of squared residuals ``(e, m, k)``, of the judged samples."""
        residuals = table[:, self._judged].clamp_min(0).sqrt()
        return calibrate(residuals, self._targets[self._judged]).losses

    def _accuracy(self, squared_residuals: Tensor) -> float:
        right = squared_residuals.argmin(1) == self._targets
        return right[self._judged].double().mean().item()

    def _choose(self) -> list[Candidate]:
        """The candidates that the samples cannot tell from the best one, the best first."""
        best = self.candidates_[0]
        judged = int(self._judged.sum())
        if judged == 0:
            wanted = [c for c in self.candidates_ if c.band in (DEFAULT_BAND, None)]
            return (wanted or self.candidates_)[: self.most_blocks]
        most = best.loss + max(best.standard_error, 1 / judged)
        return [c for c in self.candidates_ if c.loss <= most][: self.most_blocks]

    def _refined(
        self, candidate: Candidate, source: Source, batch_size: int | None, processes: Processes
    ) -> Candidate:
        """The candidate with ε² from the operators of all samples."""
        lift, X = candidate.lift, self._subset.X
        features = X if lift is None else in_blocks(lift, X)
        spectrum = HalfSpectrum(features.shape[2:]).to(X.device)
        size = batch_size or default_batch_size(spectrum, candidate.channels)
        moments: Tensor | int = 0
        for batch, labels in source.labelled_batches(size):
            V = encode(batch.to(X.dtype), lift, spectrum)
            partition = Partition.from_labels(
                labels, len(batch), device=X.device, classes=self._subset.classes, partial=True
            )
            part = moments_of_classes(V, partition)
            moments = part if isinstance(moments, int) else moments.add_(part)
        assert isinstance(moments, Tensor)
        moments = processes.all_reduce(moments)
        return self._candidate(candidate.name, lift, candidate.band, features, moments)

    def _calibrate(self) -> None:
        """Sharpness, loss and accuracy of the network of the chosen candidates."""
        table = torch.stack([candidate.squared_residuals for candidate in self.chosen_]).mean(0)
        if not self._judged.any():
            self.sharpness_, self.loss_, self.accuracy_ = DEFAULT_SHARPNESS, math.nan, math.nan
            return
        residuals = table[self._judged].clamp_min(0).sqrt()[None]
        sharpness, losses = calibrate(residuals, self._targets[self._judged])
        self.sharpness_ = sharpness.item()
        self.loss_ = losses.mean().item()
        self.accuracy_ = self._accuracy(table)

    def __str__(self) -> str:
        """A table of the candidates."""
        rows = [
            ["*" if c in self.chosen_ else "", c.name, c.band, c.eps_sq, c.loss, c.accuracy]
            for c in self.candidates_
        ]
        headers = ["", "lift", "band", "ε²", "log loss", "accuracy"]
        return tabulate(rows, headers, floatfmt=("", "", "g", ".3g", ".3f", ".3f"), missingval="–")


def moments_of_classes(V: Tensor, partition: Partition) -> Tensor:
    """Second moments of the classes in a batch ``(F, m, C)``, in double precision, (F, k, C, C)."""
    frequencies, _, channels = V.shape
    dtype = torch.complex128 if V.is_complex() else torch.float64
    moments = torch.zeros(
        frequencies, partition.num_classes, channels, channels, dtype=dtype, device=V.device
    )
    for batch in partition.class_batches:
        moments.index_add_(1, batch.classes, second_moment(as_double(batch.gather(V))))
    return moments


def _fitted(lift: nn.Module, X: Tensor) -> nn.Module:
    """A copy of a lift, whose parts with a method ``fit`` are fitted one after the other."""
    lift = copy.deepcopy(lift).to(X.device, X.dtype).eval()
    parts = list(lift) if isinstance(lift, nn.Sequential) else [lift]
    for number, part in enumerate(parts):
        if isinstance(part, Lift) and hasattr(part, "fit"):
            part.fit(X)
        if number < len(parts) - 1:
            X = part(X)
    return lift


def _sequence(lift: nn.Module | None, band: nn.Module | None) -> nn.Module | None:
    """A lift followed by a band."""
    if lift is None or band is None:
        return band if lift is None else lift
    parts = list(lift) if isinstance(lift, nn.Sequential) else [lift]
    return nn.Sequential(*parts, band)


def _name(lift: nn.Module | None) -> str:
    """A lift in words: the kind of its last part, and the options that are words or are true."""
    if lift is None:
        return "samples"
    last = lift[-1] if isinstance(lift, nn.Sequential) else lift
    if not isinstance(last, Lift):
        return type(last).__name__
    options = last.arguments.items()
    words = [str(value) for _, value in options if isinstance(value, str)]
    words += [name.replace("_", " ") for name, value in options if value is True]
    return ", ".join([type(last).__name__, *words])
