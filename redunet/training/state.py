"""The state of a training in one file, without pickles."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redunet.files.tensors import parse_header, read_tensors, write_tensors

KEY = "redunet training"


def write_state(state: dict[str, Any], path: Path, key: str = KEY) -> None:
    """Write nested dictionaries and lists of tensors and plain values, completely or not at all."""
    tensors: dict[str, Tensor] = {}
    header = _without_tensors(state, tensors)
    write_tensors(tensors, path, key, header)


def read_state(path: Path, key: str = KEY, what: str = "a training") -> dict[str, Any]:
    """The state that :func:`write_state` wrote. Tuples have become lists.

    Raises
    ------
    ValueError
        If the file is damaged, or is not such a file.
    """
    metadata, tensors = read_tensors(path)
    header = parse_header(metadata, key, path, f"a checkpoint of {what}")
    state: dict[str, Any] = _with_tensors(header, tensors)
    return state


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
