"""Front ends that give samples more channels before the first layer."""

from redunet.lifting.circulant import PCALift, RandomCirculantLift
from redunet.lifting.composition import (
    UnknownLiftError,
    composed,
    lift_from_json,
    lift_to_json,
)
from redunet.lifting.fourier import ShortTimeFourierLift
from redunet.lifting.polar import polar_samples
from redunet.lifting.scattering import ScatteringLift

__all__ = [
    "PCALift",
    "RandomCirculantLift",
    "ScatteringLift",
    "ShortTimeFourierLift",
    "UnknownLiftError",
    "composed",
    "lift_from_json",
    "lift_to_json",
    "polar_samples",
]
