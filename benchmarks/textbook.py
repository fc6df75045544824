"""The construction as the paper prints it: one frequency, one class and one inverse at a time.

Benchmarks and tests compare redunet with this module, which shares no code with redunet. It uses
the whole spectrum where redunet uses half of it, inverts where redunet factorises, and loops where
redunet computes batches. It differs from the printed algorithm in one point: it moves all samples
of a step at once, where the paper has a loop.

References
----------
Chan et al., ReduNet (JMLR 2022), Algorithm 3. Algorithm 1 is the case of a single frequency.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Layer(NamedTuple):
    """Features ``(F, C, m)`` after a layer, and the operators of the layer."""

    V: Tensor  # (F, C, m)
    expansion: Tensor  # E, (F, C, C)
    compression: Tensor  # Cʲ, (k, F, C, C)


def construct(
    X: Tensor, labels: Tensor, num_layers: int, eta: float, eps_sq: float, lam: float
) -> Tensor:
    """Features after the last layer.

    Parameters
    ----------
    X : Tensor of shape (m, C, *spatial)
        Samples after a lift, float32 or float64. Each one is first scaled to unit norm.
    labels : Tensor of shape (m,)
        Integers.
    num_layers : int
    eta, eps_sq, lam : float
        η, ε² and λ.

    Returns
    -------
    Tensor of the shape of X
    """
    V = to_spectrum(X)
    for step in layers(V, labels, num_layers, eta, eps_sq, lam):
        V = step.V
    return from_spectrum(V, X.shape)


def layers(
    V: Tensor, labels: Tensor, num_layers: int, eta: float, eps_sq: float, lam: float
) -> Iterator[Layer]:
    """All layers, one by one, from the spectrum ``(F, C, m)`` of the samples."""
    for _ in range(num_layers):
        step = layer(V, labels, eta, eps_sq, lam)
        yield step
        V = step.V


def layer(V: Tensor, labels: Tensor, eta: float, eps_sq: float, lam: float) -> Layer:
    """One layer, constructed from the features ``(F, C, m)`` and applied to them."""
    F, C, m = V.shape
    classes = labels.unique()
    I = torch.eye(C, dtype=V.dtype, device=V.device)  # noqa: E741

    # Step 1: the operators.
    E = V.new_empty(F, C, C)
    Cs = V.new_empty(len(classes), F, C, C)
    alpha = C / (m * eps_sq)
    for p in range(F):
        E[p] = alpha * torch.linalg.inv(I + alpha * V[p] @ V[p].mH)
    for j, label in enumerate(classes):
        members = V[:, :, labels == label]  # V(p) Πʲ without its columns of zeros
        alpha_j = C / (members.shape[2] * eps_sq)
        for p in range(F):
            Cs[j, p] = alpha_j * torch.linalg.inv(I + alpha_j * members[p] @ members[p].mH)

    # Step 2: the features.
    projections = torch.empty(len(classes), *V.shape, dtype=V.dtype, device=V.device)
    for j in range(len(classes)):
        for p in range(F):
            projections[j, p] = Cs[j, p] @ V[p]
    norms = torch.linalg.vector_norm(projections, dim=(1, 2))  # (k, m)
    memberships = torch.softmax(-lam * norms, dim=0)

    gammas = [(labels == label).sum().item() / m for label in classes]
    increment = torch.empty_like(V)
    for p in range(F):
        increment[p] = E[p] @ V[p]
        for j, gamma_j in enumerate(gammas):
            increment[p] -= gamma_j * memberships[j] * projections[j, p]
    return Layer(on_sphere(V + eta * increment), E, Cs)


def to_spectrum(X: Tensor) -> Tensor:
    """Unitary DFT of ``(m, C, *spatial)`` at unit norm: ``(F, C, m)``, real for vectors."""
    axes = tuple(range(2, X.ndim))
    V = torch.fft.fftn(X, dim=axes, norm="ortho") if axes else X
    return on_sphere(V.reshape(*X.shape[:2], -1).permute(2, 1, 0).contiguous())


def from_spectrum(V: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Samples of a shape ``(m, C, *spatial)`` from their spectrum."""
    Z = V.permute(2, 1, 0).reshape(shape)
    axes = tuple(range(2, len(shape)))
    return torch.fft.ifftn(Z, dim=axes, norm="ortho").real if axes else Z


def on_sphere(V: Tensor) -> Tensor:
    """Every sample of ``(F, C, m)`` at unit norm; a sample of zeros stays zero."""
    norms = torch.linalg.vector_norm(V, dim=(0, 1))
    return V / torch.where(norms > 0, norms, 1)
