"""Sparse coding, the lift of a benchmark: against the lasso of scikit-learn, and under shifts."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from benchmarks import dictionaries
from benchmarks.dictionaries import SparseCoding, compare, random_kernels
from redunet import datasets

GENERATOR = torch.Generator().manual_seed(0)
KERNELS = random_kernels(torch.zeros(4, 2, 3, dtype=torch.float64), seed=1)
X = torch.randn(3, 2, 12, generator=GENERATOR, dtype=torch.float64)


def test_codes_are_those_of_the_lasso(monkeypatch):
    monkeypatch.setattr(dictionaries, "STEPS", 5000)
    codes = SparseCoding(KERNELS, 0.1)(X).flatten(1)
    # Column (a, t) of the dense dictionary is atom a, moved by t places.
    padded = torch.nn.functional.pad(KERNELS, (0, 9))
    columns = [padded[a].roll(t, -1).flatten() for a in range(4) for t in range(12)]
    dense = torch.stack(columns, 1).numpy()
    for x, code in zip(X.flatten(1).numpy(), codes.numpy(), strict=True):
        alpha = 0.1 * np.linalg.norm(x) / len(x)
        lasso = Lasso(alpha, fit_intercept=False, positive=True, tol=1e-14, max_iter=100_000)
        found = lasso.fit(dense, x).coef_
        np.testing.assert_allclose(code, found, rtol=0, atol=1e-6)


def test_codes_move_with_the_sample():
    lift = SparseCoding(KERNELS, 0.05)
    torch.testing.assert_close(lift(X.roll(5, -1)), lift(X).roll(5, -1), rtol=0, atol=1e-13)


def test_all_families_are_compared_on_digits(monkeypatch):
    few = [part[::15] for part in datasets.digits()]
    monkeypatch.setattr(dictionaries, "PATCHES", 200)
    monkeypatch.setattr(dictionaries, "samples", lambda name, seed: (*few, *few, 3))
    rows = compare("digits", channels=4, seeds=1)
    assert [row[1] for row in rows] == [
        "dilated random kernels",
        "random kernels, ReLU",
        "random dictionary, ISTA",
        "learned dictionary, ISTA",
    ]
    for _, _, loss, accuracy, _ in rows:
        assert 0 < float(loss.split()[0]) < np.log(10)
        assert float(accuracy.split()[0]) == pytest.approx(1, abs=0.5)
