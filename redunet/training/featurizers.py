"""Training of a featurizer by a loss on its features, with a record of their rates."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from redunet._checks import check_count
from redunet.rates.coding_rates import RateReduction
from redunet.rates.meter import RateReductionMeter
from redunet.training.losses import VariationalMCR2Loss


@dataclass
class TrainingHistory:
    """The loss and the rates of each epoch.

    Attributes
    ----------
    loss : list of float
        Mean loss over the batches of the epoch.
    expansion, compression : list of float
        R and R_c, in nats, of the features of all samples, as computed when each batch was
        processed.
    variational : list of float
        Mean of R^v − R_c^v over the batches; empty unless the loss is variational.
    seconds : list of float
        Duration of the epoch, including the latching and the computation of the rates.
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

    def append(self, means: Tensor, rates: RateReduction, seconds: float) -> None:
        """Add an epoch. ``means`` holds the mean loss and, if it is variational, its two rates."""
        loss, *variational = means.tolist()
        self.loss.append(loss)
        self.expansion.append(rates.expansion.item())
        self.compression.append(rates.compression.item())
        if variational:
            self.variational.append(variational[0] - variational[1])
        self.seconds.append(seconds)


def train(
    featurizer: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    latch_every: int = 50,
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
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    TrainingHistory

    References
    ----------
    Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022),
    Algorithm 1.
    """
    check_count(epochs=epochs, latch_every=latch_every)
    history = TrainingHistory()
    variational = loss if isinstance(loss, VariationalMCR2Loss) else None
    meter = RateReductionMeter(getattr(loss, "eps_sq", 0.5))
    with tqdm(range(epochs), desc="epochs", disable=not progress) as bar:
        for epoch in bar:
            start = time.perf_counter()
            if variational is not None and epoch % latch_every == 0:
                variational.latch(*features(featurizer, batches))
            meter.reset()
            batch_values = []
            featurizer.train()
            for X, labels in _on_device(batches, featurizer):
                Z = featurizer(X)
                if variational is not None:
                    variational.update(Z.detach(), labels)
                value = loss(Z, labels)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                meter.update(Z, labels)
                rates = () if variational is None else variational.rates(labels)
                batch_values.append(torch.stack([value.detach(), *rates]))
            means = torch.stack(batch_values).mean(0)
            history.append(means, meter.compute(), time.perf_counter() - start)
            bar.set_postfix(rate_reduction=f"{history.delta[-1]:.4g}")
    return history


@torch.no_grad()
def features(
    featurizer: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
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


def _on_device(
    batches: Iterable[tuple[Tensor, Tensor]], featurizer: nn.Module
) -> Iterator[tuple[Tensor, Tensor]]:
    device = next(featurizer.parameters()).device
    return ((X.to(device), labels.to(device)) for X, labels in batches)
