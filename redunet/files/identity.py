"""What a checkpoint belongs to. An interrupted run resumes only if all of this is the same.

An identity is a dictionary of JSON values under names that can stand in a sentence: settings, sizes
and versions as they are, and digests of samples, labels and tensors.
"""

import hashlib
import json
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import plain
from redunet._processes import Processes
from redunet._version import __version__

Identity = dict[str, Any]

# What every identity holds. Steps of one version do not continue those of another.
VERSION: Identity = {"the version of redunet": __version__, "the format of checkpoints": 1}

DIGEST = "sha256:"

ORDER = (
    "The samples must also come in the same order: a DataLoader needs shuffle=False, or a "
    "generator with a seed. "
)


class Digest:
    """The digest of samples or labels that come batch by batch. Batches may have any size.

    The order of the samples matters, and so do their shape and their type.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._kind: str | None = None

    def add(self, values: Tensor | np.ndarray | Iterable[str]) -> None:
        """Add a batch of numbers or of texts."""
        array = values if isinstance(values, Tensor) else np.asarray(values)
        if isinstance(array, np.ndarray) and array.dtype.kind not in "biufc":
            self._add("texts", "".join(f"{text}\0" for text in array.ravel()).encode())
            return
        t = torch.as_tensor(array).detach().resolve_conj().resolve_neg().cpu().contiguous()
        kind = f"{t.dtype} of shape {tuple(t.shape[1:])}"
        # numpy has no half precision of 8 exponent bits, but everything has bytes
        self._add(kind, t.reshape(-1).view(torch.uint8).numpy() if t.numel() else b"")

    def _add(self, kind: str, content: Any) -> None:
        if kind != self._kind:
            self._hash.update(f"{kind}\0".encode())
            self._kind = kind
        self._hash.update(content)

    def __str__(self) -> str:
        """The digest of everything that was added."""
        return DIGEST + self._hash.hexdigest()


def digest_of(*values: Tensor | np.ndarray | Mapping[str, Any]) -> str:
    """The digest of arrays, or of dictionaries of them such as the state of a module."""
    digest = Digest()
    for value in values:
        if isinstance(value, Mapping):
            for name, part in value.items():
                digest.add([name])
                digest.add(part if isinstance(part, Tensor) else [str(part)])
        else:
            digest.add(value)
    return str(digest)


def settings_of(value: Any) -> Any:
    """The settings of a module, a function or a plain value, without tensors, as JSON.

    The settings of an object are its public attributes that are plain values, and those of the
    modules in it.
    """
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [settings_of(each) for each in value]
    if isinstance(value, dict):
        return {str(key): settings_of(each) for key, each in value.items()}
    if isinstance(value, partial):
        return settings_of([value.func, value.args, value.keywords])
    described: dict[str, Any] = {"class": type(value).__qualname__}
    if is_dataclass(value):
        return described | {f.name: settings_of(getattr(value, f.name)) for f in fields(value)}
    if hasattr(value, "__qualname__"):  # a function or a class
        cells = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        return (
            {"class": value.__qualname__, "closure": settings_of(cells)}
            if cells
            else (value.__qualname__)
        )
    if isinstance(value, nn.Module):
        described |= {
            name: settings_of(each)
            for name, each in vars(value).items()
            if name != "training" and not name.startswith("_") and _is_plain(each)
        }
        described |= {name: settings_of(child) for name, child in value.named_children()}
    return described


def check_identity(
    stored: Identity, expected: Identity, what: str, path: Path, processes: Processes
) -> None:
    """Raise ValueError on all processes unless a checkpoint belongs to this run.

    Parameters
    ----------
    stored, expected : dict
        The identities of the checkpoint and of this run.
    what : str
        The kind of run, for the message.
    path : Path
        The checkpoint.
    processes : Processes
    """
    differences = next(filter(None, processes.all_gather_object(_compared(stored, expected))), None)
    if differences:
        order = ORDER if any("samples differ" in difference for difference in differences) else ""
        raise ValueError(
            f"{path} belongs to another {what}: {'; '.join(differences)}. {order}To begin again, "
            "choose another checkpoint or delete this one"
        )


def combined(identity: Identity, processes: Processes) -> Identity:
    """The identity of a run of several processes, from the identities of each of them."""
    identity = json.loads(json.dumps(identity))  # tuples become lists
    parts = processes.all_gather_object(identity)
    return {
        name: value if all(part[name] == value for part in parts) else _joined(parts, name)
        for name, value in parts[0].items()
    }


def _joined(parts: list[Identity], name: str) -> Any:
    values = [part[name] for part in parts]
    are_digests = all(isinstance(v, str) and v.startswith(DIGEST) for v in values)
    return DIGEST + hashlib.sha256("".join(values).encode()).hexdigest() if are_digests else values


def _compared(stored: Identity, expected: Identity) -> list[str]:
    """The differences of two identities in words."""
    if VERSION.keys() - stored.keys():
        return ["it was written by an earlier version of redunet, and does not say what it holds"]
    old, new = _flat(stored), _flat(expected)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [_difference(name, old, new) for name in names]


def _difference(name: str, old: Identity, new: Identity) -> str:
    if name not in old or name not in new:
        return f"{name}: nothing {'before' if name in new else 'now'}"
    if all(str(values[name]).startswith(DIGEST) for values in (old, new)):
        return f"{name} differ"
    return f"{name} is {_shown(old[name])}, expected {_shown(new[name])}"


def _flat(identity: Identity, before: str = "") -> Identity:
    """An identity with values instead of dictionaries; names are joined by dots."""
    flat: Identity = {}
    for name, value in identity.items():
        flat |= (
            _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
        )
    return flat


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return (
        value is None
        or isinstance(value, bool | int | float | str)
        or (is_dataclass(value) and isinstance(value, Hashable))
    )
