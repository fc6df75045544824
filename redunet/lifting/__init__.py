"""Front ends that give samples more channels before the first layer."""

from redunet.lifting.circulant import RandomCirculantLift
from redunet.lifting.polar import polar_samples

# The lifts that a saved network can name.
LIFTS = {lift.__name__: lift for lift in (RandomCirculantLift,)}

__all__ = ["LIFTS", "RandomCirculantLift", "polar_samples"]
