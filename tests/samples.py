"""Random samples for tests."""

import torch


def samples(m, *shape, seed=0, dtype=torch.float64):
    """Normally distributed samples ``(m, *shape)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, *shape, generator=generator, dtype=torch.float64).to(dtype)


def unit_samples(m, *shape, seed=0):
    """Normally distributed samples ``(m, *shape)``, each scaled to norm 1."""
    X = samples(m, *shape, seed=seed)
    return X / X.flatten(1).norm(dim=1).reshape(m, *[1] * len(shape))
