"""What a training belongs to: its batches, its modules and its optimizer."""

from collections.abc import Iterable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from redunet._labels import as_array
from redunet.construction.sources import pair_of
from redunet.files.identity import Digest, Identity, digest_of, settings_of
from redunet.training.random_states import random_states, set_random_states


def identity_of_batches(
    batches: Iterable[Any], states: dict[str, Any], device: torch.device
) -> Identity:
    """Digests of samples and labels, from one pass that begins with these random states.

    Orders and transformations that are random are then the same in every pass. The random states do
    not change.
    """
    before = random_states(device, batches)
    samples, labels, count = Digest(), Digest(), 0
    set_random_states(states, device, batches)
    try:
        for batch in batches:
            X, targets = pair_of(batch, "batches")
            samples.add(X)
            labels.add(targets if isinstance(targets, Tensor) else as_array(targets))
            count += 1
    finally:
        set_random_states(before, device, batches)
    numbers = {"the number of batches": count}
    return numbers | {"the samples": str(samples), "the labels": str(labels)}


def identity_of_module(name: str, module: Any, state: str) -> Identity:
    """The settings of a module, or of another function, and a digest of its state."""
    identity: Identity = {f"the {name}": {"kind": settings_of(module)}}
    if isinstance(module, nn.Module):
        identity[f"the {state} of the {name}"] = digest_of(module.state_dict())
    return identity


def settings_of_optimizer(optimizer: torch.optim.Optimizer) -> Identity:
    """Class and settings of an optimizer, before a schedule changes its learning rate."""
    settings: Identity = {"class": type(optimizer).__qualname__}
    for number, group in enumerate(optimizer.param_groups):
        own = {name: settings_of(value) for name, value in group.items() if name != "params"}
        own["lr"] = settings_of(group.get("initial_lr", group.get("lr")))
        own.pop("initial_lr", None)
        own["number of parameters"] = len(group["params"])
        settings |= own if len(optimizer.param_groups) == 1 else {f"group {number}": own}
    return settings


def settings_of_scheduler(scheduler: LRScheduler) -> Identity:
    """Class and arguments of a schedule."""
    names = set(signature(type(scheduler).__init__).parameters) - {
        "self",
        "optimizer",
        "last_epoch",
    }
    own = {
        name: settings_of(vars(scheduler)[name]) for name in sorted(names & vars(scheduler).keys())
    }
    return {"class": type(scheduler).__qualname__} | own
