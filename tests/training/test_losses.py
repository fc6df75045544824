import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from redunet import (
    MCR2Loss,
    OLELoss,
    ReduNetWarning,
    VariationalMCR2Loss,
    coding_rate,
    rate_reduction,
)
from redunet.training.losses import nuclear_norm

LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 0])  # of several sizes, one of them 1


def features(m, *shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    Z = torch.randn(m, *shape, generator=generator, dtype=dtype)
    return normalize(Z.flatten(1), dim=1).view_as(Z)


def with_gradient(loss, Z, labels):
    Z = Z.clone().requires_grad_()
    value = loss(Z, labels)
    value.backward()
    return value.detach(), Z.grad


@pytest.mark.parametrize("shape", [(4,), (12,), (3, 4), (2, 3, 3)])
def test_loss_is_minus_the_rate_reduction(shape):
    Z = features(8, *shape)
    expected = -rate_reduction(Z, LABELS, 0.3).delta
    torch.testing.assert_close(MCR2Loss(0.3)(Z, LABELS), expected)
    assert torch.autograd.gradcheck(lambda Z: MCR2Loss(0.3)(Z, LABELS), Z.requires_grad_())


def test_controlled_expansion():
    # eq. 152: 1/(2γ₁) log det(I + γ₂ n/(m ε²) ZZᵀ)
    Z, (gamma1, gamma2) = features(8, 4), (3.0, 5.0)
    matrix = torch.eye(4, dtype=Z.dtype) + gamma2 * 4 / (8 * 0.3) * Z.T @ Z
    expansion = torch.logdet(matrix) / (2 * gamma1)
    expected = rate_reduction(Z, LABELS, 0.3).compression - expansion
    torch.testing.assert_close(MCR2Loss(0.3, gamma1, gamma2)(Z, LABELS), expected)


def test_gradients_flow_to_soft_labels():
    soft = torch.rand(8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits, Z = soft.log().requires_grad_(), features(8, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda Z, p: MCR2Loss(0.3)(Z, p.softmax(1)), (Z, logits))


@given(st.permutations(range(8)), st.sampled_from(["exact", "ole", "variational"]))
def test_order_of_a_batch_does_not_matter(order, kind):
    loss = LOSSES[kind]
    Z = features(8, 4)
    value, gradient = with_gradient(loss, Z, LABELS)
    permuted, permuted_gradient = with_gradient(loss, Z[list(order)], LABELS[list(order)])
    torch.testing.assert_close(permuted, value)
    torch.testing.assert_close(permuted_gradient, gradient[list(order)])


@given(st.sampled_from(["exact", "ole", "variational"]), st.lists(st.integers(0, 2), min_size=1))
def test_any_classes_in_a_batch_give_finite_gradients(kind, labels):
    value, gradient = with_gradient(LOSSES[kind], features(len(labels), 4), torch.tensor(labels))
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


def test_a_batch_of_one_class_has_nothing_to_reduce():
    value, gradient = with_gradient(MCR2Loss(), features(5, 4), torch.full((5,), 7))
    torch.testing.assert_close(value, torch.zeros_like(value))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_an_absent_class_of_soft_labels_does_not_matter():
    soft = torch.nn.functional.one_hot(LABELS, 5).double()
    Z = features(8, 4)
    torch.testing.assert_close(MCR2Loss()(Z, soft), MCR2Loss()(Z, LABELS))


@pytest.mark.parametrize("length", [0.0, 1e-20, 1e3, 1e7, 1e15])
@pytest.mark.parametrize("kind", ["exact", "ole"])
def test_features_of_any_length_give_finite_gradients(kind, length):
    Z = length * features(40, 6, dtype=torch.float32).repeat(1, 2)  # of half the rank
    value, gradient = with_gradient(LOSSES[kind], Z, torch.arange(40) % 3)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", ["exact", "ole", "variational"])
def test_half_precision_is_computed_in_float32(kind):
    Z = features(30, 4, dtype=torch.float32)
    labels = torch.arange(30) % 3
    half = Z.bfloat16()
    loss = copy.deepcopy(LOSSES[kind]).float()
    expected, expected_gradient = with_gradient(loss, half.float(), labels)
    Z = half.float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(Z, labels)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close((value, Z.grad), (expected, expected_gradient), rtol=0, atol=0)
    value, gradient = with_gradient(loss, half, labels)
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["exact", "ole", "variational"])
def test_losses_follow_their_features(kind, device):
    loss, Z = copy.deepcopy(LOSSES[kind]), features(30, 4)
    expected = with_gradient(loss, Z, torch.arange(30) % 3)
    found = with_gradient(loss.to(device), Z.to(device), torch.arange(30, device=device) % 3)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.device.type == device.type
        torch.testing.assert_close(ours.cpu(), theirs)


def test_errors_say_what_is_wrong():
    Z = features(8, 4)
    bad = Z.clone()
    bad[3, 1] = torch.nan
    with pytest.raises(ValueError, match="Z must be finite: 1 of 32 values are not"):
        MCR2Loss()(bad, LABELS)
    with pytest.raises(ValueError, match=r"labels must have shape \(8,\)"):
        MCR2Loss()(Z, LABELS[:5])
    with pytest.raises(ValueError, match="gamma2 must be a positive number, got 0"):
        MCR2Loss(gamma2=0)
    with pytest.raises(ValueError, match="labels 3 are not among 0, 1, 2"):
        VariationalMCR2Loss(3, 4, 2)(Z, LABELS + (LABELS == 2))
    with pytest.raises(ValueError, match=r"expected samples of shape \(5,\)"):
        VariationalMCR2Loss(3, 5, 2)(Z, LABELS)
    with pytest.raises(ValueError, match=r"Z must have shape \(m, n\), got \(8, 4, 2\)"):
        OLELoss()(features(8, 4, 2), LABELS)


# Orthogonal low-rank embedding


def test_ole_is_its_definition():
    Z = features(8, 4).requires_grad_()
    parts = sum(torch.linalg.svdvals(Z[j == LABELS]).sum() for j in range(3))
    torch.testing.assert_close(
        OLELoss()(Z, LABELS), parts - torch.linalg.svdvals(Z).sum(), rtol=1e-12, atol=0
    )
    assert torch.autograd.gradcheck(lambda Z: OLELoss()(Z, LABELS), Z)


def test_ole_is_zero_where_subspaces_are_orthogonal():
    Z = torch.zeros(12, 6, dtype=torch.float64)
    Z[:5, :2], Z[5:, 2:] = features(5, 2), features(7, 4, seed=1)
    labels = torch.arange(12) >= 5
    value, gradient = with_gradient(OLELoss(), Z, labels)
    torch.testing.assert_close(value, torch.zeros_like(value))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    assert OLELoss()(features(12, 6), labels) > 0.1


def test_nuclear_norm_has_the_subgradient_of_least_norm():
    Z = (features(5, 1) @ features(1, 4, seed=1)).requires_grad_()
    nuclear_norm(Z).backward()
    U, _, Vh = torch.linalg.svd(Z.detach())
    torch.testing.assert_close(Z.grad, torch.outer(U[:, 0], Vh[0]))


# The variational form


def latched(Z, labels, atoms_per_class, num_classes=3, **options):
    loss = VariationalMCR2Loss(num_classes, Z.shape[1], atoms_per_class, **options).double()
    loss.latch(Z, labels)
    return loss


def dictionary_problem(seed, m=24, d=5, soft=False):
    """Features, labels, and a loss whose dictionary and codes are random."""
    generator = torch.Generator().manual_seed(seed)
    loss = VariationalMCR2Loss(3, d, 2, eps_sq=0.4).double()
    loss.dictionary.copy_(normalize(torch.rand(6, d, generator=generator).double() - 0.5, dim=1))
    loss.codes.copy_(torch.rand(3, 6, generator=generator).double() / 3)
    labels = torch.rand(m, 3, generator=generator).double()
    labels = (6 * labels).softmax(1) if soft else labels.argmax(1)
    return features(m, d, seed=seed), labels, loss


@given(st.integers(0, 1000), st.booleans(), st.integers(1, 30), st.integers(1, 9))
def test_the_variational_loss_is_its_dense_form(seed, soft, m, d):
    # Eq. 7: M/(2m), class by class, with matrices of d × d and A_j = m_j c_j.
    Z, labels, loss = dictionary_problem(seed, m, d, soft)
    total = torch.zeros((), dtype=torch.float64)
    memberships = labels if soft else torch.nn.functional.one_hot(labels, 3).double()
    for weights, codes in zip(memberships.T, loss.codes, strict=True):
        count = weights.sum()
        if count > 0:
            approached = loss.dictionary.T @ torch.diag(count * codes) @ loss.dictionary
            error = Z.T @ torch.diag(weights) @ Z - approached
            total = total + error.square().sum() / (count / m)
    torch.testing.assert_close(loss(Z, labels), total / (2 * m), rtol=1e-11, atol=1e-11)


def test_the_variational_loss_as_printed_for_balanced_classes():
    # Eq. 9 with μ = 1: k/(2m) [⟨ΠΠᵀ, (ZᵀZ)∘²⟩ − 2⟨AΠᵀ, (ΓᵀZ)∘²⟩ + ⟨AAᵀ, (ΓᵀΓ)∘²⟩]
    m, k = 24, 3
    samples, _, loss = dictionary_problem(0)
    labels = torch.arange(m) % k
    Pi, A = torch.nn.functional.one_hot(labels).double(), (m / k * loss.codes).T
    Z, Gamma = samples.T, loss.dictionary.T
    printed = (
        ((Pi @ Pi.T) * (Z.T @ Z).square()).sum()
        - 2 * ((A @ Pi.T) * (Gamma.T @ Z).square()).sum()
        + ((A @ A.T) * (Gamma.T @ Gamma).square()).sum()
    )
    torch.testing.assert_close(loss(samples, labels), k / (2 * m) * printed, rtol=1e-12, atol=0)


@pytest.mark.parametrize("soft", [False, True])
def test_an_update_is_a_gradient_step_and_a_projection(soft):
    Z, labels, loss = dictionary_problem(0, soft=soft)
    memberships = labels if soft else torch.nn.functional.one_hot(labels, 3).double()
    counts, m, scale = memberships.sum(0), len(Z), 5 / loss.eps_sq
    dictionary, codes = loss.dictionary.clone(), loss.codes.clone()
    moments = torch.einsum("mj,ma,mb->jab", memberships, Z, Z)

    def approached(atoms, codes):
        return torch.einsum("qa,jq,qb->jab", atoms, counts[:, None] * codes, atoms)

    def objective(atoms, codes):
        identity = torch.eye(5, dtype=torch.float64)
        expansion = torch.logdet(identity + scale / m * approached(atoms, codes).sum(0)) / 2
        compression = (counts[:, None] / m * torch.log1p(scale * codes)).sum() / 2
        errors = (moments - approached(atoms, codes)).square().sum((1, 2)) / counts
        return expansion - compression - errors.sum() / 2

    variables = dictionary.clone().requires_grad_(), codes.clone().requires_grad_()
    slopes = torch.autograd.grad(objective(*variables), variables)
    largest = codes.amax(1)
    of_atoms = 2 * (torch.linalg.matrix_norm(moments) * largest + counts * largest**2).sum()
    of_codes = counts[:, None] * (dictionary @ dictionary.T).square().norm()
    loss.update(Z, labels)
    expected = normalize(dictionary + loss.step_size / of_atoms * slopes[0], dim=1)
    torch.testing.assert_close(loss.dictionary, expected, rtol=0, atol=1e-10)
    expected = (codes + loss.step_size / of_codes * slopes[1]).relu()
    torch.testing.assert_close(loss.codes, expected, rtol=0, atol=1e-10)


def test_the_gradient_of_the_variational_loss():
    Z, labels, loss = dictionary_problem(0)
    assert torch.autograd.gradcheck(lambda Z: loss(Z, labels), Z.requires_grad_())


def objective(loss, Z, labels):
    """Eq. 7."""
    expansion, compression = loss.rates(labels)
    return expansion - compression - loss(Z, labels)


def test_latching_is_exact_at_full_rank():
    Z, labels = features(30, 4), torch.arange(30) % 3
    loss = latched(Z, labels, 4, eps_sq=0.3)
    exact = rate_reduction(Z, labels, 0.3)
    torch.testing.assert_close(loss.rates(labels), exact[1:])
    torch.testing.assert_close(objective(loss, Z, labels), exact.delta)
    error, gradient = with_gradient(loss, Z, labels)
    torch.testing.assert_close(error, torch.zeros_like(error))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_latching_takes_the_leading_eigenvectors():
    Z, labels = features(30, 6), torch.arange(30) % 3
    loss = latched(Z, labels, 2)
    for j in range(3):
        values, vectors = torch.linalg.eigh(Z[labels == j].T @ Z[labels == j] / 10)
        torch.testing.assert_close(loss.codes[j, 2 * j : 2 * j + 2], values[-2:].flip(0))
        assert loss.codes[j].count_nonzero() == 2
        atoms = loss.dictionary[2 * j : 2 * j + 2]
        torch.testing.assert_close(atoms.T @ atoms, vectors[:, -2:] @ vectors[:, -2:].T)


def test_latching_leaves_what_it_cannot_know():
    loss = VariationalMCR2Loss(3, 4, 3).double()
    before = loss.codes.clone(), loss.dictionary.clone()
    loss.latch(features(2, 4), [0, 1])  # of rank one each
    assert (loss.codes[:2] > 0).sum() == 2
    torch.testing.assert_close(loss.codes[2], before[0][2])
    torch.testing.assert_close(
        loss.dictionary[[1, 2, 4, 5, 6, 7, 8]], before[1][[1, 2, 4, 5, 6, 7, 8]]
    )
    torch.testing.assert_close(loss.dictionary.norm(dim=1), torch.ones(9, dtype=torch.float64))


@given(st.integers(0, 10))
def test_any_exact_factorisation_bounds_the_compression_from_above(seed):
    # Proposition 3.1: U = Ū S^½ Q with any orthogonal Q is a factor too, and worse than Ū S^½.
    Z, labels = features(30, 4, seed=seed), torch.arange(30) % 3
    loss = latched(Z, labels, 4)
    generator = torch.Generator().manual_seed(seed)
    for j in range(3):
        Q = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=Z.dtype))[0]
        block = slice(4 * j, 4 * j + 4)
        factor = Q @ (loss.codes[j, block].sqrt()[:, None] * loss.dictionary[block])
        loss.codes[j, block] = factor.square().sum(1)
        loss.dictionary[block] = normalize(factor, dim=1)
    exact = rate_reduction(Z, labels, 0.5)
    expansion, compression = loss.rates(labels)
    torch.testing.assert_close(loss(Z, labels), Z.new_zeros(()))
    torch.testing.assert_close(expansion, exact.expansion)
    assert compression > exact.compression


def test_codes_fit_batches_of_any_size_and_mixture():
    Z, labels = features(40, 4), torch.arange(40) % 3
    loss = latched(Z, labels, 2)
    loss.dictionary.copy_(features(6, 4, seed=3))
    twice, labels_twice = torch.cat([Z, Z]), torch.cat([labels, labels])
    torch.testing.assert_close(loss(twice, labels_twice), 2 * loss(Z, labels))
    torch.testing.assert_close(loss.rates(labels_twice), loss.rates(labels))
    alone = sum(loss(Z[labels == j], labels[labels == j]) for j in range(3))
    torch.testing.assert_close(alone, loss(Z, labels))


def test_a_class_that_a_batch_lacks_keeps_its_codes():
    Z, labels = features(40, 4), torch.arange(40) % 3
    loss = latched(Z, labels, 2)
    before = loss.codes.clone()
    loss.update(Z[labels < 2], labels[labels < 2])
    torch.testing.assert_close(loss.codes[2], before[2], rtol=0, atol=0)
    assert not torch.equal(loss.codes[:2], before[:2])


def test_updates_raise_the_objective():
    Z, labels = features(60, 6), torch.arange(60) % 3
    loss = VariationalMCR2Loss(3, 6, 4, step_size=1.0).double()
    values = [objective(loss, Z, labels).item()]
    for _ in range(100):
        loss.update(Z, labels)
        values.append(objective(loss, Z, labels).item())
    assert (np.diff(values) > 0).all()
    # The relaxation is no worse than where latching starts it, with the true rate reduction.
    assert values[-1] > values[0] + 1
    torch.testing.assert_close(loss.dictionary.norm(dim=1), torch.ones(12, dtype=torch.float64))
    assert (loss.codes >= 0).all()


def test_dictionary_and_codes_are_saved():
    loss = latched(features(30, 4), torch.arange(30) % 3, 2)
    other = VariationalMCR2Loss(3, 4, 2).double()
    other.load_state_dict(loss.state_dict())
    Z = features(9, 4, seed=2)
    torch.testing.assert_close(other(Z, LABELS.new_tensor([0] * 9)), loss(Z, [0] * 9))
    assert set(loss.state_dict()) == {"dictionary", "codes"}


def test_neural_collapse_reduces_no_rate():
    # Features that collapse to a point a class: R_c is least, but R is small, and so is ΔR.
    points = torch.eye(3, 9, dtype=torch.float64)
    collapsed = points.repeat_interleave(30, 0)
    labels = torch.arange(3).repeat_interleave(30)
    spread = torch.zeros(90, 9, dtype=torch.float64)
    for j in range(3):
        spread[labels == j, 3 * j : 3 * j + 3] = features(30, 3, seed=j)
    loss = MCR2Loss()
    assert loss(spread, labels) < loss(collapsed, labels) < 0
    assert rate_reduction(collapsed, labels, 0.5).compression < coding_rate(spread[:30], 0.5)


LOSSES = {
    "exact": MCR2Loss(0.3),
    "ole": OLELoss(),
    "variational": latched(features(30, 4), torch.arange(30) % 3, 2),
}


@pytest.mark.parametrize(
    "labels", [torch.arange(40), np.arange(40).astype(str)], ids=["int", "str"]
)
def test_every_sample_may_be_a_class(labels):
    # A batch of few samples of many classes, as without labels; no warning either.
    Z = features(40, 6)
    rows = [MCR2Loss()(Z, labels), -rate_reduction(Z, labels, 0.5).delta]
    torch.testing.assert_close(*rows)


@pytest.mark.parametrize("make", [MCR2Loss, lambda: VariationalMCR2Loss(3, 4, 2).double()])
def test_features_without_unit_norm_are_one_warning(make):
    loss, Z = make(), features(8, 4)
    Z[0] = 0  # a blank sample
    for unit in (Z, Z * 1.001, 0 * Z):
        make()(unit, LABELS)
    with pytest.warns(ReduNetWarning, match="the largest norm in this batch is 7.3: end") as told:
        loss(7.3 * Z, LABELS)
    loss(7.3 * Z, LABELS)
    assert len(told) == 1
    assert told[0].filename == __file__
    with pytest.warns(ReduNetWarning, match="the largest norm in this batch is 0.1:"):
        make()(Z / 10, LABELS)


def test_the_gradient_of_a_batch_in_parts():
    """The recipe of the page on losses, for a batch that does not fit into memory."""
    featurizer, X = torch.nn.Linear(5, 4).double(), features(8, 5)
    whole = torch.autograd.grad(MCR2Loss()(normalize(featurizer(X)), LABELS), featurizer.weight)
    with torch.no_grad():
        Z = torch.cat([normalize(featurizer(x)) for x in X.split(3)])
    MCR2Loss()(Z.requires_grad_(), LABELS).backward()
    for x, gradient in zip(X.split(3), Z.grad.split(3), strict=True):
        normalize(featurizer(x)).backward(gradient)
    torch.testing.assert_close(featurizer.weight.grad, whole[0])
