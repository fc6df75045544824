"""The construction of a network: its settings, the features of the samples, and the loop."""

from redunet.construction.construction import Construction
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings

__all__ = ["Construction", "RateHistory", "Settings"]
