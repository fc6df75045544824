"""The description of a network in the header of its file. The tensors stand beside it."""

import copy
import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import nn

from redunet._names import Names
from redunet._registry import encoded
from redunet.construction.build import Parts
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.layers import READERS, Reader, ReduLayer
from redunet.lifts import UnknownLiftError, lift_from_json, lift_to_json
from redunet.rates import HalfSpectrum

# The version of the header.
FORMAT = 4


def header_of(parts: Parts) -> dict[str, Any]:
    """The header of a network, as JSON can represent it.

    Raises
    ------
    TypeError
        If :func:`parts_of` could not make a network from this header.
    ValueError
        If the network has operators or memberships of a kind that is not registered.
    """
    header: dict[str, Any] = {
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
        header = json.loads(json.dumps(encoded(header)))
        _parts_of(header, copy.deepcopy(parts.lift))
    except TypeError as error:
        raise TypeError(
            f"the network could not be read back from a file: {error}. The constructor of "
            "operators takes their tensors by name, that of other kinds their options; see "
            "docs/extending.md"
        ) from error
    return header


def parts_of(header: Mapping[str, Any], lift: nn.Module | None, path: str | PathLike[str]) -> Parts:
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


def _parts_of(header: Mapping[str, Any], lift: nn.Module | None) -> Parts:
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
        _names_of(header.get("names", {})),
        reader=_reader_of(header.get("reader")),
    )


def _reader_to_json(reader: Reader | None) -> dict[str, Any] | None:
    if reader is None:
        return None
    return {"kind": READERS.name_of(reader), **reader.describe()}


def _reader_of(description: Mapping[str, Any] | None) -> Reader | None:
    return None if description is None else READERS[description["kind"]].empty(description)


def _names_of(names: Mapping[str, Any]) -> Names:
    """Names in a header. Earlier files of this format have none."""
    features = names.get("features")
    return Names(None if features is None else tuple(features), names.get("label"))
