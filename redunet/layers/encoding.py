"""From samples to the features that enter the first layer."""

from torch import Tensor, nn

from redunet.rates.spectrum import HalfSpectrum, at_moderate_scale, project_to_sphere

# Numbers in the features of one batch, if the user sets no batch size.
BATCH_ENTRIES = 2**24


def encode(X: Tensor, lift: nn.Module | None, spectrum: HalfSpectrum) -> Tensor:
    """Samples ``(m, *sample_shape)``, lifted, as half spectra ``(F, m, C)`` of unit norm."""
    features = X if lift is None else lift(X)
    return project_to_sphere(spectrum(at_moderate_scale(features)))


def default_batch_size(spectrum: HalfSpectrum, channels: int) -> int:
    """Samples whose features, and a few copies of them, fit into the memory of any machine."""
    return max(64, BATCH_ENTRIES // (len(spectrum) * channels))
