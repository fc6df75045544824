"""Training of a featurizer by a loss on its features, with a record of their rates."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from redunet._checks import check_count
from redunet._precision import undefined_loss
from redunet._processes import Processes
from redunet.construction.sources import check_rereadable, pair_of
from redunet.files.atomic import check_path
from redunet.files.identity import (
    VERSION,
    Identity,
    check_identity,
    combined,
    digest_of,
)
from redunet.rates.meter import RateReductionMeter
from redunet.training.gathered import GatheredFeatures, gathered
from redunet.training.history import TrainingHistory
from redunet.training.identity import (
    identity_of_batches,
    identity_of_module,
    settings_of_optimizer,
    settings_of_scheduler,
)
from redunet.training.losses import VariationalMCR2Loss
from redunet.training.random_states import random_states, set_random_states
from redunet.training.state import read_state, write_state

if TYPE_CHECKING:
    import torch.distributed as dist

Batches = Iterable[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]

# What a training starts with, in the identity of its checkpoint.
WEIGHTS, VALUES = "starting weights", "starting values"


def train(
    featurizer: nn.Module,
    loss: Loss,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    latch_every: int = 50,
    scheduler: LRScheduler | None = None,
    autocast: torch.dtype | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    process_group: "dist.ProcessGroup | None" = None,
    progress: bool = False,
) -> TrainingHistory:
    """Train a featurizer, and record the true rate reduction of its features.

    With a :class:`redunet.VariationalMCR2Loss`, steps of its dictionary alternate with steps of the
    featurizer. The dictionary is latched on all samples before the first epoch, and again every
    ``latch_every`` epochs (Algorithm 1).

    Parameters
    ----------
    featurizer : nn.Module
        A module that maps samples to features ``(m, d)`` of unit norm.
    loss : callable
        A function of features and labels, such as :class:`redunet.MCR2Loss`.
    batches : DataLoader or other iterable
        Pairs of samples and labels. Each epoch iterates over all of them, and moves them to the
        device of the featurizer.
    optimizer : torch.optim.Optimizer
        An optimizer of the featurizer's parameters.
    epochs : int
        Number of epochs.
    latch_every : int
        Number of epochs from one latching to the next.
    scheduler : torch.optim.lr_scheduler.LRScheduler, optional
        A schedule of the learning rate, which takes one step after each epoch.
    autocast : {torch.bfloat16, torch.float16}, optional
        Compute the featurizer in this type where autocasting allows it. Parameters and the loss
        stay in float32. With float16, the loss is scaled so that small gradients do not vanish.
    checkpoint : str or path, optional
        A file that is written after each epoch, completely or not at all. After an interruption,
        the same call resumes from this file, with the same batches, starting weights, loss and
        optimizer; anything else is refused. The batches are read once more for this, before the
        first epoch. On a CPU the result is the same as without the interruption if all random
        numbers come from the global generators of torch, NumPy and Python, or from the
        ``generator`` of a DataLoader.
    process_group : torch.distributed.ProcessGroup, optional
        The processes that train together. The featurizer is then a ``DistributedDataParallel``, and
        every process iterates over its part of each batch. The loss is that of the whole batch.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    TrainingHistory

    Raises
    ------
    ValueError
        If settings are out of range, the featurizer does not suit the processes, there are no
        batches, or the checkpoint is damaged or belongs to another training.

    References
    ----------
    Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022),
    Algorithm 1.
    """
    epochs, latch_every = check_count(epochs=epochs, latch_every=latch_every)
    if autocast not in (None, torch.bfloat16, torch.float16):
        raise ValueError(f"autocast must be torch.bfloat16 or torch.float16, got {autocast}")
    checkpoint = check_path("checkpoint", checkpoint)
    processes = Processes(process_group)
    if processes.size > 1 and not isinstance(featurizer, DistributedDataParallel):
        name = type(featurizer).__name__
        raise ValueError(
            f"with several processes, featurizer must be a DistributedDataParallel, got {name}"
        )
    training = _Training(featurizer, loss, optimizer, scheduler, autocast, processes)
    if epochs > 1 or checkpoint is not None or training.variational:
        check_rereadable(batches, "a training")
    if checkpoint is not None:
        training.prepare(checkpoint, batches, latch_every)
    with tqdm(total=epochs, initial=training.epoch, desc="epochs", disable=not progress) as bar:
        while training.epoch < epochs:
            training.run_epoch(batches, latch_every)
            if checkpoint is not None:
                training.save(checkpoint, batches)
            bar.set_postfix(rate_reduction=f"{training.history.delta[-1]:.4g}")
            bar.update()
    return training.history


class _Training:
    """Everything that changes during a training."""

    def __init__(
        self,
        featurizer: nn.Module,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None,
        autocast: torch.dtype | None,
        processes: Processes,
    ):
        self.featurizer, self.loss, self.optimizer = featurizer, loss, optimizer
        self.scheduler, self.autocast, self.processes = scheduler, autocast, processes
        self.variational = loss if isinstance(loss, VariationalMCR2Loss) else None
        self.meter = RateReductionMeter(getattr(loss, "eps_sq", 0.5))
        self.device = next(featurizer.parameters()).device
        scaled = autocast is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.epoch = 0
        self.history = TrainingHistory()
        self.identity: Identity = {}
        self.begun: dict[str, Any] = {}  # the random states before the first epoch

    def run_epoch(self, batches: Batches, latch_every: int) -> None:
        """Latch if it is time, and take a step on every batch."""
        start = time.perf_counter()
        self._share_loss()
        if self.variational is not None and self.epoch % latch_every == 0:
            with self._autocasting():
                Z, labels = features(self.featurizer, batches)
            self.variational.latch(*self._gather(Z, labels))
        self.meter.reset()
        self.featurizer.train()
        values = [self._step(X, y) for X, y in _on_device(batches, self.featurizer)]
        if self.scheduler is not None:
            self.scheduler.step()
        self.epoch += 1
        means = torch.stack(values).mean(0)
        self.history.append(means, self.meter.compute(), time.perf_counter() - start)

    def _step(self, X: Tensor, labels: Tensor) -> Tensor:
        """Take one step; the loss, and R^v and R_c^v if the loss is variational."""
        with self._autocasting():
            Z = self.featurizer(X)
        Z, labels = self._gather(Z, labels)
        # Without gradients that are finite, the scaler leaves out the step.
        overflowed = self.scaler.is_enabled() and not bool(torch.isfinite(Z.detach()).all())
        if self.variational is not None and not overflowed:
            self.variational.update(Z.detach(), labels)
        value = undefined_loss(Z) if overflowed else self.loss(Z, labels)
        self.optimizer.zero_grad()
        self.scaler.scale(value).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if not overflowed:
            self.meter.update(Z, labels)
        rates = () if self.variational is None else self.variational.rates(labels)
        return torch.stack([value.detach(), *rates])

    def _autocasting(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)

    def _gather(self, Z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Features, in full precision, and labels of all processes."""
        if self.autocast is not None:
            Z = Z.float()
        if self.processes.size == 1:
            return Z, labels
        return GatheredFeatures.apply(Z, self.processes), gathered(labels, self.processes)

    def _share_loss(self) -> None:
        """Give all processes the parameters and the dictionary of the first one."""
        if self.processes.size > 1 and isinstance(self.loss, nn.Module):
            for value in self.loss.state_dict().values():
                if isinstance(value, Tensor):
                    self.processes.all_reduce(value if self.processes.rank == 0 else value.zero_())

    def _parts(self) -> dict[str, Any]:
        """All objects that have a ``state_dict``."""
        several = isinstance(self.featurizer, DistributedDataParallel)
        parts = {
            "featurizer": self.featurizer.module if several else self.featurizer,
            "loss": self.loss if isinstance(self.loss, nn.Module) else None,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.scaler,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def prepare(self, path: Path, batches: Batches, latch_every: int) -> None:
        """Determine what a checkpoint belongs to, and resume from it if it is there.

        Raises
        ------
        ValueError
            If the checkpoint belongs to another training.
        """
        state = read_state(path) if path.exists() else {}
        if state and len(state["random"]) != self.processes.size:
            raise ValueError(
                f"{path} was written by {len(state['random'])} processes, got {self.processes.size}"
            )
        if "begun" in state:
            self.begun = state["begun"][self.processes.rank]
        else:
            self.begun = random_states(self.device, batches)
        own = self._identity(latch_every)
        own |= identity_of_batches(batches, self.begun, self.device)
        self.identity = combined(own, self.processes)
        if state:
            self._restore(state, path, batches)

    def _identity(self, latch_every: int) -> Identity:
        parts = self._parts()
        identity = VERSION | {"latch_every": latch_every, "autocast": str(self.autocast)}
        identity |= identity_of_module("featurizer", parts["featurizer"], WEIGHTS)
        identity |= identity_of_module("loss", self.loss, VALUES)
        identity["the optimizer"] = settings_of_optimizer(self.optimizer)
        if self.scheduler is not None:
            identity["the scheduler"] = settings_of_scheduler(self.scheduler)
        return identity

    def save(self, path: Path, batches: Batches) -> None:
        """Write the state of the training to one file; the first process does it for all."""
        states = random_states(self.device, batches), self.begun
        random, begun = zip(*self.processes.all_gather_object(states), strict=True)
        if self.processes.rank > 0:
            return
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"epoch": self.epoch, "history": asdict(self.history), "random": random}
        state |= {"identity": self.identity, "begun": begun}
        write_state(state, path)

    def _restore(self, state: dict[str, Any], path: Path, batches: Batches) -> None:
        """Resume from a state that :meth:`save` wrote."""
        identity = state.get("identity", {})
        for name, fact in (("featurizer", WEIGHTS), ("loss", VALUES)):
            part, fact = self._parts().get(name), f"the {fact} of the {name}"
            # Modules that are already as the training left them may go on.
            if part is not None and digest_of(part.state_dict()) == digest_of(state[name]):
                self.identity[fact] = identity.get(fact)
        check_identity(identity, self.identity, "training", path, self.processes)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.epoch, self.history = state["epoch"], TrainingHistory(**state["history"])
        set_random_states(state["random"][self.processes.rank], self.device, batches)


@torch.no_grad()
def features(featurizer: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Compute the features of all batches, in evaluation mode.

    Parameters
    ----------
    featurizer : nn.Module
    batches : DataLoader or other iterable
        Pairs of samples and labels.

    Returns
    -------
    Z : Tensor of shape (m, d)
    labels : Tensor of shape (m,)
    """
    featurizer.eval()
    pairs = [(featurizer(X), labels) for X, labels in _on_device(batches, featurizer)]
    Z, labels = zip(*pairs, strict=True)
    return torch.cat(Z), torch.cat(labels)


def _on_device(batches: Batches, featurizer: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches on the device of the featurizer.

    Raises
    ------
    TypeError
        If a batch is not a pair of samples and labels.
    ValueError
        If there are no batches.
    """
    device, count = next(featurizer.parameters()).device, 0
    for batch in batches:
        X, labels = pair_of(batch, "batches")
        yield torch.as_tensor(X).to(device), torch.as_tensor(labels).to(device)
        count += 1
    if not count:
        raise ValueError("batches has no samples: it is empty, or can be read only once")
