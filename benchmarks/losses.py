"""Rate reduction as a loss: time of value and gradient with the published methods and redunet.

The first table has classes with few samples, as in batches of large data sets. The second table has
large classes, many dimensions and few atoms, which suits the variational form best.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.machine import add_device_option, best_time, describe
from redunet import MCR2Loss, VariationalMCR2Loss

EPS_SQ = 0.5

# Above this number of entries in the matrices of all classes, a method takes too much memory.
LARGEST_DENSE = 2**29


class Batch(NamedTuple):
    """Features of unit norm in balanced classes, in random order, and the number of atoms."""

    classes: int
    dim: int
    samples: int
    atoms_per_class: int

    def __str__(self) -> str:
        """The label of a row."""
        return f"k={self.classes}, d={self.dim}, m={self.samples}, q/k={self.atoms_per_class}"

    def data(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Features and labels."""
        generator = torch.Generator().manual_seed(0)
        Z = torch.randn(self.samples, self.dim, generator=generator)
        labels = torch.randperm(self.samples, generator=generator) % self.classes
        return torch.nn.functional.normalize(Z, dim=1).to(device), labels.to(device)

    @property
    def dense_entries(self) -> int:
        """Number of entries of one d × d matrix for each class."""
        return self.classes * self.dim**2


SMALL_CLASSES = [
    Batch(10, 128, 1000, 20),
    Batch(100, 500, 2000, 10),
    Batch(200, 500, 2000, 10),
    Batch(1000, 512, 4000, 10),
]
LARGE_CLASSES = [Batch(10, 1024, 10_000, 10), Batch(4, 2048, 8192, 10), Batch(2, 2048, 2048, 5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_device_option(parser)
    options = parser.parse_args()
    print(describe(options.device))
    for batches in (SMALL_CLASSES, LARGE_CLASSES):
        print()
        rows = [row(batch, options.device) for batch in batches]
        headers = [
            "ms",
            *WAYS,
            "V, update",
            "loop / ours",
            "V / ours",
            "V and update / ours",
            "relative difference",
        ]
        formats = ("", *[".3g"] * 9, ".1e")
        print(tabulate(rows, headers, "github", floatfmt=formats, missingval="–"))


def row(batch: Batch, device: torch.device) -> list[object]:
    """Milliseconds of each method and of an update, ratios, and the error of the gradient."""
    Z, labels = batch.data(device)
    variational = VariationalMCR2Loss(*batch[:2], batch.atoms_per_class, EPS_SQ).to(device)
    variational.latch(Z, labels)
    times, gradients = {}, {}
    for name, loss_of in WAYS.items():
        if loss_of in DENSE and batch.dense_entries > LARGEST_DENSE:
            continue
        loss = loss_of(batch.classes, variational)
        gradients[name] = gradient(loss, Z, labels)
        times[name] = 1e3 * best_time(lambda loss=loss: gradient(loss, Z, labels), device, repeat=3)
    update = 1e3 * best_time(lambda: variational.update(Z, labels), device, repeat=3)
    exact, relaxed = times["ours"], times["V, eq. 9"]
    difference = (gradients["ours"] - gradients["loop"]).norm() / gradients["loop"].norm()
    ratios = [times["loop"] / exact, relaxed / exact, (relaxed + update) / exact, difference.item()]
    return [str(batch), *(times.get(name) for name in WAYS), update, *ratios]


def gradient(loss: Callable[[Tensor, Tensor], Tensor], Z: Tensor, labels: Tensor) -> Tensor:
    Z = Z.detach().requires_grad_()
    loss(Z, labels).backward()
    return Z.grad


def loop(num_classes: int, _: VariationalMCR2Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The rates by their definition, with a mask and a d × d matrix for each class."""

    def loss(Z: Tensor, labels: Tensor) -> Tensor:
        m, d = Z.shape
        identity = torch.eye(d, device=Z.device)
        memberships = torch.nn.functional.one_hot(labels, num_classes).to(Z)
        compression = 0
        for j in range(num_classes):
            count = memberships[:, j].sum() + 1e-8
            moment = Z.T @ (memberships[:, j, None] * Z)
            log_det = torch.logdet(identity + d / (count * EPS_SQ) * moment)
            compression = compression + count / (2 * m) * log_det
        return compression - torch.logdet(identity + d / (m * EPS_SQ) * Z.T @ Z) / 2

    return loss


def batched(num_classes: int, _: VariationalMCR2Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The d × d matrices of all classes in one batched Cholesky factorisation."""

    def loss(Z: Tensor, labels: Tensor) -> Tensor:
        m, d = Z.shape
        by_class = Z[labels.argsort(stable=True)].unflatten(0, (num_classes, -1))
        moments = torch.cat([by_class.mT @ by_class * num_classes, (Z.T @ Z)[None]])
        identity = torch.eye(d, device=Z.device)
        factors = torch.linalg.cholesky(identity + d / (m * EPS_SQ) * moments)
        log_dets = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
        return log_dets[:-1].mean() / 2 - log_dets[-1] / 2

    return loss


def ours(num_classes: int, _: VariationalMCR2Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """:class:`redunet.MCR2Loss`."""
    return MCR2Loss(EPS_SQ)


def as_printed(num_classes: int, loss: VariationalMCR2Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """M of eq. 7 with d × d matrices, from only the atoms that each class uses after latching."""
    blocks = (num_classes, loss.atoms_per_class)
    atoms = loss.dictionary.unflatten(0, blocks)
    own = loss.codes.unflatten(1, blocks)[torch.arange(num_classes), torch.arange(num_classes)]

    def printed(Z: Tensor, labels: Tensor) -> Tensor:
        by_class = Z[labels.argsort(stable=True)].unflatten(0, (num_classes, -1))
        count = by_class.shape[1]
        approached = atoms.mT @ (count * own[..., None] * atoms)
        distances = (by_class.mT @ by_class - approached).square().sum()
        return loss.mu / (2 * len(Z)) * num_classes * distances

    return printed


def eq_9(num_classes: int, loss: VariationalMCR2Loss) -> VariationalMCR2Loss:
    """:class:`redunet.VariationalMCR2Loss`."""
    return loss


WAYS = {"loop": loop, "batched": batched, "ours": ours, "V, printed": as_printed, "V, eq. 9": eq_9}
DENSE = (batched, as_printed)


if __name__ == "__main__":
    main()
