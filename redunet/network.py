"""ReduNet: the constructed network, an ordinary ``nn.Module``."""

import copy
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redunet import storage
from redunet.checks import as_samples, as_tensor, check_count, check_sample_shape, memory_advice
from redunet.construction import (
    RateHistory,
    Settings,
    construct_layers,
    default_batch_size,
    warn_of_overshoot,
    warn_of_zeros,
)
from redunet.layer import ReduLayer
from redunet.partition import Partition
from redunet.spectrum import HalfSpectrum, project_to_sphere


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
        labels: Any,
        *,
        num_layers: int,
        eta: float = 0.5,
        eps_sq: float = 0.1,
        lam: float = 500.0,
        lift: nn.Module | None = None,
        tol: float | None = None,
        assignment: str = "softmax",
        true_membership: bool = False,
        validation: tuple[Any, Any] | None = None,
        batch_size: int | None = None,
        device: torch.device | str | None = None,
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
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships whose rows sum to 1.
        num_layers : int
            Number of layers, or the largest number if ``tol`` is given.
        eta : float
            Step size η.
        eps_sq : float
            ε², the squared precision of the code: the setting that matters most.
        lam : float
            Sharpness λ of the estimated membership; ``math.inf`` makes it hard.
        lift : nn.Module, optional
            Applied to the samples first, such as :class:`redunet.RandomCirculantLift`. The network
            keeps a copy.
        tol : float, optional
            Stop when a layer raises ΔR by less than this part of it.
        assignment : {"softmax", "relu"}
            How a sample finds its own residual among those against all classes: weighted by a
            softmax, or by the rectified units of the paper's Remark 3.
        true_membership : bool
            Move the training samples by their true memberships instead of the estimated ones: exact
            gradient ascent on the training samples, whose features ``net(X)`` then repeats only as
            far as the estimated memberships are right.
        validation : tuple of (X, labels), optional
            More samples whose rates to follow in ``history.validation``.
        batch_size : int, optional
            Samples at one time, to bound memory.
        device : torch.device or str, optional
            Where to construct; by default where ``X`` is.
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
        settings = Settings(num_layers, tol, eta, eps_sq, lam, assignment, true_membership)
        check_count(batch_size=batch_size)
        X = as_samples(X, device=device)
        partition = Partition.from_labels(labels, len(X), device=X.device)
        if lift is not None:
            lift = copy.deepcopy(lift).to(X.device, X.dtype).eval()
        net = cls(
            [],
            classes=partition.classes,
            settings=settings,
            history=RateHistory(),
            sample_shape=tuple(X.shape[1:]),
            feature_shape=tuple((X[:1] if lift is None else lift(X[:1])).shape[1:]),
            lift=lift,
            batch_size=batch_size,
        ).to(X.device)
        with memory_advice(net._batch_size):
            V = net._gather_spectrum(X)
            warn_of_zeros(V)
            warn_of_overshoot(partition, net.feature_shape[0], settings)
            layers, net.history = construct_layers(
                V,
                partition,
                net.spectrum,
                settings,
                batch_size=net._batch_size,
                validation=None if validation is None else net._validation(*validation, like=X),
                progress=progress,
            )
        net.layers.extend(layers)
        return net

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
            for layer in self.layers:
                V = layer(V)
            features.append(self.spectrum.inverse(V))
        return torch.cat(features)

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
        *earlier, last = self.layers
        memberships = []
        for V in self._spectra(X):
            for layer in earlier:
                V = layer(V)
            memberships.append(last.membership(V))
        return torch.cat(memberships)

    def predict(self, X: Any) -> np.ndarray:
        """The label of largest membership for each sample, a numpy array ``(m,)``."""
        with torch.no_grad():
            return self.classes_[self.membership(X).argmax(1).cpu().numpy()]

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
        return default_batch_size(len(self.spectrum), self.feature_shape[0], len(self.classes_))

    def _to_spectrum(self, X: Tensor) -> Tensor:
        """One batch of samples, lifted, on the sphere: ``(m, *sample_shape)`` to ``(F, m, C)``."""
        features = X if self.lift is None else self.lift(X)
        return project_to_sphere(self.spectrum(features))

    def _gather_spectrum(self, X: Tensor) -> Tensor:
        """All samples, lifted, on the sphere: ``(m, *sample_shape)`` to ``(F, m, C)``."""
        V = self._to_spectrum(X[:1])
        V = V.new_empty(len(V), len(X), V.shape[2])
        for start in range(0, len(X), self._batch_size):
            run = slice(start, start + self._batch_size)
            V[:, run] = self._to_spectrum(X[run])
        return V

    def _validation(self, X: Any, labels: Any, like: Tensor) -> tuple[Tensor, Partition]:
        X = as_samples(X, device=like.device, name="validation X").to(like.dtype)
        check_sample_shape(X, self.sample_shape)
        partition = Partition.from_labels(labels, len(X), device=X.device, classes=self.classes_)
        return self._gather_spectrum(X), partition

    def _spectra(self, X: Any) -> Iterator[Tensor]:
        """Samples as half spectra, batch by batch, in the type and on the device of the network."""
        operators = self.layers[0].operators.expansion
        X = as_tensor(X, device=operators.device).to(operators.real.dtype)
        check_sample_shape(X, self.sample_shape)
        return (self._to_spectrum(batch) for batch in X.split(self._batch_size))

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"sample_shape={self.sample_shape}, feature_shape={self.feature_shape}"
