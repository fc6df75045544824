"""The file of a network: a header that describes it, and its tensors or its samples.

Operators are functions of the second moments of the samples. If samples are few and features are
large, the samples take far less room in a file than the operators. The lift, the layers and the
reader are then made again from the samples, their settings, and the steps of the construction.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
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
    fill,
    naming,
    read_tensors,
    smallest,
    with_prefix,
    write_tensors,
)
from redunet.layers import READERS, Reader, ReduLayer
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
    parts: Parts, path: str | PathLike[str], samples: tuple[Array, Array] | None
) -> None:
    """Write a network to a file, completely or not at all.

    Parameters
    ----------
    parts : Parts
    path : str or path
    samples : tuple of (X, labels), or None
        The samples of the construction, which are written instead if they take less room.

    Raises
    ------
    ValueError
        If the ending of the file is that of an exported graph or of a pickle.
    """
    header, tensors = header_of(parts), modules(parts).state_dict()
    if samples is not None:
        X, labels = samples_of(parts, *samples)
        if smallest(X).nbytes < sum(as_stored(t).nbytes for t in tensors.values()):
            tensors = sufficient(header, tensors, X, labels)
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
    if SAMPLES not in tensors:
        parts = parts_of(header, tensors, lift, path)
        fill(modules(parts), tensors, path)
        return parts
    check = tensors.pop(CHECK)
    parts = remade(header, tensors, lift, path, device)
    if not torch.allclose(check_numbers(parts), check, rtol=0, atol=TOLERANCE):
        raise ValueError(
            f"the samples in {path} give another network here than where it was saved, because "
            "random numbers or arithmetic differ: load the file there, and save it without samples"
        )
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
        "history": asdict(parts.history),
        "lift": lift_to_json(parts.lift),
        "names": parts.names,
        "reader": None
        if reader is None
        else {"kind": READERS.name_of(reader), **reader.describe()},
    }
    try:
        header: Header = json.loads(as_text(fields))
        for layer, described in zip(parts.layers, header["layers"], strict=True):
            ReduLayer.restored(described, layer.state_dict(), layer.spectrum)
        _reader_of(header, {})
        with suppress(UnknownLiftError):  # such a lift is passed to load
            lift_from_json(header["lift"])
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
        sample_shape, feature_shape = tuple(header["sample_shape"]), tuple(header["feature_shape"])
        spectrum, precision = HalfSpectrum(feature_shape[1:]), getattr(torch, header["dtype"])
        try:
            own = lift_from_json(header["lift"])
        except UnknownLiftError:
            if lift is None:
                raise
            own, example = lift, torch.zeros(1, *sample_shape, dtype=precision)
            shape = tuple(lift.to(precision)(example).shape[1:])
            if shape != feature_shape:
                raise ValueError(
                    f"the lift gives features of shape {shape}, but the network takes "
                    f"{feature_shape}"
                ) from None
        if lift not in (None, own):
            described = "no lift" if own is None else f"a lift that it describes itself, {own}"
            raise ValueError(f"the network in {path} has {described}: leave lift= out")
        features, label = header["names"]
        return Parts(
            [
                ReduLayer.restored(layer, with_prefix(tensors, f"layers.{number}."), spectrum)
                for number, layer in enumerate(header["layers"])
            ],
            np.array(header["classes"], dtype=header["classes_dtype"]),
            Settings.from_json(header["settings"]),
            RateHistory.from_json(header["history"]),
            sample_shape,
            feature_shape,
            None if own is None else own.to(precision).eval(),
            header["batch_size"],
            Names(features and tuple(features), label),
            reader=_reader_of(header, with_prefix(tensors, "reader.")),
        )


def _reader_of(header: Header, tensors: dict[str, Tensor]) -> Reader | None:
    described = header["reader"]
    return described and READERS[described["kind"]].restored(described, tensors)


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
    partition = Partition.from_labels(labels, len(samples), classes=parts.classes)
    membership = partition.membership
    return samples, (membership if partition.is_soft else membership.argmax(1)).cpu()


def sufficient(
    header: Header, tensors: dict[str, Tensor], X: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """Samples, and those tensors of the lift and the reader that do not follow from them.

    Parameters
    ----------
    header : mapping
        Made by :func:`header_of`.
    tensors : dict
        All tensors of the network.
    X, labels : Tensor
        Made by :func:`samples_of`.

    Raises
    ------
    ValueError
        If layers made from these samples differ from those of the network.
    """
    others = {name: t for name, t in tensors.items() if not name.startswith("layers.")}
    kept = {SAMPLES: smallest(X), LABELS: smallest(labels)}
    kept |= {name: t for name, t in others.items() if t.ndim == 0}  # such as the sharpness
    for _ in range(2):  # once more if the lift was fitted to other samples
        parts = remade(header, kept, None, "the file", X.device)
        again = modules(parts).state_dict()
        missing = {name for name in tensors if not _close(tensors[name], again.get(name))}
        if not missing:
            return kept | {CHECK: check_numbers(parts)}
        kept |= {name: others[name] for name in missing & others.keys()}
    raise ValueError(
        "the network does not follow from these samples: it was fine-tuned or extended, or "
        "constructed from other samples, or some labels were missing; save it without samples"
    )


@torch.no_grad()
def remade(
    header: Header,
    kept: dict[str, Tensor],
    lift: nn.Module | None,
    path: str | PathLike[str],
    device: torch.device | str | None,
) -> Parts:
    """A network, made again from its samples.

    The lift and the reader are fitted, but for tensors that the file holds, and the layers are
    constructed with the steps in the header. The other arguments are those of :func:`read_network`.
    """
    parts = parts_of({**header, "layers": []}, kept, lift, path)
    X = kept[SAMPLES].to(device, getattr(torch, header["dtype"]))
    labels = kept[LABELS]
    labels = labels if labels.ndim > 1 else labels.long()
    lift = None if parts.lift is None else fitted_copy(parts.lift, X)
    reader = parts.reader
    if reader is not None and labels.ndim == 1:
        reader = reader.fitted_again(X, parts.classes[labels.numpy()]) or reader
    parts = parts._replace(lift=lift, reader=reader)
    made = modules(parts)
    own = {name: t for name, t in kept.items() if name not in (SAMPLES, LABELS)}
    fill(made, made.state_dict() | own, path)
    made.to(device)
    encoder = Encoder(X[:1], lift, batch_size=parts.batch_size)
    steps = [Step(layer["eta"], layer["momentum"]) for layer in header["layers"]]
    with memory_advice(encoder.batch_size):
        source, classes = ArraySource(X, labels, X.device), np.arange(len(parts.classes))
        samples = encoder.collect(source, parts.settings.eps_sq, classes=classes)
        settings = replace(parts.settings, num_layers=len(steps), tol=None, eta=None)
        construction = Construction(settings, samples, steps=steps)
        construction.run()
    return parts._replace(layers=construction.layers)


def check_numbers(parts: Parts) -> Tensor:
    """The first number of each tensor of lift and reader, divided by the largest, on the host."""
    state = modules(parts._replace(layers=[])).state_dict()
    tensors = [as_stored(t).double().flatten() for t in state.values()]
    first = [float(t[0] / t.abs().max().clamp_min(1e-30)) for t in tensors if t.numel()]
    return torch.tensor(first, dtype=torch.float32, device="cpu")


def _close(t: Tensor, other: Tensor | None) -> bool:
    if other is None or t.shape != other.shape:
        return False
    if not (t.is_floating_point() or t.is_complex()):
        return torch.equal(t, other)
    bound = ROUNDING * torch.finfo(t.dtype).eps * t.abs().max()
    return bool((t - other).abs().max() <= bound)
