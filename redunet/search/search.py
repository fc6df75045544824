"""The search for the lift, the band and the precision of a network, and for a second reader."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypedDict

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from redunet._checks import Array, check_count, check_positive
from redunet._keywords import suggests
from redunet._precision import makes_operators
from redunet._processes import Processes
from redunet._tables import bar_options, table
from redunet._warnings import warn
from redunet.construction.sources import Data, Source, as_source
from redunet.layers import Extensible, OperatorKind, Reader, Softmax
from redunet.layers.encoding import default_batch_size, encode
from redunet.layers.operators.moments import add_class_moments_
from redunet.lifts import Band
from redunet.lifts.base import fitted_copy, in_blocks
from redunet.lifts.composition import check_lifts, name_of
from redunet.rates import HalfSpectrum
from redunet.search.automatic import automatic_bands, automatic_lifts, automatic_reader
from redunet.search.leave_one_out import held_out_residuals
from redunet.search.regression import DEFAULT_PRECISION, DEFAULT_SHARPNESS, ExpansionRegression
from redunet.search.subset import ClassWeight, Subset, draw

# Candidates for ε², times the number of frequencies.
PRECISIONS = np.geomspace(1e-4, 1e2, 13)

# If no class is large enough to judge the candidates, this is the band. ε² times the number of
# frequencies, and the sharpness, are then those of the regression.
DEFAULT_BAND = 2


class Arguments(TypedDict):
    """The keyword arguments of :meth:`redunet.ReduNet.construct` that a search chooses."""

    lift: nn.Module | None
    eps_sq: float
    membership: Softmax
    reader: Reader | None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A lift with a band, and its leave-one-out results.

    Attributes
    ----------
    lift : nn.Module or None
        The fitted lift, without the band. The candidates of one lift share it.
    band : int or None
        Largest frequency that is kept; None for all.
    precisions : numpy array (e,)
        The values of ε² that were compared.
    losses : numpy array (e,)
        Mean log loss at each of them.
    eps_sq : float
        The ε² with the smallest loss.
    loss, standard_error, accuracy : float
        Mean log loss at this ε², its standard error, and the share of samples that are assigned to
        their own class. Each sample is left out of its class.
    residuals : Tensor of shape (m, k)
        The relative residuals at this ε².
    """

    lift: nn.Module | None
    band: int | None
    precisions: np.ndarray
    losses: np.ndarray
    eps_sq: float
    loss: float
    standard_error: float
    accuracy: float
    residuals: Tensor = field(repr=False)

    @property
    def name(self) -> str:
        """The lift in words."""
        return name_of(self.lift)

    @property
    def whole(self) -> nn.Module | None:
        """The lift followed by the band."""
        parts: list[nn.Module] = []
        if self.lift is not None:
            parts += self.lift if isinstance(self.lift, nn.Sequential) else [self.lift]
        if self.band is not None:
            parts.append(Band(self.band))
        return nn.Sequential(*parts) if parts else None


class Search:
    """Choice of the lift, its band, ε² and the sharpness, by exact leave-one-out.

    Every candidate is a lift with a band. Its operators are not constructed: the residual of every
    training sample in a network of one layer without this sample follows in closed form from one
    eigendecomposition for each class and frequency, for all ε² at once. The log loss of
    softmax(−t r) of the residuals r, at the best sharpness t, is the measure of a candidate.

    A second reader of the samples pools all classes. It multiplies the memberships of the network.
    Each of the two has its own sharpness by leave-one-out, and both together have one factor.

    Samples of a class of one or two are not left out, because too little of the class would remain.
    If there is no larger class, the first lift is taken, with ε² = 0.1 divided by the number of
    frequencies, and a band of 2. If every class has a single sample, there is no second reader.

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
    reader : "auto", ExpansionRegression or None
        The second reader, which is fitted to the samples. "auto" stands for
        :func:`automatic_reader` beside the default candidates, and for None beside candidates of
        your own.
    class_weight : "balanced", dict or None
        Weights of the classes, as in scikit-learn. They multiply the weights of samples. With
        "balanced", all samples of a class together weigh as much as those of another class.
    most_samples : int
        Largest number of samples that are compared. With more, a random subset determines lifts
        and bands. ε² and the sharpness then follow from the operators of all samples, each sample
        of the subset left out in turn.
    seed : int, RandomState instance or None
        Random state of kernels, and of the subset. None draws a new one from NumPy's global state.

    Attributes
    ----------
    candidates_ : list of Candidate
        All candidates, sorted by their loss.
    best_ : Candidate
        The one that forms the network.
    reader_ : ExpansionRegression or None
        The fitted reader.
    sharpness_ : float
        The sharpness t of the residuals.
    loss_, accuracy_ : float
        Log loss and accuracy of the network by leave-one-out. The candidate was chosen by the same
        samples, so they are slightly too good.

    Raises
    ------
    ValueError
        If samples are not finite, labels do not fit, or an option is out of range.

    Examples
    --------
    >>> from redunet import ReduNet, Search, datasets
    >>> X, labels = datasets.digits()
    >>> search = Search(bands=[2]).fit(X[::4], labels[::4])
    >>> net = ReduNet.construct(X[::4], labels[::4], **search.arguments)
    >>> bool((net.predict(X[1::4]) == labels[1::4].numpy()).mean() > 0.9)
    True
    """

    candidates_: list[Candidate]
    best_: Candidate
    reader_: ExpansionRegression | None
    sharpness_: float
    loss_: float
    accuracy_: float

    @suggests
    def __init__(
        self,
        candidates: Sequence[nn.Module | None] | None = None,
        *,
        bands: Sequence[int | None] | None = None,
        eps_sq: float | None = None,
        reader: Literal["auto"] | ExpansionRegression | None = "auto",
        class_weight: ClassWeight | None = None,
        most_samples: int = 5000,
        seed: int | np.random.RandomState | None = 0,
    ):
        check_lifts("candidates", candidates)
        self.candidates = candidates
        self.bands = None if bands is None else [check_count(0, bands=band) for band in bands]
        self.eps_sq = check_positive(eps_sq=eps_sq)
        if not (reader is None or reader == "auto" or isinstance(reader, ExpansionRegression)):
            raise ValueError(
                f'reader must be "auto", an ExpansionRegression or None, got {reader!r}'
            )
        self.reader, self.class_weight = reader, class_weight
        self.most_samples = check_count(most_samples=most_samples)
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
        sample_weight: Array | None = None,
        progress: bool = False,
    ) -> Self:
        """Compare all candidates.

        Parameters
        ----------
        X, labels, device, batch_size, process_group, unknown, sample_weight, progress
            As in :meth:`redunet.ReduNet.construct`. Every sample has at most one label. Samples
            whose label is not known are left out. A sample is left out in turn with its whole
            weight, and its log loss has this weight.
        """
        source = as_source(X, labels, device, unknown=unknown, sample_weight=sample_weight)
        batch_size = check_count(batch_size=batch_size)
        return self.fit_source(source, batch_size, Processes(process_group), progress=progress)

    def fit_source(
        self,
        source: Source,
        batch_size: int | None,
        processes: Processes,
        operators: OperatorKind | None = None,
        *,
        progress: bool = False,
    ) -> Self:
        """Compare all candidates on a source of samples.

        Parameters
        ----------
        source : Source
        batch_size, processes, progress
            As in :meth:`fit`, with ``process_group``.
        operators : OperatorKind, optional
            Those of the network. If they are extensible, so is the reader.
        """
        from sklearn.utils import check_random_state

        seed = int(check_random_state(self.seed).randint(2**31 - 1))
        subset = draw(source, self.most_samples, batch_size, seed, processes, self.class_weight)
        judge, shape = subset.judge, tuple(subset.X.shape[1:])
        lifts = automatic_lifts(shape, seed) if self.candidates is None else self.candidates
        lifts = lifts[processes.rank :: processes.size]
        reader = self._reader(shape, seed) if subset.sizes.max() > 1 else None
        if reader is not None:
            reader.extensible = reader.extensible or isinstance(operators, Extensible)
            if reader.extensible and self.class_weight is not None:
                raise ValueError(
                    "a reader with class_weight cannot be extended, because weights of classes "
                    "change with their sizes: pass lift=Search(reader=None, class_weight=…), or "
                    "leave class_weight out"
                )
        with tqdm(lifts, desc="lifts", **bar_options(progress)) as bar:
            own = [candidate for lift in bar for candidate in self._with_bands(lift, subset)]
        everyone = _gathered(own, processes, subset.X.device)
        self.candidates_ = sorted(everyone, key=lambda candidate: candidate.loss)
        usual = [c for c in self.candidates_ if c.band in (DEFAULT_BAND, None)]
        self.best_ = self.candidates_[0] if judge.count or not usual else usual[0]
        if not subset.is_whole:
            self.best_ = self._refined(self.best_, subset, batch_size)
        verdict = judge.verdict(self.best_.residuals)
        self.sharpness_ = verdict.sharpness if judge.count else DEFAULT_SHARPNESS
        self.reader_ = reader
        if reader is not None:
            reader.fit_subset(subset)
            if self.class_weight is not None:  # residuals treat classes alike, whatever they weigh
                priors = torch.from_numpy(subset.counts / subset.counts.mean()).to(reader.offset)
                step = priors.log() / reader.sharpness
                reader.offset, reader.held_out_ = reader.offset + step, reader.held_out_ + step
            logits = reader.sharpness * reader.held_out_
            verdict = judge.verdict(self.sharpness_ * self.best_.residuals - logits)
            if judge.count:  # both have the same say
                self.sharpness_ *= verdict.sharpness
                reader.sharpness *= verdict.sharpness
        self.loss_, self.accuracy_ = verdict.loss, verdict.accuracy
        if verdict.only is not None and self.class_weight is None:
            label = subset.partition.classes.tolist()[verdict.only]
            warn(
                f"every sample that is left out is put in the class {label!r}: pass "
                'class_weight="balanced" if the other classes matter as much'
            )
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

    def _reader(self, shape: tuple[int, ...], seed: int) -> ExpansionRegression | None:
        """The reader that is asked for. It is not fitted."""
        if not isinstance(self.reader, str):
            return copy.deepcopy(self.reader)
        return automatic_reader(shape, seed) if self.candidates is None else None

    def _with_bands(self, lift: nn.Module | None, subset: Subset) -> Iterator[Candidate]:
        """The results of one lift with each band."""
        fitted = None if lift is None else fitted_copy(lift, subset.X)
        whole = fitted or nn.Identity()
        shape = tuple(in_blocks(whole, subset.X[:1]).shape[1:])
        bands = automatic_bands(shape) if self.bands is None else self.bands
        bands = bands if shape[1:] else [None]
        widest = max(math.inf if band is None else band for band in bands)
        features = in_blocks(whole, subset.X, None if widest == math.inf else Band(int(widest)))
        for band in bands:
            limited = features if band is None else Band(band)(features)
            yield self._candidate(fitted, band, limited, subset)

    def _refined(self, candidate: Candidate, subset: Subset, batch_size: int | None) -> Candidate:
        """The candidate with ε² from the operators of all samples."""
        lift, X = candidate.whole, subset.X
        features = X if lift is None else in_blocks(lift, X)
        spectrum = HalfSpectrum(features.shape[2:]).to(X.device)
        channels, k = features.shape[1], len(subset.counts)
        size = batch_size or default_batch_size(spectrum, channels)
        dtype = torch.complex128 if spectrum.shape else torch.float64
        moments = torch.zeros(len(spectrum), k, channels, channels, dtype=dtype, device=X.device)
        for batch, partition in subset.everything(size):
            add_class_moments_(moments, encode(batch, lift, spectrum), partition)
        moments = subset.processes.all_reduce(moments)
        return self._candidate(candidate.lift, candidate.band, features, subset, moments)

    def _candidate(
        self,
        lift: nn.Module | None,
        band: int | None,
        features: Tensor,
        subset: Subset,
        moments: Tensor | None = None,
    ) -> Candidate:
        """The results of a lift, from its features of the samples ``(m, C, *spatial)``."""
        spectrum = HalfSpectrum(features.shape[2:]).to(features.device)
        V = encode(features, None, spectrum)
        precisions = PRECISIONS / spectrum.size
        if self.eps_sq is not None:
            precisions = np.array([self.eps_sq])
        elif not subset.judge.count:
            precisions = np.array([DEFAULT_PRECISION / spectrum.size])
        table = held_out_residuals(
            V,
            subset.partition,
            spectrum.weights,
            torch.from_numpy(precisions).to(V.device),
            moments=moments,
            counts=None if moments is None else torch.from_numpy(subset.counts).to(V.device),
        )
        losses = subset.judge.losses(table).cpu().numpy()
        best = int(losses.argmin())
        verdict = subset.judge.verdict(table[best])
        return Candidate(
            lift,
            band,
            precisions,
            losses,
            float(precisions[best]),
            verdict.loss,
            verdict.standard_error,
            verdict.accuracy,
            table[best],
        )

    def __repr__(self) -> str:
        best: Candidate | None = getattr(self, "best_", None)
        if best is None:
            return "Search()"
        return f"Search(best: {best.name}, band {best.band}, accuracy {self.accuracy_:.3f})"

    def __str__(self) -> str:
        """A table of the candidates. Stars mark what forms the network; the reader comes last."""
        return self._table()

    def _repr_html_(self) -> str:
        return self._table(html=True)

    def _table(self, *, html: bool = False) -> str:
        if not hasattr(self, "best_"):
            return repr(self)
        best = self.best_.lift, self.best_.band
        rows = [
            ["*" * ((c.lift, c.band) == best), c.name, c.band, c.eps_sq, c.loss, c.accuracy]
            for c in self.candidates_
        ]
        if (reader := self.reader_) is not None:
            name = type(reader).__name__
            rows.append(["*", name, 0, reader.eps_sq_, reader.loss_, reader.accuracy_])
        headers = ["", "lift", "band", "ε²", "log loss", "accuracy"]
        formats = ("", "", "g", ".3g", ".3f", ".3f")
        return table(headers, rows, html=html, floatfmt=formats, missingval="–")


def as_search(lift: str | Search, given: Mapping[str, object]) -> Search:
    """The search that a construction asks for. "auto" stands for ``Search()``.

    Parameters
    ----------
    lift : str or Search
    given : mapping
        Arguments of the construction that a search chooses itself.

    Raises
    ------
    ValueError
        If another word than "auto" is given, or a setting that a search chooses.
    """
    chooser = "a Search"
    if isinstance(lift, str):
        if lift != "auto":
            raise ValueError(f'lift must be "auto", a torch module or a list of them, got {lift!r}')
        lift, chooser = Search(), 'lift="auto"'
    advice = {"eps_sq": f"lift=Search(eps_sq={given['eps_sq']})", "reader": "lift=Search(reader=…)"}
    for name, value in given.items():
        if value is not None and (name, value) != ("membership", "softmax"):
            instead = advice.get(name, "a lift of your own")
            raise ValueError(f"{chooser} chooses {name} itself: leave it out, or pass {instead}")
    return lift


def _gathered(own: list[Candidate], processes: Processes, device: torch.device) -> list[Candidate]:
    """The candidates of all processes. Candidates that share a lift still share it."""
    if processes.size == 1:
        return own
    # They travel in host memory: a GPU of one process may not exist on the machine of another.
    parts = processes.all_gather_object([_on(candidate, "cpu") for candidate in own])
    return [_on(candidate, device) for part in parts for candidate in part]


def _on(candidate: Candidate, device: torch.device | str) -> Candidate:
    """The candidate on a device. Its lift is moved itself, because others share it."""
    if candidate.lift is not None:
        candidate.lift.to(device)
    return replace(candidate, residuals=candidate.residuals.to(device))
