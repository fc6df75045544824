"""ReduNet: the constructed network, an ordinary ``nn.Module``."""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from redunet import storage
from redunet.checkpoint import Checkpoint
from redunet.checks import as_tensor, check_count, check_rank, check_sample_shape, memory_advice
from redunet.construction import (
    Construction,
    RateHistory,
    Samples,
    Settings,
    default_batch_size,
    warn_of_overshoot,
)
from redunet.features import Features, working_folder
from redunet.layer import ReduLayer, extrapolated, propagate, trajectory
from redunet.lifting import composed
from redunet.membership import soft_membership
from redunet.partition import Partition, common_classes
from redunet.processes import Processes
from redunet.sources import Arrays, Stream, source
from redunet.spectrum import HalfSpectrum, ToSignal, ToSphere, norms, project_to_sphere
from redunet.statistics import Population

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class ReduNet(nn.Module):
    """A deep network constructed from data in closed form, without back-propagation.

    Make one with :meth:`construct`, or read one with :meth:`load`. Its parameters are the operators
    of its layers; they are frozen (``requires_grad=False``) until somebody wants to fine-tune them.

    Attributes
    ----------
    layers : nn.ModuleList of ReduLayer
        On half spectra ``(F, m, C)``; see :class:`redunet.spectrum.HalfSpectrum`.
    lift : nn.Module or None
        What is applied to samples first.
    history : RateHistory
        R, R_c and ΔR before the first layer and after each one.
    classes_ : numpy array (k,)
        The labels, sorted.
    settings : Settings
        What the construction was asked for.
    sample_shape, feature_shape : tuple of int
        Shapes of one sample, before and after the lift.
    batch_size : int or None
        Samples that go through the network at one time; by default as many as any machine holds.

    References
    ----------
    Chan, Yu, You, Qi, Wright, Ma. ReduNet: A White-box Deep Network from the Principle of
    Maximizing Rate Reduction. JMLR 23 (2022).
    """

    def __init__(
        self,
        layers: list[ReduLayer],
        *,
        classes: np.ndarray,
        settings: Settings,
        history: RateHistory,
        sample_shape: tuple[int, ...],
        feature_shape: tuple[int, ...],
        lift: nn.Module | None = None,
        batch_size: int | None = None,
    ):
        super().__init__()
        self.lift = lift
        self.spectrum = HalfSpectrum(feature_shape[1:])
        self.layers = nn.ModuleList(layers)
        self.classes_ = classes
        self.settings = settings
        self.history = history
        self.sample_shape = sample_shape
        self.feature_shape = feature_shape
        self.batch_size = batch_size

    @classmethod
    @torch.no_grad()
    def construct(
        cls,
        X: Any,
        labels: Any = None,
        *,
        num_layers: int,
        eta: float = 0.5,
        eps_sq: float = 0.1,
        lam: float = 500.0,
        lift: nn.Module | Sequence[nn.Module] | None = None,
        operators: str = "exact",
        rank: int | None = None,
        latch_every: int | None = None,
        momentum: float = 0.0,
        tol: float | None = None,
        assignment: str = "softmax",
        true_membership: bool = False,
        validation: Any = None,
        batch_size: int | None = None,
        device: torch.device | str | None = None,
        workdir: str | PathLike[str] | None = None,
        offload: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        process_group: "ProcessGroup | None" = None,
        progress: bool = False,
    ) -> "ReduNet":
        """Construct a network from labelled samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
            Vectors, 1-D signals of C channels, images of C channels, or any number of spatial axes.
            On vectors the network is a plain one, on signals it is equivariant to every cyclic
            shift along the spatial axes, and its memberships invariant. Grey images need their axis
            of one channel. float64 gives a float64 network, everything else a float32 one.
            Or a ``torch.utils.data.Dataset`` or ``DataLoader`` of pairs of sample and label, which
            is read once, batch by batch; features are then kept in host memory.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships whose rows sum to 1. None with a Dataset.
        num_layers : int
            Number of layers, or the largest number if ``tol`` is given.
        eta : float
            Step size η.
        eps_sq : float
            ε², the squared precision of the code: the setting that matters most.
        lam : float
            Sharpness λ of the estimated membership; ``math.inf`` makes it hard.
        lift : nn.Module or list of them, optional
            Applied to the samples first, one after the other, such as
            :class:`redunet.RandomCirculantLift`, or ``[ScatteringLift(…), nn.Flatten()]``. The
            network keeps a copy.
        operators : {"exact", "variational"}
            Exact: the inverses, dense or, where classes are so small that it is less work, as the
            identity less the class's samples. Variational: of the ``rank`` leading directions of
            each class, followed from layer to layer; less work and memory still, and often better
            on new samples. Its ``history`` takes what the directions miss at its worst, so that ΔR
            is never overstated; it is exact if no class has more than ``rank`` dimensions.
        rank : int, optional
            r, directions of each class and frequency; only for variational operators.
        latch_every : int, optional
            Iterate the directions to convergence at every so many layers, not at the first only.
        momentum : float
            β of Nesterov's acceleration, such as 0.9: a fraction of the layers for the same ΔR, at
            about one and a half times the work for each. A layer that would lower ΔR is made once
            more without.
        tol : float, optional
            Stop when a layer raises ΔR by less than this part of it.
        assignment : {"softmax", "relu"}
            How a sample finds its own residual among those against all classes: weighted by a
            softmax, or by the rectified units of the paper's Remark 3.
        true_membership : bool
            Move the training samples by their true memberships instead of the estimated ones: exact
            gradient ascent on the training samples, whose features ``net(X)`` then repeats only as
            far as the estimated memberships are right.
        validation : tuple of (X, labels), Dataset or DataLoader, optional
            More samples whose rates to follow in ``history.validation``.
        batch_size : int, optional
            Samples at one time, to bound memory, here and in the network's use.
        device : torch.device or str, optional
            Where to construct; by default where ``X`` is.
        workdir : str or path, optional
            A folder for features that memory does not hold; nothing is left in it.
        offload : bool
            Move every layer to host memory once it is made, and so the network.
        checkpoint : str or path, optional
            A folder that keeps every finished layer. An interrupted construction, started again
            with the same samples and settings, goes on after the last of them; a finished one
            may be continued with a larger ``num_layers``.
        process_group : torch.distributed.ProcessGroup, optional
            Processes that have a shard of the samples each, such as ``dist.group.WORLD``; all end
            with the network of all samples. By default this process is alone.
        progress : bool
            Show a progress bar on standard error.

        Returns
        -------
        ReduNet

        Raises
        ------
        ValueError
            For samples that are not finite, labels that do not fit, or settings out of range.
        MemoryError
            If memory runs out; says which ``batch_size`` to try.

        References
        ----------
        Chan et al., ReduNet (JMLR 2022), Algorithms 1 and 3.
        """
        settings = Settings(
            num_layers=num_layers,
            tol=tol,
            eta=eta,
            eps_sq=eps_sq,
            lam=lam,
            assignment=assignment,
            true_membership=true_membership,
            operators=operators,
            rank=rank,
            latch_every=latch_every,
            momentum=momentum,
        )
        check_count(batch_size=batch_size)
        processes = Processes(process_group)
        samples = source(X, labels, device)
        example = samples.example
        lift = composed(lift)
        if lift is not None:
            lift = copy.deepcopy(lift).to(example.device, example.dtype).eval()
        net = cls(
            [],
            classes=np.empty(0),
            settings=settings,
            history=RateHistory(),
            sample_shape=tuple(example.shape[1:]),
            feature_shape=tuple((example if lift is None else lift(example)).shape[1:]),
            lift=lift,
            batch_size=batch_size,
        ).to(example.device)
        check_rank(rank, net.feature_shape[0])
        with memory_advice(net._batch_size), working_folder(workdir) as folder:
            training, net.classes_ = net._collect(samples, processes, folder, example.dtype)
            others = None
            if validation is not None:
                pair = validation if isinstance(validation, tuple) else (validation, None)
                samples = source(*pair, example.device, "validation X")
                others, _ = net._collect(samples, processes, folder, example.dtype, net.classes_)
            population = training[0]
            warn_of_overshoot(population, settings)
            construction = Construction(settings, *training, validation=others, offload=offload)
            kept = None if checkpoint is None else Checkpoint(checkpoint, processes)
            construction.run(progress=progress and processes.rank == 0, checkpoint=kept)
        net.history = construction.history
        net.layers.extend(construction.layers)
        return net.to("cpu") if offload else net

    def forward(self, X: Any) -> Tensor:
        """Features of samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (m, *feature_shape)
            Of unit norm per sample; a sample whose lift is zero stays zero.

        Raises
        ------
        ValueError
            If the samples' shape differs from that of the construction.
        """
        features = []
        for V in self._spectra(X):
            V, _ = propagate(V, self.layers)
            features.append(self.spectrum.inverse(V))
        return torch.cat(features)

    def trajectory(self, X: Any) -> Iterator[Tensor]:
        """Features of samples before the first layer, and after each one.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
            All at once: ``batch_size`` bounds what the layers take, not what is kept in between.

        Yields
        ------
        Tensor of shape (m, *feature_shape)
            Of unit norm per sample; the last of them is ``net(X)``.
        """
        batches = [trajectory(V, self.layers) for V in self._spectra(X)]
        for states in zip(*batches, strict=True):
            yield torch.cat([self.spectrum.inverse(V) for V, _ in states])

    def membership(self, X: Any) -> Tensor:
        """Soft membership of samples in the classes, as the last layer estimates it.

        On signals it does not change when they are shifted.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1; columns in the order of ``classes_``.
        """
        return soft_membership(self.residual_norms(X), self.settings.lam)

    def residual_norms(self, X: Any, layer: int = -1) -> Tensor:
        """‖Cʲ v‖ of samples before a layer, by which it finds their membership.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        layer : int
            Which one; by default the last.

        Returns
        -------
        Tensor of shape (m, k)
            Columns in the order of ``classes_``. Unchanged by shifts of signals.
        """
        chosen = self.layers[layer]
        earlier = self.layers[: range(len(self.layers))[layer]]
        norms = []
        for V in self._spectra(X):
            V, previous = propagate(V, earlier)
            norms.append(chosen.residual_norms(extrapolated(V, previous, chosen.momentum)))
        return torch.cat(norms)

    def residual_norms_by_layer(self, X: Any) -> Tensor:
        """:meth:`residual_norms` of every layer, in one pass.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (num_layers, m, k)
        """
        norms = [
            torch.stack(
                [
                    layer.residual_norms(extrapolated(*states, layer.momentum))
                    for layer, states in zip(self.layers, trajectory(V, self.layers), strict=False)
                ]
            )
            for V in self._spectra(X)
        ]
        return torch.cat(norms, 1)

    def predict(self, X: Any) -> np.ndarray:
        """The label of largest membership for each sample, a numpy array ``(m,)``."""
        with torch.no_grad():
            return self.classes_[self.membership(X).argmax(1).cpu().numpy()]

    def as_sequential(self) -> nn.Sequential:
        """The same modules one after the other, to take apart and put together.

        The lift if there is one, ``sphere`` from signals to half spectra ``(F, m, C)``, ``layer1``
        and so on, and ``signal`` back.

        Raises
        ------
        ValueError
            If the network has momentum, by which a layer needs the features before the last one.
        """
        if any(layer.momentum for layer in self.layers):
            raise ValueError("layers with momentum need more than the output of the one before")
        parts = {} if self.lift is None else {"lift": self.lift}
        parts["sphere"] = ToSphere(self.spectrum)
        parts |= {f"layer{number}": layer for number, layer in enumerate(self.layers, 1)}
        return nn.Sequential(OrderedDict(parts | {"signal": ToSignal(self.spectrum)}))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to one safetensors file, whole or not at all.

        The operators are its tensors, everything else is JSON in its header; nothing is pickled.

        Parameters
        ----------
        path : str or path
            Conventionally ``*.safetensors``.
        """
        storage.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        device: torch.device | str | None = None,
        lift: nn.Module | None = None,
    ) -> "ReduNet":
        """Read a network that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path
        device : torch.device or str, optional
            Where to put it; by default on the CPU.
        lift : nn.Module, optional
            A module like the one the network was constructed with, if that is not one of redunet's:
            its weights are read from the file, its code cannot be.

        Raises
        ------
        ValueError
            If the file is not a network's, or its tensors are not those that its header announces.
        """
        return storage.load(cls, path, device=device, lift=lift)

    @property
    def _batch_size(self) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return default_batch_size(self.spectrum, self.feature_shape[0])

    def _to_spectrum(self, X: Tensor) -> Tensor:
        """One batch of samples, lifted, on the sphere: ``(m, *sample_shape)`` to ``(F, m, C)``."""
        features = X if self.lift is None else self.lift(X)
        return project_to_sphere(self.spectrum(features))

    def _collect(
        self,
        samples: Arrays | Stream,
        processes: Processes,
        folder: Path | None,
        dtype: torch.dtype,
        classes: np.ndarray | None = None,
    ) -> tuple[tuple[Population, Samples], np.ndarray]:
        """All samples, lifted, on the sphere, with their classes."""
        device = samples.example.device
        features = Features(device, folder or samples.home)
        sizes, zeros = [], 0
        for X in samples.batches(self._batch_size):
            check_sample_shape(X, self.sample_shape)
            V = self._to_spectrum(X.to(dtype))
            zeros += int((norms(V) == 0).sum())
            sizes.append(V.shape[1])
            features.append(V)
        if zeros:
            message = f"{zeros} of {sum(sizes)} samples have zero norm and stay zero"
            warnings.warn(message, stacklevel=4)
        if classes is None:
            classes = common_classes(samples.labels, processes)
        partition = Partition.from_labels(
            samples.labels, sum(sizes), device=device, classes=classes
        )
        population = Population.of(
            partition, self.spectrum, V.shape[2], V.dtype, self.settings.eps_sq, processes
        )
        ends = np.cumsum(sizes)
        partitions = [
            partition.batch(slice(end - size, end)) for size, end in zip(sizes, ends, strict=True)
        ]
        return (population, Samples(features, partitions)), partition.classes

    def _spectra(self, X: Any) -> Iterator[Tensor]:
        """Samples as half spectra, batch by batch, in the type and on the device of the network."""
        operators = self.layers[0].operators.expansion
        X = as_tensor(X, device=operators.device).to(operators.real.dtype)
        check_sample_shape(X, self.sample_shape)
        return (self._to_spectrum(batch) for batch in X.split(self._batch_size))

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"sample_shape={self.sample_shape}, feature_shape={self.feature_shape}"
