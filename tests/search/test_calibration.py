import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from redunet.search.calibration import Judge, calibrate
from tests.samples import samples


def test_the_sharpness_has_the_least_loss():
    residuals = samples(3, 40, 4, seed=1).abs()
    targets = residuals[0].argmin(1)
    sharpness, losses = calibrate(residuals, targets)
    for table, best, loss in zip(residuals.numpy(), sharpness, losses.mean(1), strict=True):

        def log_loss(t, table=table):
            own = table[np.arange(40), targets.numpy()]
            return (logsumexp(-t * table, axis=1) + t * own).mean()

        expected = minimize_scalar(log_loss, bounds=(0.1, 1e4), method="bounded")
        np.testing.assert_allclose(loss, min(expected.fun, log_loss(0.1)), rtol=1e-5, atol=1e-9)
        assert log_loss(best.item()) <= log_loss(1.01 * best.item()) + 1e-9


def test_small_classes_are_not_judged():
    squares = torch.tensor([[0.1, 0.9], [0.2, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    targets = torch.tensor([0, 0, 0, 1, 1])
    judge = Judge(targets, torch.tensor([3, 2]))
    assert judge.count == 3
    assert judge.verdict(squares).accuracy == 2 / 3
    nobody = Judge(targets, torch.tensor([2, 2])).verdict(squares)
    assert all(math.isnan(value) for value in nobody)
