"""A network with a head that computes logits, as fine-tuning returns it."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, check_device
from redunet._registry import Registry
from redunet.construction.network_file import header_of, parts_of
from redunet.files.exporting import Graph
from redunet.files.tensors import (
    fill,
    naming,
    read_tensors,
    with_prefix,
    write_tensors,
)
from redunet.layers.real import RealNetwork
from redunet.network import ReduNet, predicted

# The key of the header of saved networks.
KEY = "redunet fine-tuned"


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
    contribute to the gradient. The logits of a reader are added, with the factor that leaves it its
    say. It is not trained.
    """

    takes_residuals = True
    sharpness: Tensor
    share: Tensor  # the factor of the reader's logits

    def __init__(self, net: ReduNet):
        super().__init__()
        like = net.layers[0].proportions
        self.register_buffer("sharpness", torch.ones_like(like))
        self.register_buffer("share", like.new_zeros(()))

    @torch.no_grad()
    def fit(self, net: ReduNet, X: Tensor) -> None:
        """Set the factors."""
        last = net.layers[-1]
        weights, norms = last.comparison_weights(), net.residual_norms(X)
        nearest, second = (weights * norms).topk(2, largest=False).values.T
        scale = 10 / (second - nearest).mean().clamp_min(1e-6)
        self.sharpness.copy_(scale * weights)
        # How much a difference of weighted residuals counts in the logarithms of memberships.
        best, other = last.assign(norms.double()).log().topk(2).values.T
        counts = (best - other) / (second - nearest)
        own = counts.masked_fill(counts.isinf(), math.nan).nanmedian()
        self.share.copy_(scale / own.nan_to_num(math.inf))  # none beside hard memberships

    def forward(self, net: ReduNet, X: Tensor) -> Tensor:
        """Map samples to logits ``(m, k)``."""
        logits = super().forward(net, X)
        if net.reader is None:
            return logits
        with torch.no_grad():
            of_reader = net.reader_logits(X)
        return logits + self.share * of_reader.to(logits)

    def logits(self, found: Tensor) -> Tensor:
        """Map residual norms ``(m, k)`` to logits ``(m, k)``."""
        return -self.sharpness * found


HEADS: Registry[Head] = Registry(Head, "head", {"linear": LinearHead, "residual": ResidualHead})


@dataclass
class FineTuningHistory:
    """The loss and the accuracy of each epoch.

    Attributes
    ----------
    loss : list of float
        Mean loss over the training samples.
    validation_loss, validation_accuracy : list of float
        Loss and accuracy on the validation samples; empty if there are none.
    constructed_accuracy : float or None
        Accuracy of the constructed network on the validation samples, if there are any.
    lr : float
        The learning rate that was taken.
    best_epoch : int
        The epoch whose weights the result has, counted from 1; 0 for the constructed network.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    constructed_accuracy: float | None = None
    lr: float = 0.0
    best_epoch: int = 0


class FineTuned(nn.Module):
    """A network with a head, from samples to logits. :func:`finetune` returns one.

    :func:`redunet.explain`, :func:`redunet.report` and :func:`redunet.export` take it like a
    ReduNet. :meth:`save` writes it to a file, and :meth:`load` reads it.

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

    @torch.no_grad()
    def membership(self, X: Array) -> Tensor:
        """Soft membership of samples in the classes, the softmax of the logits.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1; columns are in the order of ``classes_``.
        """
        return torch.softmax(self(X), 1)

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

        Raises
        ------
        ValueError
            If samples are not finite, also on a GPU, or do not fit the network.
        """
        return predicted(self(X), self.classes_)

    def save(self, path: str | PathLike[str]) -> None:
        """Write network, head and history to one safetensors file, completely or not at all.

        Parameters
        ----------
        path : str or path
            Conventionally ``*.safetensors``.

        Raises
        ------
        ValueError
            If the head, or a kind of operators or memberships, is not registered, or the ending of
            the file is that of another kind, such as .onnx.
        """
        header = {
            "network": header_of(self.net.parts()),
            "head": HEADS.name_of(self.head),
            "history": asdict(self.history),
        }
        write_tensors(self.state_dict(), path, KEY, header)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        device: torch.device | str | None = None,
        lift: nn.Module | None = None,
    ) -> Self:
        """Read a fine-tuned network that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path
        device : torch.device or str, optional
            Device of the network; by default the CPU.
        lift : nn.Module, optional
            A module with the architecture of the network's lift, if its class is not registered;
            see :meth:`redunet.ReduNet.load`.

        Raises
        ------
        ValueError
            If the file does not hold a fine-tuned network, its tensors do not fit its header, or
            their values are not finite.
        """
        check_device(device)
        header, tensors = read_tensors(path, KEY, "a network that FineTuned.save wrote")
        with naming(path):
            net = ReduNet(parts_of(header["network"], with_prefix(tensors, "net."), lift, path))
            head: Callable[[ReduNet], Head] = HEADS[header["head"]]
            tuned = cls(net, head(net))
            tuned.history = FineTuningHistory(**header["history"])
        fill(tuned, tensors, path)
        return tuned.requires_grad_(False).eval().to(device)


class RealClassifier(Graph):
    """A fine-tuned network in real arithmetic, from samples to logits.

    Parameters
    ----------
    net : RealNetwork
    head : Head
    """

    output_names = ("logits", "label")

    def __init__(self, net: RealNetwork, head: Head):
        super().__init__()
        self.net = net
        self.head = copy.deepcopy(head)

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Map samples to logits ``(m, k)`` and positions of classes ``(m,)``."""
        features, residual_norms = self.net.evaluate(X)
        logits = self.head.logits(residual_norms if self.head.takes_residuals else features)
        if isinstance(self.head, ResidualHead) and self.net.reader is not None:
            logits = logits + self.head.share * self.net.reader.logits(X).to(logits)
        return logits, logits.argmax(1)
