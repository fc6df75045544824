"""The base class of all kinds of operators. A kind makes operators from samples."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from redunet.layers.operators.moments import DatasetInfo, SecondMoments
from redunet.layers.operators.operator import Operators


@dataclass(frozen=True)
class OperatorKind(ABC):
    """One way to make the operators of a layer from the samples.

    A subclass is a frozen dataclass. Its fields are its options. It implements :meth:`moments`.
    """

    @abstractmethod
    def moments(self, info: DatasetInfo, previous: Operators | None) -> SecondMoments:
        """Empty second moments, to which all samples are added.

        Parameters
        ----------
        info : DatasetInfo
        previous : Operators or None
            The operators of the layer before; None for the first layer.
        """

    def check(self, channels: int) -> None:  # noqa: B027
        """Raise ValueError if the options do not suit this number of channels."""
