from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet.rates.spectrum import HalfSpectrum, norms, project_to_sphere, safe_sqrt

shapes = st.lists(st.integers(1, 7), min_size=0, max_size=3).map(tuple)


def signals(shape, m=3, C=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, C, *shape, generator=generator, dtype=torch.float64)


@given(shapes)
def test_inverse_is_exact(shape):
    X, spectrum = signals(shape), HalfSpectrum(shape)
    torch.testing.assert_close(spectrum.inverse(spectrum(X)), X, rtol=0, atol=1e-13)


@given(shapes)
def test_transform_is_an_isometry(shape):
    X, Y, spectrum = signals(shape, seed=1), signals(shape, seed=2), HalfSpectrum(shape)
    V, W = spectrum(X), spectrum(Y)
    torch.testing.assert_close(norms(V), X.flatten(1).norm(dim=1), rtol=1e-12, atol=0)
    inner = (V * W.conj()).real.sum((0, 2))
    torch.testing.assert_close(inner, (X * Y).flatten(1).sum(1), rtol=0, atol=1e-12)


@given(shapes.filter(len))
def test_kept_frequencies_and_their_mirrors_are_the_full_spectrum(shape):
    X, spectrum = signals(shape), HalfSpectrum(shape)
    V = spectrum(X) / spectrum.weights.sqrt()[:, None, None]
    full = torch.fft.fftn(X, dim=tuple(range(2, X.ndim)), norm="ortho").flatten(2).permute(2, 0, 1)

    def same(A, B):  # (F, F') whether frequencies are equal
        return (A.flatten(1)[:, None] - B.flatten(1)).abs().amax(2) < 1e-12

    stands_for = same(V, full) | same(V.conj(), full)
    # Every frequency of the full spectrum has one that is kept, which counts as often as it must.
    assert (stands_for.sum(0) == 1).all()
    assert stands_for.sum(1).tolist() == spectrum.weights.tolist()


@pytest.mark.parametrize(
    ("shape", "frequencies"), [((), 1), ((5,), 3), ((6,), 4), ((28, 28), 394), ((4, 5), 11)]
)
def test_number_of_frequencies(shape, frequencies):
    spectrum = HalfSpectrum(shape)
    assert len(spectrum) == frequencies
    assert spectrum.weights.sum() == spectrum.size == prod(shape)


def test_vectors_are_signals_of_one_real_frequency():
    X = signals(())
    V = HalfSpectrum(())(X)
    assert V.shape == (1, 3, 2)
    assert not V.is_complex()
    assert V.data_ptr() == X.data_ptr()


@given(shapes)
def test_projection_gives_unit_norms_and_leaves_zeros(shape):
    X = signals(shape)
    X[1] = 0
    V = project_to_sphere(HalfSpectrum(shape)(X))
    torch.testing.assert_close(
        norms(V), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_projection_zeroes_only_what_cannot_matter():
    X = torch.tensor([[1.0, 1e-12, 1e-14, -1e-30]])
    projected = project_to_sphere(X[None])[0, 0]
    assert projected.tolist() == [1.0, X[0, 1].item(), 0.0, 0.0]


@given(shapes)
def test_projection_overwrites_features_only_if_asked(shape):
    V = HalfSpectrum(shape)(signals(shape))
    copy = V.clone()
    projected = project_to_sphere(V)
    assert torch.equal(V, copy)
    assert torch.equal(project_to_sphere(V, inplace=True), projected)
    copy.requires_grad_()
    torch.testing.assert_close(project_to_sphere(copy, inplace=True), projected, rtol=0, atol=1e-15)
    assert not torch.equal(copy, projected)


def test_projection_has_a_finite_gradient_at_zero():
    X = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    project_to_sphere(X).sum().backward()
    assert torch.isfinite(X.grad).all()


def test_safe_sqrt():
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    root = safe_sqrt(x)
    root.sum().backward()
    assert root.tolist() == [0.0, 2.0]
    assert x.grad.tolist() == [0.0, 0.25]
