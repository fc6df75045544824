"""The base class of lifts, and lifts applied to blocks of samples."""

import copy

import torch
from torch import Tensor, nn

from redunet._checks import is_traced
from redunet._registry import arguments_of
from redunet.rates.spectrum import joined

# Largest number of entries between two lifts that are in memory at one time. They should fit in the
# cache.
BLOCK_ENTRIES = 2**22

# The names of spatial axes, by their number.
AXES = ("", "T", "HW", "DHW")


class Lift(nn.Module):
    """A module that gives samples more channels before the first layer.

    A subclass maps ``(m, C, *spatial)`` to ``(m, C', *spatial')``. If it commutes with cyclic
    shifts, the network stays invariant to them. Its constructor stores every argument as an
    attribute of the same name, so that files can store the lift and its arguments.
    """

    in_channels: int
    ndim: int | None = None  # number of spatial axes, if it matters

    def _check_shape(self, X: Tensor) -> None:
        """Raise ValueError unless samples have the channels and spatial axes of the lift."""
        if X.ndim < 2 or X.shape[1] != self.in_channels or self.ndim not in (None, X.ndim - 2):
            axes = ["*spatial"] if self.ndim is None else AXES[self.ndim]
            shape = ", ".join(["m", str(self.in_channels), *axes])
            raise ValueError(
                f"this lift takes in_channels={self.in_channels} and samples of shape ({shape}), "
                f"got a batch of shape {tuple(X.shape)}"
            )

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
    def arguments(self) -> dict[str, object]:
        """The keyword arguments that make an equal lift, without the results of a fit.

        Raises
        ------
        TypeError
            If the constructor has an argument that is not an attribute.
        """
        return arguments_of(self)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        try:
            arguments = self.arguments
        except TypeError:  # a repr never fails
            return "…"
        return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def in_blocks(lift: nn.Module, X: Tensor, last: nn.Module | None = None) -> Tensor:
    """``lift(X)``, or ``last(lift(X))``. Several lifts are applied to one block at a time.

    A lift of many channels may come before one that keeps a narrow band of frequencies. Its result
    for all samples could be far larger than the features in the end. Lifts get copies of the
    samples, because ``nn.ReLU(inplace=True)`` and its like write into them.
    """
    parts = list(lift) if type(lift) is nn.Sequential else [lift]
    whole = nn.Sequential(*parts, *([] if last is None else [last]))
    if torch.compiler.is_exporting() or len(whole) == 1:
        return whole(X.clone())
    example, entries = X[:1].clone(), 1
    for part in whole:
        example = part(example)
        entries = max(entries, example.numel())
    size = max(1, BLOCK_ENTRIES // entries)
    return joined([whole(block.clone()) for block in X.split(size)])


def fitted_copy(lift: nn.Module, X: Tensor) -> nn.Module:
    """A copy of a lift, whose parts with a method ``fit`` are fitted one after the other."""
    lift = copy.deepcopy(lift).to(X.device, X.dtype).eval()
    parts = list(lift) if isinstance(lift, nn.Sequential) else [lift]
    for number, part in enumerate(parts):
        fit = getattr(part, "fit", None)
        if callable(fit):
            fit(X)
        if number < len(parts) - 1:
            X = in_blocks(part, X)
    return lift
