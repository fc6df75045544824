"""Fine-tuning: training of a constructed network and a head by back-propagation."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from redunet._checks import Array, check_count, check_number, check_positive
from redunet._tables import bar_options
from redunet._warnings import warn
from redunet.construction.sources import Data, check_rereadable, pair_of
from redunet.network import ReduNet
from redunet.rates.partition import Partition
from redunet.training.fine_tuned import HEADS, FineTuned, Head, ResidualHead
from redunet.training.losses import takes_features

Batch = tuple[Tensor, Tensor]  # samples, and the positions of their classes
Batches = Callable[[], Iterator[Batch]]  # those of one epoch

# A loss that has risen by more than this, relatively or in nats, diverges.
RISE = 0.1

# The first step changes logits by this, of which the two largest of a sample differ by about 10. It
# follows from a trial step, and is no longer than the last of these shares of the parameters.
FIRST_CHANGE, TRIAL, LONGEST = 0.5, 1e-3, 0.03

# A head that starts at random learns faster than the operators, by this factor.
HEAD_RATE = 10

# Adam's decay of the mean gradient and of the mean squares, and the smallest root of a mean square.
BETAS, SMALLEST = (0.9, 0.999), 1e-8


def finetune(
    net: ReduNet,
    X: Array | Data,
    labels: Array | None = None,
    *,
    epochs: int = 10,
    head: str = "residual",
    loss: nn.Module | None = None,
    lr: float | None = None,
    batch_size: int = 128,
    validation: float | tuple[Array, Array] | None = 0.1,
    patience: int | None = None,
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
        parameters, starts with the predictions of the constructed network and its reader, and stays
        invariant to shifts. ``"linear"`` computes logits as linear functions of the flattened
        features, from random weights, without the reader.
    loss : nn.Module, optional
        A function of logits and integer labels; by default cross-entropy. A loss whose attribute
        ``of_features`` is true, such as :class:`redunet.MCR2Loss`, gets features instead of logits.
    lr : float, optional
        Learning rate, relative to the root mean square of each parameter: with 0.002, a step
        changes its entries by about 0.2 % of this value. Operators have scales from 1 to 10⁴, so no
        absolute rate would suit all of them. A linear head learns ten times as fast. The rates fall
        to 0 along half a cosine. By default the first step changes the logits of the first batch by
        0.5 (root mean square). ``history.lr`` is the rate that was taken.
    batch_size : int
        Number of samples per batch.
    validation : float, tuple of (X, labels), or None
        Fraction of the samples to hold out for validation, or a separate set of validation samples.
        Validation determines the best epoch. A Dataset or DataLoader needs a tuple or None.
    patience : int, optional
        Stop after this number of epochs without an improvement.
    seed : int
        Seed of the random numbers of torch during the training, and of the choice of held-out
        samples. The state of torch does not change in the end.
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
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Table 2. Kingma and Ba, Adam (ICLR 2015).
    """
    epochs, batch_size, patience = check_count(
        epochs=epochs, batch_size=batch_size, patience=patience
    )
    lr, seed = check_positive(lr=lr), check_count(0, seed=seed)
    if not isinstance(validation, tuple):
        validation = check_number(validation=validation)
    kind: Callable[[ReduNet], Head] = HEADS[head]
    if takes_features(loss) and head != "residual":
        raise ValueError("a loss on features does not train a linear head: use head='residual'")
    loss = loss or nn.CrossEntropyLoss()
    batches, held_out = _split(net, X, labels, validation, batch_size, seed)
    with torch.random.fork_rng(_devices()):
        torch.manual_seed(seed)
        model = FineTuned(copy.deepcopy(net), kind(net))
        first = next(batches(), None)
        if first is None:
            raise ValueError("X has no samples: it is empty")
        model.head.fit(model.net, first[0])
        model.net.layers.requires_grad_(True)
        value = _loss_of(model, loss, *first)
        before = value.item()
        model.history.lr = _suitable_rate(model, value, first[0]) if lr is None else lr
        best = _train(model, loss, batches, held_out, epochs, patience, progress=progress)
    with torch.no_grad():
        after = _loss_of(model, loss, *first).item()
    if not after - before <= RISE * max(1, abs(before)):  # it may be NaN
        warn(
            f"fine-tuning diverges: the loss of the first batch rises from {before:.3g} to "
            f"{after:.3g}; pass a smaller learning rate, such as lr={model.history.lr / 10:.1g}"
        )
    model.load_state_dict(best)
    if held_out is not None:
        constructed = FineTuned(copy.deepcopy(net), ResidualHead(net))
        constructed.head.fit(net, first[0])
        model = _better(model, constructed, loss, *held_out)
    return model.requires_grad_(False).eval()


def _train(
    model: FineTuned,
    loss: nn.Module,
    batches: Batches,
    held_out: Batch | None,
    epochs: int,
    patience: int | None,
    *,
    progress: bool,
) -> dict[str, Tensor]:
    """Train for all epochs, or until a loss is not finite or patience is lost.

    The result has the best weights: those of the largest accuracy on validation samples, where the
    loss decides between ties; with a loss of features, those of its least value on them; without
    validation samples, the last ones. An epoch whose loss is not finite is not recorded.
    """
    history, best, best_score = model.history, _copy_of(model), -math.inf
    optimizer = _optimizer(model, history.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    with tqdm(range(1, epochs + 1), desc="epochs", **bar_options(progress)) as bar:
        for epoch in bar:
            found, score = {"loss": _run_epoch(model, loss, batches(), optimizer)}, float(epoch)
            if held_out is not None:
                with torch.no_grad():
                    error = _loss_of(model, loss, *held_out).item()
                accuracy = _is_right(model, *held_out).mean()
                found |= {"validation_loss": error, "validation_accuracy": float(accuracy)}
                score = -error if takes_features(loss) else accuracy - 1e-9 * error
            if not all(map(math.isfinite, found.values())):
                break
            for name, number in found.items():
                getattr(history, name).append(number)
            if score > best_score:
                best_score, history.best_epoch, best = score, epoch, _copy_of(model)
            schedule.step()
            bar.set_postfix({n: f"{v:.4g}" for n, v in found.items()}, refresh=False)
            if epoch - history.best_epoch >= (patience or math.inf):
                break
    return best


def _run_epoch(
    model: FineTuned, loss: nn.Module, batches: Iterable[Batch], optimizer: torch.optim.Optimizer
) -> float:
    """Train on batches. The result is their mean loss, or the first one that is not finite."""
    total = count = 0.0
    for X, targets in batches:
        value = _loss_of(model, loss, X, targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item() * len(X)
        count += len(X)
        if not math.isfinite(total):
            break
    return total / count


def _optimizer(model: FineTuned, rate: float) -> torch.optim.Adam:
    """Adam on parameters that are divided by their root mean square.

    The length of a step does not depend on the scale of the gradient, and it is a share of the
    size of the parameter. A network whose operators have other units takes the same steps.
    """
    rates = dict.fromkeys(model.net.layers.parameters(), rate)
    rates |= dict.fromkeys(model.head.parameters(), HEAD_RATE * rate)
    groups = []
    for p, lr in rates.items():  # Adam on p/s with lr and eps is Adam on p with s lr and eps/s
        size = p.detach().abs().square().mean().sqrt().item() or 1.0
        groups.append({"params": [p], "lr": lr * size, "eps": SMALLEST / size})
    return torch.optim.Adam(groups, betas=BETAS)


def _suitable_rate(model: FineTuned, loss: Tensor, X: Tensor) -> float:
    """The learning rate whose first step changes the logits of a batch by FIRST_CHANGE."""
    start, optimizer = _copy_of(model), _optimizer(model, TRIAL)
    loss.backward()
    with torch.no_grad():
        before = model(X)
        optimizer.step()  # Adam's first step only has the signs of the gradient
        change = (model(X) - before).square().mean().sqrt().item()
    model.load_state_dict(start)
    return min(LONGEST, TRIAL * FIRST_CHANGE / change) if change > 0 else LONGEST


def _loss_of(model: FineTuned, loss: nn.Module, X: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of samples, with the positions of their classes."""
    if takes_features(loss):
        return loss(model.net(X), targets)
    logits = model(X)
    return loss(logits, targets.to(logits.device))


@torch.no_grad()
def _is_right(model: FineTuned, X: Tensor, targets: Tensor) -> np.ndarray:
    """Whether each sample gets the class of its position, ``(m,)``."""
    return (model(X).argmax(1).cpu() == targets.cpu()).numpy()


@torch.no_grad()
def _better(
    tuned: FineTuned, constructed: FineTuned, loss: nn.Module, X: Tensor, targets: Tensor
) -> FineTuned:
    """The fine-tuned network if it is better on validation samples, else the constructed one.

    A loss of features decides itself. Otherwise the share of right predictions does.
    """
    history = tuned.history
    ours, before = (_is_right(model, X, targets) for model in (tuned, constructed))
    history.constructed_accuracy = float(before.mean())
    if takes_features(loss):
        after, first = (_loss_of(model, loss, X, targets) for model in (tuned, constructed))
        is_better = bool(after < first)
    else:
        gained, lost = (ours & ~before).sum(), (before & ~ours).sum()
        is_better = gained - lost > math.sqrt(gained + lost)
    if is_better:
        return tuned
    warn(
        f"the constructed network is returned as it was, with head='residual': of {len(X)} "
        f"validation samples it has {before.sum()} right, and the best epoch {ours.sum()}; pass "
        "more samples. If it was constructed from the validation samples, it is too good on them: "
        "pass others, as validation=(X, labels)"
    )
    history.best_epoch = 0
    constructed.history = history
    return constructed


def _split(
    net: ReduNet,
    X: Array | Data,
    labels: Array | None,
    validation: float | tuple[Array, Array] | None,
    batch_size: int,
    seed: int,
) -> tuple[Batches, Batch | None]:
    """Training batches, in another order in each epoch, and validation samples."""
    held_out = _checked(net, *validation) if isinstance(validation, tuple) else None
    if isinstance(X, Dataset | DataLoader):
        if labels is not None:
            raise ValueError(f"X is a {type(X).__name__}, which has its own labels")
        check_rereadable(X, "fine-tuning")
        if isinstance(validation, int | float):
            raise ValueError("a data set cannot be split: pass validation=(X, labels), or None")
        loader = X if isinstance(X, DataLoader) else DataLoader(X, batch_size, shuffle=True)
        return lambda: (_checked(net, *pair_of(batch, "X")) for batch in loader), held_out
    if labels is None:
        raise ValueError("labels are missing: only a Dataset or DataLoader supplies its own")
    X, targets = _checked(net, X, labels)
    if isinstance(validation, int | float):
        from sklearn.model_selection import train_test_split

        train_rows, validation_rows = train_test_split(
            np.arange(len(X)), test_size=validation, stratify=targets.cpu(), random_state=seed
        )
        held_out = X[validation_rows], targets[validation_rows]
        X, targets = X[train_rows], targets[train_rows]

    def shuffled() -> Iterator[Batch]:
        order = torch.randperm(len(X), device="cpu").to(X.device)
        return ((X[rows], targets[rows]) for rows in order.split(batch_size))

    return shuffled, held_out


def _checked(net: ReduNet, X: Array, labels: Array) -> Batch:
    """Samples that fit a network, and the positions of their classes."""
    X = net.samples(X)
    partition = Partition.from_labels(
        labels, len(X), classes=net.classes_, device=X.device, partial=True
    )
    return X, partition.membership.argmax(1)


def _devices() -> Iterable[int]:
    """The GPUs that have been used, whose random numbers have a state."""
    return range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()


def _copy_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in model.state_dict().items()}
