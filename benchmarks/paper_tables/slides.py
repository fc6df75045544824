"""The two tables of the slides: digits 0 and 1, rotated and translated."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from tqdm import tqdm

from benchmarks.paper_tables.cells import Machine, Results, Settings, Table, Values, markdown
from benchmarks.paper_tables.digits import Samples, first, split
from benchmarks.paper_tables.invariance import features, shifted
from redunet import NearestSubspaceClassifier, RandomCirculantLift, ReduNet, polar_samples

DIGITS = (0, 1)
COLUMNS = ("originals", "all shifts")
PART = 100  # layers that are constructed and applied together, which limits the memory
ETA = {"invariant": 0.5, "plain": 0.1}  # as in the README of the authors' code
GAIN = 1e-3  # the construction stops if so many layers raise ΔR by a smaller share

# Printed accuracies on original test digits and on their shifts.
PRINTED = {
    ("rotations", "plain"): (0.983, 0.707),
    ("rotations", "invariant"): (0.996, 0.993),
    ("translations", "plain"): (0.980, 0.540),
    ("translations", "invariant"): (0.975, 0.909),
}


class Deep(NamedTuple):
    """Features after the last layer, and the network as far as a table shows it."""

    features: list[Tensor]
    layers: int
    rate: float


def compute(settings: Settings, machine: Machine) -> Values:
    """Accuracies of nearest subspaces on test digits and on their shifts."""
    train, test = (samples(settings, name, machine) for name in ("train", "test"))
    some = first(test, settings["shifted"])
    lift = None
    if settings["group"] == "translations":
        lift = RandomCirculantLift(1, 5, 3, ndim=2, seed=settings["seed"])
    if settings["network"] == "plain":
        shifts = shifted(some, settings["stride"])
        train, test, shifts = ((X.flatten(1), y) for X, y in (train, test, shifts))
        deep = constructed(train, [test[0], shifts[0]], None, settings, machine)
        Z, Z_test, Z_shifts = deep.features
    else:
        deep = constructed(train, [test[0], some[0]], lift, settings, machine)
        Z, Z_test, Z_some = deep.features  # the features of a shift are the shifted features
        Z_shifts, labels = shifted((Z_some, some[1]), settings["stride"])
        shifts = Z_shifts, labels
    values: Values = {"layers": deep.layers, "ΔR": deep.rate}
    classifier = NearestSubspaceClassifier(20).fit(Z, train[1])
    values["originals"] = classifier.score(Z_test, test[1])
    values["all shifts"] = classifier.score(Z_shifts, shifts[1])
    return values


def samples(settings: Settings, name: str, machine: Machine) -> Samples:
    """Digits 0 and 1, for rotations on circles of five radii."""
    per_class = settings["per_class" if name == "train" else "test_per_class"]
    X, labels = first(split(settings["data"], name, machine.data_dir), per_class, DIGITS)
    if settings["group"] == "rotations":
        radii = np.linspace(0, X.shape[-1] // 2, 5).astype(int).tolist()
        X = polar_samples(X, radii, settings["angles"])
    return X, labels


def constructed(
    train: Samples,
    others: Sequence[Tensor],
    lift: torch.nn.Module | None,
    settings: Settings,
    machine: Machine,
) -> Deep:
    """Features of training and other samples after the network that the settings describe.

    A deep network is constructed in parts. The features after one part are the samples of the next,
    which equals a construction of all layers at once. With ``true_membership`` in the settings,
    training samples move by their labels, and all others by the memberships that layers estimate.
    """
    X, labels = train
    parts = [X, *others]
    true = settings.get("true_membership", False)
    if settings["steps"] == "defaults":
        net = ReduNet.construct(X, labels, lift=lift, device=machine.device)
        moved = [features(net, part, 1000) for part in parts]
        return Deep(moved, len(net.layers), net.history.delta[-1])
    options: dict[str, Any] = {"eta": settings["eta"], "eps_sq": 0.1, "device": machine.device}
    options["true_membership"] = true
    end, layers, rate = time.perf_counter() + settings["seconds"], 0, 0.0
    bar = tqdm(total=settings["layers"], unit="layer", leave=False)
    while layers < settings["layers"] and time.perf_counter() < end:
        depth = min(PART, settings["layers"] - layers)
        net = ReduNet.construct(parts[0], labels, num_layers=depth, lift=lift, **options)
        moved = moved_by_labels(net, parts[0], labels) if true else features(net, parts[0], 1000)
        parts = [moved, *(features(net, part, 1000) for part in parts[1:])]
        lift, layers, before = None, layers + depth, net.history.delta[0]
        rate = net.history.delta[-1]
        bar.update(depth)
        if rate < (1 + GAIN) * before:
            break
    bar.close()
    return Deep(parts, layers, rate)


def moved_by_labels(net: ReduNet, X: Tensor, labels: Tensor) -> Tensor:
    """Features of training samples that move by their true memberships."""
    V = torch.cat(list(net.encode(X)), 1)
    membership = one_hot(labels).to(V.real)
    for layer in net.layers:
        V = layer(V, membership)
    return net.spectrum.inverse(V)


def show(cells: Sequence[Settings], results: Results) -> str:
    """Printed accuracies beside ours."""
    rows = []
    for settings in cells:
        printed = PRINTED[settings["group"], settings["network"]]
        values = results.get(settings) or {}
        layers, rate = values.get("layers"), values.get("ΔR")
        steps = f"η = {settings['eta']}, ε² = 0.1" if settings["steps"] == "paper" else "defaults"
        rows.append(
            [
                *(settings["network"], steps, None if layers is None else str(layers)),
                None if rate is None else f"{rate:.4f}",
                *(x for pair in zip(printed, map(values.get, COLUMNS), strict=True) for x in pair),
            ]
        )
    headers = ["network", "settings", "layers", "ΔR", "originals, slides", "originals, ours"]
    return markdown(rows, [*headers, "all shifts, slides", "all shifts, ours"])


def table(group: str, minutes: float, settings: Settings, trial: Settings) -> Table:
    """The table of rotations or of translations."""
    settings = {"table": "slides", "group": group, "data": "MNIST", "shifted": 40} | settings
    return Table(
        title=f"{group} of digits 0 and 1, from the slides",
        needs="MNIST",
        minutes=minutes,
        cells=[
            settings | {"network": network, "steps": steps, "eta": eta, "seconds": 480, "seed": 0}
            for network, eta in ETA.items()
            for steps in ("paper", "defaults")
        ],
        compute=compute,
        show=show,
        trial={"data": "digits", "per_class": 6, "test_per_class": 6, "shifted": 2} | trial,
    )


ROTATIONS = table(
    "rotations",
    15,
    {"per_class": 1000, "test_per_class": 1000, "layers": 3500, "angles": 200, "stride": 5},
    {"layers": 3, "angles": 20},
)
TRANSLATIONS = table(
    "translations",
    12,
    {"per_class": 500, "test_per_class": 250, "layers": 2000, "stride": 4},
    {"layers": 3},
)
