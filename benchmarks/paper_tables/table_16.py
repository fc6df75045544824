"""Table 16: rates of scattering coefficients that are projected to 128 dimensions at random."""

from collections.abc import Sequence

import torch

from benchmarks.paper_tables.cells import Machine, Results, Settings, Table, Values, markdown
from benchmarks.paper_tables.digits import first, split
from benchmarks.paper_tables.slides import constructed
from redunet import ScatteringLift, rate_reduction

DIM = 128
RATES = ("ΔR", "R", "R_c")
USUAL = {"layers": 4000, "eta": 0.5, "seconds": 3600, "steps": "paper", "seed": 0}

# J, angles: the printed rates of CIFAR-10.
PRINTED = {
    (3, 4): (46.1418, 66.0627, 19.9208),
    (3, 8): (46.3207, 66.1358, 19.8151),
    (3, 16): (46.4162, 66.1474, 19.7312),
    (4, 4): (40.5377, 58.8128, 18.2751),
    (4, 8): (41.3374, 60.1895, 18.8521),
    (4, 16): (42.5311, 61.5164, 18.9854),
}


def compute(settings: Settings, machine: Machine) -> Values:
    """ΔR, R and R_c of the training samples after the last layer, at ε² = 0.5."""
    X, labels = first(split(settings["data"], "train", machine.data_dir), settings["per_class"])
    lift = ScatteringLift(tuple(X.shape[2:]), settings["J"], settings["angles"], phases=4)
    vectors = torch.cat([lift(part).flatten(1) for part in X.split(500)])
    generator = torch.Generator().manual_seed(settings["seed"])
    projection = torch.randn(vectors.shape[1], DIM, generator=generator)
    deep = constructed((vectors @ projection, labels), [], None, settings, machine)
    rates = rate_reduction(deep.features[0], labels, 0.5)
    return {"layers": deep.layers} | dict(zip(RATES, map(float, rates), strict=True))


def show(cells: Sequence[Settings], results: Results) -> str:
    """Printed rates beside ours."""
    rows = []
    for settings in cells:
        values = results.get(settings) or {}
        J, angles, layers = settings["J"], settings["angles"], values.get("layers")
        ours = [None if layers is None else str(layers), *map(values.get, RATES)]
        memberships = "true" if settings.get("true_membership") else "estimated"
        lift = f"J = {J}, {angles} angles"
        rows.append([settings["data"], lift, *PRINTED[J, angles], memberships, *ours])
    headers = [*(f"{name}, CIFAR-10, paper" for name in RATES), "memberships", "layers", *RATES]
    return markdown(rows, ["data", "lift", *headers], 2)


def cell(data: str, per_class: int, J: int, angles: int) -> Settings:
    return {"table": "16", "data": data, "per_class": per_class, "J": J, "angles": angles} | USUAL


TABLE = Table(
    title="rates of CIFAR-10 after scattering and a random projection to 128 dimensions",
    needs="CIFAR-10",
    minutes=119,
    cells=[cell("CIFAR-10", 5000, J, angles) for J, angles in PRINTED]
    + [cell("CIFAR-10", 5000, J, 4) | {"true_membership": True} for J in (3, 4)]
    + [cell("MNIST", 500, 3, 4), cell("MNIST", 500, 4, 4)],
    compute=compute,
    show=show,
    trial={"data": "digits", "per_class": 20, "layers": 2},
)
