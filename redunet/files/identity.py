"""What a checkpoint belongs to. An interrupted run resumes only if all of this is the same.

An identity is a dictionary of JSON values under names that can stand in a sentence: settings, sizes
and versions as they are, and digests of samples, labels and tensors.
"""

import hashlib
import json
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import plain
from redunet._processes import Processes
from redunet._version import __version__

Identity = dict[str, object]

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
        self._add(kind, t.reshape(-1).view(torch.uint8).numpy().data if t.numel() else b"")

    def _add(self, kind: str, content: bytes | memoryview) -> None:
        if kind != self._kind:
            self._hash.update(f"{kind}\0".encode())
            self._kind = kind
        self._hash.update(content)

    def __str__(self) -> str:
        """The digest of everything that was added."""
        return DIGEST + self._hash.hexdigest()


def digest_of(*values: Tensor | np.ndarray | Mapping[str, object]) -> str:
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


def settings_of(value: object) -> object:
    """The settings of a module, or a plain value, without tensors, as JSON.

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
    if isinstance(value, Mapping):
        return {str(key): settings_of(each) for key, each in value.items()}
    members: dict[str, object] = {}
    if isinstance(value, nn.Module):
        public = {n: m for n, m in vars(value).items() if n != "training" and n[0] != "_"}
        members = {name: member for name, member in public.items() if _is_plain(member)}
        members |= dict(value.named_children())
    elif is_dataclass(value):
        members = {field.name: getattr(value, field.name) for field in fields(value)}
    return {"class": type(value).__qualname__} | {n: settings_of(m) for n, m in members.items()}


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
    """The identity of a run of several processes: what differs between them is a list."""
    identity = json.loads(json.dumps(identity))  # tuples become lists
    parts = processes.all_gather_object(identity)
    return {
        name: value if all(part[name] == value for part in parts) else [p[name] for p in parts]
        for name, value in parts[0].items()
    }


def _compared(stored: Identity, expected: Identity) -> list[str]:
    """The differences of two identities in words."""
    if VERSION.keys() - stored.keys():
        return ["it was written by an earlier version of redunet, and does not say what it holds"]
    old, new = _flat(stored), _flat(expected)
    names = [name for name in old | new if old.get(name) != new.get(name)]
    return [_difference(name, old, new) for name in names]


def _difference(name: str, old: Identity, new: Identity) -> str:
    if name not in old or name not in new:
        return f"{name}: nothing {'before' if name in new else 'now'}"
    before, now = str(old[name]), str(new[name])
    if DIGEST in before and DIGEST in now:
        return f"{name} differ"
    return f"{name} is {_shown(before)}, expected {_shown(now)}"


def _flat(identity: Identity, before: str = "") -> Identity:
    """An identity with values instead of dictionaries; names are joined by dots."""
    flat: Identity = {}
    for name, value in identity.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_plain(value: object) -> bool:
    """Whether an attribute of a module is a setting."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    is_frozen = is_dataclass(value) and isinstance(value, Hashable)
    return value is None or isinstance(value, bool | int | float | str) or is_frozen
