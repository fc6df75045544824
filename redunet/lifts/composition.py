"""Composition of lifts, and their description in files."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from redunet._registry import Registry
from redunet.lifts.band import Band
from redunet.lifts.base import Lift
from redunet.lifts.circulant import PCALift, RandomCirculantLift
from redunet.lifts.fourier import ShortTimeFourierLift
from redunet.lifts.multi_scale import MultiScaleLift
from redunet.lifts.scattering import ScatteringLift
from redunet.lifts.standardize import Standardize

KINDS: tuple[type[nn.Module], ...] = (
    *(Band, MultiScaleLift, PCALift, RandomCirculantLift, ScatteringLift),
    *(ShortTimeFourierLift, Standardize),
    # of PyTorch
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Hardshrink, nn.Identity),
    *(nn.ReLU, nn.Softshrink),
)

LIFTS: Registry[nn.Module] = Registry(Lift, "lift", {kind.__name__: kind for kind in KINDS})


class UnknownLiftError(ValueError):
    """A file names a module that is not registered."""


def composed(lift: nn.Module | Sequence[nn.Module] | None) -> nn.Module | None:
    """One module that applies one lift, or several lifts one after the other."""
    if lift is None or isinstance(lift, nn.Module):
        return lift
    if not isinstance(lift, Sequence) or not all(isinstance(part, nn.Module) for part in lift):
        raise TypeError(f"a lift must be a torch module, or a list of them, got {lift!r}")
    return nn.Sequential(*lift)


def check_lifts(name: str, lifts: Sequence[nn.Module | None] | None) -> None:
    """Raise TypeError unless several lifts are a sequence of torch modules and None."""
    if lifts is None:
        return
    if not isinstance(lifts, Sequence | nn.ModuleList) or isinstance(lifts, str):
        raise TypeError(f"{name} must be a list of lifts, got {lifts!r}")
    for lift in lifts:
        if not (lift is None or isinstance(lift, nn.Module)):
            raise TypeError(f"{name} must be a list of torch modules and None, got {lift!r} in it")


def lift_to_json(lift: nn.Module | None) -> object:
    """Kind and arguments of a lift, or only the name of its class if it is not registered."""
    if lift is None:
        return None
    if type(lift) is nn.Sequential:
        return [lift_to_json(part) for part in lift]
    unknown = {"kind": f"{type(lift).__name__} (not registered)"}
    return LIFTS.to_json(lift) if lift in LIFTS else unknown


def lift_from_json(fields: Any) -> nn.Module | None:
    """The lift that :func:`lift_to_json` described.

    Raises
    ------
    UnknownLiftError
        If its kind is not registered.
    """
    if fields is None:
        return None
    if isinstance(fields, list):
        parts = [lift_from_json(part) for part in fields]
        return nn.Sequential(*(part for part in parts if part is not None))
    if fields["kind"] not in LIFTS:
        raise UnknownLiftError(
            f"a file cannot hold the code of a lift of class {fields['kind']}: register the class "
            "first, as docs/extending.md shows, or save without samples, and load with lift="
        )
    return LIFTS.from_json(fields)


def name_of(lift: nn.Module | None) -> str:
    """A lift in words: the kind of its last part, and the options that are words or are true."""
    if lift is None:
        return "samples"
    last = lift[-1] if isinstance(lift, nn.Sequential) else lift
    if not isinstance(last, Lift):
        return type(last).__name__
    options = last.arguments.items()
    words = [str(value) for _, value in options if isinstance(value, str)]
    words += [name.replace("_", " ") for name, value in options if value is True]
    return ", ".join([type(last).__name__, *words])
