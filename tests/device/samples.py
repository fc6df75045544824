"""Samples around centres of classes, and the comparison of results on two devices."""

import torch

SHAPES = {"vectors": (12,), "series": (3, 16), "images": (4, 6, 6)}
SETTINGS = {"num_layers": 3, "eta": 0.5, "eps_sq": 0.3, "lam": 20.0}


def data(shape, m=60, k=3, dtype=torch.float64):
    """Non-negative samples ``(m, *shape)`` and labels ``(m,)``, on the host."""
    random = {"generator": torch.Generator().manual_seed(0), "device": "cpu"}
    labels = torch.arange(m, device="cpu") % k
    centres = torch.randn(k, *shape, **random, dtype=torch.float64)
    noise = torch.randn(m, *shape, **random, dtype=torch.float64)
    return (centres[labels] + 0.7 * noise).relu().to(dtype), labels


def assert_close(actual, expected, atol=1e-7):
    """Whether values are equal, wherever they are."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol, check_device=False)
