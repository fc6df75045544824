"""Choice of the lifts, their bands, the precision and the sharpness by exact leave-one-out."""

from redunet.search.automatic import automatic_bands, automatic_lifts
from redunet.search.candidate import Candidate
from redunet.search.search import Search

__all__ = ["Candidate", "Search", "automatic_bands", "automatic_lifts"]
