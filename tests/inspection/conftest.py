"""A network with samples, and the report on them."""

import numpy as np
import pytest

from redunet import RandomCirculantLift, ReduNet, datasets, report


@pytest.fixture(scope="session")
def problem():
    X, labels = datasets.digits()
    names = np.array([f"<{label}>" for label in labels])
    lift = RandomCirculantLift(in_channels=1, out_channels=4, kernel_size=3, ndim=2)
    net = ReduNet.construct(X[:100], names[:100], num_layers=2, lift=lift)
    return net, X[100:160], names[100:160]


@pytest.fixture(scope="session")
def path(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(*problem, path, title="Digits & <more>", worst=2)
    return path
