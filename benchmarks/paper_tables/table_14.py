"""Table 14: rotated MNIST."""

from functools import partial

from benchmarks.paper_tables import authors
from benchmarks.paper_tables.cells import (
    Machine,
    Settings,
    Table,
    Values,
)
from benchmarks.paper_tables.digits import Samples, first, split
from benchmarks.paper_tables.invariance import accuracies, shown_by_channels
from redunet import RandomCirculantLift, ReduNet, polar_samples

SEEDS = range(5)
MORE_SEEDS = range(24)  # of 5 channels as in the authors' code
USUAL = {"layers": 40, "eta": 0.5, "eps_sq": 0.1, "angles": 200}

# By channels: the printed rows, and reference values.
PRINTED = {
    5: ((1.000, 0.560, 0.838, 0.559), (None, "0.47–0.49", 0.85, None)),
    10: ((1.000, 0.610, 0.972, 0.609), (None,) * 4),
    15: ((1.000, 0.610, 0.990, 0.610), (None,) * 4),
    20: ((1.000, 0.610, 1.000, 0.610), (1.000, 0.61, 0.990, 0.61)),
}


def compute(settings: Settings, machine: Machine) -> Values:
    """Accuracies of the network of one seed."""
    train, test = (polar(settings, name, machine) for name in ("train", "test"))
    radii, channels = train[0].shape[1], settings["channels"]
    lift = RandomCirculantLift(radii, channels, 5, ndim=1, seed=settings["seed"])
    steps = {"eta": settings["eta"], "eps_sq": settings["eps_sq"]}
    if settings["as_authors"]:
        net, train, test = authors.network(train, test, lift, settings["layers"], machine, **steps)
    else:
        net = ReduNet.construct(
            *train, num_layers=settings["layers"], lift=lift, device=machine.device, **steps
        )
    return accuracies(net, train, test, stride=settings["angles"] // 20)


def polar(settings: Settings, name: str, machine: Machine) -> Samples:
    """Ten digits of each class on circles from the centre to the border."""
    X, labels = first(split(settings["data"], name, machine.data_dir), 10)
    if settings["as_authors"]:
        return authors.polar_pixels(X, settings["angles"]), labels
    return polar_samples(X, X.shape[-1] // 2 + 1, settings["angles"]), labels


TABLE = Table(
    title="rotated MNIST: 10 digits of each class, 40 layers",
    needs="MNIST",
    minutes=6,
    cells=[
        {"table": "14", "data": "MNIST", "channels": channels, "seed": seed} | USUAL | how
        for channels in PRINTED
        for how in ({"as_authors": False}, {"as_authors": True})
        for seed in (MORE_SEEDS if how["as_authors"] and channels == 5 else SEEDS)
    ],
    compute=compute,
    show=partial(shown_by_channels, PRINTED),
    trial={"data": "digits", "layers": 2, "angles": 20},
)
