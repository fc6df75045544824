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


def moments_of(kind, info, V, partition, previous=None, batch=None):
    """Finished second moments of a kind, from batches of the half spectra ``(F, m, C)``."""
    moments = kind.moments(info, previous)
    while True:
        for start in range(0, V.shape[1], batch or V.shape[1]):
            run = slice(start, start + (batch or V.shape[1]))
            moments.add(V[:, run], partition.batch(run))
        moments.finish()
        following = moments.next_pass()
        if following is None:
            return moments
        moments = following


def responses_of(operator, V):
    """The responses of samples ``(F, m, C)`` that fit in one block."""
    ((_, responses),) = operator.responses(V)
    return responses
