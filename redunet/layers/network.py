"""A network of layers: from samples to features and memberships."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, as_network_input, as_samples, check_sample_shape
from redunet._names import Names
from redunet.layers.encoding import default_batch_size, encode
from redunet.layers.layer import ReduLayer, extrapolate, propagate, trajectory
from redunet.layers.layer_list import LayerList
from redunet.layers.reader import Reader, pooled
from redunet.layers.real import RealNetwork
from redunet.rates.spectrum import HalfSpectrum, ToSignal, ToSphere

NO_NAMES = Names()


class LayeredNetwork(nn.Module):
    """Layers one after the other, after a lift and a Fourier transform.

    Parameters
    ----------
    layers : sequence of ReduLayer
        They map half spectra ``(F, m, C)``; see :class:`redunet.rates.HalfSpectrum`.
    classes : numpy array (k,)
        The labels, sorted.
    sample_shape, feature_shape : tuple of int
        Shapes of one sample, before and after the lift.
    lift : nn.Module, optional
        Applied to samples first.
    batch_size : int, optional
        Number of samples per batch. By default it is chosen so that features hold about 2²¹
        numbers on a CPU and 2²⁴ on a GPU.
    names : Names
        Names of the columns or channels, and of the labels.
    reader : Reader, optional
        Multiplies the memberships of the last layer.
    """

    lift: nn.Module | None
    reader: Reader | None
    spectrum: HalfSpectrum
    layers: LayerList[ReduLayer]

    def __init__(
        self,
        layers: Sequence[ReduLayer],
        *,
        classes: np.ndarray,
        sample_shape: tuple[int, ...],
        feature_shape: tuple[int, ...],
        lift: nn.Module | None = None,
        batch_size: int | None = None,
        names: Names = NO_NAMES,
        reader: Reader | None = None,
    ):
        super().__init__()
        self.lift = lift
        self.reader = reader
        self.spectrum = layers[0].spectrum
        self.layers = LayerList(layers)
        self.classes_ = classes
        self.sample_shape = sample_shape
        self.feature_shape = feature_shape
        self.batch_size = batch_size
        self.names = names

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

    def residual_norms(self, X: Array, layer: int = -1) -> Tensor:
        """‖Cʲ v‖ of samples before a layer, from which the layer estimates their memberships.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        layer : int
            Index of the layer; by default the last.

        Returns
        -------
        Tensor of shape (m, k)
            Columns are in the order of ``classes_``. Shifts of signals do not change them.
        """
        layers = list(self.layers)
        chosen, earlier = layers[layer], layers[: range(len(layers))[layer]]
        norms = []
        for V in self.encode(X):
            V, previous = propagate(V, earlier)
            norms.append(chosen.residual_norms(extrapolate(V, previous, chosen.momentum)))
        return torch.cat(norms)

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

    def residual_norms_by_layer(self, X: Array) -> Tensor:
        """:meth:`residual_norms` of every layer, in one pass.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (num_layers, m, k)
        """
        batches = []
        for V in self.encode(X):
            states = zip(self.layers, trajectory(V, self.layers), strict=False)
            norms = [
                layer.residual_norms(extrapolate(*state, layer.momentum)) for layer, state in states
            ]
            batches.append(torch.stack(norms))
        return torch.cat(batches, 1)

    def predict(self, X: Array) -> np.ndarray:
        """The label with the largest membership for each sample, a numpy array ``(m,)``.

        Raises
        ------
        ValueError
            If samples are not finite, also on a GPU, or differ in shape from those of the
            construction.
        """
        with torch.no_grad():
            membership = self.membership(X)
            places = torch.where(membership.isnan().any(1), -1, membership.argmax(1))
        positions = places.cpu().numpy()
        if (positions < 0).any():
            raise ValueError(
                f"X must be finite: {(positions < 0).sum()} of {len(positions)} samples have no "
                "membership, because values of theirs or of their lift are not finite"
            )
        return self.classes_[positions]

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

    @property
    def dtype(self) -> torch.dtype:
        """Precision of samples and features."""
        return self.layers[0].proportions.dtype

    def as_sequential(self) -> nn.Sequential:
        """The modules of the network in sequence, to use them separately or in new combinations.

        They are: the ``lift`` if there is one, ``sphere`` from signals to half spectra
        ``(F, m, C)``, ``layer1`` and so on, and ``signal`` back.

        Raises
        ------
        ValueError
            If the network has momentum, because each layer then needs the features of two layers.
        """
        if any(layer.momentum for layer in self.layers):
            raise ValueError(
                "a network with momentum has no sequential form: each layer needs the features of "
                "the two layers before"
            )
        parts: dict[str, nn.Module] = {} if self.lift is None else {"lift": self.lift}
        parts["sphere"] = ToSphere(self.spectrum)
        parts |= {f"layer{number}": layer for number, layer in enumerate(self.layers, 1)}
        return nn.Sequential(OrderedDict(parts | {"signal": ToSignal(self.spectrum)}))

    def real_form(self) -> RealNetwork:
        """A copy in real arithmetic, from samples to features and memberships, for export."""
        return RealNetwork(
            copy.deepcopy(self.lift), self.spectrum, self.layers, copy.deepcopy(self.reader)
        )

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
