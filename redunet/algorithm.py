"""ReduNet as the paper prints it: Algorithms 1 and 3 on one page.

This module is for reading, and for holding the rest of the package to it. ``ReduNet.construct``
gives the same network faster: it uses half of the spectrum, the smaller of two matrices, and blocks
that fit into memory. Features have shape (F, m, C): frequencies, samples as rows, channels. Vectors
are the case F = 1, which is Algorithm 1.

    from redunet.algorithm import construct, features

    layers = construct(X, labels, num_layers=10, eta=0.5, eps_sq=0.1, lam=500.0)
    Z = features(X_test, layers)

References
----------
Chan et al., ReduNet: A White-box Deep Network from the Principle of Maximizing Rate Reduction
(JMLR 2022). Numbers of equations are those of this paper.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Layer(NamedTuple):
    """The operators E and Cʲ, the shares γ_j of the classes, η and λ."""

    E: Tensor  # (F, C, C)
    C: Tensor  # (k, F, C, C)
    gamma: Tensor  # (k,)
    eta: float
    lam: float


def construct(
    X: Tensor, labels: Tensor, num_layers: int, eta: float, eps_sq: float, lam: float
) -> list[Layer]:
    """The layers for samples ``(m, C, *spatial)`` with integer labels ``(m,)`` from 0 to k − 1."""
    V, layers = to_spectrum(X), []
    gamma = torch.bincount(labels).to(X.dtype) / len(labels)
    for _ in range(num_layers):
        E, C = operators(V, labels, eps_sq)  # step 1
        layer = Layer(E, C, gamma, eta, lam)
        V = step(V, layer)  # step 2
        layers.append(layer)
    return layers


def features(X: Tensor, layers: list[Layer]) -> Tensor:
    """Features of samples, in the shape of the samples: Algorithm 2, the forward pass."""
    V = to_spectrum(X)
    for layer in layers:
        V = step(V, layer)
    return from_spectrum(V, X.shape)


def operators(V: Tensor, labels: Tensor, eps_sq: float) -> tuple[Tensor, Tensor]:
    """E (eq. 13) and Cʲ (eq. 14) at every frequency, from features and their labels."""
    members = [V[:, labels == j] for j in range(int(labels.max()) + 1)]
    E = alpha(V, eps_sq) * torch.linalg.inv(regularised(V, eps_sq))
    C = [alpha(v, eps_sq) * torch.linalg.inv(regularised(v, eps_sq)) for v in members]
    return E, torch.stack(C)


def step(V: Tensor, layer: Layer) -> Tensor:
    """V after a step along the increment, projected onto the sphere (eqs. 22 and 26)."""
    E, C, gamma, eta, lam = layer
    CV = V @ C.mT  # Cʲ v for all classes, (k, F, m, C)
    residuals = torch.linalg.vector_norm(CV, dim=(1, 3))  # (k, m)
    membership = torch.softmax(-lam * residuals, dim=0)  # eq. 23
    weights = gamma[:, None] * membership
    compression = (weights[:, None, :, None] * CV).sum(0)  # eq. 24
    return on_sphere(V + eta * (V @ E.mT - compression))


def rates(V: Tensor, labels: Tensor, eps_sq: float) -> tuple[Tensor, Tensor]:
    """R (eq. 9) and R_c (eq. 10). The rate reduction ΔR is R − R_c (eq. 11)."""
    F, m, _ = V.shape
    R = torch.logdet(regularised(V, eps_sq)).real.sum() / (2 * F)
    R_c = torch.zeros_like(R)
    for j in range(int(labels.max()) + 1):
        members = V[:, labels == j]
        gamma_j = members.shape[1] / m
        R_c += gamma_j * torch.logdet(regularised(members, eps_sq)).real.sum() / (2 * F)
    return R, R_c


def regularised(V: Tensor, eps_sq: float) -> Tensor:
    """I + α V V* at every frequency: ``(F, m, C)`` to ``(F, C, C)``."""
    moment = V.mT @ V.conj()
    return torch.eye(V.shape[2], dtype=V.dtype, device=V.device) + alpha(V, eps_sq) * moment


def alpha(V: Tensor, eps_sq: float) -> float:
    """α = C/(m ε²) for the samples ``(F, m, C)``, or α_j for those of class j."""
    _, m, C = V.shape
    return C / (m * eps_sq)


def to_spectrum(X: Tensor) -> Tensor:
    """The unitary discrete Fourier transform over all spatial axes, at unit norm."""
    V = torch.fft.fftn(X, dim=tuple(range(2, X.ndim)), norm="ortho") if X.ndim > 2 else X
    return on_sphere(V.reshape(*X.shape[:2], -1).permute(2, 0, 1))


def from_spectrum(V: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of :func:`to_spectrum`: real features of the given shape."""
    Z = V.permute(1, 2, 0).reshape(shape)
    return torch.fft.ifftn(Z, dim=tuple(range(2, Z.ndim)), norm="ortho").real if Z.ndim > 2 else Z


def on_sphere(V: Tensor) -> Tensor:
    """Every sample at unit norm."""
    return V / torch.linalg.vector_norm(V, dim=(0, 2), keepdim=True)
