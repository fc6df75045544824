"""Table 14: rotated MNIST."""

from functools import partial

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
    net = ReduNet.construct(
        *train,
        num_layers=settings["layers"],
        eta=settings["eta"],
        eps_sq=settings["eps_sq"],
        lift=RandomCirculantLift(radii, channels, 5, ndim=1, seed=settings["seed"]),
        device=machine.device,
    )
    return accuracies(net, train, test, stride=settings["angles"] // 20)


def polar(settings: Settings, name: str, machine: Machine) -> Samples:
    """Ten digits of each class on circles from the centre to the border."""
    X, labels = first(split(settings["data"], name, machine.data_dir), 10)
    return polar_samples(X, X.shape[-1] // 2 + 1, settings["angles"]), labels


TABLE = Table(
    title="rotated MNIST: 10 digits of each class, 40 layers",
    needs="MNIST",
    minutes=2,
    cells=[
        {"table": "14", "data": "MNIST", "channels": channels, "seed": seed} | USUAL
        for channels in PRINTED
        for seed in SEEDS
    ],
    compute=compute,
    show=partial(shown_by_channels, PRINTED),
    trial={"data": "digits", "layers": 2, "angles": 20},
)
