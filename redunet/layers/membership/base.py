"""Rules that turn the residuals of a sample into its membership in the classes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from redunet.layers.operators.base import Operators, Responses
from redunet.rates.spectrum import Spectrum


class Layer(Protocol):
    """The parts of a layer that a membership rule may use.

    Attributes
    ----------
    operators : Operators
        E and all Cʲ.
    proportions : Tensor of shape (k,)
        γ_j, the share of each class in the samples of the construction.
    alpha : Tensor, scalar
        α = C/(m ε²).
    spectrum : Spectrum
        The transform between half spectra and signals.
    """

    @property
    def operators(self) -> Operators: ...  # noqa: D102
    @property
    def proportions(self) -> Tensor: ...  # noqa: D102
    @property
    def alpha(self) -> Tensor: ...  # noqa: D102
    @property
    def spectrum(self) -> Spectrum: ...  # noqa: D102


@dataclass(frozen=True)
class Membership(ABC):
    """How a layer estimates the memberships of samples, and how it compresses samples by them.

    A subclass is a frozen dataclass. Its fields are its options. It implements :meth:`__call__`;
    most kinds need no more.

    Attributes
    ----------
    has_class_weights : bool
        Whether the compression is a sum over the classes that is weighted by the memberships. Only
        then can :func:`redunet.explain` attribute a step to the classes.
    """

    has_class_weights: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, residuals: Tensor, proportions: Tensor) -> Tensor:
        """Memberships of samples.

        Parameters
        ----------
        residuals : Tensor of shape (m, k)
            ‖Cʲ v‖ of each sample v against each class j, or ‖Cʲ v‖/α_j if the rule is
            :attr:`relative`.
        proportions : Tensor of shape (k,)
            γ_j, the share of each class in the samples of the construction.

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1.
        """

    @property
    def relative(self) -> bool:
        """Whether the rule takes relative residuals r_j = ‖Cʲ v‖/α_j instead of ‖Cʲ v‖.

        A relative residual is 0 if the class explains the sample, and 1 if it explains nothing of
        it, for any number of samples. ‖Cʲ v‖ contains a factor of 1/m_j, the inverse of the size of
        the class, so a rule that takes it favours large classes.
        """
        return False

    def weights(self, layer: Layer) -> Tensor:
        """Weights ``(k,)`` by which the rule compares residuals: the smallest w_j ‖Cʲ v‖ wins.

        They are 1/α_j = γ_j/α if the rule is :attr:`relative`. Otherwise they are 1/(kα) for every
        class, which is the same for k classes of one size. A rule with another order overrides
        this.
        """
        gamma = layer.proportions
        shares = gamma if self.relative else torch.full_like(gamma, 1 / len(gamma))
        return shares / layer.alpha

    def assign(self, residual_norms: Tensor, layer: Layer) -> Tensor:
        """Memberships from the residual norms ‖Cʲ v‖ of a layer: ``(m, k)`` to ``(m, k)``."""
        if self.relative:
            residual_norms = residual_norms * (layer.proportions / layer.alpha)
        return self(residual_norms, layer.proportions)

    def compress(
        self, V: Tensor, responses: Responses, layer: Layer
    ) -> Iterator[tuple[slice, Tensor]]:
        """The compression that a layer subtracts: Σ_j γ_j π̂_j Cʲ v unless a kind overrides it.

        Parameters
        ----------
        V : Tensor of shape (F, m, C)
            Half spectra of the samples.
        responses : Responses
            Cʲ v of these samples for every class.
        layer : Layer

        Yields
        ------
        frequencies : slice
        compression : Tensor of shape (frequencies, m, C)
        """
        weights = layer.proportions * self.assign(responses.norms(), layer)
        return zip(responses.blocks, responses.combine(weights), strict=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that make an equal instance."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def formula(self) -> str:
        """The formula of the rule in matplotlib's mathtext, for diagrams of the network."""
        return type(self).__name__
