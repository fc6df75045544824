"""Fine-tuning: training of a constructed network and a head by back-propagation."""

import copy
import math
import os

import torch
from torch import nn
from tqdm import tqdm

from redunet._checks import Array, check_count, check_flag, check_number, check_positive
from redunet._warnings import warn
from redunet.construction.sources import Data
from redunet.files.atomic import check_path
from redunet.network import ReduNet
from redunet.training.batches import Batch, split
from redunet.training.fine_tuned import FineTuned
from redunet.training.heads import HEADS, ResidualHead
from redunet.training.losses import takes_features
from redunet.training.tuning import Tuning

# A loss that has risen by more than this, relatively or in nats, diverges.
RISE = 0.1


def finetune(
    net: ReduNet,
    X: Array | Data,
    labels: Array | None = None,
    *,
    epochs: int = 10,
    head: str = "residual",
    loss: nn.Module | None = None,
    lr: float | None = None,
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

    All operators are trained, including complex operators and low-rank factors. Steps are those of
    Adam, relative to the size of each operator; see ``lr``.

    The result has the weights of the epoch with the largest validation accuracy. If no epoch gets
    more validation samples right than the constructed network, by more than one standard error of
    the difference, the result is the constructed network with a residual head, and a warning says
    so. Without validation samples, the result has the weights of the last epoch.

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
    head : {"residual", "linear"}
        ``"residual"`` computes logits from the residual norms of the last layer. It adds no
        parameters, starts with the predictions of the constructed network, and stays invariant to
        shifts. ``"linear"`` computes logits as linear functions of the flattened features, from
        random weights.
    loss : nn.Module, optional
        A function of logits and integer labels; by default cross-entropy. A loss whose attribute
        ``of_features`` is true, such as :class:`redunet.MCR2Loss`, gets features instead of logits.
    lr : float, optional
        Learning rate, relative to the root mean square of each parameter: with 0.002, a step
        changes its entries by about 0.2 % of this value. Operators have scales from 1 to 10⁴, so no
        absolute rate would suit all of them. A linear head learns ten times as fast. The rates fall
        to 0 along half a cosine. By default the first step changes the logits of the first batch by
        0.5 (root mean square). ``history.lr`` is the rate that was taken.
    momentum, weight_decay : float
        Momentum and decoupled weight decay of Adam (AdamW).
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
        this file; with other samples, labels, networks or settings it is refused.
    seed : int
        Seed of the head, of the order of the batches, and of the choice of held-out samples.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    FineTuned
        The fine-tuned network, with ``predict``, ``membership``, ``save`` and ``history``.

    Raises
    ------
    ValueError
        If samples or labels do not fit the network, or settings are out of range.

    Warns
    -----
    ReduNetWarning
        If the loss diverges, or no epoch is better than the constructed network.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Table 2. Loshchilov and Hutter, Decoupled
    Weight Decay Regularization (ICLR 2019).
    """
    epochs, batch_size, patience = check_count(
        epochs=epochs, batch_size=batch_size, patience=patience
    )
    lr, seed = check_positive(lr=lr), check_count(0, seed=seed)
    hermitian = check_flag(hermitian=hermitian)
    momentum, weight_decay = check_number(momentum=momentum, weight_decay=weight_decay)
    if not isinstance(validation, tuple):
        validation = check_number(validation=validation)
    checkpoint = check_path("checkpoint", checkpoint)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
    if head not in HEADS:
        raise ValueError(f"head must be one of {sorted(HEADS)}, got {head!r}")
    if takes_features(loss) and head != "residual":
        raise ValueError("a loss on features does not train a linear head: use head='residual'")
    generator = torch.Generator()
    train, held_out = split(net, X, labels, validation, batch_size, generator, seed)
    device = net.layers[0].proportions.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = FineTuned(copy.deepcopy(net), HEADS[head](net))
        first = next(iter(train), None)
    if first is None:
        raise ValueError("X has no samples: it is empty")
    model.head.fit(model.net, first[0])
    model.net.layers.requires_grad_(True)
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
    tuning = Tuning(model, loss or nn.CrossEntropyLoss(), settings)
    before = tuning.start(first)
    if checkpoint is not None:
        tuning.prepare(checkpoint, train, held_out)
    with tqdm(total=epochs, initial=tuning.epoch, desc="epochs", disable=not progress) as bar:
        while tuning.epoch < epochs and not (patience and tuning.epochs_since_best() >= patience):
            # The same batches after an interruption, also those of a loader that shuffles.
            generator.manual_seed(seed + tuning.epoch)
            try:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed + tuning.epoch)
                    tuning.run_epoch(train, held_out)
            except FloatingPointError:
                break
            if checkpoint is not None:
                tuning.save(checkpoint, train)
            bar.set_postfix({n: f"{v:.4g}" for n, v in model.history.latest().items()})
            bar.update()
    with torch.no_grad():
        after = tuning.loss_of(*first).item()
    if not after - before <= RISE * max(1, abs(before)):  # it may be NaN
        warn(
            f"fine-tuning diverges: the loss of the first batch rises from {before:.3g} to "
            f"{after:.3g}; pass a smaller learning rate, such as lr={model.history.lr / 10:.1g}"
        )
    tuned = tuning.best_model()
    if held_out is None:
        return tuned
    constructed = FineTuned(copy.deepcopy(net), ResidualHead(net))
    constructed.head.fit(net, first[0])
    return _better(tuned, constructed, held_out, loss if takes_features(loss) else None)


def _better(
    tuned: FineTuned, constructed: FineTuned, held_out: Batch, loss: nn.Module | None
) -> FineTuned:
    """The fine-tuned network if it is better on validation samples, else the constructed one.

    A loss of features decides itself. Otherwise the share of right predictions does.
    """
    X, targets = held_out
    history = tuned.history
    ours, before = (model.is_right(X, targets) for model in (tuned, constructed))
    history.constructed_accuracy = before.double().mean().item()
    if loss is None:
        gained, lost = int((ours & ~before).sum()), int((before & ~ours).sum())
        is_better = gained - lost > math.sqrt(gained + lost)
    else:
        with torch.no_grad():
            is_better = bool(loss(tuned.net(X), targets) < loss(constructed.net(X), targets))
    if is_better:
        return tuned
    warn(
        f"the constructed network is returned as it was, with head='residual': of {len(X)} "
        f"validation samples it has {int(before.sum())} right, and the best epoch {int(ours.sum())}"
        "; pass more samples. If it was constructed from the validation samples, it is too good "
        "on them: pass others, as validation=(X, labels)"
    )
    history.best_epoch = 0
    constructed.history = history
    return constructed.requires_grad_(False).eval()
