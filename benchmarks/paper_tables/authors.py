"""What the authors' code did where the paper is silent, for rows of their own in Tables 14 and 15.

From the history of https://github.com/ryanchankh/redunet_paper, January and February 2021: pixels
from 0 to 255, λ = 5000, and a first layer whose samples are not normalised.
"""

import numpy as np
import torch
from scipy.ndimage import rotate
from torch import Tensor

from benchmarks.paper_tables.cells import Machine
from benchmarks.paper_tables.digits import Samples
from redunet import Lift, ReduNet, algorithm

LAM = 5000.0


def network(
    train: Samples,
    test: Samples,
    lift: Lift,
    layers: int,
    machine: Machine,
    *,
    eta: float,
    eps_sq: float,
) -> tuple[ReduNet, Samples, Samples]:
    """All layers but the first as a network, and the samples that enter it."""
    lifted = ((lift(X), labels) for X, labels in (train, test))
    train, test = after_first_layer(*lifted, eta, eps_sq)
    net = ReduNet.construct(
        *train,
        num_layers=layers - 1,
        eta=eta,
        eps_sq=eps_sq,
        lam=LAM,
        batch_size=50,
        device=machine.device,
    )
    return net, train, test


def after_first_layer(
    train: Samples, test: Samples, eta: float, eps_sq: float
) -> tuple[Samples, Samples]:
    """Features after one layer that is constructed from samples of any norm.

    Such a layer ends with a projection to the sphere, as every layer does. So later layers are
    those of the paper.
    """
    V, labels = spectrum(train[0]), train[1]
    gamma = torch.bincount(labels).double() / len(labels)
    layer = algorithm.Layer(*algorithm.operators(V, labels, eps_sq), gamma, eta, LAM)

    def moved(samples: Samples) -> Samples:
        X, targets = samples
        parts = [algorithm.step(spectrum(part), layer) for part in X.split(25)]
        Z = algorithm.from_spectrum(torch.cat(parts, 1), X.shape)
        return Z.to(X.dtype), targets

    return moved(train), moved(test)


def spectrum(X: Tensor) -> Tensor:
    """The unitary Fourier transform of ``(m, C, *spatial)`` as ``(F, m, C)``, with its norms."""
    V = torch.fft.fftn(X.double(), dim=tuple(range(2, X.ndim)), norm="ortho")
    return V.reshape(*X.shape[:2], -1).permute(2, 0, 1)


def polar_pixels(images: Tensor, angles: int) -> Tensor:
    """Digits ``(m, 1, H, W)`` as ``(m, radii, angles)``: half a row of pixels of rotated images.

    They are rotated by cubic splines, in bytes. The first angle comes again at the end.
    """
    pixels = (255 * images[:, 0]).round().to(torch.uint8).numpy()
    middle = pixels.shape[1] // 2
    turned = [
        rotate(pixels, angle, axes=(1, 2), reshape=False)[:, middle, : middle + 1]
        for angle in np.linspace(0, 360, angles)
    ]
    return torch.from_numpy(np.stack(turned, -1)).float()
