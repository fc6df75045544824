"""A training loop for featurizers, with a record of the rates of their features.

It takes any loss of features and labels. With a :class:`redunet.VariationalMCR2Loss` it is
Algorithm 1 of the V-MCR² paper (CVPR 2022). A training may be computed in half precision, may
resume from a file, and may run on several processes.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from redunet import RateReductionMeter, VariationalMCR2Loss
from redunet.training import gathered

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass
class History:
    """The mean loss, the rates in nats of all features, and the duration of each epoch.

    ``variational`` is the mean of R^v − R_c^v, and empty unless the loss is variational.
    """

    loss: list[float] = field(default_factory=list)
    expansion: list[float] = field(default_factory=list)
    compression: list[float] = field(default_factory=list)
    variational: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def delta(self) -> list[float]:
        """ΔR = R − R_c."""
        return [r - c for r, c in zip(self.expansion, self.compression, strict=True)]


def train(
    featurizer: nn.Module,
    loss: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    latch_every: int = 50,
    scheduler: LRScheduler | None = None,
    autocast: torch.dtype | None = None,
    checkpoint: Path | None = None,
    settings: dict[str, Any] | None = None,
    process_group: dist.ProcessGroup | None = None,
    progress: bool = False,
) -> History:
    """Train a featurizer, and record the rate reduction of its features.

    Parameters
    ----------
    featurizer : nn.Module
        Maps samples to features ``(m, d)`` of unit norm.
    loss : nn.Module
        A loss of features and labels. It is computed in full precision, from the whole batch.
    batches : DataLoader or other iterable
        Pairs of samples and labels, which every epoch reads again.
    optimizer : torch.optim.Optimizer
    epochs : int
        Number of epochs, including those that a checkpoint holds.
    latch_every : int
        A variational loss is latched on all samples before every epoch of this number.
    scheduler : LRScheduler, optional
        Takes one step after each epoch.
    autocast : torch.dtype, optional
        Compute the featurizer in this type where autocasting allows it.
    checkpoint : Path, optional
        A file that is written after each epoch, and from which the same call resumes.
    settings : dict, optional
        What the checkpoint belongs to. A file with other settings is refused.
    process_group : ProcessGroup, optional
        Processes that each have a part of every batch. The featurizer is then a
        ``DistributedDataParallel``.
    progress : bool
        Show a progress bar.
    """
    device = next(featurizer.parameters()).device
    half = nullcontext() if autocast is None else torch.autocast(device.type, autocast)
    scaler = torch.amp.GradScaler(device.type, enabled=autocast is torch.float16)
    meter = RateReductionMeter(getattr(loss, "eps_sq", 0.5))
    variational = loss if isinstance(loss, VariationalMCR2Loss) else None
    modules = {"optimizer": optimizer, "loss": loss, "scheduler": scheduler, "scaler": scaler}
    several = isinstance(featurizer, DistributedDataParallel)
    modules["featurizer"] = featurizer.module if several else featurizer
    parts = {name: part for name, part in modules.items() if part is not None}
    history = History()
    if checkpoint is not None and checkpoint.exists():
        history = resumed(checkpoint, parts, settings, batches, process_group)
    if process_group is not None:  # all start with the values of the first process
        for value in loss.state_dict().values():
            dist.broadcast(value, 0, group=process_group)

    done = len(history.loss)
    for epoch in tqdm(range(done, epochs), "epochs", epochs, initial=done, disable=not progress):
        start = time.perf_counter()
        if variational is not None and epoch % latch_every == 0:
            with half:
                Z, labels = features(featurizer, batches)
            variational.latch(*gathered(Z.float(), labels, process_group))
        featurizer.train()
        meter.reset()
        values, rates = [], []
        for X, labels in on_device(batches, device):
            with half:
                Z = featurizer(X)
            if autocast is not None:
                Z = Z.float()
            Z, labels = gathered(Z, labels, process_group)
            overflowed = scaler.is_enabled() and not bool(Z.isfinite().all())
            if overflowed:  # the scaler leaves out the step, and takes a smaller scale
                value = Z.sum() * torch.nan
            else:
                meter.update(Z.detach(), labels)
                if variational is not None:
                    variational.update(Z.detach(), labels)
                value = loss(Z, labels)
            if variational is not None:
                r, r_c = variational.rates(labels)
                rates.append(r - r_c)
            optimizer.zero_grad()
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
            values.append(value.detach())
        if scheduler is not None:
            scheduler.step()
        _, expansion, compression = meter.compute()
        history.loss.append(torch.stack(values).mean().item())
        history.expansion.append(expansion.item())
        history.compression.append(compression.item())
        if variational is not None:
            history.variational.append(torch.stack(rates).mean().item())
        history.seconds.append(time.perf_counter() - start)
        if checkpoint is not None:
            save(checkpoint, parts, settings, batches, process_group, history)
    return history


@torch.no_grad()
def features(featurizer: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Features and labels of all batches, in evaluation mode, on the featurizer's device."""
    featurizer.eval()
    device = next(featurizer.parameters()).device
    pairs = [(featurizer(X), labels) for X, labels in on_device(batches, device)]
    Z, labels = zip(*pairs, strict=True)
    return torch.cat(Z), torch.cat(labels)


def on_device(batches: Batches, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches on a device."""
    return ((X.to(device), labels.to(device)) for X, labels in batches)


def save(
    path: Path,
    parts: dict[str, Any],
    settings: dict[str, Any] | None,
    batches: Batches,
    process_group: dist.ProcessGroup | None,
    history: History,
) -> None:
    """Write the state of a training; the first process does it for all."""
    states = [[g.get_state() for g in generators(batches)]]
    if process_group is not None:
        states *= dist.get_world_size(process_group)
        dist.all_gather_object(states, states[0], group=process_group)
        if dist.get_rank(process_group) > 0:
            return
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"random": states, "settings": settings, "history": asdict(history)}
    temporary = path.with_name(f"{path.name}.part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def resumed(
    path: Path,
    parts: dict[str, Any],
    settings: dict[str, Any] | None,
    batches: Batches,
    process_group: dist.ProcessGroup | None,
) -> History:
    """Restore the state that :func:`save` wrote."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["settings"] != settings:
        raise ValueError(
            f"{path} belongs to a training with the settings {state['settings']}, expected "
            f"{settings}: choose another checkpoint, or delete this one"
        )
    rank = 0 if process_group is None else dist.get_rank(process_group)
    size = 1 if process_group is None else dist.get_world_size(process_group)
    if len(state["random"]) != size:
        raise ValueError(f"{path} was written by {len(state['random'])} processes, got {size}")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    for generator, numbers in zip(generators(batches), state["random"][rank], strict=True):
        generator.set_state(numbers)
    return History(**state["history"])


def generators(batches: Batches) -> list[torch.Generator]:
    """The generators of torch, and the one of a DataLoader."""
    found = [torch.default_generator]
    if torch.cuda.is_available():
        found.append(torch.cuda.default_generators[torch.cuda.current_device()])
    own = getattr(batches, "generator", None)
    return found if own is None else [*found, own]
