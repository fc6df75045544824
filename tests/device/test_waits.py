"""How often the host waits for the device, and how much work it starts there.

The simulated device counts the operations that reach it, the values that are read, and the copies
in both directions. `tests/layers/test_counts.py` counts the same in Python, with bounds of its own.
"""

from typing import NamedTuple

import pytest
import torch
from torch.nn import functional

from redunet import (
    ExpansionRegression,
    LossyCodingClustering,
    MCR2Loss,
    MICLClassifier,
    MultiScaleLift,
    NearestSubspaceClassifier,
    OLELoss,
    PCALift,
    RandomCirculantLift,
    RateReductionMeter,
    ReduNet,
    ScatteringLift,
    Search,
    SharedDictionary,
    ShortTimeFourierLift,
    Standardize,
    VariationalMCR2Loss,
    finetune,
)
from tests.device.samples import data


class Counts(NamedTuple):
    operations: int
    waits: int

    def __sub__(self, other):
        return Counts(*(a - b for a, b in zip(self, other, strict=True)))


@pytest.fixture
def count(device):
    """A function that counts the operations and the waits of a call."""
    if device.type != "sim":
        pytest.skip("only the simulated device counts")

    def run(call):
        torch.ops.simulated.reset()
        call()
        return Counts(torch.ops.simulated.operations(), torch.ops.simulated.waits())

    return run


SIZES = [(120, 3), (400, 20)]  # numbers of samples and classes
LAYERS = {  # shape, settings, and the most operations and waits of one more layer
    "vectors": ((40,), {}, (80, 2)),
    "images": ((12, 6, 6), {}, (80, 2)),
    "few samples": ((500,), {}, (80, 2)),
    "few images": ((30, 3, 3), {}, (80, 2)),
    "variational": ((40,), {"operators": "variational", "rank": 3}, (115, 2)),
    "shared dictionary": ((40,), {"operators": SharedDictionary(60)}, (190, 2)),
    "momentum": ((40,), {"momentum": 0.5}, (105, 3)),
    "chosen step": ((40,), {"eta": None}, (115, 4)),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("way", LAYERS)
def test_a_layer(way, sizes, device, count):
    shape, options, bounds = LAYERS[way]
    m, k = sizes if not way.startswith("few") else (10 * sizes[1], sizes[1])
    X, labels = (t.to(device) for t in data(shape, m, k))
    options = {"eta": 0.02, "eps_sq": 0.1, **options}
    four, seven = (
        count(lambda n=n: ReduNet.construct(X, labels, num_layers=n, **options)) for n in (4, 7)
    )
    net = ReduNet.construct(X, labels, num_layers=2, **options)
    operations, waits = seven - four
    print(f"{way} {m} × {k}: {operations / 3:.0f} operations, {waits / 3:.1f} waits a layer")
    assert operations <= 3 * bounds[0]
    assert waits <= 3 * bounds[1]
    assert count(lambda: net(X)).waits == 0
    assert count(lambda: net.membership(X)).waits == 0
    assert count(lambda: net.predict(X)).waits == 1


def gradient(loss, Z, labels):
    loss(Z.detach().requires_grad_(), labels).backward()


LOSSES = {  # and the most waits
    "MCR2": (lambda loss, Z, labels: gradient(MCR2Loss(), Z, labels), 13),
    "OLE": (lambda loss, Z, labels: gradient(OLELoss(), Z, labels), 6),
    "V-MCR2": (gradient, 7),
    "V-MCR2 update": (VariationalMCR2Loss.update, 8),
    "meter": (lambda loss, Z, labels: RateReductionMeter().update(Z, labels), 13),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, sizes, device, count):
    X, labels = data((40,), *sizes)
    Z, labels = functional.normalize(X, dim=1).to(device), labels.to(device)
    loss = VariationalMCR2Loss(sizes[1], 40, 4).to(device, Z.dtype)
    loss.latch(Z, labels)
    run, bound = LOSSES[name]
    run(loss, Z, labels)  # what is made once
    assert count(lambda: run(loss, Z, labels)).waits <= bound


@pytest.mark.parametrize("sizes", SIZES)
def test_a_step_of_fine_tuning(sizes, device, count):
    X, labels = (t.to(device) for t in data((40,), *sizes))
    net = ReduNet.construct(X, labels, num_layers=2, eps_sq=0.1)
    one, two = (
        count(lambda n=n: finetune(net, X, labels, epochs=n, batch_size=40, validation=None))
        for n in (1, 2)
    )
    assert (two - one).waits <= 2 * len(X) / 40 + 5


@pytest.mark.parametrize("shape", [(40,), (2, 16), (1, 6, 6)], ids=["vectors", "series", "images"])
def test_the_counts_of_a_search_follow_from_its_candidates(shape, device, count):
    found = []
    for m, k, length in ((90, 3, 1), (180, 6, 2)):
        X, labels = data((*shape[:-1], length * shape[-1]), m, k)
        search = Search([None], bands=[1, 2])
        counts = count(lambda s=search, X=X, y=labels: s.fit(X.to(device), y))
        found.append((len(search.candidates_), counts))
    assert found[0] == found[1]
    candidates, (operations, waits) = found[0]
    print(f"{candidates} candidates: {operations} operations, {waits} waits")
    assert operations <= 1100 * candidates + 600
    assert waits <= 30 * candidates + 40


LIFTS = {  # and the most waits to fit them
    "multi-scale": (lambda: MultiScaleLift(2, 1), 12),
    "means": (lambda: MultiScaleLift(2, 1, nonlinearity=("soft step", "competing"), mean=True), 12),
    "PCA": (lambda: PCALift(2, 4, 3, ndim=1), 5),
    "standardize": (lambda: Standardize(2), 3),
    "random": (lambda: RandomCirculantLift(2, 4, 3, ndim=1), None),
    "Fourier": (lambda: ShortTimeFourierLift(8), None),
    "scattering": (lambda: ScatteringLift(32, 2, phases=4), None),
}


@pytest.mark.parametrize("name", LIFTS)
def test_lifts_never_wait(name, device, count):
    make, bound = LIFTS[name]
    found = []
    for m in (60, 180):
        X = data((2, 32), m, 3)[0].to(device)
        lift = make().to(device)
        if bound is not None:
            found.append(count(lambda lift=lift, X=X: lift.fit(X)))
        lift = lift.double()
        assert count(lambda lift=lift, X=X: lift(X)).waits == 0
    if bound is not None:
        print(f"{name}: {found[0].operations} operations, {found[0].waits} waits")
        assert found[0] == found[1]
        assert found[0].waits <= bound


READERS = {  # and the most operations and waits to fit them, and then to predict
    "micl": (lambda: MICLClassifier(eps_sq=0.5), (700, 35), (120, 3)),
    "micl that chooses its precision": (lambda: MICLClassifier(), (700, 35), (120, 3)),
    "nearest subspace": (lambda: NearestSubspaceClassifier(3), (50, 15), (20, 3)),
    "regression": (lambda: ExpansionRegression(), (1050, 25), (20, 3)),
}


@pytest.mark.parametrize("name", READERS)
def test_the_counts_of_readers_do_not_depend_on_samples_and_classes(name, device, count):
    make, *bounds = READERS[name]
    found = []
    for m, k in ((90, 3), (180, 6)):
        X, labels = (t.to(device) for t in data((40,), m, k))
        model = make()
        fit = count(lambda r=model, X=X, y=labels: r.fit(X, y))
        found.append((fit, count(lambda r=model, X=X: r.predict(X))))
    assert found[0] == found[1]
    for use, counts, most in zip(("fit", "predict"), found[0], bounds, strict=True):
        print(f"{name}, {use}: {counts.operations} operations, {counts.waits} waits")
        assert counts.operations <= most[0]
        assert counts.waits <= most[1]


def test_a_merge_of_clusters(device, count):
    X, _ = data((40,), 80)
    forty, eighty = (
        count(lambda m=m: LossyCodingClustering(0.5).fit(X[:m].to(device))) for m in (40, 80)
    )
    operations, waits = eighty - forty
    print(f"{operations / 40:.0f} operations, {waits / 40:.1f} waits a merge")
    assert operations <= 100 * 40
    assert waits <= 3 * 40
