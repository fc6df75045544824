"""ReduNet, the constructed network, which is an ordinary ``nn.Module``."""

import copy
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Literal, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from redunet._checks import (
    Array,
    as_network_input,
    as_samples,
    check_count,
    check_device,
    check_flag,
    check_sample_shape,
)
from redunet._keywords import suggests
from redunet._names import Names
from redunet._precision import makes_operators
from redunet._processes import Processes
from redunet._tables import description, html_pairs
from redunet.construction.build import Parts, build, reader_like
from redunet.construction.encoder import Encoder
from redunet.construction.extension import check_reader, extended
from redunet.construction.network_file import read_network, write_network
from redunet.construction.settings import Settings
from redunet.construction.sources import Data, as_source, check_rereadable
from redunet.layers import MEMBERSHIPS, OPERATOR_KINDS, Membership, OperatorKind, Reader, ReduLayer
from redunet.layers.encoding import default_batch_size, encode
from redunet.layers.layer import extrapolate, propagate, trajectory
from redunet.layers.layer_list import LayerList
from redunet.layers.reader import pooled
from redunet.layers.real import RealNetwork
from redunet.lifts import composed
from redunet.rates.spectrum import HalfSpectrum
from redunet.search import Search
from redunet.search.search import as_search


class ReduNet(nn.Module):
    """A deep network constructed from data in closed form, without back-propagation.

    :meth:`construct` makes a network, and :meth:`load` reads one from a file. The parameters are
    the operators of the layers. They are frozen (``requires_grad=False``) until you fine-tune them.

    Attributes
    ----------
    layers : nn.ModuleList of ReduLayer
        They map half spectra ``(F, m, C)``; see :class:`redunet.rates.HalfSpectrum`.
    lift : nn.Module or None
        Applied to samples first.
    reader : Reader or None
        Multiplies the memberships of the last layer.
    history : RateHistory
        R, R_c and ΔR before the first layer and after each one.
    classes_ : numpy array (k,)
        The labels, sorted.
    settings : Settings
        The settings that the construction took, including those that it chose itself.
    sample_shape, feature_shape : tuple of int
        Shapes of one sample, before and after the lift.
    names : Names
        ``names.features`` names columns or channels, ``names.label`` the labels. Frames whose
        columns have these names may have them in any order.
    batch_size : int or None
        Number of samples per batch. None: features hold about 2²¹ numbers (2²⁴ on a GPU).
    label_distributions_ : Tensor (m, k) or None
        Memberships of the training samples if some labels were missing. They are not saved, and
        :meth:`extend` leaves them out.

    References
    ----------
    Chan, Yu, You, Qi, Wright, Ma. ReduNet: A White-box Deep Network from the Principle of
    Maximizing Rate Reduction. JMLR 23 (2022).
    """

    lift: nn.Module | None
    reader: Reader | None
    spectrum: HalfSpectrum
    layers: LayerList[ReduLayer]

    def __init__(self, parts: Parts):
        super().__init__()
        self.lift = parts.lift
        self.reader = parts.reader
        self.spectrum = parts.layers[0].spectrum
        self.layers = LayerList(parts.layers)
        self.classes_ = parts.classes
        self.sample_shape = parts.sample_shape
        self.feature_shape = parts.feature_shape
        self.batch_size = parts.batch_size
        self.names = parts.names
        self.settings = parts.settings
        self.history = parts.history
        self.label_distributions_ = parts.label_distributions

    @property
    def transduction_(self) -> np.ndarray | None:
        """The labels of the training samples if some were missing, ``(m,)``, else None."""
        distributions = self.label_distributions_
        return None if distributions is None else self.classes_[distributions.argmax(1).cpu()]

    @classmethod
    @suggests
    @makes_operators
    def construct(
        cls,
        X: Array | Data,
        labels: Array | None = None,
        *,
        # What the samples are.
        feature_names: Sequence[str] | None = None,
        unknown: int | str | None = None,
        sample_weight: Array | None = None,
        num_classes: int | None = None,
        # How layers are made.
        lift: Literal["auto"] | Search | nn.Module | Sequence[nn.Module] | None = None,
        num_layers: int | None = None,
        eta: float | Sequence[float] | None = None,
        eps_sq: float | None = None,
        operators: Literal["exact", "extensible", "variational"] | OperatorKind = "exact",
        rank: int | None = None,
        membership: Literal["softmax", "rectified"] | Membership = "softmax",
        lam: float | None = None,
        reader: Reader | None = None,
        momentum: float = 0.0,
        tol: float | None = None,
        true_membership: bool = False,
        # Where samples and layers live.
        batch_size: int | None = None,
        device: torch.device | str | None = None,
        workdir: str | PathLike[str] | None = None,
        offload: bool = False,
        process_group: "dist.ProcessGroup | None" = None,
        # What is watched and kept.
        validation: tuple[Array, Array] | Data | None = None,
        checkpoint: str | PathLike[str] | None = None,
        progress: bool = False,
    ) -> Self:
        """Construct a network from labelled samples.

        The keywords come in four groups: what the samples are (to ``num_classes``), how layers are
        made (to ``true_membership``), where samples and layers live (to ``process_group``), and
        what is watched and kept.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
            Vectors, 1-D signals of C channels, images of C channels, or any number of spatial axes.
            For signals the network is equivariant to every cyclic shift along the spatial axes, and
            its memberships are invariant. Grey images need an axis for their one channel. float64
            gives a float64 network, everything else a float32 network. ``X`` may also be a PyTorch
            ``Dataset`` or ``DataLoader`` of pairs of a sample and a label. It is read once, batch
            by batch; a search reads it as well.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships whose rows sum to 1. None for a Dataset.
        feature_names : sequence of str, optional
            Names of columns or channels; by default those of a DataFrame.
        unknown : int or str, optional
            The label of samples whose class is not known, such as −1; masked labels are not known
            either. Their memberships also ascend ΔR; see ``net.transduction_``.
        sample_weight : array-like of shape (m,), optional
            Weights of the samples, at least 0. A weight of 2 counts as two equal samples, and 0 as
            none. Second moments, rates and a search are weighted; lifts are fitted to all samples
            alike. The labels of all samples must be known.
        num_classes : int, optional
            Number of classes if no label is known. Clusters by lossy coding are the beginning.
        lift : "auto", Search, nn.Module or list of them, optional
            Applied to the samples first, one after the other, such as
            :class:`redunet.MultiScaleLift`, or ``[ScatteringLift(…), nn.Flatten()]``. The network
            keeps a copy. A :class:`redunet.Search` is fitted to the samples, and chooses all that
            decides the class; "auto" stands for ``Search()``. More than one layer gives features.
        num_layers : int, optional
            Number of layers, or the largest number if ``tol`` is given. By default layers are added
            until one raises ΔR by less than 1 %, but at most 50. With ``lift="auto"`` it is 1.
        eta : float or sequence of float, optional
            Step size η, or one for each layer. By default every layer chooses it by ΔR; the first
            is near 2mε²/C.
        eps_sq : float, optional
            ε², the squared precision of the code: the most important setting. By default 0.5
            divided by the number of frequencies, which is 1 for vectors.
        operators : {"exact", "extensible", "variational"} or OperatorKind
            How operators are made; see :mod:`redunet.layers`. Variational ones take less work and
            memory, and need a ``rank``. Extensible ones are exact, and allow :meth:`extend`.
        rank : int, optional
            Directions of each class and frequency, for variational operators.
        membership : {"softmax", "rectified"} or Membership
            How a layer estimates the classes of samples; see :class:`redunet.layers.Softmax` and
            :class:`redunet.layers.Rectified`.
        lam : float, optional
            Sharpness λ of the estimated membership, by default 500; ``math.inf`` makes it hard.
        reader : Reader, optional
            Multiplies the memberships of the last layer, such as an
            :class:`redunet.ExpansionRegression` of the same samples. A search has its own. With
            extensible operators it must be extensible too.
        momentum : float
            β of Nesterov's acceleration, such as 0.9, for fewer layers of one and a half times the
            work. A layer that would lower ΔR is computed again without momentum.
        tol : float, optional
            Stop if a layer, or without ``eta`` every third one, raises ΔR by less than this share.
        true_membership : bool
            Move the training samples by their true memberships: exact gradient ascent. ``net(X)``
            then reproduces their features only if the estimated memberships are right.
        batch_size : int, optional
            Number of samples per batch, in the construction and in the use of the network.
        device : torch.device or str, optional
            Device of the construction; by default the device of ``X``.
        workdir : str or path, optional
            A folder for features that do not fit into memory. It is empty again at the end.
        offload : bool
            Move every layer to host memory as soon as it is made. The network stays there.
        process_group : torch.distributed.ProcessGroup, optional
            Processes that each hold a shard of the samples, such as ``dist.group.WORLD``. All of
            them return the network of all samples.
        validation : tuple of (X, labels), Dataset or DataLoader, optional
            Further samples, whose rates are recorded in ``history.validation``.
        checkpoint : str or path, optional
            A folder in which every finished layer is saved. The same call resumes after the last
            one, a larger ``num_layers`` continues. Other samples or settings are refused.
        progress : bool
            Show a progress bar on standard error.

        Returns
        -------
        ReduNet

        Raises
        ------
        ValueError
            If samples are not finite, labels do not fit, or settings are out of range.
        MemoryError
            If memory runs out; the message says which ``batch_size`` to try.

        References
        ----------
        Chan et al., ReduNet (JMLR 2022), Algorithms 1 and 3.

        Examples
        --------
        >>> from redunet import ReduNet, datasets
        >>> X, labels = datasets.gaussians(ndim=2, per_class=50)
        >>> net = ReduNet.construct(X, labels)
        >>> net.predict(X).shape
        (100,)
        """
        check_device(device)
        for name, path in {"workdir": workdir, "checkpoint": checkpoint}.items():
            if not (path is None or (path and isinstance(path, str | PathLike))):
                raise ValueError(f"{name} must be a path or None, got {path!r}")
        batch_size = check_count(batch_size=batch_size)
        names = Names.from_data(X, labels, feature_names)
        processes = Processes(process_group)
        progress = progress and processes.rank == 0
        settings = Settings(
            num_layers=num_layers,
            eta=eta,
            eps_sq=eps_sq,
            membership=MEMBERSHIPS.instance(membership, lam=lam),
            operators=OPERATOR_KINDS.instance(operators, rank=rank),
            momentum=momentum,
            tol=tol,
            true_membership=true_membership,
        )
        if isinstance(lift, str | Search):
            check_rereadable(X, "a search")
        source = as_source(
            X,
            labels,
            device,
            num_classes=check_count(2, num_classes=num_classes),
            unknown=unknown,
            sample_weight=sample_weight,
        )
        if isinstance(lift, str | Search):
            given = {"eps_sq": eps_sq, "lam": lam, "membership": membership, "reader": reader}
            search = as_search(lift, given)
            search.fit_source(source, batch_size, processes, settings.operators, progress=progress)
            chosen = search.arguments
            module, reader = chosen["lift"], chosen["reader"]
            settings = settings.with_choice(chosen["eps_sq"], chosen["membership"])
        else:
            module = composed(lift)
        check_reader(reader, settings.operators)
        encoder = Encoder(source.example, module, batch_size=batch_size, processes=processes)
        names.check(encoder.sample_shape)
        held_out = None
        if validation is not None:
            data, targets = validation if isinstance(validation, tuple) else (validation, None)
            held_out = as_source(names.in_order(data), targets, encoder.device, "validation X")
        construction = build(
            source,
            encoder,
            settings,
            validation=held_out,
            workdir=workdir,
            offload=check_flag(offload=offload),
            checkpoint=checkpoint,
            progress=progress,
        )
        samples = construction.samples
        classes = samples.partition.classes
        net = cls(
            Parts(
                construction.layers,
                classes,
                construction.settings,
                construction.history,
                encoder.sample_shape,
                encoder.feature_shape,
                encoder.lift,
                batch_size,
                names,
                None if samples.known is None else samples.partition.membership,
                None if reader is None else reader_like(reader, classes, encoder),
            )
        )
        return net.to("cpu") if offload else net

    @makes_operators
    def extend(self, X: Array, labels: Array) -> Self:
        """A new network that also knows further samples, of new classes or of old ones.

        The old samples are not needed, but ``operators="extensible"`` at the construction is. The
        lifts, ε², the step ηα, the membership rule and the sharpness of a second reader stay. With
        one layer of the same step, the result equals that of :meth:`construct` from all samples
        with these settings. Later layers are approximations: their second moments of old samples
        are those after the old layers. Fine-tuning is lost.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        labels : array-like or Tensor of shape (m,) or (m, k)
            Labels of the same kind as before, or soft memberships in the k old classes.

        Returns
        -------
        ReduNet
            Its history has no validation rates. It ends with NaN, as old samples are not known.

        Raises
        ------
        ValueError
            If the network or its reader is not extensible, it has momentum, or samples or labels do
            not fit.

        References
        ----------
        Chan et al., ReduNet (JMLR 2022), Section 6.1.
        """
        return type(self)(extended(self.parts(), X, labels))

    def save(
        self, path: str | PathLike[str], *, samples: tuple[Array, Array] | None = None
    ) -> None:
        """Write the network to one safetensors file, completely or not at all.

        The operators are its tensors, everything else is JSON in its header. Nothing is pickled.
        The file holds no samples unless you pass them.

        Parameters
        ----------
        path : str or path
            Conventionally ``*.safetensors``.
        samples : tuple of (X, labels), optional
            The samples of the construction. **They are then in the file, and everybody who has the
            file can read them**, if they take less room than the operators: often a hundredth.
            :meth:`load` makes the lift, the operators and the reader again.

        Raises
        ------
        ValueError
            If a kind of a part is not registered, or the network does not follow from the samples.
        """
        write_network(self.parts(), path, samples)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        device: torch.device | str | None = None,
        lift: nn.Module | None = None,
    ) -> Self:
        """Read a network that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path
        device : torch.device or str, optional
            Device of the network, and of the work if the file holds samples; by default the CPU.
        lift : nn.Module, optional
            A module with the architecture of the network's lift, if the class of that lift is not
            registered. The file contains its weights, but not its code.

        Raises
        ------
        ValueError
            If the file holds no network, its tensors do not fit its header, its samples do not give
            the network on this machine, or the lift that is passed does not fit or is not needed.
        """
        check_device(device)
        return cls(read_network(path, lift, device)).requires_grad_(False).to(device)

    def _repr_html_(self) -> str:
        return html_pairs(description(self))

    def parts(self) -> Parts:
        """The parts that the constructor takes."""
        of_scikit_learn = {"classes": "classes_", "label_distributions": "label_distributions_"}
        return Parts(*(getattr(self, of_scikit_learn.get(name, name)) for name in Parts._fields))

    def forward(self, X: Array) -> Tensor:
        """Features of samples.

        Parameters
        ----------
        X : array-like, DataFrame or Tensor of shape (m, *sample_shape)
            The columns of a frame may be in any order if the network knows their names.

        Returns
        -------
        Tensor of shape (m, *feature_shape)
            Features of unit norm per sample. A sample whose lift is zero stays zero.

        Raises
        ------
        ValueError
            If samples in host memory are not finite, or differ in shape or in the names of their
            columns from those of the construction. The values of samples that are already on a GPU
            are not checked, because the host would wait for the result. If such a sample is not
            finite, all its features are NaN.
        """
        features = []
        for V in self.encode(X):
            V, _ = propagate(V, self.layers)
            features.append(self.spectrum.inverse(V))
        return torch.cat(features)

    def trajectory(self, X: Array) -> Iterator[Tensor]:
        """Features of samples before the first layer, and after each one.

        The features of all samples stay in memory between layers. ``batch_size`` limits only the
        memory for the work within a layer.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Yields
        ------
        Tensor of shape (m, *feature_shape)
            Features of unit norm per sample. The last features equal ``net(X)``.
        """
        batches = [trajectory(V, self.layers) for V in self.encode(X)]
        for states in zip(*batches, strict=True):
            yield torch.cat([self.spectrum.inverse(V) for V, _ in states])

    def membership(self, X: Array) -> Tensor:
        """Soft membership of samples in the classes, as the last layer and the reader estimate it.

        Memberships of signals do not change when the signals are shifted.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1; columns are in the order of ``classes_``.
        """
        return self.pool(self.layers[-1].assign(self.residual_norms(X)), X)

    def pool(self, membership: Tensor, X: Array) -> Tensor:
        """Memberships ``(m, k)`` of the network, from those that its last layer estimates.

        They are the same unless the network has a reader, which multiplies them by its own.

        Parameters
        ----------
        membership : Tensor of shape (m, k)
        X : array-like or Tensor of shape (m, *sample_shape)
            The samples.
        """
        return membership if self.reader is None else pooled(membership, self.reader_logits(X))

    def reader_logits(self, X: Array) -> Tensor:
        """The scores of the reader times its sharpness, ``(m, k)``; 0 without a reader.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        """
        reader, like = self.reader, self.layers[0].proportions
        if reader is None:
            return like.new_zeros(len(self.samples(X)), len(like))
        return torch.cat([reader.logits(batch) for batch in self._batches(X)])

    def residual_norms(self, X: Array, layer: int | None = -1) -> Tensor:
        """‖Cʲ v‖ of samples before a layer, from which the layer estimates their memberships.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        layer : int or None
            Index of the layer, by default the last; None for all layers, in one pass.

        Returns
        -------
        Tensor of shape (m, k), or (num_layers, m, k) for all layers
            Columns are in the order of ``classes_``. Shifts of signals do not change them.
        """
        numbers = range(len(self.layers))
        chosen = numbers if layer is None else numbers[layer : layer + 1 or None]
        batches = []
        for V in self.encode(X):
            states = trajectory(V, self.layers[: chosen[-1]])
            pairs = zip(self.layers, states, strict=False)
            norms = [
                each.residual_norms(extrapolate(*state, each.momentum))
                for number, (each, state) in enumerate(pairs)
                if number in chosen
            ]
            batches.append(torch.stack(norms))
        found = torch.cat(batches, 1)
        return found if layer is None else found[0]

    def relative_residuals(self, X: Array, layer: int = -1) -> Tensor:
        """r_j = ‖Cʲ v‖/α_j of samples before a layer, which needs no unit.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        layer : int
            Index of the layer; by default the last.

        Returns
        -------
        Tensor of shape (m, k)
            0 if the class explains the sample, and 1 if it explains nothing of it. Columns are in
            the order of ``classes_``.
        """
        chosen = self.layers[layer]
        return self.residual_norms(X, layer) * (chosen.proportions / chosen.alpha)

    def predict(self, X: Array) -> np.ndarray:
        """The label with the largest membership for each sample, a numpy array ``(m,)``.

        Raises
        ------
        ValueError
            If samples are not finite, also on a GPU, or differ in shape from those of the
            construction.
        """
        with torch.no_grad():
            return predicted(self.membership(X), self.classes_)

    def encode(self, X: Array) -> Iterator[Tensor]:
        """Convert samples to the features that enter the first layer, in batches.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        iterator of Tensor of shape (F, batch, C)
            Half spectra of unit norm, in the type and on the device of the network.
        """
        return (encode(batch, self.lift, self.spectrum) for batch in self._batches(X))

    def _batches(self, X: Array) -> tuple[Tensor, ...]:
        """Samples in the type and on the device of the network, in batches."""
        like = self.layers[0].proportions
        X = self.names.in_order(X)
        X = as_network_input(X, self.sample_shape, device=like.device, dtype=like.dtype)
        size = self.batch_size or default_batch_size(self.spectrum, self.feature_shape[0])
        return X.split(size)

    def samples(self, X: Array) -> Tensor:
        """Samples as a finite tensor of the shape that the network takes, and in its order.

        Parameters
        ----------
        X : array-like, DataFrame or Tensor of shape (m, *sample_shape)

        Raises
        ------
        ValueError
            If samples are not finite, or do not fit the network.
        """
        X = as_samples(self.names.in_order(X))
        check_sample_shape(X, self.sample_shape)
        return X

    def real_form(self) -> RealNetwork:
        """A copy in real arithmetic, from samples to features and memberships, for export."""
        reader = None if self.reader is None else self.reader.real_form()
        return RealNetwork(copy.deepcopy(self.lift), self.spectrum, self.layers, reader)

    def example(self) -> Tensor:
        """Two random samples of the right shape, type and device."""
        like = self.layers[0].proportions
        return torch.rand(2, *self.sample_shape, dtype=like.dtype, device=like.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Refuse half precision before any parameter changes."""
        dtype = fn(self.layers[0].alpha.new_zeros(())).dtype
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"a {type(self).__name__} computes in float32 or float64, got {dtype}: leave it as "
                "it is; inside torch.autocast it takes samples of half precision, and computes in "
                "full precision"
            )
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"sample_shape={self.sample_shape}, feature_shape={self.feature_shape}"


def predicted(scores: Tensor, classes: np.ndarray) -> np.ndarray:
    """The label of the largest score of each sample, ``(m, k)`` to ``(m,)``.

    Raises
    ------
    ValueError
        If scores are not finite.
    """
    places = torch.where(scores.isnan().any(1), -1, scores.argmax(1)).cpu().numpy()
    if (places < 0).any():
        raise ValueError(
            f"X must be finite: {(places < 0).sum()} of {len(places)} samples have no membership, "
            "because values of theirs or of their lift are not finite"
        )
    return classes[places]
