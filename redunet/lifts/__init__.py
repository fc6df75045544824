"""Lifts: modules that give samples more channels before the first layer."""

from redunet.lifts.band import Band
from redunet.lifts.base import Lift
from redunet.lifts.circulant import PCALift, RandomCirculantLift
from redunet.lifts.composition import (
    LIFTS,
    UnknownLiftError,
    composed,
    lift_from_json,
    lift_to_json,
)
from redunet.lifts.fourier import ShortTimeFourierLift
from redunet.lifts.multi_scale import MultiScaleLift
from redunet.lifts.polar import polar_samples
from redunet.lifts.scattering import ScatteringLift
from redunet.lifts.standardize import Standardize

__all__ = [
    "LIFTS",
    "Band",
    "Lift",
    "MultiScaleLift",
    "PCALift",
    "RandomCirculantLift",
    "ScatteringLift",
    "ShortTimeFourierLift",
    "Standardize",
    "UnknownLiftError",
    "composed",
    "lift_from_json",
    "lift_to_json",
    "polar_samples",
]
