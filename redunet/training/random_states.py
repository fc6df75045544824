"""The states of all random numbers that a training may use."""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


def random_states(device: torch.device, batches: Iterable[Any]) -> dict[str, Any]:
    """The states of all random numbers of a training.

    These are torch's generators for a device, those of the batches, and the global generators of
    NumPy and Python, from which samples may be transformed.
    """
    version, *numpy_state = np.random.get_state()  # noqa: NPY002
    states = {
        "cpu": torch.get_rng_state(),
        "batches": [generator.get_state() for generator in generators(batches)],
        "numpy": [version, *map(_as_list, numpy_state)],
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Any], device: torch.device, batches: Iterable[Any]) -> None:
    """Give the generators the states that :func:`random_states` returned."""
    torch.set_rng_state(states["cpu"])
    for generator, state in zip(generators(batches), states["batches"], strict=False):
        generator.set_state(state)
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    version, numbers, following = states["python"]
    random.setstate((version, tuple(numbers), following))
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _as_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def generators(batches: Iterable[Any]) -> list[torch.Generator]:
    """The generators of a DataLoader and of its samplers."""
    owners: list[Any] = [batches]
    for owner in owners:  # samplers may be in samplers
        parts = (getattr(owner, name, None) for name in ("sampler", "batch_sampler"))
        owners += [part for part in parts if part is not None]
    found = [getattr(owner, "generator", None) for owner in owners]
    return list(dict.fromkeys(each for each in found if isinstance(each, torch.Generator)))
