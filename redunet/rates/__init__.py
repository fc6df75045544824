"""The mathematics of coding rates: spectra, classes, covariances, and the rates themselves."""

from redunet.rates.coding_rates import RateReduction, coding_rate, rate_reduction
from redunet.rates.meter import RateReductionMeter
from redunet.rates.partition import Partition
from redunet.rates.spectrum import HalfSpectrum, Spectrum

__all__ = [
    "HalfSpectrum",
    "Partition",
    "RateReduction",
    "RateReductionMeter",
    "Spectrum",
    "coding_rate",
    "rate_reduction",
]
