"""A few small signals and the construction of a network from them."""

import torch

from redunet import ReduNet

X = torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(0))
LABELS = [0, 1] * 4


def construct(X=X, labels=LABELS, **options):
    """A network of one layer, unless options say otherwise."""
    return ReduNet.construct(X, labels, **{"num_layers": 1, **options})
