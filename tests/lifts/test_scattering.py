import copy
import pickle

import numpy as np
import pytest
import torch
from kymatio.scattering1d.frontend.numpy_frontend import ScatteringNumPy1D
from kymatio.scattering2d.frontend.numpy_frontend import ScatteringNumPy2D
from torch import nn

from redunet import ReduNet, ScatteringLift, ShortTimeFourierLift
from redunet.datasets import all_shifts, sinusoids
from redunet.lifts.scattering import Rectifier
from tests.samples import samples


@pytest.mark.parametrize("max_order", [1, 2])
def test_coefficients_of_images_are_kymatios(max_order):
    X = samples(3, 2, 16, 20)
    lifted = ScatteringLift((16, 20), 2, 4, max_order).double()(X)
    expected = ScatteringNumPy2D(2, (16, 20), L=4, max_order=max_order)(X.numpy())
    assert lifted.shape == (3, 2 * expected.shape[2], 4, 5)
    np.testing.assert_allclose(lifted.unflatten(1, (2, -1)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Signal support is too small")
@pytest.mark.parametrize("max_order", [1, 2])
def test_coefficients_of_signals_are_kymatios(max_order):
    X = samples(3, 2, 64)
    lifted = ScatteringLift(64, 3, 4, max_order).double()(X)
    expected = ScatteringNumPy1D(3, 64, Q=4, max_order=max_order)(X.numpy())
    assert lifted.shape == (3, 2 * expected.shape[2], 8)
    np.testing.assert_allclose(lifted.unflatten(1, (2, -1)), expected, rtol=1e-5, atol=1e-5)


def moduli(lift, X):
    """First-order coefficients by the mean of max(Re(e^{−iφ} u), 0) over φ, which is |u|/π."""
    lifted = lift(X)
    return torch.cat([lifted[:, :1], torch.pi * lifted[:, 1:].unflatten(1, (-1, 64)).mean(2)], 1)


@pytest.mark.parametrize("size", [28, 8])
def test_many_phases_of_images_are_the_modulus(size):
    X = samples(2, 1, size, size)
    found = moduli(ScatteringLift((size, size), 2, 4, phases=64).double(), X)
    expected = ScatteringLift((size, size), 2, 4, max_order=1).double()(X)
    torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=1e-5, atol=1e-6)
    error = (found - expected).norm() / expected.norm()
    assert error < 0.02  # kymatio takes the modulus of fewer samples


@pytest.mark.filterwarnings("ignore:Signal support is too small")
def test_many_phases_of_signals_are_the_modulus():
    X = samples(2, 1, 64)
    found = moduli(ScatteringLift(64, 2, 4, phases=64).double(), X)
    kymatio = ScatteringNumPy1D(2, 64, Q=4, max_order=1, oversampling=5)  # no fewer samples
    expected = kymatio(X[:, 0].numpy())[..., ::4]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


def test_the_papers_features():
    lift = ScatteringLift((28, 28), J=3, L=4, phases=4)
    assert lift(torch.rand(2, 1, 28, 28)).shape == (2, 49, 3, 3)  # 1 + J·L·4, n = 441
    assert (
        ScatteringLift((28, 28), 4, 8, phases=4)(torch.rand(2, 1, 28, 28)).shape[1:].numel() == 129
    )


def test_a_response_is_a_convolution_of_the_reflected_image():
    # One coefficient by brute force: wavelet and low-pass filter as sums over pixels.
    lift = ScatteringLift((8, 8), 1, 2, phases=4).double()
    X = samples(1, 1, 8, 8)
    wavelets = torch.fft.ifft2(lift.coefficients.wavelets)
    size = wavelets.shape[-1]
    before = (size - 8) // 2
    mirrored = np.pad(X[0, 0].numpy(), [(before, size - 8 - before)] * 2, mode="reflect")

    def convolved(image, kernel):
        total = np.zeros(image.shape, dtype=complex)
        for i in range(size):
            for j in range(size):
                total += kernel[i, j] * np.roll(image, (i, j), (0, 1))
        return total

    lowpass = np.fft.ifft2(ScatteringNumPy2D(1, (8, 8), L=2).phi["levels"][0]).real
    response = convolved(mirrored, wavelets[1].numpy())
    parts = [response.real, response.imag, -response.real, -response.imag]
    expected = [convolved(p.clip(0), lowpass).real[2:-2:2, 2:-2:2] for p in parts]
    np.testing.assert_allclose(lift(X)[0, 5:9], np.stack(expected), rtol=1e-6, atol=1e-8)


def test_blocks_do_not_matter():
    lift = ScatteringLift((8, 8), 2, 4, phases=4).double()
    X = samples(7, 2, 8, 8)
    expected = lift(X)
    lift._block = 3
    torch.testing.assert_close(lift(X), expected)


@pytest.mark.filterwarnings("ignore:Signal support is too small")
@pytest.mark.parametrize(
    "lift",
    [
        ScatteringLift((8, 8), 2, 4),
        ScatteringLift((8, 8), 2, 4, phases=4),
        ShortTimeFourierLift(6),
    ],
    ids=["scattering", "phases", "fourier"],
)
def test_lifts_are_copied_pickled_and_differentiable(lift):
    lift = copy.deepcopy(lift).double()
    X = samples(2, 1, *((8, 8) if isinstance(lift, ScatteringLift) else (8,))).requires_grad_()
    torch.testing.assert_close(pickle.loads(pickle.dumps(lift))(X), lift(X))
    assert torch.autograd.gradcheck(lift, X, fast_mode=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8, 8, 8), 2), "shape must be that of signals"),
        (((8, 8), 4), r"samples of \(8, 8\) are smaller than the scale 2\^J = 16"),
        (((8, 8), 0), "J must be at least 1, got 0"),
        (((8, 8), 2, 4, 3), "max_order must be 1 or 2, got 3"),
        (((8, 8), 2, 4, 2, 0), "phases must be at least 1, got 0"),
    ],
)
def test_settings_of_scattering(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScatteringLift(*arguments)


def test_samples_that_do_not_fit():
    with pytest.raises(ValueError, match=r"expected samples of shape \(m, C, 8, 8\), got"):
        ScatteringLift((8, 8), 2)(torch.zeros(3, 1, 9, 8))
    with pytest.raises(ValueError, match=r"shape \(m, C, T\) with T of at least 6, got"):
        ShortTimeFourierLift(6)(torch.zeros(3, 1, 5))


@pytest.mark.parametrize("window_length", [5, 8])
def test_short_time_fourier_transform_is_torchs(window_length):
    X = samples(3, 2, 12)
    lifted = ShortTimeFourierLift(window_length).double()(X)
    before = window_length // 2
    padded = torch.cat([X[..., -before:], X, X[..., : window_length - 1 - before]], -1)
    window = torch.hann_window(window_length, dtype=X.dtype)
    expected = torch.stft(
        padded.flatten(0, 1), window_length, 1, window=window, center=False, return_complex=True
    )
    torch.testing.assert_close(lifted, expected.abs().unflatten(0, (3, 2)).flatten(1, 2))


def test_short_time_fourier_transform_commutes_with_shifts():
    lift = ShortTimeFourierLift(5).double()
    X = samples(1, 2, 9)
    torch.testing.assert_close(lift(all_shifts(X)[0]), all_shifts(lift(X))[0])


def test_four_phases_are_the_signs_of_both_parts():
    u = torch.tensor([[3 - 4j, -1 + 2j]])
    parts = Rectifier(4)(u[..., None]).reshape(2, 4)
    torch.testing.assert_close(parts, torch.tensor([[3.0, 0, 0, 4], [0, 2, 1, 0]]))


def test_networks_on_lifts_are_saved(tmp_path):
    X, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 2
    lift = [ScatteringLift((8, 8), 2, 4, phases=4), nn.Softshrink(0.01), nn.Flatten()]
    net = ReduNet.construct(X, labels, num_layers=2, eta=0.01, lift=lift)
    assert net.feature_shape == (33 * 4,)
    net.save(tmp_path / "net.safetensors")
    torch.testing.assert_close(ReduNet.load(tmp_path / "net.safetensors")(X), net(X))


@pytest.mark.filterwarnings("ignore:Signal support is too small")
def test_a_network_on_spectrograms_is_invariant():
    X, labels = sinusoids()
    net = ReduNet.construct(X[::4], labels[::4], num_layers=3, lift=ShortTimeFourierLift(8))
    shifted = X[1::16].roll(7, 2)
    torch.testing.assert_close(net.membership(shifted), net.membership(X[1::16]))
    assert (net.predict(shifted) == labels[1::16].numpy()).mean() > 0.9
