"""Tensors in safetensors files with a JSON header. Files are not pickles and run no code."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from redunet.files.atomic import atomic_write

# What JSON gives for a header.
Header: TypeAlias = Mapping[str, Any]

# The version of all files.
FORMAT = 7

# Endings of files of other kinds.
OTHER_ENDINGS = {".onnx", ".pt2", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5"}


def write_tensors(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], key: str, header: Header
) -> None:
    """Write tensors, and a header under a key, to a file.

    The header gets the version of the file, and a table that says how each tensor is stored. If
    writing fails, an existing file does not change.

    Raises
    ------
    ValueError
        If the ending of the file is that of an exported graph or of a pickle.
    """
    if Path(path).suffix.lower() in OTHER_ENDINGS:
        raise ValueError(
            f"{path} would be a safetensors file: end its name in .safetensors, or write graphs to "
            ".onnx and .pt2 with redunet.export"
        )
    stored = {name: as_stored(t) for name, t in tensors.items()}
    table = {
        name: [_described(stored[name]), t.is_complex(), t.shape] for name, t in tensors.items()
    }
    text = as_text({**header, "format": FORMAT, "tensors": table})
    with atomic_write(path) as temporary:
        save_file(stored, temporary, {key: text})


def read_tensors(
    path: str | os.PathLike[str], key: str, kind: str
) -> tuple[Header, dict[str, Tensor]]:
    """The header and the tensors of a file that :func:`write_tensors` wrote.

    Parameters
    ----------
    path : str or path
    key : str
        The key of the header.
    kind : str
        Description of the right kind of file, for error messages.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is another file, its header is damaged, or its tensors are not finite or not those
        that the header names.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        # get_tensor maps the file. Copies are needed because complex numbers may not be aligned in
        # the file, and because values would be lost if the file is truncated later.
        stored = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if key not in metadata:
        got = ", ".join(metadata) or "nothing"
        raise ValueError(f"{path} is not {kind}: expected {key!r} in its header, got {got}")
    with naming(path):
        header = json.loads(metadata[key])
        version = header.get("format") if isinstance(header, dict) else None
        if version != FORMAT:
            raise ValueError(
                f"{path} has format {version}, this version reads format {FORMAT}: make it again"
            )
        table = header["tensors"]
        expected = {name: described for name, (described, *_) in table.items()}
    found = {name: _described(t) for name, t in stored.items()}
    for name in expected | found:
        if found.get(name) != expected.get(name):
            raise ValueError(
                f"{path}: tensor {name} should be {expected.get(name, 'missing')}, got "
                f"{found.get(name, 'none')}"
            )
        # With such values all samples would belong to one class. Lifts may hold infinite bounds.
        t = stored[name]
        bad = t.isnan() if "lift." in name else ~t.isfinite()
        if bad.any():
            raise ValueError(
                f"{path}: tensor {name} must be finite, but {int(bad.sum())} of its {t.numel()} "
                "values are not: take an earlier file, or construct the network again"
            )
    return header, {name: from_stored(stored[name], *form) for name, (_, *form) in table.items()}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a file alone. The errors are those of :func:`read_tensors`."""
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[safe_open]:
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error


def as_text(value: object) -> str:
    """A value as JSON. NumPy and torch values are numbers or lists, infinity is ``Infinity``."""

    def listed(value: object) -> object:
        if isinstance(value, np.generic | np.ndarray | Tensor):
            return value.tolist()
        raise TypeError(f"JSON cannot hold {value!r}")

    return json.dumps(value, default=listed)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in errors about something that its header lacks or should not have."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} has a damaged header: {type(error).__name__} {error}") from error


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under their names without it."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def fill(module: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Give a module the tensors of a file. Raises ValueError if names or shapes differ."""
    try:
        module.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the tensors of this network: {error}") from error


def as_stored(t: Tensor) -> Tensor:
    """A tensor as it is stored: Hermitian matrices as triangles, complex numbers as pairs.

    Safetensors has no complex128 and ignores lazy conjugation.
    """
    t = t.detach().resolve_conj()
    if t.ndim > 1 and t.shape[-1] == t.shape[-2] and torch.equal(t, t.mH):
        rows, columns = torch.tril_indices(*t.shape[-2:], device="cpu")
        t = t[..., rows, columns]
    return (torch.view_as_real(t) if t.is_complex() else t).contiguous()


def from_stored(t: Tensor, is_complex: bool, shape: Sequence[int]) -> Tensor:
    """A tensor of this shape, from how :func:`as_stored` stores it."""
    t = torch.view_as_complex(t) if is_complex else t
    if t.ndim == len(shape):
        return t
    rows, columns = torch.tril_indices(*shape[-2:], device="cpu")
    whole = t.new_empty(*shape)
    whole[..., columns, rows] = t.conj()
    whole[..., rows, columns] = t
    return whole


def smallest(t: Tensor) -> Tensor:
    """The same numbers in the smallest type that holds all of them."""
    for dtype in (torch.uint8, torch.float16, torch.float32):
        if dtype.itemsize < t.dtype.itemsize and torch.equal(t.to(dtype).to(t.dtype), t):
            return t.to(dtype)
    return t


def _described(t: Tensor) -> str:
    return f"{t.dtype} of shape {tuple(t.shape)}"
