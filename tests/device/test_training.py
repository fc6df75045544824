"""Rates, losses and trainings of features on a device."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redunet import (
    MCR2Loss,
    OLELoss,
    RateReductionMeter,
    ReduNet,
    VariationalMCR2Loss,
    coding_length,
    coding_rate,
    finetune,
    rate_reduction,
)
from redunet.rates import pairwise_rate_reduction
from tests.device.samples import SETTINGS, SHAPES, assert_close, data

VALUES = {
    "rate reduction": lambda Z, labels: rate_reduction(Z, labels, 0.5).delta,
    "coding rate": lambda Z, labels: coding_rate(Z, 0.5),
    "pairs": lambda Z, labels: pairwise_rate_reduction(Z, labels, 0.5).sum(),
    "loss": lambda Z, labels: MCR2Loss()(
        nn.functional.normalize(Z.flatten(1), dim=1).view_as(Z), labels
    ),
    "coding length": lambda Z, labels: coding_length(Z, 0.5, labels, center=True),
    "OLE": lambda Z, labels: OLELoss()(Z.flatten(1), labels),
}


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", VALUES)
def test_values_and_gradients(name, shape, where, device):
    X, labels = data(shape)
    here, there = X.clone().requires_grad_(), X.to(device).requires_grad_()
    expected = VALUES[name](here, labels)
    value = VALUES[name](there, labels.to(device) if where == "device" else labels)
    assert_close(value, expected)
    assert_close(*(torch.autograd.grad(v, Z)[0] for v, Z in ((value, there), (expected, here))))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_meter(shape, device):
    X, labels = data(shape)
    here, there = RateReductionMeter(), RateReductionMeter()
    for rows in torch.arange(60).split(20):
        here.update(X[rows], labels[rows])
        there.update(X[rows].to(device), labels[rows].to(device))
    assert_close(there.compute().delta, here.compute().delta)


def test_a_dictionary(device):
    X, labels = data((12,))
    Z = nn.functional.normalize(X, dim=1)
    results = []
    for place in (torch.device("cpu"), device):
        torch.manual_seed(0)
        loss = VariationalMCR2Loss(3, 12, 2).double().to(place)
        loss.latch(Z[:30].to(place), labels[:30])
        loss.update(Z.to(place), labels)
        results.append(
            [loss(Z.to(place), labels), *loss.rates(labels), *loss.state_dict().values()]
        )
        assert {t.device.type for t in results[-1]} == {place.type}
    for found, expected in zip(*results[::-1], strict=True):
        assert_close(found, expected)


few_samples = pytest.mark.filterwarnings("ignore:the constructed network is returned")


@few_samples
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("head", ["linear", "residual"])
@pytest.mark.parametrize("kind", ["exact", "variational"])
def test_fine_tuning(kind, head, shape, device):
    X, labels = data(shape)
    options = {**SETTINGS, "operators": kind, "rank": 2 if kind == "variational" else None}
    net = ReduNet.construct(X.to(device), labels, **options)
    tuning = {"epochs": 2, "head": head, "batch_size": 16, "validation": None}
    expected = finetune(ReduNet.construct(X, labels, **options), X, labels, **tuning)
    for samples in ((X.to(device), labels.to(device)), (X, labels.numpy())):
        finetune(net, *samples, **{**tuning, "validation": (X[:9].to(device), labels[:9])})
        tuned = finetune(net, *samples, **tuning)
        assert {p.device.type for p in tuned.parameters()} == {device.type}
        assert_close(tuned(X.to(device)), expected(X), atol=1e-4)


@few_samples
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_fine_tuning_on_a_loader(shape, device):
    X, labels = data(shape, dtype=torch.float32)
    net = ReduNet.construct(X.to(device), labels, **SETTINGS)
    for place in (torch.device("cpu"), device):
        samples = TensorDataset(X.to(place), labels.to(place))
        for source in (samples, DataLoader(samples, 16)):
            tuned = finetune(net, source, epochs=1, validation=None)
            assert {p.device.type for p in tuned.parameters()} == {device.type}
    finetune(net, X.to(device), labels, epochs=1, head="residual", loss=MCR2Loss())
