"""Heads that compute logits from the output of a constructed network."""

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array
from redunet.files.exporting import Graph
from redunet.layers.real import RealNetwork
from redunet.network import ReduNet


class Head(nn.Module, ABC):
    """A module that computes logits from the features or the residual norms of a network.

    Attributes
    ----------
    takes_residuals : bool
        Whether :meth:`logits` takes the residual norms ``(m, k)`` of the last layer instead of
        features ``(m, *feature_shape)``.
    """

    takes_residuals: ClassVar[bool]

    @abstractmethod
    def logits(self, found: Tensor) -> Tensor:
        """Map features or residual norms to logits ``(m, k)``."""

    def fit(self, net: ReduNet, X: Tensor) -> None:
        """Adapt the head to a network and some of its samples. By default this does nothing."""

    def forward(self, net: ReduNet, X: Tensor) -> Tensor:
        """Map samples to logits ``(m, k)``."""
        return self.logits(net.residual_norms(X) if self.takes_residuals else net(X))


class LinearHead(Head):
    """Linear functions of the flattened features, after scaling the features to order 1."""

    takes_residuals = False

    def __init__(self, net: ReduNet):
        super().__init__()
        like = net.layers[0].proportions
        self.linear = nn.Linear(
            math.prod(net.feature_shape), len(net.classes_), device=like.device, dtype=like.dtype
        )

    def logits(self, found: Tensor) -> Tensor:
        """Map features ``(m, *feature_shape)`` to logits ``(m, k)``."""
        features = found.flatten(1)
        logits: Tensor = self.linear(math.sqrt(features.shape[1]) * features)
        return logits


class ResidualHead(Head):
    """Logits −s ‖Cʲ v‖ from the residual norms of the last layer, with a fixed sharpness s.

    The sharpness is set so that the two largest logits of a sample differ by 10 on average. With
    λ = 500, as for memberships, only the worst samples would contribute to the gradient.
    """

    takes_residuals = True
    sharpness: Tensor

    def __init__(self, net: ReduNet):
        super().__init__()
        self.register_buffer("sharpness", net.layers[0].proportions.new_ones(()))

    @torch.no_grad()
    def fit(self, net: ReduNet, X: Tensor) -> None:
        """Set the sharpness."""
        nearest, second = net.residual_norms(X).topk(2, largest=False).values.mean(0)
        self.sharpness.copy_(10 / (second - nearest).clamp_min(1e-6))

    def logits(self, found: Tensor) -> Tensor:
        """Map residual norms ``(m, k)`` to logits ``(m, k)``."""
        return -self.sharpness * found


HEADS: dict[str, type[Head]] = {"linear": LinearHead, "residual": ResidualHead}


@dataclass
class FineTuningHistory:
    """The loss and the accuracy of each epoch.

    Attributes
    ----------
    loss : list of float
        Mean loss over the training samples.
    validation_loss, validation_accuracy : list of float
        Loss and accuracy on the validation samples; empty if there are none.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


class FineTuned(nn.Module):
    """A network with a head, from samples to logits. :func:`finetune` returns one.

    Parameters
    ----------
    net : ReduNet
        The network.
    head : Head
        The head that computes logits from the output of the network.

    Attributes
    ----------
    classes_ : numpy array (k,)
        The labels, in the order of the logits.
    history : FineTuningHistory
        The loss and the accuracy of each epoch.
    """

    def __init__(self, net: ReduNet, head: Head):
        super().__init__()
        self.net = net
        self.head = head
        self.classes_ = net.classes_
        self.history = FineTuningHistory()

    def forward(self, X: Array) -> Tensor:
        """Logits ``(m, k)`` of samples ``(m, *sample_shape)``."""
        return self.head(self.net, X)

    def real_form(self) -> "RealClassifier":
        """A copy in real arithmetic, from samples to logits, for export."""
        return RealClassifier(self.net.real_form(), self.head)

    def example(self) -> Tensor:
        """Two random samples of the right shape, type and device."""
        return self.net.example()

    @torch.no_grad()
    def predict(self, X: Array) -> np.ndarray:
        """The label of the largest logit for each sample, a numpy array ``(m,)``.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        """
        return self.classes_[self(X).argmax(1).cpu().numpy()]


class RealClassifier(Graph):
    """A fine-tuned network in real arithmetic, from samples to logits.

    Parameters
    ----------
    net : RealNetwork
    head : Head
    """

    output_names = ("logits",)

    def __init__(self, net: RealNetwork, head: Head):
        super().__init__()
        self.net = net
        self.head = copy.deepcopy(head)

    def forward(self, X: Tensor) -> tuple[Tensor]:
        """Map samples ``(m, *sample_shape)`` to logits ``(m, k)``."""
        features, residual_norms = self.net.evaluate(X)
        return (self.head.logits(residual_norms if self.head.takes_residuals else features),)
