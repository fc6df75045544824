"""The construction of a network: its settings, the features of the samples, and the loop."""

from redunet.construction.construction import Construction
from redunet.construction.history import RateHistory
from redunet.construction.settings import Settings
from redunet.construction.state import ConstructionState

__all__ = ["Construction", "ConstructionState", "RateHistory", "Settings"]
