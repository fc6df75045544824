"""Estimators, lifts and the search give the same on a device as on the host."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redunet import (
    Band,
    LossyCodingClustering,
    MICLClassifier,
    MultiScaleLift,
    NearestSubspaceClassifier,
    PCALift,
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    ScatteringLift,
    Search,
    ShortTimeFourierLift,
    Standardize,
    polar_samples,
)
from redunet._processes import Processes
from redunet.search import Candidate
from redunet.search.search import _gathered
from tests.device.samples import SETTINGS, SHAPES, assert_close, data

CLASSIFIERS = {
    "micl": lambda shifts: MICLClassifier(shift_invariant=shifts),
    "nearest subspace": lambda shifts: NearestSubspaceClassifier(3, shift_invariant=shifts),
    "network": lambda shifts: ReduNetClassifier(lift=None, eps_sq=0.3),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, shape, device):
    X, labels = data(shape, m=90)
    there, names = X.to(device), np.array(["a", "b", "c"])[labels]
    for y in (labels.to(device), names):
        on_host = y if y is names else labels.numpy()
        expected = CLASSIFIERS[name](len(shape) > 1).fit(X, on_host)
        model = CLASSIFIERS[name](len(shape) > 1).fit(there, y)
        assert (model.predict(there) == expected.predict(X)).all()
        assert (model.predict(X) == expected.predict(X)).all()
        assert model.score(there, y) == expected.score(X, on_host)
        scores, of_host = model.decision_function(there), expected.decision_function(X)
        assert_close(torch.as_tensor(scores), torch.as_tensor(of_host))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_clustering(shape, device):
    X, labels = data(shape)
    for options in ({}, {"initial": labels}, {"shift_invariant": len(shape) > 1}):
        expected = LossyCodingClustering(0.5, **options).fit(X)
        found = LossyCodingClustering(0.5, **options).fit(X.to(device))
        assert (found.labels_ == expected.labels_).all()
        assert (found.predict(X.to(device)) == expected.predict(X)).all()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_search(shape, device):
    X, labels = data(shape, m=48)
    there = X.to(device)
    expected = Search().fit(X, labels)
    samples = DataLoader(TensorDataset(X, labels), 17)
    for found in (Search().fit(there, labels.to(device)), Search().fit(samples, device=device)):
        losses = [c.loss for c in found.candidates_]
        assert losses == pytest.approx([c.loss for c in expected.candidates_], abs=1e-4)
        assert all(isinstance(c, Candidate) for c in found.candidates_)
    net = ReduNet.construct(there, labels, **found.arguments, num_layers=1)
    assert next(net.parameters()).device.type == device.type
    assert net.predict(X).shape == (48,)


class Two(Processes):
    """The first of two processes, whose other one sends the same."""

    size = 2

    def all_gather_object(self, value):
        self.sent = value
        return [copy.deepcopy(value), copy.deepcopy(value)]

    def __init__(self):
        pass


def test_candidates_travel_between_processes_in_host_memory(device):
    X, labels = data((2, 16), m=48)
    own = Search([Standardize(2)], bands=[1, 2]).fit(X.to(device), labels).candidates_
    two = Two()
    everyone = _gathered(own, two, device)
    for candidates, place in ((two.sent, "cpu"), (everyone, device.type)):
        parts = [t for c in candidates for t in (c.residuals, *c.lift.buffers())]
        assert {t.device.type for t in parts} == {place}
    assert [c.loss for c in everyone] == 2 * [c.loss for c in own]


SIGNALS, IMAGES = (2, 32), (2, 12, 12)
LIFTS = {
    "random": (RandomCirculantLift(2, 8, 3, ndim=2), IMAGES),
    "soft": (RandomCirculantLift(2, 8, 3, ndim=1, threshold=0.2), SIGNALS),
    "pca": (PCALift(2, 6, 3, ndim=2), IMAGES),
    "scattering": (ScatteringLift((12, 12), 2), IMAGES),
    "scattering with phases": (ScatteringLift((12, 12), 2, phases=4), IMAGES),
    "scattering of series": (ScatteringLift(32, 2, phases=4), SIGNALS),
    "fourier": (ShortTimeFourierLift(8), SIGNALS),
    "standardize": (Standardize(2), IMAGES),
    "multi-scale": (MultiScaleLift(2, 2), IMAGES),
    "soft step": (MultiScaleLift(2, 1, nonlinearity="soft step", differences=True), SIGNALS),
    "band": (nn.Sequential(Standardize(2), Band(2)), SIGNALS),
}


def fit(lift, X):
    for part in lift.modules():
        if hasattr(part, "fit"):
            part.fit(X)
    return lift


@pytest.mark.parametrize("name", LIFTS)
def test_lifts(name, device):
    lift, shape = LIFTS[name]
    X, labels = data(shape)
    here = fit(copy.deepcopy(lift), X).double()
    there = copy.deepcopy(here).to(device)
    assert_close(there(X.to(device)), here(X))
    again = fit(copy.deepcopy(lift).to(device), X.to(device)).double()
    assert_close(again(X.to(device)), here(X))
    net = ReduNet.construct(X.to(device), labels, **SETTINGS, lift=here)
    assert_close(net(X.to(device)), ReduNet.construct(X, labels, **SETTINGS, lift=here)(X))


def test_polar_coordinates(device):
    X, _ = data(IMAGES)
    assert_close(polar_samples(X.to(device), 5, 16), polar_samples(X, 5, 16))
