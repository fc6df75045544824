"""Table 15: translated MNIST, and other settings of its row of 75 channels."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from benchmarks.paper_tables import authors
from benchmarks.paper_tables.cells import (
    Machine,
    Results,
    Settings,
    Table,
    Values,
    markdown,
    spread,
    varying,
)
from benchmarks.paper_tables.digits import Samples, first, split
from benchmarks.paper_tables.invariance import (
    COLUMNS,
    accuracies,
    features,
    of_features,
    shifted,
    shown_by_channels,
)
from redunet import NearestSubspaceClassifier, RandomCirculantLift, ReduNet

SEEDS = range(5)

# By channels: the printed rows, and reference values.
PRINTED = {
    5: ((1.000, 0.680, 0.879, 0.619), (None,) * 4),
    15: ((1.000, 0.610, 0.901, 0.599), (None, 0.61, "0.88–0.91", 0.59)),
    35: ((1.000, 0.670, 0.933, 0.648), (None,) * 4),
    55: ((1.000, 0.770, 0.933, 0.767), (None,) * 4),
    75: ((1.000, 0.840, 0.976, 0.838), (None,) * 4),
}

USUAL = {"layers": 25, "eta": 0.5, "eps_sq": 0.1, "kernel": 9, "rectified": True, "stride": 7}
# None stands for the defaults of the package.
CHANGES: list[Settings] = [
    {},
    {"kernel": 5},
    {"rectified": False},
    {"eta": 0.1},
    {"eta": 1.0},
    {"layers": 5},
    {"eps_sq": 1.0},
    {"eps_sq": 0.05},
    {"eps_sq": 0.01},
    {"eps_sq": 0.01, "eta": 0.05},
    {"eps_sq": 0.01, "eta": 0.05, "seed": 1},
    {"eps_sq": 0.01, "eta": 0.05, "seed": 2},
    {"eps_sq": 0.001, "eta": 0.005},
    {"eps_sq": None, "eta": None},
]


def constructed(settings: Settings, train: Samples, machine: Machine) -> ReduNet:
    """The network of a cell."""
    return ReduNet.construct(
        *train,
        num_layers=settings["layers"],
        eta=settings["eta"],
        eps_sq=settings["eps_sq"],
        lift=lift_of(settings),
        batch_size=50,
        device=machine.device,
    )


def lift_of(settings: Settings) -> RandomCirculantLift:
    """Random kernels, with or without a rectifier."""
    threshold = "relu" if settings["rectified"] else 0.0
    size, seed = settings["kernel"], settings["seed"]
    return RandomCirculantLift(1, settings["channels"], size, 2, seed, threshold)


def compute(settings: Settings, machine: Machine) -> Values:
    """Accuracies of the network of one seed."""
    train = first(split(settings["data"], "train", machine.data_dir), settings["per_class"])
    test = first(split(settings["data"], "test", machine.data_dir), 10)
    if settings["as_authors"]:
        lift, steps = lift_of(settings), {"eta": settings["eta"], "eps_sq": settings["eps_sq"]}
        pixels, others = ((255 * X, labels) for X, labels in (train, test))
        net, train, test = authors.network(
            pixels, others, lift, settings["layers"], machine, **steps
        )
    else:
        net = constructed(settings, train, machine)
    return accuracies(net, train, test, settings["stride"])


def compute_more(settings: Settings, machine: Machine) -> Values:
    """Accuracies with other settings and classifiers and, in one cell, more test digits."""
    train = first(split(settings["data"], "train", machine.data_dir), settings["per_class"])
    whole = split(settings["data"], "test", machine.data_dir)
    test = first(whole, 10)
    net, stride = constructed(settings, train, machine), settings["stride"]
    seen, new = ((features(net, X), labels) for X, labels in (train, test))
    values = of_features(seen, new, stride)
    values["5 nearest"] = nearest(seen, new, 5)
    shifts = shifted(seen, stride)
    span = NearestSubspaceClassifier(len(shifts[0]) // 10).fit(*shifts)
    values["span, test"] = span.score(*new)
    values["span, shifts"] = span.score(*shifted(new, stride))
    if settings["sets"]:
        originals = NearestSubspaceClassifier(10).fit(*seen)
        X, labels = whole[0][:100], whole[1][:100]
        values["first 100"] = originals.score(features(net, X), labels)
        X, labels = first(whole, 10 * settings["sets"])
        correct = originals.predict(features(net, X)) == labels.numpy()
        by_set = torch.tensor(correct).view(10, settings["sets"], 10).float().mean((0, 2))
        values["mean of sets"], values["sd of sets"] = by_set.mean().item(), by_set.std().item()
    return values


def nearest(train: Samples, test: Samples, count: int) -> float:
    """Accuracy of the most frequent class of the training features with the largest cosine."""
    Z, Z_test = (nn.functional.normalize(X.flatten(1)) for X in (train[0], test[0]))
    chosen = train[1][(Z_test @ Z.T).topk(count).indices]
    return (chosen.mode(1).values == test[1]).float().mean().item()


def show_more(cells: Sequence[Settings], results: Results) -> str:
    """A row of accuracies for each change."""
    names = (*COLUMNS, "5 nearest", "span, test", "span, shifts")
    rows: list[list[object]] = [["paper", *PRINTED[75][0]]]
    for settings in cells:
        shown = varying(settings, [usual(), settings])
        changes = (f"{k} = {v}" for k, v in shown.items() if k != "sets")
        changed = ", ".join(changes).replace("None", "default") or "as printed"
        rows.append([changed, *(spread([settings], results, name) for name in names)])
    more = ("mean of sets", "sd of sets", "first 100")
    mean, sd, beginning = (spread(cells, results, name) for name in more)
    return (
        f"{markdown(rows, ['75 channels', *names])}\n\n"
        f"Test accuracy as printed, for {max(settings['sets'] for settings in cells)} sets of 100 "
        f"digits: {mean} ± {sd}; for the first 100 test digits: {beginning}"
    )


def usual(**changes: object) -> Settings:
    """The settings of the paper for 75 channels and one seed, with changes."""
    settings = {"table": "15-settings", "data": "MNIST", "channels": 75, "per_class": 10, "seed": 0}
    return settings | USUAL | {"sets": 0} | changes


TRIAL = {"data": "digits", "layers": 2, "kernel": 3, "stride": 4}

TABLE = Table(
    title="translated MNIST: 10 digits of each class, 25 layers",
    needs="MNIST",
    minutes=30,
    cells=[
        {"table": "15", "data": "MNIST", "channels": channels, "per_class": 10, "seed": seed}
        | {"as_authors": as_authors}
        | USUAL
        for channels in PRINTED
        for as_authors, seeds in ((False, SEEDS), (True, SEEDS[:3]))
        for seed in seeds
    ],
    compute=compute,
    show=partial(shown_by_channels, PRINTED),
    trial=TRIAL,
)
SETTINGS = Table(
    title="75 channels of Table 15 with other settings",
    needs="MNIST",
    minutes=15,
    cells=[usual(**(change or {"sets": 5})) for change in CHANGES],
    compute=compute_more,
    show=show_more,
    trial=TRIAL | {"sets": 2, "channels": 3},
)
