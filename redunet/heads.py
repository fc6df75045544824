"""A constructed network with a head on it, which makes logits of what it finds."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redunet.network import ReduNet


class LinearHead(nn.Module):
    """Logits as linear functions of the flattened features, whose entries are made of order 1."""

    def __init__(self, net: ReduNet):
        super().__init__()
        like = net.layers[0].proportions
        self.linear = nn.Linear(
            math.prod(net.feature_shape), len(net.classes_), device=like.device, dtype=like.dtype
        )

    def forward(self, net: ReduNet, X: Tensor) -> Tensor:
        """Samples to logits ``(m, k)``."""
        return self.logits(net(X))

    def logits(self, features: Tensor) -> Tensor:
        """Of features ``(m, *feature_shape)``."""
        features = features.flatten(1)
        return self.linear(math.sqrt(features.shape[1]) * features)


class ResidualHead(nn.Module):
    """Minus the last layer's residual norms ‖Cʲ v‖, times a fixed sharpness, as logits.

    The sharpness is such that residuals against the own and the next class differ by 10 in the
    mean: with the λ = 500 of memberships nothing but the worst samples would count.
    """

    def __init__(self, net: ReduNet):
        super().__init__()
        self.register_buffer("sharpness", net.layers[0].proportions.new_ones(()))

    @torch.no_grad()
    def fit(self, net: ReduNet, X: Tensor) -> None:
        """Find the sharpness."""
        nearest, second = net.residual_norms(X).topk(2, largest=False).values.mean(0)
        self.sharpness.copy_(10 / (second - nearest).clamp_min(1e-6))

    def forward(self, net: ReduNet, X: Tensor) -> Tensor:
        """Samples to logits ``(m, k)``."""
        return self.logits(net.residual_norms(X))

    def logits(self, residual_norms: Tensor) -> Tensor:
        """Of residual norms ``(m, k)``."""
        return -self.sharpness * residual_norms


HEADS = {"linear": LinearHead, "residual": ResidualHead}


@dataclass
class FineTuningHistory:
    """What happened in each epoch.

    Attributes
    ----------
    loss : list of float
        Mean over the training batches.
    validation_loss, validation_accuracy : list of float
        Empty without validation samples.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


class FineTuned(nn.Module):
    """A network with a head on it, from samples to logits; :func:`finetune` makes it.

    Parameters
    ----------
    net : ReduNet
    head : nn.Module
        From the network and samples to logits.

    Attributes
    ----------
    classes_ : numpy array (k,)
        Labels, in the order of the logits.
    history : FineTuningHistory
    """

    def __init__(self, net: ReduNet, head: nn.Module):
        super().__init__()
        self.net = net
        self.head = head
        self.classes_ = net.classes_
        self.history = FineTuningHistory()

    def forward(self, X: Any) -> Tensor:
        """Logits ``(m, k)`` of samples ``(m, *sample_shape)``."""
        return self.head(self.net, X)

    @torch.no_grad()
    def predict(self, X: Any) -> np.ndarray:
        """The label of the largest logit for each sample, a numpy array ``(m,)``.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        """
        return self.classes_[self(X).argmax(1).cpu().numpy()]
