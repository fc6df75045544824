"""A network with a head, as fine-tuning returns it."""

import copy
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from redunet._checks import Array, check_device
from redunet.construction.network_file import header_of, parts_of
from redunet.files.exporting import Graph
from redunet.files.tensors import (
    check_ending,
    check_values,
    fill,
    parse_header,
    read_tensors,
    write_tensors,
)
from redunet.layers.real import RealNetwork
from redunet.network import ReduNet
from redunet.training.heads import HEADS, Head

# The key of the header of saved networks.
KEY = "redunet fine-tuned"


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

    def latest(self) -> dict[str, float]:
        """The values of the last epoch, by name."""
        lists = {name: values for name, values in vars(self).items() if isinstance(values, list)}
        return {name: values[-1] for name, values in lists.items() if values}


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
        """
        return self.classes_[self(X).argmax(1).cpu().numpy()]

    @torch.no_grad()
    def is_right(self, X: Array, targets: Tensor) -> Tensor:
        """Whether each sample gets the class of its position in ``targets``, ``(m,)``.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, *sample_shape)
        targets : Tensor of shape (m,)
            Positions of the true classes.
        """
        return self(X).argmax(1) == targets.to(self.net.layers[0].proportions.device)

    def save(self, path: str | PathLike[str]) -> None:
        """Write network, head and history to one safetensors file, completely or not at all.

        Parameters
        ----------
        path : str or path
            Conventionally ``*.safetensors``.

        Raises
        ------
        ValueError
            If a kind of operators or memberships is not registered, or the ending of the file is
            that of another kind, such as .onnx.
        TypeError
            If the head is not one of those that :func:`finetune` makes.
        """
        check_ending(path)
        names = [name for name, kind in HEADS.items() if type(self.head) is kind]
        if not names:
            raise TypeError(
                f"a {type(self.head).__name__} cannot be saved: its file could not be read back; "
                f"save torch's state_dict, or use one of the heads {sorted(HEADS)}"
            )
        header = {
            "network": header_of(self.net.parts()),
            "head": names[0],
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
        metadata, tensors = read_tensors(path)
        header = parse_header(metadata, KEY, path, "a network that FineTuned.save wrote")
        try:
            network, head, history = header["network"], HEADS[header["head"]], header["history"]
        except KeyError as error:
            raise ValueError(f"{path} has a damaged header: no {error}") from error
        check_values(tensors, path)
        net = ReduNet(parts_of(network, lift, path))
        tuned = cls(net, head(net))
        tuned.history = FineTuningHistory(**history)
        fill(tuned, tensors, path)
        return tuned.requires_grad_(False).eval().to(device)


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
