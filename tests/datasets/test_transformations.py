import numpy as np
import pytest
import torch

from redunet import datasets


@pytest.mark.parametrize(("shape", "stride"), [((5,), 1), ((4, 6), 1), ((4, 6), 2), ((2, 3, 2), 1)])
def test_all_shifts(shape, stride):
    X = torch.randn(3, 2, *shape, generator=torch.Generator().manual_seed(0))
    steps = [step for step in np.ndindex(*shape) if not any(s % stride for s in step)]
    expected = np.stack([np.roll(X.numpy(), step, tuple(range(2, X.ndim))) for step in steps], 1)
    np.testing.assert_array_equal(datasets.all_shifts(X, stride).numpy(), expected)


def test_rotations_by_quarter_turns():
    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    turned = datasets.rotations(images, 4)
    for quarter in range(4):
        # Rows run downwards, so that rot90 turns a picture counter-clockwise as one sees it.
        expected = torch.rot90(images, quarter, (2, 3))
        torch.testing.assert_close(turned[:, quarter], expected, rtol=0, atol=1e-5)


def test_half_a_turn_of_images_that_are_not_square():
    images = torch.randn(2, 1, 4, 7, generator=torch.Generator().manual_seed(0))
    turned = datasets.rotations(images, 2)[:, 1]
    torch.testing.assert_close(turned, images.flip(2, 3), rtol=0, atol=1e-5)
