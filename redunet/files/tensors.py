"""Tensors in safetensors files with a JSON header. Files are not pickles and run no code."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from redunet.files.atomic import atomic_write

# What reads a file, by the key of its header.
READERS = {
    "redunet": "ReduNet.load reads it",
    "redunet fine-tuned": "FineTuned.load reads it",
    "redunet fine-tuning": "finetune(…, checkpoint=…) continues from it",
}

# Endings of files of other kinds.
OTHER_ENDINGS = {".onnx", ".pt2", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5"}


def write_tensors(
    tensors: dict[str, Tensor],
    path: str | os.PathLike[str],
    key: str | None = None,
    header: Mapping[str, object] | None = None,
) -> None:
    """Write tensors, and a header under a key, to a file.

    If writing fails, an existing file does not change.
    """
    metadata = {} if key is None else {key: json.dumps(header, allow_nan=False)}
    with atomic_write(path) as temporary:
        save_file({name: as_stored(t) for name, t in tensors.items()}, temporary, metadata)


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file, as they are stored.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is not a complete safetensors file.
    """
    with _opened(path) as file:
        # get_tensor maps the file. Copies are needed because complex numbers may not be aligned in
        # the file, and because values would be lost if the file is truncated later.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return file.metadata() or {}, tensors


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a file alone. The errors are those of :func:`read_tensors`."""
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[safe_open]:
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if the ending of a network's file is that of a graph or of a pickle."""
    if Path(path).suffix.lower() in OTHER_ENDINGS:
        raise ValueError(
            f"{path} would be a safetensors file: end its name in .safetensors, or write graphs to "
            ".onnx and .pt2 with redunet.export"
        )


def parse_header(
    metadata: dict[str, str], key: str, path: str | os.PathLike[str], expected: str
) -> dict[str, Any]:
    """The header that :func:`write_tensors` wrote under a key.

    Parameters
    ----------
    metadata : dict
        From :func:`read_tensors`.
    key : str
    path : str or path
        Path of the file, for error messages.
    expected : str
        Description of the right kind of file, for error messages.

    Raises
    ------
    ValueError
        If the file has no such header, or the header is damaged.
    """
    if key not in metadata:
        readers = [reader for name, reader in READERS.items() if name in metadata]
        reason = readers[0] if readers else f"its header has no {key!r}"
        raise ValueError(f"{path} is not {expected}: {reason}")
    try:
        header: dict[str, Any] = json.loads(metadata[key])
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has a damaged header: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a damaged header: expected an object, got {header!r}")
    return header


def check_values(tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Raise ValueError if tensors of a network hold NaN, or infinity outside of lifts.

    With such a tensor all samples would belong to one class. Lifts of users may hold infinite
    bounds.
    """
    for name, t in tensors.items():
        bad = t.isnan() if "lift." in name else ~t.isfinite()
        if bad.any():
            raise ValueError(
                f"{path}: tensor {name} must be finite, but {int(bad.sum())} of its {t.numel()} "
                "values are not: take an earlier file, or construct the network again"
            )


def fill(module: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Give a module the tensors of a file. Its own tensors may be on the meta device.

    Raises
    ------
    ValueError
        If names, shapes or types differ from those of the module.
    """
    state = module.state_dict()
    missing, surplus = sorted(state.keys() - tensors), sorted(tensors.keys() - state)
    if missing or surplus:
        raise ValueError(
            f"{path} does not hold the tensors of this network: "
            f"missing {_shortened(missing)}, surplus {_shortened(surplus)}"
        )
    filled = {}
    for name, expected in state.items():
        stored, shapes = tensors[name], _stored_shapes(expected)
        if stored.shape not in shapes or stored.dtype != expected.dtype.to_real():
            raise ValueError(
                f"{path}: tensor {name} should be {expected.dtype.to_real()} of shape {shapes[0]}, "
                f"got {stored.dtype} of shape {tuple(stored.shape)}"
            )
        filled[name] = from_stored(stored, expected)
    module.load_state_dict(filled, assign=True)


def as_stored(t: Tensor) -> Tensor:
    """A tensor as it is stored: Hermitian matrices as triangles, complex numbers as pairs.

    Safetensors has no complex128 and ignores lazy conjugation.
    """
    t = t.detach().resolve_conj()
    if t.ndim > 1 and t.shape[-1] == t.shape[-2] and torch.equal(t, t.mH):
        rows, columns = _triangle(t)
        t = t[..., rows, columns]
    return (torch.view_as_real(t) if t.is_complex() else t).contiguous()


def from_stored(stored: Tensor, like: Tensor) -> Tensor:
    """The inverse of :func:`as_stored`, for a tensor of the type and shape of ``like``."""
    t = torch.view_as_complex(stored) if like.is_complex() else stored
    if t.shape == like.shape:
        return t
    rows, columns = _triangle(like)
    whole = t.new_empty(like.shape)
    whole[..., columns, rows] = t.conj()
    whole[..., rows, columns] = t
    return whole


def _triangle(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the lower triangle of matrices ``(…, n, n)``."""
    rows, columns = torch.tril_indices(*matrices.shape[-2:], device="cpu")
    return rows, columns


def _stored_shapes(t: Tensor) -> list[tuple[int, ...]]:
    """The shapes in which :func:`as_stored` may store a tensor."""
    shapes = [tuple(t.shape)]
    if t.ndim > 1 and t.shape[-1] == t.shape[-2]:
        shapes.append((*t.shape[:-2], t.shape[-1] * (t.shape[-1] + 1) // 2))
    return [(*shape, 2) if t.is_complex() else shape for shape in shapes]


def smallest(t: Tensor) -> Tensor:
    """The same numbers in the smallest type that holds all of them."""
    for dtype in (torch.uint8, torch.float16, torch.float32):
        if dtype.itemsize < t.dtype.itemsize and torch.equal(t.to(dtype).to(t.dtype), t):
            return t.to(dtype)
    return t


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
