"""Heads that compute logits from the output of a constructed network."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

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
    """Logits −s_j ‖Cʲ v‖ from the residual norms of the last layer, with fixed factors s_j.

    The factors are proportional to the weights by which the membership of the layer compares the
    classes, so that the head predicts as the network does. The two largest logits of a sample
    differ by 10 on average. With λ = 500, as for memberships, only the worst samples would
    contribute to the gradient.
    """

    takes_residuals = True
    sharpness: Tensor

    def __init__(self, net: ReduNet):
        super().__init__()
        self.register_buffer("sharpness", torch.ones_like(net.layers[0].proportions))

    @torch.no_grad()
    def fit(self, net: ReduNet, X: Tensor) -> None:
        """Set the factors."""
        last = net.layers[-1]
        weights = last.membership_rule.weights(last)
        nearest, second = (weights * net.residual_norms(X)).topk(2, largest=False).values.mean(0)
        self.sharpness.copy_(10 * weights / (second - nearest).clamp_min(1e-6))

    def logits(self, found: Tensor) -> Tensor:
        """Map residual norms ``(m, k)`` to logits ``(m, k)``."""
        return -self.sharpness * found


HEADS: dict[str, type[Head]] = {"linear": LinearHead, "residual": ResidualHead}
