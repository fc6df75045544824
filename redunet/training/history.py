"""The record of a training."""

from dataclasses import dataclass, field

from torch import Tensor

from redunet.rates.coding_rates import RateReduction


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
