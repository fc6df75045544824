"""Workloads of the benchmarks: samples around class centres, and the cost of a layer on them."""

from typing import NamedTuple

import torch
from torch import Tensor

from redunet.datasets import gaussians
from redunet.rates.spectrum import HalfSpectrum

SETTINGS = {"eta": 0.5, "eps_sq": 0.1, "lam": 500.0}


class Workload(NamedTuple):
    """Shapes of a construction on features that are already lifted."""

    name: str
    samples: int
    shape: tuple[int, ...]
    classes: int
    rank: int  # rank of the variational operators

    def data(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Samples and labels. Samples are not negative, as after a lift."""
        if self.shape == (3,):
            X, labels = gaussians(per_class=self.samples // self.classes)
            return X.to(device), labels.to(device)
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(self.samples) % self.classes
        centres = torch.randn(self.classes, *self.shape, generator=generator)
        noise = torch.randn(self.samples, *self.shape, generator=generator)
        return (centres[labels] + noise).relu().to(device), labels.to(device)

    @property
    def frequencies(self) -> int:
        """Number of frequencies in the half spectrum."""
        return len(HalfSpectrum(self.shape[1:]))

    def flops(self, *, construct: bool = True) -> float:
        """Floating-point operations of a layer: its construction and one application.

        The construction takes the second moment of every class, whose sum is that of all samples,
        and k + 1 Cholesky factors and inverses. The application takes E, the norms of all Cʲ v, and
        their weighted sum. This sum takes one more Cʲ if responses are not stored. Classes with few
        samples are cheaper, see ``docs/large.md``.
        """
        m, k, C, F = self.samples, self.classes, self.shape[0], self.frequencies
        vectors = len(self.shape) == 1
        per_product = 2 if vectors else 8
        r = m // k  # samples of a class
        if r * (C + r) < C**2:
            apply = m * C**2 + m * k * r * C + 2 * m * r * C
            make = m * C**2 + C**3 / 2 + k * (4 * C * r**2 + r**3 / 2)
        else:
            apply = m * C**2 * (k + (1 if vectors else 2))
            make = m * C**2 + (k + 1) * C**3 / 2
        return per_product * F * (apply + construct * make)

    def bytes(self, *, construct: bool = True) -> float:
        """Bytes to and from memory: features are read in each pass and written, operators once."""
        m, k, C, F = self.samples, self.classes, self.shape[0], self.frequencies
        entry = 4 if len(self.shape) == 1 else 8
        r = m // k
        operators = C**2 + (k * r * C if r * (C + r) < C**2 else k * C**2)
        return entry * F * (m * C * (2 + construct) + operators)


WORKLOADS = {
    "vector": Workload("vector, n=784, m=5000, k=10", 5000, (784,), 10, 30),
    "image16": Workload("2-D, C=16, 28×28, m=500, k=10", 500, (16, 28, 28), 10, 5),
    "image75": Workload("2-D, C=75, 28×28, m=100, k=10", 100, (75, 28, 28), 10, 5),
    "gaussians": Workload("Gaussians, n=3, m=1500, k=3", 1500, (3,), 3, 1),
    "classes": Workload("vector, n=512, m=20000, k=200", 20000, (512,), 200, 20),
}
EVALUATION = Workload("evaluation, C=16, 28×28, m=10000, k=10", 10000, (16, 28, 28), 10, 5)
