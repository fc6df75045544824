"""The state of a training in one file, without pickles."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redunet.files.tensors import parse_header, read_tensors, write_tensors

KEY = "redunet training"


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write nested dictionaries and lists of tensors and plain values, completely or not at all."""
    tensors: dict[str, Tensor] = {}
    header = _without_tensors(state, tensors)
    write_tensors(tensors, path, KEY, header)


def read_state(path: Path) -> dict[str, Any]:
    """The state that :func:`write_state` wrote. Tuples have become lists.

    Raises
    ------
    ValueError
        If the file is damaged, or is not such a file.
    """
    metadata, tensors = read_tensors(path)
    header = parse_header(metadata, KEY, path, "a checkpoint of a training")
    state: dict[str, Any] = _with_tensors(header, tensors)
    return state


def random_states(device: torch.device, generator: torch.Generator | None) -> dict[str, Tensor]:
    """The states of torch's generators for a device, and of the generator of the batches."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if generator is not None:
        states["batches"] = generator.get_state()
    return states


def set_random_states(
    states: dict[str, Tensor], device: torch.device, generator: torch.Generator | None
) -> None:
    """Give the generators the states that :func:`random_states` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if "batches" in states and generator is not None:
        generator.set_state(states["batches"])


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A nested value as JSON. Tensors move to ``tensors``; dictionaries become lists of pairs.

    JSON allows only strings as keys, but optimizers have integers.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone()  # tied parameters must not share memory
        return {"tensor": name, "complex": value.is_complex()}
    if isinstance(value, dict):
        return {"pairs": [[key, _without_tensors(v, tensors)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_without_tensors(v, tensors) for v in value]
    return value


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of :func:`_without_tensors`."""
    if isinstance(value, list):
        return [_with_tensors(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "pairs" in value:
        return {key: _with_tensors(v, tensors) for key, v in value["pairs"]}
    tensor = tensors[value["tensor"]]
    return torch.view_as_complex(tensor) if value["complex"] else tensor
