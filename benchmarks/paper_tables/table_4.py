"""Table 4: rates of simulated data."""

from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.paper_tables.cells import (
    Machine,
    Results,
    Settings,
    Table,
    Values,
    groups,
    markdown,
    spread,
)
from redunet import rate_reduction

RATES = ("R", "R_c", "ΔR")
CLASSES = 10
DRAWS = 20  # of subspaces that are not orthogonal

# d, dimension d_j of each class's subspace (None for no subspaces), and the printed R, R_c and ΔR.
ORTHOGONAL = [
    (512, None, (552.70, 193.29, 360.41)),
    (512, 50, (545.63, 108.46, 437.17)),
    (512, 40, (487.07, 92.71, 394.36)),
    (512, 30, (413.08, 74.84, 338.24)),
    (512, 20, (318.52, 54.48, 264.04)),
    (512, 10, (195.46, 30.97, 164.49)),
    (512, 1, (31.18, 4.27, 26.91)),
    (256, None, (292.71, 154.13, 138.57)),
    (256, 25, (288.65, 56.34, 232.31)),
    (256, 20, (253.51, 47.58, 205.92)),
    (256, 15, (211.97, 38.04, 173.93)),
    (256, 10, (161.87, 27.52, 134.35)),
    (256, 5, (98.35, 15.55, 82.79)),
    (256, 1, (27.73, 3.92, 23.80)),
    (128, None, (150.05, 110.85, 39.19)),
    (128, 12, (144.36, 27.72, 116.63)),
    (128, 10, (129.12, 24.06, 105.05)),
    (128, 8, (112.01, 20.18, 91.83)),
    (128, 6, (92.55, 16.04, 76.51)),
    (128, 4, (69.57, 11.51, 58.06)),
    (128, 2, (41.68, 6.45, 35.23)),
    (128, 1, (24.28, 3.57, 20.70)),
]
NOT_ORTHOGONAL = [
    (128, 50, (145.60, 75.31, 70.29)),
    (128, 40, (142.69, 65.68, 77.01)),
    (128, 30, (135.42, 54.27, 81.15)),
    (128, 20, (120.98, 40.71, 80.27)),
    (128, 15, (111.10, 32.89, 78.21)),
    (128, 12, (101.94, 27.73, 74.21)),
]


def compute(settings: Settings, machine: Machine) -> Values:
    """R, R_c and ΔR of one draw, in nats."""
    rng = np.random.default_rng(settings["seed"])
    labels = rng.integers(0, CLASSES, settings["samples"])
    d, rank = settings["d"], settings["d_j"]
    bases = None if rank is None else BASES[settings["subspaces"]](rng, d, rank)
    Z = simulated(rng, labels, d, bases)
    rates = rate_reduction(torch.tensor(Z, device=machine.device), labels, 0.1)
    ours = (rates.expansion.item(), rates.compression.item(), rates.delta.item())
    return dict(zip(RATES, ours, strict=True))


def simulated(
    rng: np.random.Generator, labels: np.ndarray, d: int, bases: np.ndarray | None
) -> np.ndarray:
    """Gaussian vectors of unit norm ``(m, d)``, in the span of their class's basis ``(d, d_j)``."""
    if bases is None:
        Z = rng.standard_normal((len(labels), d))
    else:
        codes = rng.standard_normal((len(labels), bases.shape[2]))
        Z = np.einsum("mr,mdr->md", codes, bases[labels])
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


def orthogonal(rng: np.random.Generator, d: int, rank: int) -> np.ndarray:
    """Orthonormal bases ``(k, d, d_j)`` of subspaces that are orthogonal to each other."""
    shared = np.linalg.qr(rng.standard_normal((d, CLASSES * rank)))[0]
    return shared.reshape(d, CLASSES, rank).swapaxes(0, 1)


def independent(rng: np.random.Generator, d: int, rank: int) -> np.ndarray:
    """Orthonormal bases ``(k, d, d_j)`` of independent random subspaces."""
    return np.linalg.qr(rng.standard_normal((CLASSES, d, rank)))[0]


def overlapping(rng: np.random.Generator, d: int, rank: int) -> np.ndarray:
    """Bases ``(k, d, d_j)`` of d_j vectors of one basis: from a random one on, cyclically."""
    shared = np.linalg.qr(rng.standard_normal((d, d)))[0]
    chosen = (rng.integers(0, d, (CLASSES, 1)) + np.arange(rank)) % d
    return shared[:, chosen].swapaxes(0, 1)


BASES = {"orthogonal": orthogonal, "independent": independent, "overlapping": overlapping}


def show(cells: Sequence[Settings], results: Results) -> str:
    """Two tables: a draw of the orthogonal rows, and many draws of the others."""
    by_draw = [settings for settings in cells if settings["subspaces"] == "orthogonal"]
    others = [settings for settings in cells if settings["subspaces"] != "orthogonal"]
    return "\n\n".join(part(x, results) for part, x in ((one, by_draw), (many, others)) if x)


def one(cells: Sequence[Settings], results: Results) -> str:
    """The printed rates beside those of one draw, and the largest relative difference."""
    printed = {(d, rank): rates for d, rank, rates in ORTHOGONAL}
    rows = []
    for settings in cells:
        d, rank = settings["d"], settings["d_j"]
        values = results.get(settings)
        ours = [None] * 3 if values is None else [values[name] for name in RATES]
        pairs = zip(ours, printed[d, rank], strict=True)
        largest = None if values is None else max(abs(a / b - 1) for a, b in pairs)
        rows.append(
            [
                "Gaussian" if rank is None else f"orthogonal subspaces, d_j = {rank}",
                *(str(d), *printed[d, rank], *ours),
                None if largest is None else f"{largest:.2%}",
            ]
        )
    headers = ["data", "d", *RATES, *(f"{name}, ours" for name in RATES), "largest error"]
    return markdown(rows, headers, 2)


def many(cells: Sequence[Settings], results: Results) -> str:
    """The printed rates beside means and standard deviations over draws."""
    printed = {rank: rates for _, rank, rates in NOT_ORTHOGONAL}
    rows = []
    for (rank, kind), draws in groups(cells, "d_j", "subspaces").items():
        ours = (spread(draws, results, name, 2) for name in RATES)
        rows.append([f"{kind} subspaces, d_j = {rank}", *printed[rank], *ours])
    return markdown(rows, ["data, d = 128", *RATES, *(f"{name}, ours" for name in RATES)], 2)


def cell(kind: str, d: int, rank: int | None, seed: int) -> Settings:
    return dict(table="4", subspaces=kind, d=d, d_j=rank, samples=1000, seed=seed)


TABLE = Table(
    title="rates of simulated data",
    needs="",
    minutes=0.2,
    cells=[cell("orthogonal", d, rank, 0) for d, rank, _ in ORTHOGONAL]
    + [
        cell(kind, d, rank, seed)
        for d, rank, _ in NOT_ORTHOGONAL
        for kind in ("independent", "overlapping")
        for seed in range(DRAWS)
    ],
    compute=compute,
    show=show,
    trial={"samples": 60},
)
