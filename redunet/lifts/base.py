"""The base class of lifts."""

from inspect import signature
from typing import Any

from torch import Tensor, nn

from redunet._checks import is_traced


class Lift(nn.Module):
    """A module that gives samples more channels before the first layer.

    A subclass maps ``(m, C, *spatial)`` to ``(m, C', *spatial')``. If it commutes with cyclic
    shifts, the network stays invariant to them. Its constructor stores every argument as an
    attribute of the same name, so that files can store the lift and its arguments.
    """

    def _check_fitted(self, fitted: Tensor) -> None:
        """Raise RuntimeError if a buffer that :meth:`fit` fills is still zero.

        Reading values of a GPU would make the host wait, and a traced graph has none.
        """
        is_readable = fitted.device.type == "cpu" and not is_traced()
        if is_readable and not bool(fitted.any()):
            raise RuntimeError(
                f"this {type(self).__name__} is not fitted: call fit with samples first"
            )

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that make an equal lift, without the results of a fit.

        Raises
        ------
        TypeError
            If the constructor has an argument that is not an attribute.
        """
        if type(self).__init__ is nn.Module.__init__:
            return {}
        parameters = list(signature(type(self).__init__).parameters)[1:]
        missing = [name for name in parameters if name not in dir(self)]
        if missing:
            raise TypeError(
                f"{type(self).__name__} must store its argument {missing[0]!r} as an attribute of "
                "the same name"
            )
        return {name: getattr(self, name) for name in parameters}

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        try:
            arguments = self.arguments
        except TypeError:  # a repr never fails
            return "…"
        return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
