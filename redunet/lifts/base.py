"""The base class of lifts."""

from inspect import signature
from typing import Any

from torch import nn


class Lift(nn.Module):
    """A module that gives samples more channels before the first layer.

    A subclass maps ``(m, C, *spatial)`` to ``(m, C', *spatial')``. If it commutes with cyclic
    shifts, the network stays invariant to them. Its constructor stores every argument as an
    attribute of the same name, so that files can store the lift and its arguments.
    """

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that make an equal lift, without the results of a fit."""
        parameters = list(signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in parameters}

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
