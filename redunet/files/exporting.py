"""Export of networks to graphs of real arithmetic, for runtimes without redunet."""

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from tqdm import tqdm

from redunet._extras import require
from redunet._tables import bar_options
from redunet.files.atomic import atomic_write, check_place


class Graph(nn.Module):
    """A module of real arithmetic, without control flow that depends on the samples.

    Attributes
    ----------
    output_names : tuple of str
        Names of the tensors that it returns.
    """

    output_names: tuple[str, ...]


class Exportable(Protocol):
    """A network that has a form in real arithmetic, such as a ReduNet or a FineTuned network."""

    classes_: np.ndarray

    def real_form(self) -> Graph:
        """The network in real arithmetic."""

    def example(self) -> Tensor:
        """Two samples of the right shape, type and device."""


def export(net: Exportable, path: str | os.PathLike[str], *, progress: bool = True) -> None:
    """Write a network to a file that runs without redunet, for batches of any size.

    The graph takes samples ``X``. Its first axis is called ``batch``. It returns ``features`` and
    ``membership``, which equal ``net(X)`` and ``net.membership(X)`` up to rounding; for a
    fine-tuned network it returns ``logits`` instead. The last output is ``label``, the positions of
    the predicted classes in ``net.classes_`` (int64). The file holds these classes as a JSON list,
    in ONNX under the key ``classes`` of its metadata, in pt2 as the extra file ``classes``.

    The graph computes the responses of all samples of a batch to all classes at once, which takes
    F m k C numbers per layer.

    Parameters
    ----------
    net : ReduNet or FineTuned
        The network. Its lift must be exportable, as convolutions are. Lifts that compute with
        complex numbers, such as scattering, can be exported to "pt2" only.
    path : str or path
        A path that ends in ``.pt2``, for ``torch.export.load(path).module()``, or in ``.onnx``, for
        ONNX runtimes, which needs ``pip install 'redunet[onnx]'``. The file is written completely
        or not at all.
    progress : bool
        Show the steps on standard error: an export takes seconds.

    Raises
    ------
    ValueError
        If the ending is another one.
    ModuleNotFoundError
        If the packages for "onnx" are missing.
    """
    name = check_place(path).suffix.removeprefix(".")
    if name not in ("pt2", "onnx"):
        raise ValueError(f"the name of the file must end in .pt2 or .onnx, got {path}")
    if name == "onnx":
        require("onnx")
    graph = net.real_form().eval().cpu()  # a graph names the device of its tensors
    classes = json.dumps(net.classes_.tolist())
    batch = torch.export.Dim("batch", min=1)
    steps = tqdm(total=2, desc=f"export to {name}", **bar_options(progress))
    with steps as bar, atomic_write(path) as temporary:
        program = torch.export.export(graph, (net.example().cpu(),), dynamic_shapes=({0: batch},))
        bar.update()
        if name == "pt2":
            torch.export.save(program, temporary, extra_files={"classes": classes})
        else:
            _write_onnx(program, temporary, graph.output_names, classes)
        bar.update()


def _write_onnx(
    program: ExportedProgram, path: Path, output_names: tuple[str, ...], classes: str
) -> None:
    """Write a program without the exporter's warnings of deprecated calls and of torchvision."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["X"],
                output_names=output_names,
                dynamic_shapes=({0: "batch"},),  # the name of the axis in the file
            )
    finally:
        log.setLevel(level)
    assert exported is not None  # it is None only if the exporter writes the file itself
    exported.model.metadata_props["classes"] = classes
    exported.save(path)
