"""Lifts one after the other, and lifts in files: as the names and arguments of known modules."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from redunet.lifting.circulant import PCALift, RandomCirculantLift
from redunet.lifting.fourier import ShortTimeFourierLift
from redunet.lifting.scattering import ScatteringLift

Lift = nn.Module | Sequence[nn.Module] | None


class UnknownLiftError(Exception):
    """A file names a module whose code it cannot hold; the class is the message."""


# What a file may name; of PyTorch's own modules with the attributes that are their arguments.
OURS = {t.__name__: t for t in (PCALift, RandomCirculantLift, ScatteringLift, ShortTimeFourierLift)}
TORCHS = {
    nn.AdaptiveAvgPool1d: ("output_size",),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.ReLU: (),
    nn.Softshrink: ("lambd",),
}
KNOWN = OURS | {t.__name__: t for t in TORCHS}


def composed(lift: Lift) -> nn.Module | None:
    """One module of one lift or several."""
    if lift is None or isinstance(lift, nn.Module):
        return lift
    wrong = [type(part).__name__ for part in lift if not isinstance(part, nn.Module)]
    if wrong:
        raise TypeError(f"a lift must be a torch module, or a list of them, got {wrong[0]}")
    return nn.Sequential(*lift)


def lift_to_json(lift: nn.Module | None) -> Any:
    """Names and arguments; of an unknown module just the name."""
    if lift is None:
        return None
    if type(lift) is nn.Sequential:
        return [lift_to_json(part) for part in lift]
    return {"class": type(lift).__name__, "arguments": _arguments(lift)}


def lift_from_json(fields: Any) -> nn.Module | None:
    """What :func:`lift_to_json` wrote.

    Raises
    ------
    UnknownLiftError
        If the class is none of the known ones.
    """
    if fields is None:
        return None
    if isinstance(fields, list):
        return nn.Sequential(*(lift_from_json(part) for part in fields))
    name, arguments = fields["class"], fields["arguments"]
    if arguments is None or name not in KNOWN:
        raise UnknownLiftError(name)
    return KNOWN[name](**arguments)


def _arguments(lift: nn.Module) -> dict[str, Any] | None:
    if OURS.get(type(lift).__name__) is type(lift):
        return lift.arguments
    if type(lift) in TORCHS:
        return {name: getattr(lift, name) for name in TORCHS[type(lift)]}
    return None
