"""The file of a network: a header that describes it, and its tensors or its samples.

Operators are functions of the second moments of the samples. If samples are few and features are
large, the samples take far less room in a file than the operators. The layers are then made again
from the samples and from the steps of their construction.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, as_samples, check_sample_shape, listed, memory_advice
from redunet._labels import as_labels
from redunet._names import Names
from redunet._registry import encoded
from redunet.construction.build import Parts
from redunet.construction.construction import Construction
from redunet.construction.encoder import Encoder
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.construction.sources import ArraySource
from redunet.construction.steps import GivenSteps
from redunet.files.tensors import (
    as_stored,
    check_ending,
    check_values,
    fill,
    parse_header,
    read_tensors,
    write_tensors,
)
from redunet.layers import READERS, Reader, ReduLayer
from redunet.lifts import UnknownLiftError, lift_from_json, lift_to_json
from redunet.rates import HalfSpectrum

# What JSON gives for a header.
Header: TypeAlias = Mapping[str, Any]

# The key of the header of saved networks.
KEY = "redunet"

# The version of the header.
FORMAT = 5

# Names of the tensors that hold the samples in a file.
SAMPLES, LABELS = "samples.X", "samples.labels"

# Operators from the same samples differ by at most this many units of rounding error.
ROUNDING = 10_000


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
        The samples of the construction, to be written instead of the tensors of the layers.

    Raises
    ------
    ValueError
        If the ending of the file is that of an exported graph or of a pickle.
    """
    check_ending(path)
    header = header_of(parts)
    if samples is not None:
        others = {name: t for name, t in tensors.items() if not name.startswith("layers.")}
        tensors = others | samples_for(parts, *samples)
    write_tensors(tensors, path, KEY, header)


def read_network(
    path: str | PathLike[str], lift: nn.Module | None
) -> tuple[Parts, dict[str, Tensor]]:
    """The parts of a network in a file, with layers on the meta device, and all of its tensors.

    Parameters
    ----------
    path : str or path
    lift : nn.Module or None
        The network's lift, if its class is not registered.

    Raises
    ------
    ValueError
        If the file does not hold a network, or its values are not finite.
    """
    metadata, tensors = read_tensors(path)
    header = parse_header(metadata, KEY, path, "a network that ReduNet.save wrote")
    check_values(tensors, path)
    parts = parts_of(header, lift, path)
    return parts, with_layers(parts, tensors, path)


def header_of(parts: Parts) -> Header:
    """The header of a network, as JSON can represent it.

    Raises
    ------
    TypeError
        If :func:`parts_of` could not make a network from this header.
    ValueError
        If the network has operators or memberships of a kind that is not registered.
    """
    fields = {
        "format": FORMAT,
        "settings": parts.settings.to_json(),
        "layers": [layer.describe() for layer in parts.layers],
        "classes": parts.classes.tolist(),
        "classes_dtype": parts.classes.dtype.str,
        "sample_shape": parts.sample_shape,
        "feature_shape": parts.feature_shape,
        "batch_size": parts.batch_size,
        "history": parts.history.to_json(),
        "lift": lift_to_json(parts.lift),
        "names": parts.names._asdict(),
        "reader": _reader_to_json(parts.reader),
    }
    try:
        header: Header = json.loads(json.dumps(encoded(fields)))
        _parts_of(header, copy.deepcopy(parts.lift))
    except TypeError as error:
        raise TypeError(
            f"the network could not be read back from a file: {error}. The constructor of "
            "operators takes their tensors by name, that of other kinds their options; see "
            "docs/extending.md"
        ) from error
    return header


def parts_of(header: Header, lift: nn.Module | None, path: str | PathLike[str]) -> Parts:
    """The parts of the network that a header describes, with tensors on the meta device.

    Parameters
    ----------
    header : mapping
        Made by :func:`header_of`.
    lift : nn.Module or None
        The network's lift, if its class is not registered.
    path : str or path
        The file of the header, for error messages.

    Raises
    ------
    ValueError
        If the header has another format or is damaged, or a lift is needed and not passed, or
        passed and not needed.
    """
    if header.get("format") != FORMAT:
        version = header.get("format")
        raise ValueError(f"{path} has format {version}, this version reads format {FORMAT}")
    try:
        parts = _parts_of(header, lift)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has a damaged header: {type(error).__name__} {error}") from error
    if lift is not None and parts.lift is not lift:
        own = "no lift" if parts.lift is None else f"a lift that it describes itself, {parts.lift}"
        raise ValueError(f"the network in {path} has {own}: leave lift= out")
    return parts


def _parts_of(header: Header, lift: nn.Module | None) -> Parts:
    sample_shape, feature_shape = tuple(header["sample_shape"]), tuple(header["feature_shape"])
    spectrum = HalfSpectrum(feature_shape[1:])
    layers = [ReduLayer.empty(description, spectrum) for description in header["layers"]]
    precision = layers[0].proportions.dtype
    try:
        lift = lift_from_json(header["lift"])
        lift = None if lift is None else lift.to(precision)
    except UnknownLiftError as name:
        if lift is None:
            raise ValueError(
                f"the network was constructed with a lift of class {name}, whose code the file "
                "cannot hold: pass such a module as lift="
            ) from None
        lift = lift.to(precision)
        shape = tuple(lift(torch.zeros(1, *sample_shape, dtype=precision)).shape[1:])
        if shape != feature_shape:
            raise ValueError(
                f"the lift gives features of shape {shape}, but the network takes {feature_shape}"
            ) from None
    return Parts(
        layers,
        np.array(header["classes"], dtype=header["classes_dtype"]),
        Settings.from_json(header["settings"]),
        RateHistory.from_json(header["history"]),
        sample_shape,
        feature_shape,
        lift,
        header["batch_size"],
        _names_of(header["names"]),
        reader=_reader_of(header["reader"]),
    )


def _reader_to_json(reader: Reader | None) -> dict[str, object] | None:
    if reader is None:
        return None
    return {"kind": READERS.name_of(reader), **reader.describe()}


def _reader_of(description: Header | None) -> Reader | None:
    return None if description is None else READERS[description["kind"]].empty(description)


def _names_of(names: Header) -> Names:
    features = names["features"]
    return Names(None if features is None else tuple(features), names["label"])


def samples_for(parts: Parts, X: Array, labels: Array) -> dict[str, Tensor]:
    """The samples of a network as tensors of a file, after a check that they give its operators.

    Parameters
    ----------
    parts : Parts
    X : array-like or Tensor of shape (m, *sample_shape)
    labels : array-like or Tensor of shape (m,) or (m, k)

    Raises
    ------
    ValueError
        If layers made from these samples differ from those of the network.
    """
    like = parts.layers[0].proportions
    samples = as_samples(parts.names.in_order(X)).to(like)
    check_sample_shape(samples, parts.sample_shape)
    labels = as_labels(labels, len(samples), classes=parts.classes, memberships=True)
    if labels.ndim == 1:
        if not np.isin(labels, parts.classes).all():
            unknown = np.setdiff1d(labels, parts.classes)
            raise ValueError(
                f"labels {listed(unknown)} are not among {listed(parts.classes, 'classes')}"
            )
        labels = np.searchsorted(parts.classes, labels)
    stored = {SAMPLES: samples, LABELS: torch.from_numpy(labels)}
    for layer, again in zip(parts.layers, _replayed(parts, stored), strict=True):
        if not _equal(layer, again):
            raise ValueError(
                "the network does not follow from these samples: it was fine-tuned or extended, "
                "or constructed from other samples, or some labels were missing; save it without "
                "samples"
            )
    return stored


def with_layers(
    parts: Parts, tensors: dict[str, Tensor], path: str | PathLike[str]
) -> dict[str, Tensor]:
    """The tensors of a file, with those of the layers in place of the samples.

    Files without samples stay as they are. The layers of ``parts`` may be on the meta device.
    """
    if SAMPLES not in tensors:
        return tensors
    if parts.lift is not None:
        prefix = "lift."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        fill(parts.lift, own, path)
    others = {name: t for name, t in tensors.items() if name not in (SAMPLES, LABELS)}
    return others | {
        f"layers.{number}.{name}": as_stored(t)
        for number, layer in enumerate(_replayed(parts, tensors))
        for name, t in layer.state_dict().items()
    }


@torch.no_grad()
def _replayed(parts: Parts, tensors: dict[str, Tensor]) -> list[ReduLayer]:
    """All layers, constructed from stored samples with the steps of the layers of ``parts``."""
    X, labels = tensors[SAMPLES], tensors[LABELS]
    encoder = Encoder(X[:1], parts.lift, batch_size=parts.batch_size)
    classes = np.arange(len(parts.classes))
    with memory_advice(encoder.batch_size):
        samples = encoder.collect(ArraySource(X, labels, X.device), classes=classes)
        info = encoder.describe(samples, parts.settings.eps_sq_for(encoder.spectrum.size))
        settings = replace(parts.settings, num_layers=len(parts.layers), tol=None, eta=None)
        steps = GivenSteps(
            [layer.eta for layer in parts.layers], [layer.momentum for layer in parts.layers]
        )
        construction = Construction(settings, info, samples, steps=steps)
        construction.run()
    return construction.layers


def _equal(layer: ReduLayer, other: ReduLayer) -> bool:
    """Whether the tensors of two layers are equal up to rounding."""
    tensors, others = layer.state_dict(), other.state_dict()
    return tensors.keys() == others.keys() and all(
        t.shape == others[name].shape and _close(t, others[name]) for name, t in tensors.items()
    )


def _close(t: Tensor, other: Tensor) -> bool:
    if not (t.is_floating_point() or t.is_complex()):
        return torch.equal(t, other)
    bound = ROUNDING * torch.finfo(t.dtype).eps * t.abs().max()
    return bool((t - other).abs().max() <= bound)
