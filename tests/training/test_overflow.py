"""Losses of features that overflowed, and of batches that lack a class."""

import math

import pytest
import torch

from redunet import MCR2Loss, OLELoss, VariationalMCR2Loss
from tests.training.test_losses import LABELS, features, with_gradient

LOSSES = {
    "MCR2": MCR2Loss,
    "OLE": OLELoss,
    "variational": lambda: VariationalMCR2Loss(3, 6, 2),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_features_that_overflow_let_a_scaler_leave_out_the_step(make, dtype, value):
    Z = features(8, 6).to(dtype)
    Z[3, 2] = value
    loss = make()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.float32):
        found, gradient = with_gradient(loss, Z, LABELS)
    assert found.isnan()
    assert gradient.isnan().all()
    with pytest.raises(ValueError, match="Z must be finite"):
        loss(Z.float(), LABELS)


def test_a_scaler_leaves_out_the_step_and_goes_on():
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    X, before = features(8, 6).float(), model.weight.detach().clone()
    for scale in (1e38, 1.0):
        with torch.autocast("cpu", torch.float16):
            loss = MCR2Loss()(torch.nn.functional.normalize(model(X * scale), dim=1), LABELS)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert torch.equal(model.weight, before) == (scale > 1)
    assert scaler.get_scale() == 2


def test_a_dictionary_takes_no_step_with_features_that_overflow():
    loss, Z = VariationalMCR2Loss(3, 6, 2), features(8, 6).half()
    Z[0, 0] = math.inf
    before = {name: t.clone() for name, t in loss.state_dict().items()}
    loss.update(Z, LABELS)
    assert all(torch.equal(t, before[name]) for name, t in loss.state_dict().items())


@pytest.mark.parametrize("make", [MCR2Loss, OLELoss, lambda: VariationalMCR2Loss(5, 6, 2)])
def test_classes_without_members_change_nothing(make):
    loss, Z = make(), features(8, 6).float()
    Pi = torch.nn.functional.one_hot(LABELS, 5).float()  # classes 3 and 4 are not in the batch
    expected, gradient = with_gradient(loss, Z, LABELS)
    found, of_memberships = with_gradient(loss, Z, Pi)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(of_memberships, gradient)


def test_autocasting_changes_no_dictionary():
    loss, Z = VariationalMCR2Loss(3, 6, 2), features(8, 6).float()
    loss.latch(Z, LABELS)
    expected = {name: t.clone() for name, t in loss.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        loss.latch(Z, LABELS)
    assert all(torch.equal(t, expected[name]) for name, t in loss.state_dict().items())
