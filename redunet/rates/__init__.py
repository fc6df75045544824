"""Coding rates, and the spectra, class memberships and covariances that they are made of."""

from redunet.rates.coding_rates import RateReduction, coding_rate, rate_reduction
from redunet.rates.grouping import ClassBatch
from redunet.rates.meter import RateReductionMeter
from redunet.rates.optimum import optimal_rate_reduction
from redunet.rates.pairs import pairwise_rate_reduction
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, scaled, squared_norms

__all__ = [
    "ClassBatch",
    "HalfSpectrum",
    "Partition",
    "RateReduction",
    "RateReductionMeter",
    "coding_rate",
    "optimal_rate_reduction",
    "pairwise_rate_reduction",
    "rate_reduction",
    "scaled",
    "squared_norms",
]
