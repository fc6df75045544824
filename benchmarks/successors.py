"""Networks that came after ReduNet, beside it: layers, seconds and accuracy.

Two papers change the layer of Algorithm 1. They are written anew here, from their formulas. ε², the
samples and the classifiers of the features are the same for all methods.

- ESS-ReduNet gives the expansion a weight w = min(exp(τ), u), and corrects memberships by Bayes'
  rule. The descriptions that we could read do not say how τ grows, what u and η are, or which
  condition number ends the construction. Here τ is constant, and the number of layers is given.
- Multi-ReduNet expands each class by its own samples. Its variant LastNorm projects onto the sphere
  only after the last layer. Published are 5 layers, ε² = 0.1, and η = 0.05 or from 0.01 to 0.5.

References
----------
- Yu et al., ESS-ReduNet: Enhancing Subspace Separability of ReduNet via Dynamic Expansion with
  Bayesian Inference (arXiv:2411.17961).
- Multi-ReduNet: Interpretable Class-Wise Decomposition of ReduNet (ICLR 2026).
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from benchmarks import textbook
from benchmarks.machine import describe
from redunet import NearestSubspaceClassifier, ReduNet, Search, datasets, rate_reduction

LAMBDA = 500.0
PUBLISHED_LAYERS = 5  # of Multi-ReduNet
DECADE = (0.05, 0.1, 0.2, 0.5)  # values of η
SHARE = 0.9  # of the highest ΔR of all methods
TABLES = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}


class Layer(NamedTuple):
    """A layer that was constructed from training samples."""

    moved: Tensor  # features of the training samples after the layer, (m, d)
    apply: Callable[[Tensor], tuple[Tensor, Tensor]]  # new features: after it, and memberships


class Scales(NamedTuple):
    """The factors of ReduNet, Section 2: α = d/(mε²), α_j = d/(m_j ε²), γ_j = m_j/m."""

    alpha: float
    alphas: list[float]
    gammas: Tensor

    @classmethod
    def of(cls, Z: Tensor, labels: Tensor, eps_sq: float) -> "Scales":
        """The factors of samples in classes."""
        counts, (m, d) = labels.bincount().to(Z), Z.shape
        return cls(d / (m * eps_sq), (d / (counts * eps_sq)).tolist(), counts / m)


def inverse(Z: Tensor, alpha: float, *, dense: bool = False) -> Callable[[Tensor], Tensor]:
    """v ↦ α(I + αZZ*)⁻¹ v for the rows of a matrix, by the smaller of two inverses.

    With fewer samples than features it is Woodbury's identity, (I + αZZ*)⁻¹ = I − αZ(I + αZ*Z)⁻¹Z*
    (Multi-ReduNet, Lemma 1). ``dense`` forms the d × d matrix, as the published code does.
    """
    m, d = Z.shape
    if m < d:
        small = torch.linalg.inv(torch.eye(m, dtype=Z.dtype) + alpha * Z @ Z.T)
        if not dense:
            return lambda V: alpha * (V - alpha * (V @ Z.T @ small) @ Z)
        whole = torch.eye(d, dtype=Z.dtype) - alpha * Z.T @ small @ Z
    else:
        whole = torch.linalg.inv(torch.eye(d, dtype=Z.dtype) + alpha * Z.T @ Z)
    return lambda V: alpha * (V @ whole)


def estimated(responses: Tensor) -> Tensor:
    """π̂_j = softmax_j(−λ‖Cʲ v‖) from all Cʲ v, ``(m, k, d)`` (ReduNet, eq. 23)."""
    return torch.softmax(-LAMBDA * responses.norm(dim=2), 1)


def weight(tau: float, largest: float = math.inf) -> float:
    """W(τ) = min(exp(τ), u), the weight of the expansion in ESS-ReduNet."""
    return min(math.exp(tau), largest)


def posterior(membership: Tensor, labels: Tensor) -> Tensor:
    """p_ij = P(v in class i | v is assigned to class j) of training samples (ESS-ReduNet).

    Bayes' rule with shares as probabilities. A class that gets no sample keeps its assignments.
    """
    k = membership.shape[1]
    joint = (one_hot(labels, k).T @ one_hot(membership.argmax(1), k)).to(membership)
    is_empty = joint.sum(0) == 0
    joint[is_empty, is_empty] = 1
    return joint / joint.sum(0)


def ess_layer(Z: Tensor, labels: Tensor, eta: float, eps_sq: float, *, tau: float) -> Layer:
    """v ← P[v + η(w E v − Σ_i γ_i π_i Cⁱ v)] with π_i = Σ_j p_ij π̂_j (ESS-ReduNet).

    The sum over j is the law of total probability. That it enters like this is our reading.
    """
    scales = Scales.of(Z, labels, eps_sq)
    expand = inverse(Z, scales.alpha)
    compress = [inverse(Z[labels == j], alpha) for j, alpha in enumerate(scales.alphas)]

    def respond(V: Tensor) -> Tensor:
        return torch.stack([C(V) for C in compress], 1)

    def move(V: Tensor, responses: Tensor, membership: Tensor) -> Tensor:
        compressed = torch.einsum("mk,mkd->md", scales.gammas * membership, responses)
        return normalize(V + eta * (weight(tau) * expand(V) - compressed))

    def apply(V: Tensor) -> tuple[Tensor, Tensor]:
        responses = respond(V)
        membership = estimated(responses) @ correction.T
        return move(V, responses, membership), membership

    responses = respond(Z)
    guess = estimated(responses)
    correction = posterior(guess, labels)
    return Layer(move(Z, responses, guess @ correction.T), apply)


def multi_layer(
    Z: Tensor,
    labels: Tensor,
    eta: float,
    eps_sq: float,
    *,
    project: Callable[[Tensor], Tensor] = normalize,
    dense: bool = False,
) -> Layer:
    """Z_j ← P[Z_j + η(E_j Z_j − γ_j C_j Z_j)], the ascent of Multi-ReduNet's Theorem 2.

    E_j = α(I + αZ_jZ_j*)⁻¹ and C_j = α_j(I + α_jZ_jZ_j*)⁻¹. New samples take the mean of the steps
    of all classes, weighted by π̂. The variant LastNorm has P = I.
    """
    scales = Scales.of(Z, labels, eps_sq)
    classes = [Z[labels == j] for j in range(len(scales.alphas))]
    expand = [inverse(own, scales.alpha, dense=dense) for own in classes]
    compress = [inverse(own, a, dense=dense) for own, a in zip(classes, scales.alphas, strict=True)]
    moved = torch.empty_like(Z)
    for j, own in enumerate(classes):
        moved[labels == j] = own + eta * (expand[j](own) - scales.gammas[j] * compress[j](own))

    def apply(V: Tensor) -> tuple[Tensor, Tensor]:
        responses = torch.stack([C(V) for C in compress], 1)
        membership = estimated(responses)
        steps = torch.stack([E(V) for E in expand], 1) - scales.gammas[:, None] * responses
        return project(V + eta * torch.einsum("mk,mkd->md", membership, steps)), membership

    return Layer(project(moved), apply)


def printed_layer(Z: Tensor, labels: Tensor, eta: float, eps_sq: float) -> Layer:
    """A layer of Algorithm 1, with one inverse d × d for E and for each class."""
    step = textbook.layer(Z.T[None], labels, eta, eps_sq, LAMBDA)
    E, C, gammas = step.expansion[0], step.compression[:, 0], Scales.of(Z, labels, eps_sq).gammas

    def apply(V: Tensor) -> tuple[Tensor, Tensor]:
        responses = (V @ C).transpose(0, 1)
        membership = estimated(responses)
        compressed = torch.einsum("mk,mkd->md", gammas * membership, responses)
        return normalize(V + eta * (V @ E - compressed)), membership

    return Layer(step.V[0].T, apply)


# How each method makes a layer, and the values of η that are compared.
METHODS: dict[str, tuple[Callable[..., Layer], list[float]]] = {
    "Algorithm 1": (printed_layer, [0.5]),
    "ESS, τ = 0": (partial(ess_layer, tau=0), [0.5]),
    "ESS, τ = 1": (partial(ess_layer, tau=1), [0.5]),
    "ESS, τ = 2": (partial(ess_layer, tau=2), [0.5]),
    "Multi, d × d": (partial(multi_layer, dense=True), [0.05]),
    "Multi": (multi_layer, [0.05, 0.5]),
    "LastNorm": (partial(multi_layer, project=nn.Identity()), [0.05, 0.5]),
}
SENSITIVE = ("Algorithm 1", "ESS, τ = 1", "Multi", "LastNorm")


class Task(NamedTuple):
    """Training and test samples."""

    X: Tensor
    labels: Tensor
    X_new: Tensor
    labels_new: Tensor


class State(NamedTuple):
    """Where samples are before the first layer, or after one of them."""

    Z: Tensor
    new: Tensor  # new samples
    membership: Tensor | None  # of new samples, as the layer estimated it


class Run(NamedTuple):
    """What came of a construction."""

    seconds: float  # a layer
    deltas: np.ndarray  # ΔR before the first layer and after each
    new_delta: float  # ΔR of new samples after the last layer
    accuracies: np.ndarray  # subspaces, SVM and memberships after the published layers and the last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", default=os.environ.get("REDUNET_DATA"), help="folder of MNIST's IDX files"
    )
    parser.add_argument("--only", choices=["MNIST", *TABLES], nargs="+")
    parser.add_argument("--per-class", type=int, nargs="+", default=[20, 50, 500], help="of MNIST")
    parser.add_argument("--eps-sq", type=float, default=0.1)
    parser.add_argument("--layers", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-decade", action="store_true", help="leave out other values of η")
    options = parser.parse_args()
    print(describe(torch.device("cpu")))
    for name in options.only or [*(["MNIST"] if options.data else []), *TABLES]:
        for per_class in options.per_class if name == "MNIST" else [None]:
            drawn = [task(name, seed, options.data, per_class) for seed in range(options.seeds)]
            title = f"{name}, {per_class} of each class" if per_class else name
            table = comparison(drawn, options.eps_sq, options.layers)
            print(f"\n{title}, ε² = {options.eps_sq:g}\n\n{table}", flush=True)
            if not options.no_decade:
                print(f"\n{sensitivity(drawn, options.eps_sq)}", flush=True)


def task(name: str, seed: int, folder: str | None, per_class: int | None) -> Task:
    """A draw of the samples. Measurements are standardised by the training half."""
    if per_class is not None:
        (X, labels), (X_new, labels_new) = (datasets.mnist(s, folder) for s in ("train", "test"))
        rows = datasets.subsample(labels, per_class, seed=seed)
        new = datasets.subsample(labels_new, 100)
        return Task(X[rows].flatten(1), labels[rows], X_new[new].flatten(1), labels_new[new])
    X, y = TABLES[name](return_X_y=True)
    X, X_new, y, y_new = train_test_split(X, y, train_size=0.5, stratify=y, random_state=seed)
    if name != "digits":
        scaler = StandardScaler().fit(X)
        X, X_new = scaler.transform(X), scaler.transform(X_new)
    X, y, X_new, y_new = map(torch.from_numpy, (X, y, X_new, y_new))
    return Task(X.float(), y, X_new.float(), y_new)


def ours(data: Task, eps_sq: float, layers: int) -> Run:
    """redunet with adaptive steps. The seconds include the choice of the sharpness."""
    start = time.process_time()
    search = Search([None], eps_sq=eps_sq, reader=None)
    net = ReduNet.construct(data.X, data.labels, lift=search, num_layers=layers)
    seconds = time.process_time() - start
    memberships = [
        layer.assign(net.residual_norms(data.X_new, number))
        for number, layer in enumerate(net.layers)
    ]
    paths = net.trajectory(data.X), net.trajectory(data.X_new), [None, *memberships]
    return evaluated(seconds, [State(*each) for each in zip(*paths, strict=True)], data, eps_sq)


def successor(
    make: Callable[..., Layer], eta: float, data: Task, eps_sq: float, layers: int
) -> Run:
    """A network of layers of one kind. The seconds are those of its layers, without their ΔR."""
    Z, new, seconds = normalize(data.X), normalize(data.X_new), 0.0
    states = [State(Z, new, None)]
    for _ in range(layers):
        start = time.process_time()
        layer = make(Z, data.labels, eta, eps_sq)
        seconds += time.process_time() - start
        Z, (new, membership) = layer.moved, layer.apply(new)
        states.append(State(normalize(Z), normalize(new), membership))
    return evaluated(seconds, states, data, eps_sq)


def evaluated(seconds: float, states: list[State], data: Task, eps_sq: float) -> Run:
    deltas = [float(rate_reduction(state.Z, data.labels, eps_sq).delta) for state in states]
    new_delta = rate_reduction(states[-1].new, data.labels_new, eps_sq).delta
    shown = (states[min(PUBLISHED_LAYERS, len(states) - 1)], states[-1])
    scores = np.array([accuracies(state, data) for state in shown])
    return Run(seconds / (len(states) - 1), np.array(deltas), float(new_delta), scores)


def accuracies(state: State, data: Task) -> list[float]:
    """Of nearest subspaces, of a linear SVM and of the memberships, on new samples."""
    d, k = state.Z.shape[1], len(data.labels.unique())
    subspaces = NearestSubspaceClassifier(min(10, d // k)).fit(state.Z, data.labels)
    svm = LinearSVC(dual="auto", max_iter=10_000, random_state=0).fit(state.Z, data.labels)
    labels_new = data.labels_new.numpy()  # LinearSVC of scikit-learn 1.6 takes no tensor here
    scores = [model.score(state.new, labels_new) for model in (subspaces, svm)]
    return [*scores, float((state.membership.argmax(1) == data.labels_new).double().mean())]


def comparison(drawn: list[Task], eps_sq: float, layers: int) -> str:
    """A row for each method, with means over the draws."""
    ways = {"redunet": ours} | {
        f"{name}, η = {eta:g}": partial(successor, make, eta)
        for name, (make, etas) in METHODS.items()
        for eta in etas
    }
    runs = {name: [way(data, eps_sq, layers) for data in drawn] for name, way in ways.items()}
    deltas = {name: np.mean([run.deltas for run in each], 0) for name, each in runs.items()}
    early = min(PUBLISHED_LAYERS, layers)
    low = deltas["Multi, η = 0.05"][early]
    high = SHARE * max(delta.max() for delta in deltas.values())
    rows = []
    for name, each in runs.items():
        seconds = float(np.mean([run.seconds for run in each]))
        counts = [reached(deltas[name], target, seconds) for target in (low, high)]
        rates = [*deltas[name][[early, layers]], np.mean([run.new_delta for run in each])]
        scores = np.mean([run.accuracies for run in each], 0).T
        pairs = [f"{before:.3f} / {after:.3f}" for before, after in scores]
        rows.append([name, 1e3 * seconds, *counts, *rates, *pairs])
    headers = ["", "ms a layer", f"to ΔR = {low:.4g}", f"to {high:.4g}", f"ΔR @{early}"]
    headers += [f"@{layers}", f"new @{layers}", f"subspaces @{early} / {layers}"]
    return tabulate(rows, [*headers, "SVM", "memberships"], "github", ".4g", missingval="–")


def reached(deltas: np.ndarray, target: float, seconds: float) -> str | None:
    """Layers and seconds until ΔR reaches a value."""
    later = np.flatnonzero(deltas >= target)
    return f"{later[0]} ({later[0] * seconds:.2g} s)" if len(later) else None


def sensitivity(drawn: list[Task], eps_sq: float) -> str:
    """Accuracy of nearest subspaces after the published layers, for values of η over a decade."""
    rows = []
    for name in SENSITIVE:
        ways = [partial(successor, METHODS[name][0], eta) for eta in DECADE]
        runs = [[way(data, eps_sq, PUBLISHED_LAYERS) for data in drawn] for way in ways]
        scores = [np.mean([run.accuracies[-1, 0] for run in each]) for each in runs]
        rows.append([name, *scores, max(scores) - min(scores)])
    headers = ["subspaces @5", *(f"η = {eta:g}" for eta in DECADE), "range"]
    return tabulate(rows, headers, "github", ".3f")


if __name__ == "__main__":
    with torch.no_grad():
        main()
