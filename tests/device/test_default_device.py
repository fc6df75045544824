"""Everything works while a device is the default one, for samples on it and on the host."""

import pytest
import torch
from torch.nn import functional

from redunet import (
    MCR2Loss,
    MICLClassifier,
    MultiScaleLift,
    PCALift,
    RandomCirculantLift,
    RateReductionMeter,
    ReduNet,
    ReduNetClassifier,
    ScatteringLift,
    Search,
    ShortTimeFourierLift,
    Standardize,
    VariationalMCR2Loss,
    coding_length,
    datasets,
    explain,
    finetune,
)
from tests.device.samples import SETTINGS, data


@pytest.fixture
def as_default(device):
    torch.set_default_device(device)
    yield device
    torch.set_default_device(None)


def construct(X, labels, **options):
    return ReduNet.construct(X, labels, **{**SETTINGS, **options})


def variational_loss(X, labels):
    Z = functional.normalize(X.flatten(1), dim=1)
    return VariationalMCR2Loss(3, Z.shape[1], 2).to(Z.device, Z.dtype)(Z, labels)


CALLS = {
    "construct": lambda X, y: construct(X, y).predict(X),
    "variational": lambda X, y: construct(X, y, operators="variational", rank=2)(X),
    "no labels": lambda X, y: construct(X, None, num_classes=3),
    "random lift": lambda X, y: construct(X, y, lift=RandomCirculantLift(3, 8, 3, ndim=1)),
    "multi-scale lift": lambda X, y: construct(X, y, lift=MultiScaleLift(3, 1).fit(X)),
    "Fourier lift": lambda X, y: construct(X, y, lift=ShortTimeFourierLift(8)),
    "scattering": lambda X, y: construct(X, y, lift=ScatteringLift(16, 2, phases=4)),
    "scattering as printed": lambda X, y: construct(X, y, lift=ScatteringLift(16, 2)),
    "PCA": lambda X, y: construct(X, y, lift=PCALift(3, 4, 3, ndim=1).fit(X)),
    "standardize": lambda X, y: construct(X, y, lift=Standardize(3).fit(X)),
    "search": lambda X, y: Search().fit(X, y),
    "loss": lambda X, y: MCR2Loss()(functional.normalize(X.flatten(1), dim=1), y),
    "variational loss": variational_loss,
    "meter": lambda X, y: RateReductionMeter().update(X, y),
    "coding length": lambda X, y: coding_length(X, 0.5),
    "finetune": lambda X, y: finetune(construct(X, y), X, y, epochs=1),
    "explain": lambda X, y: str(explain(construct(X, y), X[0])),
    "micl": lambda X, y: MICLClassifier().fit(X.flatten(1), y).predict(X.flatten(1)),
    "classifier": lambda X, y: ReduNetClassifier().fit(X, y).predict(X),
    "gaussians": lambda X, y: datasets.gaussians(per_class=9),
    "sinusoids": lambda X, y: datasets.sinusoids(per_class=9),
    "digits": lambda X, y: datasets.digits(),
}


@pytest.mark.filterwarnings("ignore:the constructed network is returned")
@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("name", CALLS)
def test_calls(name, where, as_default):
    X, labels = data((3, 16), dtype=torch.float32)
    place = as_default if where == "device" else "cpu"
    CALLS[name](X.to(place), labels.to(place))


LIFTS = {
    "random": lambda X: RandomCirculantLift(3, 8, 3, ndim=1),
    "multi-scale": lambda X: MultiScaleLift(3, 1).fit(X),
    "PCA": lambda X: PCALift(3, 4, 3, ndim=1).fit(X),
    "Fourier": lambda X: ShortTimeFourierLift(8),
    "scattering": lambda X: ScatteringLift(16, 2, phases=4),
    "scattering as printed": lambda X: ScatteringLift(16, 2),
}


@pytest.mark.parametrize("name", LIFTS)
def test_a_lift_is_made_on_the_default_device(name, as_default):
    X, _ = data((3, 16), dtype=torch.float32)
    assert LIFTS[name](X.to(as_default))(X.to(as_default)).device.type == as_default.type
