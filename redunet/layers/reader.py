"""Readers: what a network knows about the classes besides the residuals of its layers."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from redunet._registry import Registry
from redunet.files.tensors import Header


class Reader(nn.Module, ABC):
    """Scores of samples in the classes, which multiply the memberships of a network's last layer.

    With the memberships π_j of the layer, the scores s_j and the sharpness t of the reader, the
    memberships of the network are proportional to π_j exp(t s_j). If π_j is softmax(−λ r_j), this
    is softmax(t s_j − λ r_j): both have the same say.

    Attributes
    ----------
    sharpness : Tensor, scalar
        t.
    classes_ : numpy array (k,)
        The labels, sorted.
    extensible : bool
        Whether it can be :meth:`extended`.
    """

    sharpness: Tensor
    classes_: np.ndarray
    extensible: bool = False

    @abstractmethod
    def forward(self, X: Tensor) -> Tensor:
        """Scores of samples ``(m, *sample_shape)``, of shape ``(m, k)``."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """A description of all but the tensors, for JSON; see :meth:`restored`."""

    @classmethod
    @abstractmethod
    def restored(cls, description: Header, tensors: Mapping[str, Tensor]) -> Self:
        """The reader that :meth:`describe` described, with the tensors of its ``state_dict()``.

        Tensors of modules in it are filled in later. If it can be :meth:`fitted_again`, files may
        hold none.
        """

    def fitted_again(self, X: Tensor, labels: np.ndarray) -> Self | None:
        """A reader with the same settings, fitted to its training samples; None if it cannot be.

        Files of networks that hold these samples then hold no reader. Its sharpness may differ.

        Parameters
        ----------
        X : Tensor of shape (m, *sample_shape)
        labels : numpy array (m,)
        """
        return None

    def extended(self, X: Tensor, membership: Tensor, classes: np.ndarray) -> Self:
        """A reader that also knows these samples; this one does not change.

        Parameters
        ----------
        X : Tensor of shape (m, *sample_shape)
        membership : Tensor of shape (m, k)
        classes : numpy array (k,)
            The labels of all samples, sorted.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method extended")

    def real_form(self) -> Self:
        """A copy for export, without what only an extension needs."""
        return copy.deepcopy(self)

    def logits(self, X: Tensor) -> Tensor:
        """t s_j for samples ``(m, *sample_shape)``, ``(m, k)``."""
        return self.sharpness * self(X)


def pooled(membership: Tensor, logits: Tensor) -> Tensor:
    """Memberships ``(m, k)`` of a layer times those of a reader, as rows that sum to 1."""
    return torch.softmax(membership.double().log() + logits, 1).to(membership.dtype)


# Kinds of readers by the names that files give them.
READERS: Registry[Reader] = Registry(Reader, "reader", {})
