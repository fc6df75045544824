"""Conversion of samples to the features that enter the first layer."""

from torch import Tensor, nn

from redunet.lifts.blocks import in_blocks
from redunet.rates.spectrum import HalfSpectrum, at_moderate_scale, project_to_sphere

# Number of entries in the features of one batch, unless the user sets a batch size.
BATCH_ENTRIES = 2**24


def encode(X: Tensor, lift: nn.Module | None, spectrum: HalfSpectrum) -> Tensor:
    """Lift samples ``(m, *sample_shape)``, and return half spectra ``(F, m, C)`` of unit norm."""
    features = X if lift is None else in_blocks(lift, X)
    return project_to_sphere(spectrum(at_moderate_scale(features)))


def default_batch_size(spectrum: HalfSpectrum, channels: int) -> int:
    """Number of samples whose features have BATCH_ENTRIES entries, but at least 64."""
    return max(64, BATCH_ENTRIES // (len(spectrum) * channels))
