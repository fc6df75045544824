"""Other normalisations than the sphere, in the algorithm as the paper prints it.

The ReduNet paper (JMLR 2022, Section 2.3 and footnote 17) also names the Frobenius norm of each
class, and layer, group and instance normalisation. All of them commute with cyclic shifts, because
they treat all places alike. Each one chooses its own ε², step and sharpness by the log loss of
training samples that are held out. The features of new samples are compared after the last layer.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from tabulate import tabulate
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarks.machine import describe
from redunet import NearestSubspaceClassifier, RandomCirculantLift, algorithm, datasets
from redunet.algorithm import Layer, on_sphere

Rule = Callable[[Tensor, Tensor], Tensor]  # features (F, m, C) and memberships (m, k) to features
Normalization = Callable[[Tensor, Tensor], Rule]  # training samples with one-hot labels to a rule

SHARE = 0.3  # of the training samples that are held out
EPS_SQ = (0.02, 0.1, 0.5)  # times 1/F
STEPS = (0.2, 1.0)  # ηα
SHARPNESS = (5.0, 20.0, 80.0)  # of ‖Cʲ v‖/α_j, the relative residuals
COMMON = (0.1, 1.0, 20.0)  # settings at which ΔR is compared
PER_CLASS = 20
DIMENSIONS = 3  # of a nearest subspace, at every frequency
SETS = ["Gaussians", "digits, vectors", "digits, images", "sinusoids"]


def ball(V: Tensor, membership: Tensor) -> Tensor:
    """Every sample at most at unit norm."""
    return V / torch.linalg.vector_norm(V, dim=(0, 2), keepdim=True).clamp_min(1)


def centred(V: Tensor, membership: Tensor) -> Tensor:
    """Every sample at unit norm, without its mean over channels and places."""
    mean = V[:1].mean(2, keepdim=True)  # frequency zero holds the means over the places
    return on_sphere(torch.cat([V[:1] - mean, V[1:]]))


def grouped(V: Tensor, membership: Tensor, groups: int | None) -> Tensor:
    """Each of g groups of channels at norm 1/√g; by default each channel is a group."""
    parts = V.unflatten(2, (groups or V.shape[2], -1))
    norms = torch.linalg.vector_norm(parts, dim=(0, 3), keepdim=True)
    return (parts / norms.clamp_min(1e-12)).flatten(2) / parts.shape[2] ** 0.5


def frobenius(V: Tensor, labels: Tensor, *, by_class: bool) -> Rule:
    """One factor √(m/‖V‖²) for all samples, or √(m_j/‖V_j‖²) for each class, mixed by π̂."""
    members = labels if by_class else torch.ones_like(labels)
    energies = torch.linalg.vector_norm(V, dim=(0, 2)).square()
    factors = (members.sum(0) / (energies @ members)).sqrt()
    return lambda V, membership: V * (membership @ factors)[:, None]


NORMALIZATIONS: dict[str, Normalization] = {
    "sphere": lambda V, labels: lambda V, membership: on_sphere(V),
    "ball": lambda V, labels: ball,
    "layer": lambda V, labels: centred,
    "4 groups": lambda V, labels: partial(grouped, groups=4),
    "instance": lambda V, labels: partial(grouped, groups=None),
    "Frobenius": partial(frobenius, by_class=False),
    "Frobenius by class": partial(frobenius, by_class=True),
}


class Settings(NamedTuple):
    """Settings that mean the same for any number of samples, channels and frequencies."""

    eps_sq: float  # times 1/F
    step: float  # ηα
    sharpness: float


class Network(NamedTuple):
    """Layers, and the rules before the first of them and after each."""

    layers: list[Layer]
    rules: list[Rule]
    delta: float  # ΔR of the training samples after the last layer

    def __call__(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the memberships that the last layer estimates."""
        k = len(self.layers[0].gamma)
        V, membership = spectrum(X), X.new_full((len(X), k), 1 / k)
        V = self.rules[0](V, membership)
        for layer, rule in zip(self.layers, self.rules[1:], strict=True):
            V, membership = ascend(V, layer)
            V = rule(V, membership)
        return algorithm.from_spectrum(V, X.shape), membership


def construct(
    X: Tensor, labels: Tensor, normalization: Normalization, num_layers: int, settings: Settings
) -> Network:
    """``redunet.algorithm.construct`` with another normalisation in place of the sphere."""
    V, true = spectrum(X), one_hot(labels).to(X.dtype)
    rules, layers = [normalization(V, true)], list[Layer]()
    V, gamma, eps_sq = rules[0](V, true), true.mean(0), settings.eps_sq / len(V)
    eta = settings.step / algorithm.alpha(V, eps_sq)
    lam = settings.sharpness / algorithm.alpha(V, eps_sq) / len(gamma)  # for classes of one size
    for _ in range(num_layers):
        layers.append(Layer(*algorithm.operators(V, labels, eps_sq), gamma, eta, lam))
        V, membership = ascend(V, layers[-1])
        rules.append(normalization(V, true))
        V = rules[-1](V, membership)
    R, R_c = algorithm.rates(V, labels, eps_sq)
    return Network(layers, rules, float(R - R_c))


def ascend(V: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """V after the step of ``redunet.algorithm``, without a projection; and the memberships."""
    E, C, gamma, eta, lam = layer
    CV = V @ C.mT
    membership = torch.softmax(-lam * torch.linalg.vector_norm(CV, dim=(1, 3)), 0)
    compression = ((gamma[:, None] * membership)[:, None, :, None] * CV).sum(0)
    return V + eta * (V @ E.mT - compression), membership.T


def spectrum(X: Tensor) -> Tensor:
    """The unitary discrete Fourier transform, at the norms that the samples have."""
    return algorithm.to_spectrum(X) * X.flatten(1).norm(dim=1)[:, None]


class Result(NamedTuple):
    """What came of a normalisation on a draw."""

    delta: float  # at common settings
    memberships: float  # accuracy on new samples
    subspaces: float
    change: float  # of memberships under cyclic shifts


def evaluated(normalization: Normalization, data: list[Tensor], num_layers: int) -> Result:
    """Choose the settings on the training samples, construct, and classify the new samples."""
    X, X_new, labels, labels_new = data
    rows = train_test_split(range(len(X)), test_size=SHARE, stratify=labels, random_state=0)
    make = partial(construct, normalization=normalization, num_layers=num_layers)

    def loss(settings: Settings) -> float:
        _, membership = make(X[rows[0]], labels[rows[0]], settings=settings)(X[rows[1]])
        found = membership.gather(1, labels[rows[1], None])
        return -float(found.clamp_min(1e-6).log().mean())

    grid = itertools.starmap(Settings, itertools.product(EPS_SQ, STEPS, SHARPNESS))
    net = make(X, labels, settings=min(grid, key=loss))
    (Z, _), (new, membership) = net(X), net(X_new)
    nearest = NearestSubspaceClassifier(DIMENSIONS, shift_invariant=X.ndim > 2).fit(Z, labels)
    exact = make(X.double(), labels, settings=Settings(*COMMON))
    few = X_new[:100].double()
    shifted = few.roll(2, -1) if X.ndim > 2 else few
    return Result(
        exact.delta,
        float((membership.argmax(1) == labels_new).double().mean()),
        nearest.score(new, labels_new),
        float((exact(shifted)[1] - exact(few)[1]).abs().max()),
    )


def draw(name: str, seed: int) -> list[Tensor]:
    """Training samples, new samples and the labels of both; channels are from random kernels."""
    if name.endswith(".ts"):
        (X, y), (X_test, y_test) = map(datasets.load, (name, name.replace("_TRAIN", "_TEST")))
        _, found = np.unique([*y, *y_test], return_inverse=True)
        count, X, labels = len(y), torch.cat([X, X_test]), torch.from_numpy(found)
    else:
        X, labels = {
            "Gaussians": partial(datasets.gaussians, ndim=8, per_class=120, sigma=0.25, seed=seed),
            "sinusoids": partial(
                datasets.sinusoids, per_class=120, channels=1, noise=1.0, seed=seed
            ),
        }.get(name, datasets.digits)()
        count = PER_CLASS * len(labels.unique())
    X = X.float()
    if name == "digits, vectors":
        X = X.flatten(1)
    if X.ndim > 2:
        size = {1: 9, 2: 3}[X.ndim - 2]
        X = RandomCirculantLift(X.shape[1], 16, size, X.ndim - 2, seed=seed)(X)
    new = min(1000, len(X) - count)
    rows = train_test_split(
        range(len(X)), train_size=count, test_size=new, stratify=labels, random_state=seed
    )
    return [part[each] for part in (X, labels) for each in rows]


def compare(name: str, num_layers: int, seeds: range) -> list[list[str]]:
    """A row for each normalisation: means, and accuracies less those of the sphere."""
    draws = [draw(name, seed) for seed in seeds]
    results = {
        kind: np.array([evaluated(normalization, data, num_layers) for data in draws])
        for kind, normalization in NORMALIZATIONS.items()
    }
    title, rows = Path(name).name.removesuffix("_TRAIN.ts"), []
    for kind, found in results.items():
        less = found[:, 1:3] - results["sphere"][:, 1:3]
        errors = less.std(0, ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else np.zeros(2)
        scores = [
            f"{mean:.3f} ({change:+.3f} ± {error:.3f})"
            for mean, change, error in zip(found[:, 1:3].mean(0), less.mean(0), errors, strict=True)
        ]
        rows.append([title, kind, f"{found[:, 0].mean():.3g}", *scores, f"{found[:, 3].max():.0e}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sets", nargs="*", default=SETS, help=f"{', '.join(SETS)}, or *_TRAIN.ts")
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5, help="number of draws")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    print(describe(torch.device("cpu")))
    headers = ["samples", "normalisation", "ΔR", "memberships", "nearest subspaces", "shifts"]
    for name in options.sets:
        seeds = range(options.first, options.first + options.seeds)
        rows = compare(name, options.layers, seeds)
        print(f"\n{tabulate(rows, headers, 'github', disable_numparse=True)}", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
