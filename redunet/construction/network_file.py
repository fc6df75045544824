"""The file of a network: a header that describes it, and its tensors or its samples.

Operators are functions of the second moments of the samples. If samples are few and features are
large, the samples take far less room in a file than the operators. The lift, the layers and the
reader are then made again from the samples, their settings, and the steps of the construction.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, as_samples, check_sample_shape, memory_advice
from redunet._names import Names
from redunet.construction.build import Parts
from redunet.construction.construction import Construction
from redunet.construction.encoder import Encoder
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.construction.sources import ArraySource
from redunet.construction.steps import Step
from redunet.files.tensors import (
    Header,
    as_stored,
    as_text,
    check_ending,
    fill,
    naming,
    read_tensors,
    smallest,
    with_prefix,
    write_tensors,
)
from redunet.layers import READERS, Reader, ReduLayer
from redunet.layers.layer import LayerFields
from redunet.lifts import UnknownLiftError, lift_from_json, lift_to_json
from redunet.lifts.base import fitted_copy
from redunet.rates import HalfSpectrum, Partition

# The key of the header of saved networks.
KEY = "redunet"

# Names of the tensors that hold the samples in a file, their labels, and what shows whether they
# give the lift and the reader again.
SAMPLES, LABELS, CHECK = "samples.X", "samples.labels", "samples.check"

# Tensors from the same samples differ by at most this many units of rounding error.
ROUNDING = 10_000

# Numbers of a lift and a reader that are made again differ by at most this share of the largest.
# Other random numbers differ by far more, and rounding by far less.
TOLERANCE = 0.01


def write_network(
    parts: Parts,
    tensors: dict[str, Tensor],
    path: str | PathLike[str],
    samples: tuple[Array, Array] | None,
) -> None:
    """Write a network to a file, completely or not at all.

    Parameters
    ----------
    parts : Parts
    tensors : dict
        All tensors of the network.
    path : str or path
    samples : tuple of (X, labels), or None
        The samples of the construction, which are written instead if they take less room.

    Raises
    ------
    ValueError
        If the ending of the file is that of an exported graph or of a pickle.
    """
    check_ending(path)
    header = header_of(parts)
    if samples is not None:
        X, labels = samples_of(parts, *samples)
        if smallest(X).nbytes < sum(as_stored(t).nbytes for t in tensors.values()):
            tensors = sufficient(parts, header, X, labels)
    write_tensors(tensors, path, KEY, header)


def read_network(
    path: str | PathLike[str], lift: nn.Module | None, device: torch.device | str | None
) -> Parts:
    """The parts of a network in a file.

    Parameters
    ----------
    path : str or path
    lift : nn.Module or None
        The network's lift, if its class is not registered.
    device : torch.device, str or None
        Where a network is made again from its samples; by default on the CPU.

    Raises
    ------
    ValueError
        If the file does not hold a network, its values are not finite, or its samples do not give
        the network on this machine.
    """
    header, tensors = read_tensors(path, KEY, "a network that ReduNet.save wrote")
    if SAMPLES in tensors:
        return remade(header, tensors, lift, path, device)
    parts = parts_of(header, tensors, lift, path)
    fill(modules(parts), tensors, path)
    return parts


def modules(parts: Parts) -> nn.Module:
    """The modules of a network, whose tensors have the same names as those of the network."""
    named = {"lift": parts.lift, "reader": parts.reader, "layers": nn.ModuleList(parts.layers)}
    return nn.ModuleDict({name: part for name, part in named.items() if part is not None})


def header_of(parts: Parts) -> Header:
    """The header of a network, as JSON gives it.

    Raises
    ------
    TypeError
        If :func:`parts_of` could not make a network from this header.
    ValueError
        If the network has operators or memberships of a kind that is not registered.
    """
    reader = parts.reader
    fields = {
        "settings": parts.settings.to_json(),
        "layers": [layer.describe() for layer in parts.layers],
        "dtype": str(parts.layers[0].proportions.dtype).removeprefix("torch."),
        "classes": parts.classes,
        "classes_dtype": parts.classes.dtype.str,
        "sample_shape": parts.sample_shape,
        "feature_shape": parts.feature_shape,
        "batch_size": parts.batch_size,
        "history": parts.history.to_json(),
        "lift": lift_to_json(parts.lift),
        "names": parts.names,
        "reader": None
        if reader is None
        else {"kind": READERS.name_of(reader), **reader.describe()},
    }
    try:
        header: Header = json.loads(as_text(fields))
        _parts_of(header, modules(parts).state_dict(), copy.deepcopy(parts.lift))
    except TypeError as error:
        raise TypeError(
            f"the network could not be read back from a file: {error}. The constructor of "
            "operators takes their tensors by name, that of other kinds their options; see "
            "docs/extending.md"
        ) from error
    return header


def parts_of(
    header: Header, tensors: Mapping[str, Tensor], lift: nn.Module | None, path: str | PathLike[str]
) -> Parts:
    """The parts of a network. Those tensors of the lift and the reader are filled in later.

    Parameters
    ----------
    header : mapping
        Made by :func:`header_of`.
    tensors : mapping
        The tensors of the network. Without layers among them, the network has none.
    lift : nn.Module or None
        The network's lift, if its class is not registered.
    path : str or path
        The file of the header, for error messages.

    Raises
    ------
    ValueError
        If the header is damaged, or a lift is needed and not passed, or passed and not needed.
    """
    with naming(path):
        parts = _parts_of(header, tensors, lift)
    if lift is not None and parts.lift is not lift:
        own = "no lift" if parts.lift is None else f"a lift that it describes itself, {parts.lift}"
        raise ValueError(f"the network in {path} has {own}: leave lift= out")
    return parts


def _parts_of(header: Header, tensors: Mapping[str, Tensor], lift: nn.Module | None) -> Parts:
    sample_shape, feature_shape = tuple(header["sample_shape"]), tuple(header["feature_shape"])
    spectrum, precision = HalfSpectrum(feature_shape[1:]), getattr(torch, header["dtype"])
    try:
        lift = lift_from_json(header["lift"])
    except UnknownLiftError:
        if lift is None:
            raise
        lift = lift.to(precision)
        shape = tuple(lift(torch.zeros(1, *sample_shape, dtype=precision)).shape[1:])
        if shape != feature_shape:
            raise ValueError(
                f"the lift gives features of shape {shape}, but the network takes {feature_shape}"
            ) from None
    (features, label), reader = header["names"], header["reader"]
    layers = [
        ReduLayer.restored(description, with_prefix(tensors, f"layers.{number}."), spectrum)
        for number, description in enumerate(header["layers"])
    ]
    return Parts(
        layers,
        np.array(header["classes"], dtype=header["classes_dtype"]),
        Settings.from_json(header["settings"]),
        RateHistory.from_json(header["history"]),
        sample_shape,
        feature_shape,
        None if lift is None else lift.to(precision).eval(),
        header["batch_size"],
        Names(features and tuple(features), label),
        reader=reader and READERS[reader["kind"]].restored(reader, with_prefix(tensors, "reader.")),
    )


def samples_of(parts: Parts, X: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """The samples of a network and their classes, as tensors.

    Parameters
    ----------
    parts : Parts
    X : array-like or Tensor of shape (m, *sample_shape)
    labels : array-like or Tensor of shape (m,) or (m, k)

    Returns
    -------
    X : Tensor of shape (m, *sample_shape)
        In the type and on the device of the network.
    labels : Tensor of shape (m,) or (m, k)
        Positions of the classes, or soft memberships.
    """
    samples = as_samples(parts.names.in_order(X)).to(parts.layers[0].proportions)
    check_sample_shape(samples, parts.sample_shape)
    membership = Partition.from_labels(labels, len(samples), classes=parts.classes).membership
    is_hard = bool((membership.amax(1) == 1).all())
    return samples, (membership.argmax(1) if is_hard else membership).cpu()


def sufficient(parts: Parts, header: Header, X: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Samples, and those tensors of their network that do not follow from them.

    Parameters
    ----------
    parts : Parts
    header : mapping
        Made by :func:`header_of`.
    X, labels : Tensor
        Made by :func:`samples_of`.

    Raises
    ------
    ValueError
        If layers made from these samples differ from those of the network.
    """
    try:
        unfitted = lift_from_json(header["lift"])
    except UnknownLiftError:  # its settings are not in the file
        unfitted = None
    lift, reader = _fitted(parts, unfitted, X, labels)
    layers = _replayed(parts, header["layers"], X, labels)
    again = modules(parts._replace(lift=lift, reader=reader, layers=layers)).state_dict()
    kept = {
        name: t
        for name, t in modules(parts).state_dict().items()
        if name not in again or not _close(t, again[name])
    }
    if any(name.startswith("layers.") for name in kept):
        raise ValueError(
            "the network does not follow from these samples: it was fine-tuned or extended, or "
            "constructed from other samples, or some labels were missing; save it without samples"
        )
    check = check_numbers(parts.lift, parts.reader if reader else None)
    return {SAMPLES: smallest(X), LABELS: smallest(labels), CHECK: check, **kept}


def remade(
    header: Header,
    tensors: dict[str, Tensor],
    lift: nn.Module | None,
    path: str | PathLike[str],
    device: torch.device | str | None,
) -> Parts:
    """The parts of a network whose file holds its samples; see :func:`read_network`.

    Tensors that the file holds are not made again.

    Raises
    ------
    ValueError
        If the samples do not give the network on this machine.
    """
    parts = parts_of({**header, "layers": []}, tensors, lift, path)
    X, labels, check = (tensors.pop(name) for name in (SAMPLES, LABELS, CHECK))
    X = X.to(device, getattr(torch, header["dtype"]))
    labels = labels if labels.ndim > 1 else labels.long()
    lift, reader = _fitted(parts, parts.lift, X, labels)
    parts = parts._replace(lift=lift, reader=parts.reader if reader is None else reader)
    made = modules(parts)
    fill(made, made.state_dict() | tensors, path)
    made.to(device)
    if not torch.allclose(check_numbers(lift, reader), check, rtol=0, atol=TOLERANCE):
        raise ValueError(
            f"the samples in {path} give another network here than where it was saved, because "
            "random numbers or arithmetic differ: load the file there, and save it without samples"
        )
    return parts._replace(layers=_replayed(parts, header["layers"], X, labels))


def check_numbers(*parts: nn.Module | None) -> Tensor:
    """The first number of each tensor of modules, divided by the largest one, on the host."""
    tensors = [as_stored(t).double() for part in parts if part for t in part.state_dict().values()]
    first = [t.flatten()[:1] / t.abs().max().clamp_min(1e-30) for t in tensors if t.numel()]
    return torch.cat([torch.empty(0, device="cpu"), *(t.cpu() for t in first)]).float()


@torch.no_grad()
def _fitted(
    parts: Parts, lift: nn.Module | None, X: Tensor, labels: Tensor
) -> tuple[nn.Module | None, Reader | None]:
    """A copy of a lift, and the reader of a network, fitted to samples; None if they are not.

    The sharpness of the reader may differ.
    """
    lift = None if lift is None else fitted_copy(lift, X)
    if parts.reader is None or labels.ndim > 1:
        return lift, None
    return lift, parts.reader.fitted_again(X, parts.classes[labels.numpy()])


@torch.no_grad()
def _replayed(
    parts: Parts, layers: Sequence[LayerFields], X: Tensor, labels: Tensor
) -> list[ReduLayer]:
    """All layers of a network, constructed from samples with the steps that are described."""
    encoder = Encoder(X[:1], parts.lift, batch_size=parts.batch_size)
    classes = np.arange(len(parts.classes))
    steps = [Step(layer["eta"], layer["momentum"]) for layer in layers]
    with memory_advice(encoder.batch_size):
        source = ArraySource(X, labels, X.device)
        samples = encoder.collect(source, parts.settings.eps_sq, classes=classes)
        settings = replace(parts.settings, num_layers=len(layers), tol=None)
        construction = Construction(settings, samples, steps=steps)
        construction.run()
    return construction.layers


def _close(t: Tensor, other: Tensor) -> bool:
    if t.shape != other.shape or not (t.is_floating_point() or t.is_complex()):
        return torch.equal(t, other)
    bound = ROUNDING * torch.finfo(t.dtype).eps * t.abs().max()
    return bool((t - other).abs().max() <= bound)
