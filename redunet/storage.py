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
from redunet.lifting import LIFTS
from redunet.operators import DenseOperators
from redunet.spectrum import HalfSpectrum

if TYPE_CHECKING:
    from redunet.network import ReduNet

FORMAT = 1
KEY = "redunet"


def save(net: "ReduNet", path: str | os.PathLike[str]) -> None:
    """Write ``net`` beside ``path`` under another name, then rename: ``path`` is always whole."""
    path = Path(path)
    tensors = {name: _as_stored(t) for name, t in net.state_dict().items()}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        save_file(tensors, unfinished, metadata={KEY: json.dumps(_header(net), allow_nan=False)})
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(
    cls: type["ReduNet"],
    path: str | os.PathLike[str],
    *,
    device: torch.device | str | None,
    lift: nn.Module | None,
) -> "ReduNet":
    """Read a network, after checking every tensor against what the header announces."""
    header, tensors = _read(Path(path))
    try:
        net = _skeleton(cls, header, lift)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has a damaged header: {type(error).__name__} {error}") from error
    state = net.state_dict()
    missing, surplus = sorted(state.keys() - tensors), sorted(tensors.keys() - state)
    if missing or surplus:
        raise ValueError(
            f"{path} does not hold the tensors of this network: "
            f"missing {_few(missing)}, surplus {_few(surplus)}"
        )
    for name, expected in state.items():
        stored = tensors[name]
        template = _as_stored(expected)
        if stored.shape != template.shape or stored.dtype != template.dtype:
            raise ValueError(
                f"{path}: tensor {name} should be {template.dtype} of shape "
                f"{tuple(template.shape)}, got {stored.dtype} of shape {tuple(stored.shape)}"
            )
        tensors[name] = torch.view_as_complex(stored) if expected.is_complex() else stored
    net.load_state_dict(tensors, assign=True)
    return net.requires_grad_(False).to(device)


def _as_stored(t: Tensor) -> Tensor:
    """Complex numbers as pairs: safetensors has no complex128 and does not see lazy conjugates."""
    t = t.detach()
    return (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t).contiguous()


def _header(net: "ReduNet") -> dict[str, Any]:
    settings = asdict(net.settings)
    if math.isinf(net.settings.lam):
        settings["lam"] = "Infinity"  # JSON has no number for it; float() reads this
    return {
        "format": FORMAT,
        "settings": settings,
        "layers": len(net.layers),
        "classes": net.classes_.tolist(),
        "classes_dtype": net.classes_.dtype.str,
        "sample_shape": net.sample_shape,
        "feature_shape": net.feature_shape,
        "dtype": str(net.layers[0].proportions.dtype).removeprefix("torch."),
        "batch_size": net.batch_size,
        "history": _history_to_json(net.history),
        "lift": _lift_to_json(net.lift),
    }


def _skeleton(cls: type["ReduNet"], header: dict[str, Any], lift: nn.Module | None) -> "ReduNet":
    """The network that a header describes, its operators without memory."""
    settings = Settings(**{**header["settings"], "lam": float(header["settings"]["lam"])})
    feature_shape = tuple(header["feature_shape"])
    spectrum = HalfSpectrum(feature_shape[1:])
    frequencies, channels, classes = len(spectrum), feature_shape[0], len(header["classes"])
    real = getattr(torch, header["dtype"])
    number = real.to_complex() if spectrum.shape else real

    def empty(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    layers = [
        make_layer(
            DenseOperators(
                empty(frequencies, channels, channels, dtype=number),
                empty(frequencies, classes, channels, channels, dtype=number),
            ),
            empty(classes, dtype=real),
            spectrum,
            settings,
            empty(dtype=real),
        )
        for _ in range(header["layers"])
    ]
    return cls(
        layers,
        classes=np.array(header["classes"], dtype=header["classes_dtype"]),
        settings=settings,
        history=_history_from_json(header["history"]),
        sample_shape=tuple(header["sample_shape"]),
        feature_shape=feature_shape,
        lift=_lift_from_json(header["lift"], lift, real),
        batch_size=header["batch_size"],
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: get_tensor maps the file, unaligned for complex numbers, lost if it is cut.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if KEY not in metadata:
        raise ValueError(f"{path} was not written by ReduNet.save: its header has no {KEY!r}")
    try:
        header = json.loads(metadata[KEY])
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has a damaged header: {error}") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} has format {header.get('format')}, this version reads {FORMAT}")
    return header, tensors


def _history_to_json(history: RateHistory) -> dict[str, Any]:
    return {
        "expansion": history.expansion.tolist(),
        "compression": history.compression.tolist(),
        "validation": history.validation and _history_to_json(history.validation),
    }


def _history_from_json(fields: dict[str, Any]) -> RateHistory:
    return RateHistory(
        np.array(fields["expansion"], dtype=float),
        np.array(fields["compression"], dtype=float),
        fields["validation"] and _history_from_json(fields["validation"]),
    )


def _lift_to_json(lift: nn.Module | None) -> dict[str, Any] | None:
    if lift is None:
        return None
    name = type(lift).__name__
    return {"class": name, "arguments": lift.arguments if LIFTS.get(name) is type(lift) else None}


def _lift_from_json(
    fields: dict[str, Any] | None, given: nn.Module | None, dtype: torch.dtype
) -> nn.Module | None:
    if fields is None:
        return None
    name, arguments = fields["class"], fields["arguments"]
    if arguments is not None:
        return LIFTS[name](**arguments).to(dtype)
    if given is None:
        raise ValueError(
            f"the network was constructed with a lift of class {name}, whose code the file cannot "
            "hold: pass such a module as lift="
        )
    return given.to(dtype)


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
