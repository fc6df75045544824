"""The benchmark of a GPU runs on a device."""

import pytest
import torch

from benchmarks import workloads
from benchmarks.budget import Budget
from benchmarks.construct import Timer
from benchmarks.gpu import constants, timings
from benchmarks.gpu.context import Context

TABLES = [
    constants.launches,
    constants.not_a_number,
    constants.inverses,
    constants.eigendecompositions,
    constants.products,
    constants.convolutions,
    constants.blocks,
    constants.reading,
    timings.graphs,
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_a_table(table, device, monkeypatch):
    small = {
        key: work._replace(samples=90, shape=(24, *(4 for _ in work.shape[1:])), classes=3)
        for key, work in workloads.WORKLOADS.items()
    }
    for module in (constants, timings):
        monkeypatch.setattr(module, "WORKLOADS", small)
    monkeypatch.setattr(constants, "PRODUCTS", [(8, 40, 16, 32)])
    context = Context(device, Budget(60, device), Timer(1, 1, device), None, True)
    with torch.no_grad():
        shown = table(context)
    assert "info = [2, 2]" in shown if table is constants.not_a_number else "|---" in shown
