"""A network in real arithmetic, as a graph for runtimes without complex numbers.

At each frequency a complex operator becomes the real one [[Re, −Im], [Im, Re]] on real and
imaginary parts. The half spectrum becomes a product with a matrix. This matrix is an isometry, so
its inverse is its transpose. The graph has no control flow that depends on the values or on the
number of samples.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from redunet.files.exporting import Graph
from redunet.layers.layer import ReduLayer, extrapolate, propagate
from redunet.layers.layer_list import LayerList
from redunet.layers.reader import Reader, pooled
from redunet.rates.spectrum import HalfSpectrum, project_to_sphere


class RealNetwork(Graph):
    """A network in real arithmetic, from samples to features, memberships and labels.

    Parameters
    ----------
    lift : nn.Module or None
        Applied to the samples first.
    spectrum : HalfSpectrum
    layers : iterable of ReduLayer
        The layers, whose values are copied.
    reader : Reader, optional
        Multiplies the memberships of the last layer.
    """

    output_names = ("features", "membership", "label")

    def __init__(
        self,
        lift: nn.Module | None,
        spectrum: HalfSpectrum,
        layers: Iterable[ReduLayer],
        reader: Reader | None = None,
    ):
        super().__init__()
        self.lift, self.reader = lift, reader
        layers = list(layers)
        self.spectrum = RealSpectrum(spectrum, like=layers[0].proportions)
        self.layers = LayerList(copy.deepcopy(layer) for layer in layers)
        for real, layer in zip(self.layers, layers, strict=True):
            real.operators, real.spectrum = layer.operators.real_form(), self.spectrum

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map samples to features, memberships ``(m, k)`` and positions of classes ``(m,)``."""
        features, residual_norms = self.evaluate(X)
        membership = self.layers[-1].assign(residual_norms)
        if self.reader is not None:
            membership = pooled(membership, self.reader.logits(X))
        return features, membership, membership.argmax(1)

    def evaluate(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the residual norms ``(m, k)`` of the last layer."""
        V = self.spectrum(X if self.lift is None else self.lift(X))
        V = V / V.abs().amax((0, 2)).clamp_min(torch.finfo(V.dtype).tiny).unsqueeze(1)
        V, previous = propagate(project_to_sphere(V), self.layers[:-1])
        last = self.layers[-1]
        q = extrapolate(V, previous, last.momentum)
        return self.spectrum.inverse(last(q)), last.residual_norms(q)


class RealSpectrum(HalfSpectrum):
    """The half spectrum as a product with a real matrix: ``(m, C, *shape)`` to ``(F, m, 2C)``.

    The first C channels are the real parts, the others the imaginary parts. Vectors do not change.

    Parameters
    ----------
    spectrum : HalfSpectrum
    like : Tensor
        A tensor with the precision and the device to use.
    """

    matrix: Tensor | None

    def __init__(self, spectrum: HalfSpectrum, like: Tensor):
        super().__init__(spectrum.shape)
        matrix = None
        if spectrum.shape:
            impulses = torch.eye(spectrum.size, dtype=like.dtype, device=like.device)
            V = spectrum(impulses.view(-1, 1, *spectrum.shape))[:, :, 0]  # (F, N)
            matrix = torch.stack([V.real, V.imag])  # (2, F, N)
        self.register_buffer("matrix", matrix)

    def forward(self, X: Tensor) -> Tensor:
        """Map signals ``(m, C, *shape)`` to ``(F, m, 2C)``."""
        if self.matrix is None:
            return X.unsqueeze(0)
        return torch.einsum("zfn,mcn->fmzc", self.matrix, X.flatten(2)).flatten(2)

    def inverse(self, V: Tensor) -> Tensor:
        """Map ``(F, m, 2C)`` to signals ``(m, C, *shape)``."""
        if self.matrix is None:
            return V.squeeze(0)
        parts = V.unflatten(2, (2, V.shape[2] // 2))
        return torch.einsum("zfn,fmzc->mcn", self.matrix, parts).unflatten(2, self.shape)
