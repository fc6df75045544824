"""The epochs of a fine-tuning, and their state in a file."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from redunet._processes import Processes
from redunet.files.identity import VERSION, Identity, check_identity, combined, digest_of
from redunet.training.batches import Batch, Batches
from redunet.training.fine_tuned import FineTuned, FineTuningHistory
from redunet.training.identity import identity_of_batches, identity_of_module
from redunet.training.losses import takes_features
from redunet.training.random_states import generators, random_states
from redunet.training.relative_adam import RelativeAdam
from redunet.training.state import read_state, write_state

KEY = "redunet fine-tuning"

# The first step changes logits by this, of which the two largest of a sample differ by about 10. It
# follows from a trial step, and is no longer than the last of these shares of the parameters.
FIRST_CHANGE, TRIAL, LONGEST = 0.5, 1e-3, 0.03

# A head that starts at random learns faster than the operators, by this factor.
HEAD_RATE = 10


class Tuning:
    """A model and the state of its training."""

    def __init__(
        self,
        model: FineTuned,
        loss: nn.Module,
        settings: dict[str, Any],
    ):
        self.model, self.loss, self.settings = model, loss, settings
        self.identity: Identity = {}  # what a checkpoint belongs to
        self.begun: dict[str, Any] = {}  # the random states before the first epoch
        self.epoch = self.best_epoch = 0
        self.best_score = -math.inf
        self.best = _copy_of(model)

    def start(self, batch: Batch) -> float:
        """Make the optimizer, with a learning rate that fits a batch. Returns the loss of it."""
        X, targets = batch
        self.optimizer = self._optimizer(TRIAL)
        loss = self.loss_of(X, targets)
        rate = self.settings["lr"]
        if rate is None:
            loss.backward()
            with torch.no_grad():
                before = self.model(X)
                self.optimizer.step()  # Adam's first step only has the signs of the gradient
                change = (self.model(X) - before).square().mean().sqrt().item()
            self.model.load_state_dict(self.best)
            rate = min(LONGEST, TRIAL * FIRST_CHANGE / change) if change > 0 else LONGEST
        self.optimizer = self._optimizer(rate)
        self.model.history.lr = rate
        return loss.item()

    def _optimizer(self, rate: float) -> RelativeAdam:
        rates = dict.fromkeys(self.model.net.layers.parameters(), rate)
        rates |= dict.fromkeys(self.model.head.parameters(), HEAD_RATE * rate)
        momentum, weight_decay = self.settings["momentum"], self.settings["weight_decay"]
        return RelativeAdam(rates, momentum=momentum, weight_decay=weight_decay)

    def run_epoch(self, train: Batches, held_out: Batch | None) -> None:
        """Train for one epoch; save a copy of the weights if they are the best so far.

        Raises
        ------
        FloatingPointError
            If the loss is not finite. The epoch is then not recorded.
        """
        self.optimizer.anneal(self.epoch / self.settings["epochs"])
        total = count = 0.0
        for X, targets in train:
            value = self.loss_of(X, targets)
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
            if self.settings["hermitian"]:
                for layer in self.model.net.layers:
                    layer.operators.make_hermitian_()
            total += _finite(value) * len(X)
            count += len(X)
        score = self._validate(*held_out) if held_out else self.epoch
        self.epoch += 1
        self.model.history.loss.append(total / count)
        if score > self.best_score:
            self.best_score, self.best_epoch, self.best = score, self.epoch, _copy_of(self.model)

    def epochs_since_best(self) -> int:
        """Number of epochs since the best one."""
        return self.epoch - self.best_epoch

    def best_model(self) -> FineTuned:
        """The model with its best weights, frozen."""
        self.model.load_state_dict(self.best)
        self.model.history.best_epoch = self.best_epoch
        return self.model.requires_grad_(False).eval()

    def save(self, path: Path, train: Batches) -> None:
        """Write the state of the training to one file, completely or not at all."""
        state = {
            "identity": self.identity,
            "begun": self.begun,
            "generators": [generator.get_state() for generator in generators(train)],
            "model": self.model.state_dict(),
            "best": self.best,
            "adam": self.optimizer.tensors(),
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "history": asdict(self.model.history),
        }
        write_state(state, path, KEY)

    def prepare(self, path: Path, train: Batches, held_out: Batch | None) -> None:
        """Determine what a checkpoint belongs to, and resume from it if it is there.

        Raises
        ------
        ValueError
            If the checkpoint belongs to another fine-tuning.
        """
        net, device = self.model.net, self.model.net.layers[0].proportions.device
        state = read_state(path, KEY, "fine-tuning") if path.exists() else {}
        self.begun = state.get("begun") or random_states(device, train)
        self.identity = VERSION | self.settings | {"the list of classes": net.classes_.tolist()}
        self.identity |= identity_of_module("network", net, "weights")
        self.identity |= identity_of_module("loss", self.loss, "starting values")
        self.identity |= identity_of_batches(train, self.begun, device)
        if held_out is not None:
            for name, values in zip(("samples", "labels"), held_out, strict=True):
                self.identity[f"the validation {name}"] = digest_of(values)
        self.identity = combined(self.identity, Processes())
        if state:
            stored = state.get("identity", {})
            check_identity(stored, self.identity, "fine-tuning", path, Processes())
            self._restore(state, train)

    def _restore(self, state: dict[str, Any], train: Batches) -> None:
        """Resume from a state that :meth:`save` wrote."""
        for generator, numbers in zip(generators(train), state["generators"], strict=True):
            generator.set_state(numbers)
        self.model.load_state_dict(state["model"])
        self.best = state["best"]
        self.optimizer.restore(state["adam"])
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_score = state["best_score"]
        self.model.history = FineTuningHistory(**state["history"])

    def loss_of(self, X: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of samples, with the positions of their classes."""
        if takes_features(self.loss):
            return self.loss(self.model.net(X), targets)
        logits = self.model(X)
        return self.loss(logits, targets.to(logits.device))

    @torch.no_grad()
    def _validate(self, X: Tensor, targets: Tensor) -> float:
        """Record loss and accuracy. The score is the accuracy; the loss decides between ties.

        With a loss of features, only the loss counts.
        """
        loss = _finite(self.loss_of(X, targets))
        accuracy = self.model.is_right(X, targets).double().mean().item()
        self.model.history.validation_loss.append(loss)
        self.model.history.validation_accuracy.append(accuracy)
        return -loss if takes_features(self.loss) else accuracy - 1e-9 * loss


def _finite(loss: Tensor) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value}")
    return value


def _copy_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in model.state_dict().items()}
