import math

import numpy as np
import pytest
import torch

from redunet import Rectified, ReduNet, Softmax
from redunet.layers import DenseOperator, Operators, ReduLayer
from redunet.layers.membership import soft_membership

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


def subspaces(sizes, seed):
    """Samples near random subspaces of dimension 3 in a space of dimension 10."""
    rng = np.random.default_rng(seed)
    bases = np.random.default_rng(0).normal(size=(len(sizes), 3, 10))
    X = np.concatenate([rng.normal(size=(n, 3)) @ B for n, B in zip(sizes, bases, strict=True)])
    return X + 0.5 * rng.normal(size=X.shape), np.repeat(np.arange(len(sizes)), sizes)


def test_balanced_memberships_are_the_papers_if_classes_have_one_size():
    X, labels = subspaces([40, 40], seed=1)
    options = {"num_layers": 3, "eps_sq": 0.5}
    net = ReduNet.construct(X, labels, lam=5.0, **options)
    relative = Softmax(5.0 * 10 / (40 * 0.5), balanced=True)  # λα_j
    balanced = ReduNet.construct(X, labels, membership=relative, **options)
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


def test_balanced_memberships_are_a_softmax_of_relative_residuals():
    X, labels = subspaces([30, 10], seed=1)
    rule = Softmax(7.0, balanced=True)
    net = ReduNet.construct(X, labels, num_layers=2, membership=rule, eps_sq=0.5)
    found = net.relative_residuals(X, 0)
    samples = torch.nn.functional.normalize(torch.from_numpy(X))
    for label, size in enumerate((30, 10)):
        Z = samples[labels == label]
        inverse = torch.linalg.inv(torch.eye(10) + 10 / (size * 0.5) * Z.T @ Z)  # Cʲ/α_j
        torch.testing.assert_close(found[:, label], (samples @ inverse).norm(dim=1))
    torch.testing.assert_close(
        net.layers[0].assign(net.residual_norms(X, 0)), (-7 * found).softmax(1)
    )
    torch.testing.assert_close(net.membership(X), (-7 * net.relative_residuals(X)).softmax(1))


def test_copies_of_all_samples_do_not_change_balanced_memberships():
    X, labels = subspaces([30, 10], seed=1)
    options = {"num_layers": 3, "eps_sq": 0.5, "membership": Softmax(7.0, balanced=True)}
    once = ReduNet.construct(X, labels, **options)
    copies = ReduNet.construct(np.tile(X, (9, 1)), np.tile(labels, 9), **options)
    torch.testing.assert_close(copies.membership(X), once.membership(X))
    torch.testing.assert_close(copies(X), once(X))


@pytest.mark.parametrize("lam", [2.0, math.inf])
def test_a_class_without_samples_has_no_members(lam):
    residuals, shares = NORMS.clone(), torch.tensor([0.4, 0.0, 0.6], dtype=torch.float64)
    residuals[:, 1] = 0  # ‖Cʲ v‖ γ_j / α
    found = Softmax(lam, balanced=True)(residuals, shares)
    torch.testing.assert_close(found[:, [0, 2]], soft_membership(NORMS[:, [0, 2]], lam))
    assert found[:, 1].tolist() == [0, 0]


@pytest.mark.parametrize("rule", [Softmax(2.0, balanced=True), Rectified(2.0)])
def test_a_layer_is_the_same_with_an_empty_class(rule):
    X, labels = subspaces([30, 10], seed=1)
    layer = ReduNet.construct(X, labels, num_layers=1, membership=rule).layers[0]
    V = torch.nn.functional.normalize(torch.from_numpy(X))[None]
    expansion, compression = layer.operators.matrices()
    identity = torch.eye(10, dtype=torch.float64).expand(1, 1, 10, 10)
    for matrix in (torch.zeros_like(identity), 1e6 * identity):
        with_empty = ReduLayer(
            Operators(
                DenseOperator(expansion.unsqueeze(1)),
                DenseOperator(torch.cat([compression, matrix], 1)),
            ),
            proportions=torch.cat([layer.proportions, layer.proportions.new_zeros(1)]),
            alpha=layer.alpha,
            eta=layer.eta,
            membership_rule=rule,
            spectrum=layer.spectrum,
        )
        torch.testing.assert_close(with_empty(V), layer(V))
