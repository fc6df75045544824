"""Networks that several of the plots draw."""

import numpy as np
import pytest

from redunet import MultiScaleLift, RandomCirculantLift, ReduNet, Search, datasets


@pytest.fixture(scope="session")
def images():
    """A network on embedded digits, with the digits."""
    X, labels = datasets.digits()
    lift = RandomCirculantLift(in_channels=1, out_channels=4, kernel_size=3, ndim=2)
    names = np.array([f"digit {label}" for label in labels])
    net = ReduNet.construct(X[:200], names[:200], num_layers=3, lift=lift)
    return net, X[200:260], names[200:260]


@pytest.fixture(scope="session")
def circle():
    """A network on the circle, with its samples."""
    X, labels = datasets.gaussians(ndim=2, per_class=20)
    return ReduNet.construct(X, labels, num_layers=5), X, labels


@pytest.fixture(scope="session")
def search():
    """A search for series with three lifts and three bands."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    X = rng.normal(size=(30, 1, 12)) + labels[:, None, None] * np.cos(np.arange(12))
    lifts = [
        MultiScaleLift(1, 1, kernels_per_scale=2, dilations=(1,), nonlinearity=nonlinearity)
        for nonlinearity in ("relu", "step")
    ]
    return Search([*lifts, None], bands=[1, 3, None]).fit(X, labels)
