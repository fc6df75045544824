"""Lifts with learned kernels beside random ones, at the same number of channels.

The ReduNet paper (JMLR 2022, Section 4.2, footnotes 28 and 30) proposes to learn sparsifying
dictionaries. A dictionary is learned here from patches of the training samples, and a lift codes
every sample by it: some steps of ISTA, x ≈ Σ_a k_a * z_a with z ≥ 0 of small ℓ1 norm. Both
commute with cyclic shifts. Leave-one-out chooses the penalty, the nonlinearity, the band and ε².
The comparison is that of the mean log loss by leave-one-out, sample by sample.

Digits need no folder, MNIST the one that REDUNET_DATA names, and series files ``*_TRAIN.ts`` with
``*_TEST.ts`` beside them.
"""

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.machine import describe
from redunet import Lift, MultiScaleLift, RandomCirculantLift, ReduNet, Search, datasets
from redunet.lifts import Standardize

PATCHES = 3000
STEPS = 10  # of ISTA
PENALTIES = (0.02, 0.05, 0.1)
NONLINEARITIES = ("relu", "soft step", "step")


class SparseCoding(Lift):
    """Non-negative codes z of samples x that minimise ½‖x − Σ_a k_a * z_a‖² + λ‖x‖ Σ z.

    Parameters
    ----------
    kernels : Tensor of shape (A, C, *size)
        Atoms of unit norm.
    penalty : float
        λ.
    """

    def __init__(self, kernels: Tensor, penalty: float):
        super().__init__()
        self.register_buffer("kernels", kernels)
        self.penalty = penalty

    def forward(self, X: Tensor) -> Tensor:
        """Codes ``(m, A, *spatial)`` of samples ``(m, C, *spatial)``, after some steps of ISTA."""
        shape, axes = X.shape[2:], tuple(range(2, X.ndim))
        atoms = torch.fft.rfftn(self.kernels, s=shape, dim=axes)  # (A, C, …)
        step = 1 / atoms.abs().square().sum((0, 1)).max()  # at most 1/‖D*D‖
        threshold = step * self.penalty * X.flatten(1).norm(dim=1).view(-1, *[1] * (X.ndim - 1))
        rest, codes = torch.fft.rfftn(X, dim=axes), torch.zeros(())
        for _ in range(STEPS):
            gradient = torch.einsum("mc...,ac...->ma...", rest, atoms.conj())
            codes = codes + step * torch.fft.irfftn(gradient, s=shape, dim=axes)
            codes = (codes - threshold).relu()
            coded = torch.einsum("ma...,ac...->mc...", torch.fft.rfftn(codes, dim=axes), atoms)
            rest = torch.fft.rfftn(X, dim=axes) - coded
        return codes


def learned_kernels(X: Tensor, count: int, size: int, seed: int) -> Tensor:
    """A dictionary of patches without their means, ``(count, C, *size)``, of unit norm."""
    rng, axes = np.random.default_rng(seed), range(2, X.ndim)
    window = (slice(None), *[slice(size)] * len(axes))
    patches = []
    for number in rng.integers(len(X), size=PATCHES):
        corner = [-int(rng.integers(X.shape[axis])) for axis in axes]
        patches.append(X[number].roll(corner, [axis - 1 for axis in axes])[window].flatten())
    rows = torch.stack(patches).double().numpy()
    rows -= rows.mean(1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = (rows / norms.clip(1e-12))[norms[:, 0] > 0.1 * np.median(norms)]
    options = {
        "alpha": 0.2,
        "max_iter": 20,
        "batch_size": 128,
        "positive_code": True,
        "fit_algorithm": "cd",
    }
    learning = MiniBatchDictionaryLearning(count, random_state=seed, **options).fit(rows)
    kernels = torch.tensor(learning.components_, dtype=X.dtype)
    return (kernels / kernels.norm(dim=1, keepdim=True)).view(
        count, X.shape[1], *[size] * len(axes)
    )


def random_kernels(like: Tensor, seed: int) -> Tensor:
    """Gaussian kernels without their means, of unit norm."""
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(like.flatten(1).shape, generator=generator, dtype=like.dtype)
    kernels = kernels - kernels.mean(1, keepdim=True)
    return (kernels / kernels.norm(dim=1, keepdim=True)).view_as(like)


def families(X: Tensor, channels: int, size: int, seed: int) -> dict[str, list[nn.Module]]:
    """The lifts that are compared, by family."""
    inputs, ndim = X.shape[1], X.ndim - 2
    learned = learned_kernels(X, channels, size, seed)
    random = random_kernels(learned, seed)
    dilations = [d for d in (1, 2, 4, 8) if 2 * d < min(X.shape[2:])]
    scales = {"kernels_per_scale": channels // len(dilations), "dilations": dilations, "seed": seed}
    lifts: dict[str, Sequence[nn.Module]] = {
        "dilated random kernels": [
            MultiScaleLift(inputs, ndim, nonlinearity=each, **scales) for each in NONLINEARITIES
        ],
        "random kernels, ReLU": [RandomCirculantLift(inputs, channels, size, ndim, seed)],
        "random dictionary, ISTA": [SparseCoding(random, penalty) for penalty in PENALTIES],
        "learned dictionary, ISTA": [SparseCoding(learned, penalty) for penalty in PENALTIES],
    }
    return {
        name: [nn.Sequential(Standardize(inputs), lift) for lift in each]
        for name, each in lifts.items()
    }


def samples(name: str, seed: int) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray, int]:
    """Samples and labels for training and test, and the size of a kernel."""
    if name.endswith("_TRAIN.ts"):
        X, y = datasets.load(name)
        X_test, y_test = datasets.load(name.replace("_TRAIN", "_TEST"))
        return X, y, X_test, y_test, 9
    if name == "digits":
        X, y = datasets.digits()
        X, X_test, y, y_test = train_test_split(
            X, y, train_size=200, test_size=1000, stratify=y, random_state=seed
        )
        return X, y, X_test, y_test, 3
    X, y = datasets.mnist("train")
    X_test, y_test = datasets.mnist("test")
    X, _, y, _ = train_test_split(X, y, train_size=200, stratify=y, random_state=seed)
    return X, y, X_test[:2000], y_test[:2000], 5


def compare(name: str, channels: int, seeds: int) -> list[list[object]]:
    """A row for each family of lifts."""
    results: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(seeds):
        X, y, X_test, y_test, size = samples(name, seed)
        for family, lifts in families(X, channels, size, seed).items():
            start = time.process_time()
            search = Search(lifts, reader=None).fit(X, y)
            net = ReduNet.construct(X, y, num_layers=1, **search.arguments)
            accuracy = float(np.mean(net.predict(X_test) == np.asarray(y_test)))
            seconds = time.process_time() - start
            results.setdefault(family, []).append((search.best_.loss, accuracy, seconds))
    title = Path(name).name.removesuffix("_TRAIN.ts")
    return [[title, family, *summary(runs)] for family, runs in results.items()]


def summary(runs: list[tuple[float, float, float]]) -> list[str]:
    """Means over the seeds, and the standard deviation of the first two."""
    losses, accuracies, seconds = zip(*runs, strict=True)
    spread = [stdev(values) if len(runs) > 1 else 0.0 for values in (losses, accuracies)]
    return [
        f"{mean(losses):.3f} ± {spread[0]:.3f}",
        f"{mean(accuracies):.3f} ± {spread[1]:.3f}",
        f"{mean(seconds):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sets", nargs="*", default=["digits"], help="digits, mnist, or *_TRAIN.ts")
    parser.add_argument("--channels", type=int, default=64, help="number of channels of each lift")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)  # of codes within the learning
    print(describe(torch.device("cpu")))
    rows = [row for name in options.sets for row in compare(name, options.channels, options.seeds)]
    headers = ["samples", "lift", "log loss, left out", "test accuracy", "seconds"]
    print(tabulate(rows, headers, tablefmt="github"))


if __name__ == "__main__":
    main()
