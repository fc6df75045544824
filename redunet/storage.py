"""Networks in files: operators as safetensors, everything else as JSON in the file's header.

Nothing is pickled, so that reading a file never runs code from it.
"""

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from redunet.construction import RateHistory, Settings, make_layer
from redunet.files import written_whole
from redunet.layer import ReduLayer
from redunet.lifting import UnknownLiftError, lift_from_json, lift_to_json
from redunet.operators import DenseOperators, LowRankOperators
from redunet.spectrum import HalfSpectrum

if TYPE_CHECKING:
    from redunet.network import ReduNet

FORMAT = 2
KEY = "redunet"


def save(net: "ReduNet", path: str | os.PathLike[str]) -> None:
    """Write ``net`` beside ``path`` under another name, then rename: ``path`` is always whole."""
    write_whole(net.state_dict(), path, {KEY: json.dumps(_header(net), allow_nan=False)})


def write_whole(
    tensors: dict[str, Tensor], path: str | os.PathLike[str], metadata: dict[str, str]
) -> None:
    """Write tensors to a safetensors file, or leave what is there as it is."""
    with written_whole(path) as unfinished:
        save_file({name: as_stored(t) for name, t in tensors.items()}, unfinished, metadata)


def load(
    cls: type["ReduNet"],
    path: str | os.PathLike[str],
    *,
    device: torch.device | str | None,
    lift: nn.Module | None,
) -> "ReduNet":
    """Read a network, after checking every tensor against what the header announces."""
    metadata, tensors = read(Path(path))
    header = _parse(metadata, path)
    try:
        net = _skeleton(cls, header, lift)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has a damaged header: {type(error).__name__} {error}") from error
    _fill(net, tensors, path)
    return net.requires_grad_(False).to(device)


def write_tensors(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write parameters and buffers to a safetensors file."""
    save_file({name: as_stored(t) for name, t in module.state_dict().items()}, path)


def read_tensors(module: nn.Module, path: Path) -> None:
    """Give a module without memory the tensors that :func:`write_tensors` wrote."""
    _, tensors = read(path)
    _fill(module, tensors, path)


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Give a module without memory the tensors of a file, if they are those it has."""
    state = module.state_dict()
    missing, surplus = sorted(state.keys() - tensors), sorted(tensors.keys() - state)
    if missing or surplus:
        raise ValueError(
            f"{path} does not hold the tensors of this network: "
            f"missing {_few(missing)}, surplus {_few(surplus)}"
        )
    filled = {}
    for name, expected in state.items():
        stored, template = tensors[name], as_stored(expected)
        if stored.shape != template.shape or stored.dtype != template.dtype:
            raise ValueError(
                f"{path}: tensor {name} should be {template.dtype} of shape "
                f"{tuple(template.shape)}, got {stored.dtype} of shape {tuple(stored.shape)}"
            )
        filled[name] = from_stored(stored, expected)
    module.load_state_dict(filled, assign=True)


def as_stored(t: Tensor) -> Tensor:
    """Complex numbers as pairs: safetensors has no complex128 and does not see lazy conjugates."""
    t = t.detach()
    return (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t).contiguous()


def from_stored(stored: Tensor, like: Tensor) -> Tensor:
    """What :func:`as_stored` made of a tensor like that one."""
    return torch.view_as_complex(stored) if like.is_complex() else stored


def _header(net: "ReduNet") -> dict[str, Any]:
    settings = asdict(net.settings)
    if math.isinf(net.settings.lam):
        settings["lam"] = "Infinity"  # JSON has no number for it; float() reads this
    return {
        "format": FORMAT,
        "settings": settings,
        "momenta": [layer.momentum for layer in net.layers],
        "rank": net.layers[0].operators.rank,
        "classes": net.classes_.tolist(),
        "classes_dtype": net.classes_.dtype.str,
        "sample_shape": net.sample_shape,
        "feature_shape": net.feature_shape,
        "dtype": str(net.layers[0].proportions.dtype).removeprefix("torch."),
        "batch_size": net.batch_size,
        "history": history_to_json(net.history),
        "lift": lift_to_json(net.lift),
    }


def _skeleton(cls: type["ReduNet"], header: dict[str, Any], lift: nn.Module | None) -> "ReduNet":
    """The network that a header describes, its operators without memory."""
    settings = Settings(**{**header["settings"], "lam": float(header["settings"]["lam"])})
    feature_shape = tuple(header["feature_shape"])
    spectrum = HalfSpectrum(feature_shape[1:])
    channels, classes = feature_shape[0], len(header["classes"])
    real = getattr(torch, header["dtype"])
    layers = [
        empty_layer(settings, spectrum, channels, classes, real, header["rank"], momentum)
        for momentum in header["momenta"]
    ]
    return cls(
        layers,
        classes=np.array(header["classes"], dtype=header["classes_dtype"]),
        settings=settings,
        history=history_from_json(header["history"]),
        sample_shape=tuple(header["sample_shape"]),
        feature_shape=feature_shape,
        lift=_lift_of(header["lift"], lift, real),
        batch_size=header["batch_size"],
    )


def empty_layer(
    settings: Settings,
    spectrum: HalfSpectrum,
    channels: int,
    classes: int,
    real: torch.dtype,
    rank: int | None,
    momentum: float,
) -> ReduLayer:
    """A layer without memory, of operators of a rank or dense ones (None)."""
    number = real.to_complex() if spectrum.shape else real
    frequencies = len(spectrum)

    def empty(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    expansion = empty(frequencies, channels, channels, dtype=number)
    if rank is None:
        operators = DenseOperators(
            expansion, empty(frequencies, classes, channels, channels, dtype=number)
        )
    else:
        operators = LowRankOperators(
            expansion,
            empty(frequencies, classes, rank, channels, dtype=number),
            empty(classes, dtype=real),
        )
    return make_layer(
        operators, empty(classes, dtype=real), empty(dtype=real), spectrum, settings, momentum
    )


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file, as they are stored."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            # Copies: get_tensor maps the file, unaligned for complex numbers, lost if it is cut.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _parse(metadata: dict[str, str], path: str | os.PathLike[str]) -> dict[str, Any]:
    if KEY not in metadata:
        raise ValueError(f"{path} was not written by ReduNet.save: its header has no {KEY!r}")
    try:
        header = json.loads(metadata[KEY])
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has a damaged header: {error}") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} has format {header.get('format')}, this version reads {FORMAT}")
    return header


def history_to_json(history: RateHistory) -> dict[str, Any]:
    """Rates as lists."""
    return {
        "expansion": history.expansion.tolist(),
        "compression": history.compression.tolist(),
        "validation": history.validation and history_to_json(history.validation),
    }


def history_from_json(fields: dict[str, Any]) -> RateHistory:
    """What :func:`history_to_json` wrote."""
    return RateHistory(
        np.array(fields["expansion"], dtype=float),
        np.array(fields["compression"], dtype=float),
        fields["validation"] and history_from_json(fields["validation"]),
    )


def _lift_of(fields: Any, given: nn.Module | None, dtype: torch.dtype) -> nn.Module | None:
    """The lift that a header names, or the one given where it has no code for that."""
    try:
        lift = lift_from_json(fields)
    except UnknownLiftError as name:
        if given is None:
            raise ValueError(
                f"the network was constructed with a lift of class {name}, whose code the file "
                "cannot hold: pass such a module as lift="
            ) from None
        lift = given
    return None if lift is None else lift.to(dtype)


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
