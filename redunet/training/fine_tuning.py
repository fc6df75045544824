"""Fine-tuning: training of a constructed network and a head by back-propagation."""

import copy
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset
from tqdm import tqdm

from redunet._checks import Array, check_count, check_flag, check_number, check_positive
from redunet.construction.sources import Data
from redunet.files.tensors import from_stored, parse_header, read_tensors, write_tensors
from redunet.network import ReduNet
from redunet.rates.partition import Partition
from redunet.training.heads import HEADS, FineTuned, FineTuningHistory
from redunet.training.losses import takes_features

Batch = tuple[Tensor, Tensor]  # samples, and the positions of their classes
Batches = Iterable[Batch]

Key = TypeVar("Key", int, str)

KEY = "redunet fine-tuning"


def finetune(
    net: ReduNet,
    X: Array | Data,
    labels: Array | None = None,
    *,
    epochs: int = 10,
    head: str = "linear",
    loss: nn.Module | None = None,
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    batch_size: int = 128,
    hermitian: bool = False,
    validation: float | tuple[Array, Array] | None = 0.1,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> FineTuned:
    """Train a copy of a network and a head on top of it by back-propagation.

    All operators are trained, including complex operators and low-rank factors. The result has the
    weights of the epoch with the largest validation accuracy. Without validation samples it has the
    weights of the last epoch.

    Parameters
    ----------
    net : ReduNet
        The network to copy. It does not change.
    X : array-like or Tensor of shape (m, *sample_shape), Dataset or DataLoader
        Training samples. A Dataset supplies its own labels, a DataLoader also its own batches.
    labels : array-like or Tensor of shape (m,)
        Labels of the samples. Each must be a label of the network.
    epochs : int
        Number of epochs.
    head : {"linear", "residual"}
        ``"linear"`` computes logits as linear functions of the flattened features. ``"residual"``
        computes them from the residual norms of the last layer. It adds no parameters, and the
        network stays invariant to shifts.
    loss : nn.Module, optional
        A function of logits and integer labels; by default cross-entropy. A loss whose attribute
        ``of_features`` is true, such as :class:`redunet.MCR2Loss`, gets features instead of logits.
    lr, momentum, weight_decay : float
        Learning rate, momentum and weight decay of stochastic gradient descent. The learning rate
        falls to 0 along half a cosine.
    batch_size : int
        Number of samples per batch.
    hermitian : bool
        Keep all operators Hermitian, as they are after the construction.
    validation : float, tuple of (X, labels), or None
        Fraction of the samples to hold out for validation, or a separate set of validation samples.
        Validation determines the best epoch. A Dataset or DataLoader needs a tuple or None.
    patience : int, optional
        Stop after this number of epochs without an improvement.
    checkpoint : str or path, optional
        A file that is written after each epoch. After an interruption, the same call resumes from
        this file.
    seed : int
        Seed of the head, of the order of the batches, and of the choice of held-out samples.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    FineTuned
        The fine-tuned network, with ``predict`` and ``history``.

    Raises
    ------
    ValueError
        If samples or labels do not fit the network, or settings are out of range.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Table 2.
    """
    epochs, batch_size, patience = check_count(
        epochs=epochs, batch_size=batch_size, patience=patience
    )
    lr, seed, hermitian = (
        check_positive(lr=lr),
        check_count(0, seed=seed),
        check_flag(hermitian=hermitian),
    )
    momentum, weight_decay = check_number(momentum=momentum, weight_decay=weight_decay)
    if not isinstance(validation, tuple):
        validation = check_number(validation=validation)
    if head not in HEADS:
        raise ValueError(f"head must be one of {sorted(HEADS)}, got {head!r}")
    if takes_features(loss) and head != "residual":
        raise ValueError("a loss on features does not train a linear head: use head='residual'")
    generator = torch.Generator()
    train, held_out = _split(net, X, labels, validation, batch_size, generator, seed)
    device = net.layers[0].proportions.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = FineTuned(copy.deepcopy(net), HEADS[head](net))
    model.head.fit(model.net, next(iter(train))[0])
    model.net.layers.requires_grad_(True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay)
    settings = {
        "head": head,
        "epochs": epochs,
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "hermitian": hermitian,
        "seed": seed,
    }
    tuning = _FineTuning(model, loss or nn.CrossEntropyLoss(), optimizer, settings)
    if checkpoint is not None and Path(checkpoint).exists():
        tuning.restore(Path(checkpoint))
    with tqdm(total=epochs, initial=tuning.epoch, desc="epochs", disable=not progress) as bar:
        while tuning.epoch < epochs and not (patience and tuning.epochs_since_best() >= patience):
            generator.manual_seed(seed + tuning.epoch)  # the same batches after an interruption
            tuning.run_epoch(train, held_out)
            if checkpoint is not None:
                tuning.save(Path(checkpoint))
            bar.set_postfix({n: f"{v[-1]:.4g}" for n, v in asdict(model.history).items() if v})
            bar.update()
    return tuning.best_model()


class _FineTuning:
    """A model and the state of its training."""

    def __init__(
        self,
        model: FineTuned,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: dict[str, Any],
    ):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.settings = settings
        self.epoch = self.best_epoch = 0
        self.best_score = -math.inf
        self.best = _copy_of(model)

    def run_epoch(self, train: Batches, held_out: Batch | None) -> None:
        """Train for one epoch; save a copy of the weights if they are the best so far."""
        done = self.epoch / self.settings["epochs"]
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings["lr"] * (1 + math.cos(math.pi * done)) / 2
        total = count = 0.0
        for X, targets in train:
            value = self._loss_of(X, targets)
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
            if self.settings["hermitian"]:
                for layer in self.model.net.layers:
                    layer.operators.make_hermitian_()
            total += value.item() * len(X)
            count += len(X)
        self.epoch += 1
        self.model.history.loss.append(total / count)
        score = self._validate(*held_out) if held_out else self.epoch
        if score > self.best_score:
            self.best_score, self.best_epoch, self.best = score, self.epoch, _copy_of(self.model)

    def epochs_since_best(self) -> int:
        return self.epoch - self.best_epoch

    def best_model(self) -> FineTuned:
        """The model with its best weights, frozen."""
        self.model.load_state_dict(self.best)
        return self.model.requires_grad_(False).eval()

    def save(self, path: Path) -> None:
        """Write the state of the training to one file, completely or not at all."""
        tensors = {f"model.{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"best.{n}": t for n, t in self.best.items()}
        tensors |= {f"momentum.{i}": t for i, t in self._momenta().items()}
        state = {
            "settings": self.settings,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "history": asdict(self.model.history),
        }
        write_tensors(tensors, path, KEY, state)

    def restore(self, path: Path) -> None:
        """Resume from a file that :meth:`save` wrote."""
        metadata, tensors = read_tensors(path)
        state = parse_header(metadata, KEY, path, "a checkpoint of fine-tuning")
        for name, expected in self.settings.items():
            stored = state["settings"][name]
            if stored != expected:
                raise ValueError(
                    f"{path} belongs to another fine-tuning: "
                    f"{name} is {stored}, expected {expected}"
                )
        like = self.model.state_dict()
        self.model.load_state_dict(_part(tensors, "model", like))
        self.best = _part(tensors, "best", like)
        parameters = dict(enumerate(self.optimizer.param_groups[0]["params"]))
        for i, buffer in _part(tensors, "momentum", parameters).items():
            self.optimizer.state[parameters[i]]["momentum_buffer"] = buffer.to(parameters[i].device)
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_score = state["best_score"]
        self.model.history = FineTuningHistory(**state["history"])

    def _loss_of(self, X: Tensor, targets: Tensor) -> Tensor:
        if takes_features(self.loss):
            return self.loss(self.model.net(X), targets)
        logits = self.model(X)
        return self.loss(logits, targets.to(logits.device))

    @torch.no_grad()
    def _validate(self, X: Tensor, targets: Tensor) -> float:
        """Record loss and accuracy. The score is the accuracy; the loss decides between ties."""
        loss = self._loss_of(X, targets).item()
        accuracy = (self.model(X).argmax(1).cpu() == targets).double().mean().item()
        self.model.history.validation_loss.append(loss)
        self.model.history.validation_accuracy.append(accuracy)
        return accuracy - 1e-9 * loss

    def _momenta(self) -> dict[int, Tensor]:
        parameters = self.optimizer.param_groups[0]["params"]
        states = (self.optimizer.state.get(p, {}).get("momentum_buffer") for p in parameters)
        return {i: buffer for i, buffer in enumerate(states) if buffer is not None}


def _split(
    net: ReduNet,
    X: Array | Data,
    labels: Array | None,
    validation: float | tuple[Array, Array] | None,
    batch_size: int,
    generator: torch.Generator,
    seed: int,
) -> tuple[Batches, Batch | None]:
    """Training batches and validation samples, with the positions of their classes."""
    if isinstance(X, Dataset | DataLoader):
        if labels is not None:
            raise ValueError(f"X is a {type(X).__name__}, which has its own labels")
        if isinstance(validation, int | float):
            raise ValueError("a data set cannot be split: pass validation=(X, labels), or None")
        held_out = None if validation is None else _checked(net, *validation)
        if isinstance(X, Dataset):
            X = DataLoader(X, batch_size, shuffle=True, generator=generator)
        return _Targeted(net, X), held_out
    if labels is None:
        raise ValueError("labels are missing: only a Dataset or DataLoader supplies its own")
    X, targets = _checked(net, X, labels)
    held_out = None
    if isinstance(validation, int | float):
        train_rows, validation_rows = train_test_split(
            np.arange(len(X)), test_size=validation, stratify=targets, random_state=seed
        )
        held_out = X[validation_rows], targets[validation_rows]
        X, targets = X[train_rows], targets[train_rows]
    elif validation is not None:
        held_out = _checked(net, *validation)
    data = TensorDataset(X, targets)
    sampler = BatchSampler(RandomSampler(data, generator=generator), batch_size, drop_last=False)
    return DataLoader(data, sampler=sampler, batch_size=None, generator=generator), held_out


class _Targeted:
    """Batches of a loader, with positions of classes instead of labels."""

    def __init__(self, net: ReduNet, loader: DataLoader[Any]):
        self._net = net
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        return (_checked(self._net, X, labels) for X, labels in self._loader)


def _checked(net: ReduNet, X: Array, labels: Array) -> Batch:
    """Samples that fit a network, and the positions of their classes."""
    X = net.samples(X)
    partition = Partition.from_labels(labels, len(X), classes=net.classes_, partial=True)
    return X, partition.membership.argmax(1)


def _copy_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def _part(tensors: dict[str, Tensor], prefix: str, like: dict[Key, Tensor]) -> dict[Key, Tensor]:
    """The tensors of a checkpoint whose names have this prefix and end in a name in ``like``."""
    return {
        name: from_stored(tensors[f"{prefix}.{name}"], t)
        for name, t in like.items()
        if f"{prefix}.{name}" in tensors
    }
