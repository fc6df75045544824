import math

import numpy as np
import pytest
import torch

from redunet import ReduNet, Softmax
from redunet.layers.membership.rectified import rectified_residual
from redunet.layers.membership.softmax import soft_membership

NORMS = torch.tensor([[0.1, 0.2, 0.9], [3.0, 2.0, 2.5]], dtype=torch.float64)


def test_softmax_of_minus_lambda_times_the_norms():
    expected = torch.exp(-2 * NORMS) / torch.exp(-2 * NORMS).sum(1, keepdim=True)
    torch.testing.assert_close(soft_membership(NORMS, 2.0), expected)


def test_hard_membership_is_the_limit():
    hard = soft_membership(NORMS, math.inf)
    assert hard.tolist() == [[1, 0, 0], [0, 1, 0]]
    torch.testing.assert_close(soft_membership(NORMS, 1e4), hard)


@pytest.mark.parametrize("lam", [1.0, math.inf])
def test_rows_sum_to_one_even_where_all_norms_tie(lam):
    assert soft_membership(torch.zeros(2, 4), lam).sum(1).tolist() == [1, 1]


def test_rectified_residual_by_hand():
    z = torch.tensor([[3.0, 4.0]])
    parts = torch.tensor([[[3.0, -1.0], [-2.0, 1.0]]])
    assert rectified_residual(z, parts).tolist() == [[0.0, 3.0]]


def subspaces(sizes, seed):
    """Samples near random subspaces of dimension 3 in a space of dimension 10."""
    rng = np.random.default_rng(seed)
    bases = np.random.default_rng(0).normal(size=(len(sizes), 3, 10))
    X = np.concatenate([rng.normal(size=(n, 3)) @ B for n, B in zip(sizes, bases, strict=True)])
    return X + 0.5 * rng.normal(size=X.shape), np.repeat(np.arange(len(sizes)), sizes)


def test_balanced_memberships_are_the_papers_if_classes_have_one_size():
    X, labels = subspaces([40, 40], seed=1)
    net, balanced = (
        ReduNet.construct(X, labels, num_layers=3, membership=Softmax(5.0, balanced=choice))
        for choice in (False, True)
    )
    torch.testing.assert_close(balanced(X), net(X))
    torch.testing.assert_close(balanced.membership(X), net.membership(X))


def test_balanced_memberships_find_small_classes():
    X, labels = subspaces([480, 20], seed=1)
    X_test, labels_test = subspaces([200, 200], seed=2)

    def recall(balanced):
        net = ReduNet.construct(X, labels, membership=Softmax(balanced=balanced))
        return (net.predict(X_test) == labels_test)[labels_test == 1].mean()

    assert recall(balanced=True) > 0.8
    assert recall(balanced=False) < 0.2


@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_uneven_classes_get_one_warning():
    X, labels = subspaces([50, 20], seed=1)
    with pytest.warns(UserWarning, match="classes have from 20 to 50 samples, and the") as found:
        ReduNet.construct(X, labels, num_layers=1)
    assert len(found) == 1
    assert found[0].filename == __file__
    ReduNet.construct(X, labels, num_layers=1, membership=Softmax(balanced=True))
