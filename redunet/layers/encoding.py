"""Conversion of samples to the features that enter the first layer."""

from torch import Tensor, nn

from redunet._precision import full_precision
from redunet.lifts.base import in_blocks
from redunet.rates.spectrum import HalfSpectrum, at_moderate_scale, project_to_sphere

# Number of entries in the features of one batch, unless the user sets a batch size. Small batches
# stay near the cache of a CPU, and their memory is used again for the next batch.
BATCH_ENTRIES = {"cpu": 2**21, "cuda": 2**24}

# Smallest number of samples in a batch, because smaller matrix products are inefficient.
LEAST_BATCH = 128


@full_precision
def encode(X: Tensor, lift: nn.Module | None, spectrum: HalfSpectrum) -> Tensor:
    """Lift samples ``(m, *sample_shape)``, and return half spectra ``(F, m, C)`` of unit norm."""
    features = X if lift is None else in_blocks(lift, X)
    return project_to_sphere(spectrum(at_moderate_scale(features)), inplace=True)


def default_batch_size(spectrum: HalfSpectrum, channels: int) -> int:
    """Number of samples whose features have BATCH_ENTRIES entries, at least LEAST_BATCH."""
    entries = BATCH_ENTRIES.get(spectrum.weights.device.type, BATCH_ENTRIES["cuda"])
    return max(LEAST_BATCH, entries // (len(spectrum) * channels))
