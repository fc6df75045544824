"""The diagram of a network."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from redunet import RandomCirculantLift, ReduNet, datasets
from redunet.plots import (
    plot_architecture,
)
from tests.samples import samples


def test_the_diagram_has_the_true_shapes(images, circle):
    def words(net):
        return " ".join(text.get_text().replace("\n", " ") for text in plot_architecture(net).texts)

    found = words(images[0])
    for part in ("1 × 8 × 8", "RandomCirculantLift", "4 × 8 × 8 = 256", "3 layers", "10 classes"):
        assert part in found
    size = len(images[0].spectrum)
    assert f"{size} of 64 frequencies × 4" in found
    assert f"{size} × (4 × 4)" in found
    assert f"10 × {size} × (4 × 4)" in found
    assert "Fourier" not in words(circle[0])
    X, labels = datasets.gaussians(ndim=2, per_class=20)
    options = {"operators": "variational", "rank": 1, "momentum": 0.5, "membership": "rectified"}
    found = words(ReduNet.construct(X, labels, num_layers=1, **options))
    for part in ("rank 1", "β = 0.5", "1 layer ", "rectified"):
        assert part in found


@pytest.fixture(scope="module")
def many_channels():
    """A network whose shapes are long."""
    X, labels = samples(12, 3, 24, 24), np.arange(12) % 3
    lift = [RandomCirculantLift(3, 600, 3, 2), torch.nn.AdaptiveAvgPool2d(5)]
    options = {"operators": "variational", "rank": 3, "momentum": 0.9, "eta": 1e-4}
    return ReduNet.construct(X, labels, num_layers=1, lift=lift, **options)


@pytest.mark.parametrize("size", [None, (3, 4)])
def test_texts_of_the_diagram_are_within_their_boxes(images, many_channels, size):
    for net in (images[0], many_channels):
        ax = plot_architecture(net, ax=None if size is None else plt.subplots(figsize=size)[1])
        ax.figure.draw_without_rendering()
        boxes = [patch.get_window_extent() for patch in ax.patches[:11]]
        texts = [text for text in ax.texts if text.get_text()]
        assert len(texts) == 2 * len(boxes)
        for text in texts:
            extent = text.get_window_extent()
            (box,) = [b for b in boxes if b.contains(*extent.get_points().mean(0))]
            assert box.x0 < extent.x0
            assert extent.x1 < box.x1
