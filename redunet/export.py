"""Networks as graphs of real arithmetic, for runtimes that know neither Python nor complex numbers.

At each frequency a complex operator is the real one [[Re, −Im], [Im, Re]] on real and imaginary
parts, and the half spectrum is a matrix product: an isometry, whose inverse is its transpose.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from redunet.files import written_whole
from redunet.heads import FineTuned, LinearHead
from redunet.layer import RectifiedLayer, ReduLayer, extrapolated
from redunet.membership import rectified_residual, soft_membership
from redunet.network import ReduNet
from redunet.operators import DenseOperators


class RealNetwork(nn.Module):
    """Samples to features and memberships, like a :class:`redunet.ReduNet`, in real arithmetic.

    Parameters
    ----------
    net : ReduNet
        Whose values are copied.
    """

    def __init__(self, net: ReduNet):
        super().__init__()
        self.lift = net.lift
        self.feature_shape = net.feature_shape
        like = net.layers[0].proportions
        spectrum = None
        if net.spectrum.shape:
            impulses = torch.eye(net.spectrum.size, dtype=like.dtype, device=like.device)
            V = net.spectrum(impulses.view(-1, 1, *net.spectrum.shape))[:, :, 0]  # (F, N)
            spectrum = torch.stack([V.real, V.imag])  # (2, F, N)
        self.register_buffer("spectrum", spectrum)
        self.layers = nn.ModuleList(
            (RealRectifiedLayer if isinstance(layer, RectifiedLayer) else RealLayer)(layer)
            for layer in net.layers
        )

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """``(m, *sample_shape)`` to features ``(m, *feature_shape)`` and memberships ``(m, k)``."""
        features, residual_norms = self.run(X)
        return features, soft_membership(residual_norms, self.layers[-1].lam)

    def run(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the residual norms ``(m, k)`` that the last layer finds."""
        V = on_sphere(self.to_spectrum(X if self.lift is None else self.lift(X)))
        previous = V
        for layer in self.layers:
            q = extrapolated(V, previous, layer.momentum)
            (V, residual_norms), previous = layer(q, self), V
        return self.to_signals(V), residual_norms

    def to_spectrum(self, X: Tensor) -> Tensor:
        """Signals ``(m, C, *spatial)`` to ``(F, m, 2C)``: real parts, then imaginary ones."""
        if self.spectrum is None:
            return X.unsqueeze(0)
        return torch.einsum("zfn,mcn->fmzc", self.spectrum, X.flatten(2)).flatten(2)

    def to_signals(self, V: Tensor) -> Tensor:
        """And back."""
        if self.spectrum is None:
            return V.squeeze(0)
        parts = V.unflatten(2, (2, self.feature_shape[0]))
        X = torch.einsum("zfn,fmzc->mcn", self.spectrum, parts)
        return X.unflatten(2, self.feature_shape[1:])


class RealClassifier(nn.Module):
    """Samples to logits, like a :class:`redunet.heads.FineTuned`, in real arithmetic."""

    def __init__(self, tuned: FineTuned):
        super().__init__()
        self.net = RealNetwork(tuned.net)
        self.head = tuned.head

    def forward(self, X: Tensor) -> tuple[Tensor]:
        """``(m, *sample_shape)`` to logits ``(m, k)``."""
        features, residual_norms = self.net.run(X)
        linear = isinstance(self.head, LinearHead)
        return (self.head.logits(features if linear else residual_norms),)


class RealLayer(nn.Module):
    """A :class:`redunet.layer.ReduLayer` on real and imaginary parts ``(F, m, 2C)``."""

    def __init__(self, layer: ReduLayer):
        super().__init__()
        self.eta, self.lam, self.momentum = layer.eta, layer.lam, layer.momentum
        operators = layer.operators
        self.register_buffer("proportions", layer.proportions.clone())
        self.register_buffer("expansion", real_form(operators.expansion))
        self.is_dense = isinstance(operators, DenseOperators)
        if self.is_dense:
            self.register_buffer("matrices", real_form(operators.compression))
        else:
            self.register_buffer("matrices", real_form(operators.factors))
            self.register_buffer("scales", operators.scales.clone())

    def forward(self, V: Tensor, net: RealNetwork) -> tuple[Tensor, Tensor]:
        """Features after the layer, and residual norms before it."""
        responses = self.respond(V)
        norms = responses.square().sum((0, 3)).sqrt().mT
        membership = soft_membership(norms, self.lam)
        weights = (self.proportions * membership).mT[:, :, None]  # (k, m, 1)
        compression = (weights * responses).sum(1)
        return on_sphere(V + self.eta * (V @ self.expansion.mT - compression)), norms

    def respond(self, V: Tensor) -> Tensor:
        """Cʲ v, ``(F, k, m, 2C)``."""
        V = V.unsqueeze(1)
        codes = V @ self.matrices.mT
        return codes if self.is_dense else self.scales[:, None, None] * (V - codes @ self.matrices)


class RealRectifiedLayer(RealLayer):
    """A :class:`redunet.layer.RectifiedLayer`, likewise."""

    def __init__(self, layer: RectifiedLayer):
        super().__init__(layer)
        self.register_buffer("alpha", layer.alpha.clone())

    def forward(self, V: Tensor, net: RealNetwork) -> tuple[Tensor, Tensor]:
        """Features after the layer, and residual norms before it."""
        responses = self.respond(V)
        norms = responses.square().sum((0, 3)).sqrt().mT
        inside = V.unsqueeze(1) - responses / (self.alpha / self.proportions)[:, None, None]
        parts = [net.to_signals(part) for part in inside.unbind(1)]
        residual = rectified_residual(net.to_signals(V), torch.stack(parts, 1))
        compression = self.alpha * net.to_spectrum(residual)
        return on_sphere(V + self.eta * (V @ self.expansion.mT - compression)), norms


def real_form(operators: Tensor) -> Tensor:
    """Complex ``(…, a, b)`` as real ``(…, 2a, 2b)``; real ones as they are."""
    operators = operators.detach()
    if not operators.is_complex():
        return operators.clone()
    real, imaginary = operators.real, operators.imag
    return torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)


def on_sphere(V: Tensor) -> Tensor:
    """Every sample of ``(F, m, C)`` at unit norm; a sample of zero norm stays zero."""
    length = V.square().sum((0, 2)).sqrt()
    return V / torch.where(length > 0, length, 1)[:, None]


def export(net: ReduNet | FineTuned, path: str | os.PathLike[str], format: str = "pt2") -> None:
    """Write a network to a file that runs without redunet, for batches of any size.

    The graph takes samples ``X`` and gives ``features`` and ``membership``, as ``net(X)`` and
    ``net.membership(X)`` do up to rounding; of a fine-tuned network it gives ``logits``. It handles
    all samples of a batch, and all classes, at one time: F m k C numbers for a layer.

    Parameters
    ----------
    net : ReduNet or FineTuned
        With a lift that can be exported: convolutions can; what has complex numbers inside, such
        as scattering, only to "pt2".
    path : str or path
        Conventionally ``*.pt2`` or ``*.onnx``; written whole or not at all.
    format : {"pt2", "onnx"}
        For ``torch.export.load(path).module()``, or for ONNX runtimes, which needs the extra
        packages of ``pip install redunet[onnx]``.

    Raises
    ------
    ValueError
        If the format is none of these.
    """
    if format not in _WRITERS:
        raise ValueError(f"format must be one of {list(_WRITERS)}, got {format!r}")
    constructed, outputs = net, ["features", "membership"]
    if isinstance(net, FineTuned):
        constructed, outputs = net.net, ["logits"]
    graph = RealClassifier(net) if isinstance(net, FineTuned) else RealNetwork(net)
    like = constructed.layers[0].proportions
    example = torch.rand(2, *constructed.sample_shape, dtype=like.dtype, device=like.device)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(graph.eval(), (example,), dynamic_shapes=({0: batch},))
    with written_whole(path) as unfinished:
        _WRITERS[format](program, unfinished, outputs)


def _write_pt2(program: torch.export.ExportedProgram, path: Path, outputs: list[str]) -> None:
    torch.export.save(program, path)


def _write_onnx(program: torch.export.ExportedProgram, path: Path, outputs: list[str]) -> None:
    names = {"input_names": ["X"], "output_names": outputs}
    with _torchs_warnings_to_itself():
        torch.onnx.export(program, dynamo=True, verbose=False, **names).save(path)


@contextmanager
def _torchs_warnings_to_itself() -> Iterator[None]:
    """Of its own deprecated calls, and of each operator of torchvision, for want of that."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.setLevel(level)


_WRITERS = {"pt2": _write_pt2, "onnx": _write_onnx}
