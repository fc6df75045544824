"""The search for the lifts, bands and precisions of a network."""

import copy
from collections.abc import Iterator, Sequence
from typing import Literal, Self, TypedDict

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from redunet._checks import Array, check_count, check_positive
from redunet._precision import makes_operators
from redunet._processes import Processes
from redunet.construction.sources import Data, KnownSamples, Source, as_source
from redunet.layers import Reader, Softmax
from redunet.layers.encoding import default_batch_size, encode
from redunet.layers.operators.moments import add_class_moments_
from redunet.lifts import Band
from redunet.lifts.blocks import in_blocks
from redunet.lifts.composition import check_lifts
from redunet.rates import HalfSpectrum, Partition
from redunet.search.automatic import automatic_bands, automatic_lifts, automatic_reader
from redunet.search.calibration import Judge, Verdict
from redunet.search.candidate import Candidate, fitted_copy, name_of
from redunet.search.leave_one_out import held_out_residuals
from redunet.search.regression import ExpansionRegression
from redunet.search.subset import draw
from redunet.search.table import table_of

# Candidates for ε², times the number of frequencies.
PRECISIONS = np.geomspace(1e-4, 1e2, 13)

# If no class is large enough to judge the candidates, ε² times the number of frequencies, the band
# and the sharpness are these.
DEFAULT_PRECISION = 0.1
DEFAULT_BAND = 2
DEFAULT_SHARPNESS = 10.0


class Arguments(TypedDict):
    """The keyword arguments of :meth:`redunet.ReduNet.construct` that a search chooses."""

    lift: nn.Module | None
    eps_sq: float
    membership: Softmax
    reader: Reader | None


class Search:
    """Choice of the lift, its band, ε² and the sharpness, by exact leave-one-out.

    Every candidate is a lift with a band. Its operators are not constructed: the residual of every
    training sample in a network of one layer without this sample follows in closed form from one
    eigendecomposition for each class and frequency, for all ε² at once. The log loss of
    softmax(−t r) of the residuals r, at the best sharpness t, is the measure of a candidate.

    Samples of a class of one or two are not left out, because too little of the class would remain.
    If there is no larger class, the first lift is taken, with ε² = 0.1 divided by the number of
    frequencies, and a band of 2.

    Parameters
    ----------
    candidates : sequence of nn.Module or None, optional
        Lifts to compare; None stands for the samples themselves. Lifts with a method ``fit`` are
        fitted to the samples. By default :func:`automatic_lifts`.
    bands : sequence of (int or None), optional
        Bands to compare; None stands for all frequencies. By default they suit the shape of the
        features.
    further : sequence of nn.Module or None
        Lifts that are compared beside ``candidates``.
    eps_sq : float, optional
        A fixed ε². By default 13 values are compared, from 0.0001 to 100, divided by the number of
        frequencies.
    most_samples : int
        Largest number of samples that are compared. With more, a random subset determines lifts
        and bands. ε² and the sharpness then follow from the operators of all samples, each sample
        of the subset left out in turn.
    reader : "auto", ExpansionRegression or None
        A regression that pools all classes. It multiplies the memberships of the network, each
        with its sharpness by leave-one-out. "auto" stands for :func:`automatic_reader` beside the
        default candidates, and for None beside candidates of your own.
    seed : int, RandomState instance or None
        Random state of kernels, and of the subset. None draws a new one from NumPy's global state.

    Attributes
    ----------
    candidates_ : list of Candidate
        All candidates, sorted by their loss.
    best_ : Candidate
        The one that forms the network.
    loss_, accuracy_ : float
        Log loss and accuracy of the network by leave-one-out. The candidate was chosen by the same
        samples, so they are slightly too good.
    sharpness_ : float
        The sharpness t.
    reader_ : ExpansionRegression or None
        The fitted reader.

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
    best_: Candidate
    loss_: float
    accuracy_: float
    sharpness_: float
    reader_: ExpansionRegression | None

    def __init__(
        self,
        candidates: Sequence[nn.Module | None] | None = None,
        *,
        bands: Sequence[int | None] | None = None,
        further: Sequence[nn.Module | None] = (),
        eps_sq: float | None = None,
        most_samples: int = 5000,
        reader: Literal["auto"] | ExpansionRegression | None = "auto",
        seed: int | np.random.RandomState | None = 0,
    ):
        check_lifts("candidates", candidates)
        check_lifts("further", further)
        self.candidates = candidates
        self.bands = None if bands is None else [check_count(0, bands=band) for band in bands]
        self.further = further
        self.eps_sq = check_positive(eps_sq=eps_sq)
        self.most_samples = check_count(most_samples=most_samples)
        if not (reader is None or reader == "auto" or isinstance(reader, ExpansionRegression)):
            raise ValueError(
                f'reader must be "auto", an ExpansionRegression or None, got {reader!r}'
            )
        self.reader = reader
        is_state = isinstance(seed, np.random.RandomState)
        self.seed = seed if is_state else check_count(0, seed=seed)

    @makes_operators
    def fit(
        self,
        X: Array | Data,
        labels: Array | None = None,
        *,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
        process_group: "dist.ProcessGroup | None" = None,
        unknown: int | str | None = None,
        progress: bool = False,
    ) -> Self:
        """Compare all candidates.

        Parameters
        ----------
        X, labels, device, batch_size, process_group, unknown, progress
            As in :meth:`redunet.ReduNet.construct`. Every sample has at most one label. Samples
            whose label is not known are left out.
        """
        processes, batch_size = Processes(process_group), check_count(batch_size=batch_size)
        from sklearn.utils import check_random_state

        source = KnownSamples(as_source(X, labels, device, unknown=unknown))
        size = batch_size or max(64, 2**24 // source.example.numel())
        seed = int(check_random_state(self.seed).randint(2**31 - 1))
        self._subset = subset = draw(source, self.most_samples, size, seed, processes)
        partition = Partition.from_labels(
            subset.labels, len(subset.X), device=subset.X.device, classes=subset.classes
        )
        if len(subset.classes) < 2:
            raise ValueError(
                f"at least two classes are needed, got 1 class: {subset.classes.tolist()}"
            )
        self._partition = partition
        targets = np.searchsorted(subset.classes, subset.labels)
        self._counts = torch.from_numpy(subset.counts).to(subset.X.device).double()
        self._judge = Judge(torch.from_numpy(targets).to(subset.X.device), self._counts)
        lifts = self.candidates
        if lifts is None:
            lifts = automatic_lifts(tuple(subset.X.shape[1:]), seed)
        lifts = [*lifts, *self.further]
        own = self._compare(lifts[processes.rank :: processes.size], progress)
        everyone = [c for part in processes.all_gather_object(own) for c in part]
        if processes.size > 1:  # tensors arrive on the GPU of the process that sent them
            everyone = [c.to(subset.X.device) for c in everyone]
        self.candidates_ = sorted(everyone, key=lambda candidate: candidate.loss)
        self.best_ = self._choose()
        if len(subset.X) < subset.counts.sum():
            self.best_ = self._refined(self.best_, source, batch_size, processes)
        table = self.best_.squared_residuals
        verdict = self._judge.verdict(table)
        self.sharpness_ = verdict.sharpness if self._judge.count else DEFAULT_SHARPNESS
        self.reader_ = self._reader(seed)
        if self.reader_ is not None:
            self.reader_.fit_subset(subset, source, size, processes)
            verdict = self._read(table)
        self.loss_, self.accuracy_ = verdict.loss, verdict.accuracy
        del self._subset, self._partition  # a search does not keep the samples
        return self

    @property
    def arguments(self) -> Arguments:
        """The keyword arguments of :meth:`redunet.ReduNet.construct` that were chosen."""
        return {
            "lift": self.best_.whole,
            "eps_sq": self.best_.eps_sq,
            "membership": Softmax(self.sharpness_, balanced=True),
            "reader": self.reader_,
        }

    def _reader(self, seed: int) -> ExpansionRegression | None:
        """The reader that is asked for, not fitted yet."""
        if isinstance(self.reader, str):
            if self.candidates is not None:
                return None
            return automatic_reader(tuple(self._subset.X.shape[1:]), seed)
        return copy.deepcopy(self.reader)

    def _read(self, table: Tensor) -> Verdict:
        """The verdict on both readers together, whose sharpnesses are then scaled alike."""
        reader = self.reader_
        assert reader is not None
        logits = reader.sharpness * reader.held_out_ - self.sharpness_ * table.clamp_min(0).sqrt()
        verdict = self._judge.verdict((logits.max() - logits).square())
        if self._judge.count:
            self.sharpness_ *= verdict.sharpness
            reader.sharpness *= verdict.sharpness
        return verdict

    def _compare(self, lifts: Sequence[nn.Module | None], progress: bool) -> list[Candidate]:
        """The results of all bands of some lifts."""
        candidates: list[Candidate] = []
        with tqdm(lifts, desc="lifts", disable=not progress) as bar:
            for lift in bar:
                fitted = None if lift is None else fitted_copy(lift, self._subset.X)
                candidates += self._bands_of(lift, fitted)
        return candidates

    def _bands_of(self, lift: nn.Module | None, fitted: nn.Module | None) -> Iterator[Candidate]:
        """The results of one lift with each band."""
        X, name = self._subset.X, name_of(lift)
        example = X[:1] if fitted is None else in_blocks(fitted, X[:1])
        shape = tuple(example.shape[1:])
        bands = automatic_bands(shape) if self.bands is None else self.bands
        bands = bands if shape[1:] else [None]
        finite = [band for band in bands if band is not None]
        widest = Band(max(finite)) if len(finite) == len(bands) else None
        features = in_blocks(fitted or nn.Identity(), X, widest)
        for band in bands:
            limited = features if band is None else Band(band)(features)
            yield self._candidate(name, fitted, band, limited)

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
        precisions = PRECISIONS / spectrum.size
        if self.eps_sq is not None:
            precisions = np.array([self.eps_sq])
        elif not self._judge.count:
            precisions = np.array([DEFAULT_PRECISION / spectrum.size])
        table = held_out_residuals(
            V,
            self._partition,
            spectrum.weights,
            torch.from_numpy(precisions).to(V.device),
            moments=moments,
            counts=counts,
        )
        losses = self._judge.losses(table).cpu().numpy()
        best = int(losses.argmin())
        _, loss, standard_error, accuracy = self._judge.verdict(table[best])
        return Candidate(
            name,
            lift,
            band,
            features.shape[1],
            precisions,
            losses,
            float(precisions[best]),
            loss,
            standard_error,
            accuracy,
            table[best],
        )

    def _choose(self) -> Candidate:
        """The candidate with the least loss, or a default one if none has a loss."""
        if self._judge.count:
            return self.candidates_[0]
        wanted = [c for c in self.candidates_ if c.band in (DEFAULT_BAND, None)]
        return (wanted or self.candidates_)[0]

    def _refined(
        self, candidate: Candidate, source: Source, batch_size: int | None, processes: Processes
    ) -> Candidate:
        """The candidate with ε² from the operators of all samples."""
        lift, X = candidate.whole, self._subset.X
        features = X if lift is None else in_blocks(lift, X)
        spectrum = HalfSpectrum(features.shape[2:]).to(X.device)
        channels, k = candidate.channels, len(self._counts)
        size = batch_size or default_batch_size(spectrum, channels)
        dtype = torch.complex128 if spectrum.shape else torch.float64
        moments = torch.zeros(len(spectrum), k, channels, channels, dtype=dtype, device=X.device)
        for batch, labels in source.labelled_batches(size):
            V = encode(batch.to(X.dtype), lift, spectrum)
            partition = Partition.from_labels(
                labels, len(batch), device=X.device, classes=self._subset.classes, partial=True
            )
            add_class_moments_(moments, V, partition)
        moments = processes.all_reduce(moments)
        return self._candidate(candidate.name, candidate.lift, candidate.band, features, moments)

    def __str__(self) -> str:
        """A table of the candidates."""
        return table_of(self.candidates_, self.best_, self.reader_)
