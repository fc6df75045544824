"""Choice of lifts, bands, precision and sharpness by leave-one-out; regression by E."""

from redunet.search.automatic import automatic_bands, automatic_lifts, automatic_reader
from redunet.search.regression import ExpansionRegression
from redunet.search.search import Candidate, Search

__all__ = [
    "Candidate",
    "ExpansionRegression",
    "Search",
    "automatic_bands",
    "automatic_lifts",
    "automatic_reader",
]
