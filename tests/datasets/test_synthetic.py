import pytest
import torch

from redunet import datasets


def test_gaussians():
    X, labels = datasets.gaussians(ndim=3, per_class=400, sigma=0.01, seed=1)
    assert X.shape == (1200, 3)
    assert labels.bincount().tolist() == [400] * 3
    torch.testing.assert_close(X.norm(dim=1), torch.ones(1200))
    centres = torch.stack([X[labels == j].mean(0) for j in range(3)])
    cosines = torch.tensor([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]])
    torch.testing.assert_close(centres @ centres.T, cosines, rtol=0, atol=5e-3)
    means = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    X, labels = datasets.gaussians(means, per_class=3, sigma=1e-6)
    torch.testing.assert_close(X, means[labels], rtol=0, atol=1e-5)


def test_sinusoids_of_a_class_are_shifts_of_each_other():
    X, labels = datasets.sinusoids(3, per_class=5, length=16, channels=2, noise=0)
    assert X.shape == (15, 2, 16)
    for j in range(3):
        first, *others = X[labels == j]
        shifts = torch.stack([first.roll(s, 1) for s in range(16)])
        for other in others:
            assert (shifts - other).abs().amax((1, 2)).min() < 1e-5
    spectra = torch.fft.rfft(X).abs()
    assert (spectra[labels == 0] - spectra[labels == 2][0]).abs().amax((1, 2)).min() > 1


@pytest.mark.parametrize("make", [datasets.gaussians, datasets.sinusoids])
def test_simulated_data_follow_their_seed_alone(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two, other = make(seed=0)[0], make(seed=0)[0], make(seed=1)[0]
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
