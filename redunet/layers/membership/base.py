"""Rules that turn the residuals of a sample into its membership in the classes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

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
    def __call__(self, residual_norms: Tensor, proportions: Tensor) -> Tensor:
        """Memberships of samples.

        Parameters
        ----------
        residual_norms : Tensor of shape (m, k)
            ‖Cʲ v‖ of each sample v against each class j. It contains a factor of 1/m_j, the inverse
            of the size of the class.
        proportions : Tensor of shape (k,)
            γ_j, the share of each class in the samples of the construction.

        Returns
        -------
        Tensor of shape (m, k)
            Rows sum to 1.
        """

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
        weights = layer.proportions * self(responses.norms(), layer.proportions)
        return zip(responses.blocks, responses.combine(weights), strict=True)

    @property
    def favours_large_classes(self) -> bool:
        """Whether classes with many samples attract samples of small classes."""
        return False

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that make an equal instance."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def formula(self) -> str:
        """The formula of the rule in matplotlib's mathtext, for diagrams of the network."""
        return type(self).__name__
