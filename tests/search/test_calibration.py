import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.metrics import log_loss

from redunet import MICLClassifier, ReduNetClassifier
from redunet.search.calibration import Judge, calibrate
from tests.samples import samples


def smoothed(t, table, targets):
    """Log loss with a quarter of an imagined sample whose label is the nearest other class."""
    m = len(table)
    own = table[np.arange(m), targets]
    others = table.copy()
    others[np.arange(m), targets] = np.inf
    normaliser = logsumexp(-t * table, axis=1)
    losses, errors = normaliser + t * own, normaliser + t * others.min(1)
    return (m * losses.mean() + errors.mean() / 4) / (m + 1 / 4)


@pytest.mark.parametrize("separated", [False, True])
def test_the_sharpness_has_the_least_loss(separated):
    residuals = samples(3, 40, 4, seed=1)
    nearest = torch.nn.functional.one_hot(torch.arange(40) % 4, 4)
    residuals = residuals - (6 if separated else 1) * nearest
    targets = torch.arange(40) % 4
    assert (residuals.argmin(2) == targets).all() == separated
    sharpness, losses = calibrate(residuals, targets)
    for table, t, loss in zip(residuals.numpy(), sharpness.tolist(), losses, strict=True):
        expected = minimize_scalar(
            lambda x, table=table: smoothed(np.exp(x), table, targets.numpy()),
            bounds=(-10, 10),
            method="bounded",
            options={"xatol": 1e-9},
        )
        best, found = expected.fun, smoothed(t, table, targets.numpy())
        np.testing.assert_allclose(found, best, rtol=1e-9)
        own = table[np.arange(40), targets.numpy()]
        np.testing.assert_allclose(loss, logsumexp(-t * table, axis=1) + t * own, atol=1e-12)


@pytest.mark.parametrize("m", [10, 1000])
@pytest.mark.parametrize("margin", [1e-6, 0.3, 1e5])
def test_separated_samples_of_one_margin_leave_an_error_of_a_quarter_of_a_sample(m, margin):
    # (m + 1/4) log(1 + exp(-tg)) + tg/4 is least at an error of the probability (1/4)/(m + 1/4).
    targets = torch.arange(m) % 2
    residuals = margin * (1 - torch.nn.functional.one_hot(targets, 2).double())
    (sharpness,), losses = calibrate(residuals[None], targets)
    assert sharpness.item() == pytest.approx(math.log(4 * m) / margin, rel=1e-6)
    assert losses[0, 0].item() == pytest.approx(math.log1p(1 / (4 * m)), rel=1e-5)


def test_units_and_offsets_of_scores_do_not_matter():
    scores, targets = samples(2, 30, 3, seed=2), torch.arange(30) % 3
    sharpness, losses = calibrate(-scores, targets)
    offsets = samples(2, 30, 1, seed=3)
    other, same = calibrate(-1000 * scores + offsets, targets)
    torch.testing.assert_close(other, sharpness / 1000)
    torch.testing.assert_close(same, losses)
    most = sharpness.min().item() / 2
    assert (calibrate(-scores, targets, most=most).sharpness == most).all()


def test_scores_without_a_difference_have_uniform_memberships():
    sharpness, losses = calibrate(torch.zeros(1, 6, 3), torch.arange(6) % 3)
    assert sharpness.isfinite().all()
    torch.testing.assert_close(losses, torch.full((1, 6), math.log(3)))


def test_new_samples_are_predicted_without_false_certainty():
    # All samples of the training are separated; some new ones are not.
    rng = np.random.default_rng(2)
    centers = rng.normal(size=(3, 6))
    y, new = rng.integers(0, 3, 30), rng.integers(0, 3, 2000)
    X, X_new = (centers[c] + rng.normal(size=(len(c), 6)) * 0.45 for c in (y, new))
    model = ReduNetClassifier().fit(X, y)
    assert model.search_.accuracy_ == 1
    assert log_loss(new, model.predict_proba(X_new)) < 0.25
    micl = MICLClassifier().fit(X, y)
    expected = torch.softmax(-micl.sharpness_ * torch.from_numpy(micl.increments(X_new)), 1)
    np.testing.assert_allclose(micl.predict_proba(X_new), expected)
    assert 0 < micl.sharpness_ <= 1


def test_small_classes_are_not_judged():
    squares = torch.tensor([[0.1, 0.9], [0.2, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    targets = torch.tensor([0, 0, 0, 1, 1])
    judge = Judge(targets, torch.tensor([3, 2]))
    assert judge.count == 3
    assert judge.verdict(squares).accuracy == 2 / 3
    nobody = Judge(targets, torch.tensor([2, 2])).verdict(squares)
    assert all(math.isnan(value) for value in nobody[:4])
    assert nobody.only is None
