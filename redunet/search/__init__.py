"""Choice of the lifts, their bands, the precision and the sharpness by exact leave-one-out."""

from redunet.search.candidates import automatic_bands, automatic_lifts
from redunet.search.search import Candidate, Search

__all__ = ["Candidate", "Search", "automatic_bands", "automatic_lifts"]
