"""The layers of the successors of ReduNet against inverses, gradients and sums by brute force."""

import math
import sys
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks import successors, textbook
from benchmarks.successors import ess_layer, inverse, multi_layer, posterior, printed_layer, weight

ETA, EPS_SQ = 0.3, 0.5
identity = nn.Identity()


def samples(*counts, dim=12, spread=0.3, seed=0):
    """Unit vectors around a subspace of dimension 2 for each class, in random order."""
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    bases = draw(len(counts), 2, dim)
    Z = torch.einsum("mr,mrd->md", draw(len(labels), 2), bases[labels])
    order = torch.randperm(len(labels), generator=generator)
    Z = torch.nn.functional.normalize(Z + spread * draw(*Z.shape))
    return Z[order], labels[order]


def rate(Z, alpha):
    return torch.logdet(torch.eye(Z.shape[1], dtype=Z.dtype) + alpha * Z.T @ Z) / 2


@pytest.mark.parametrize("count", [5, 30])
@pytest.mark.parametrize("dense", [False, True])
def test_an_operator_is_the_regularised_inverse(count, dense):
    Z, _ = samples(count)
    V, _ = samples(4, seed=1)
    whole = 0.7 * torch.linalg.inv(torch.eye(12, dtype=Z.dtype) + 0.7 * Z.T @ Z)
    torch.testing.assert_close(inverse(Z, 0.7, dense=dense)(V), V @ whole, rtol=1e-12, atol=1e-13)


def test_multi_redunet_ascends_the_objective_of_each_class():
    Z, labels = samples(5, 20, 7)
    Z.requires_grad_()
    objective = sum(
        rate(Z[labels == j], 12 / (32 * EPS_SQ))
        - m_j / 32 * rate(Z[labels == j], 12 / (m_j * EPS_SQ))
        for j, m_j in enumerate((5, 20, 7))
    )
    objective.backward()
    Z, gradient = Z.detach(), Z.grad
    free = multi_layer(Z, labels, ETA, EPS_SQ, project=identity).moved
    torch.testing.assert_close(free, Z + ETA * gradient, rtol=1e-12, atol=1e-13)
    on_sphere = torch.nn.functional.normalize(free)
    torch.testing.assert_close(multi_layer(Z, labels, ETA, EPS_SQ).moved, on_sphere)


def test_multi_redunet_weights_the_steps_of_all_classes_for_new_samples(monkeypatch):
    monkeypatch.setattr(successors, "LAMBDA", 0.8)  # soft memberships
    Z, labels = samples(5, 20, 7)
    V, _ = samples(4, seed=1)
    moved, membership = multi_layer(Z, labels, ETA, EPS_SQ, project=identity).apply(V)
    eye = torch.eye(12, dtype=Z.dtype)
    for v, pi, found in zip(V, membership, moved, strict=True):
        steps, norms = [], []
        for j, m_j in enumerate((5, 20, 7)):
            alpha, alpha_j, moment = 12 / (32 * EPS_SQ), 12 / (m_j * EPS_SQ), Z[labels == j]
            E = alpha * torch.linalg.inv(eye + alpha * moment.T @ moment)
            C = alpha_j * torch.linalg.inv(eye + alpha_j * moment.T @ moment)
            steps.append(v + ETA * (E @ v - m_j / 32 * C @ v))
            norms.append((C @ v).norm())
        assert pi.min() > 0.02
        torch.testing.assert_close(pi, torch.softmax(-0.8 * torch.stack(norms), 0))
        torch.testing.assert_close(found, sum(p * step for p, step in zip(pi, steps, strict=True)))


def test_multi_redunet_keeps_the_span_of_each_class():
    Z, labels = samples(4, 5)
    for _ in range(3):
        moved = multi_layer(Z, labels, ETA, EPS_SQ).moved
        for j, m_j in enumerate((4, 5)):
            both = torch.cat([Z[labels == j], moved[labels == j]])
            assert torch.linalg.matrix_rank(both, rtol=1e-10) == m_j
        Z = moved


def test_the_posterior_counts_training_samples():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (60,), generator=generator)
    membership = torch.rand(60, 4, generator=generator, dtype=torch.float64)
    membership[:, 2] = 0  # no sample is assigned to class 2
    found = posterior(membership, labels)
    guess = membership.argmax(1)
    for i in range(4):
        for j in (0, 1, 3):
            among = [y for y, g in zip(labels.tolist(), guess.tolist(), strict=True) if g == j]
            assert found[i, j] == pytest.approx(among.count(i) / len(among), rel=1e-12)
    assert found[:, 2].tolist() == [0, 0, 1, 0]
    right = torch.nn.functional.one_hot(labels, 4).double()
    assert torch.equal(posterior(right, labels), torch.eye(4, dtype=torch.float64))


def test_the_weight_is_truncated():
    assert weight(0) == 1
    assert weight(1) == pytest.approx(math.e)
    assert weight(3, largest=5) == 5


@pytest.mark.parametrize("tau", [0, 1])
def test_ess_ascends_the_weighted_rate_if_all_samples_are_assigned_right(tau):
    Z, labels = samples(15, 20, 25, spread=0.05)
    Z.requires_grad_()
    objective = math.exp(tau) * rate(Z, 12 / (60 * EPS_SQ)) - sum(
        m_j / 60 * rate(Z[labels == j], 12 / (m_j * EPS_SQ)) for j, m_j in enumerate((15, 20, 25))
    )
    objective.backward()
    Z, expected = Z.detach(), torch.nn.functional.normalize(Z + ETA * Z.grad).detach()
    layer = ess_layer(Z, labels, ETA, EPS_SQ, tau=tau)
    torch.testing.assert_close(layer.apply(Z)[1].argmax(1), labels)
    torch.testing.assert_close(layer.moved, expected, rtol=1e-10, atol=1e-11)


def test_ess_takes_the_posterior_for_samples_that_are_assigned_wrong(monkeypatch):
    monkeypatch.setattr(successors, "LAMBDA", 5.0)
    Z, labels = samples(60, 60, spread=2.0)
    guess = printed_layer(Z, labels, ETA, EPS_SQ).apply(Z)[1]
    p = posterior(guess, labels)
    assert 0.05 < p[0, 1] < 0.95
    new, membership = ess_layer(Z, labels, ETA, EPS_SQ, tau=0).apply(Z)
    torch.testing.assert_close(membership[:, 0], p[0, 0] * guess[:, 0] + p[0, 1] * guess[:, 1])
    E = inverse(Z, 12 / (120 * EPS_SQ))(Z)
    C = [inverse(Z[labels == j], 12 / (60 * EPS_SQ))(Z) for j in (0, 1)]
    step = E - sum(0.5 * membership[:, j, None] * C[j] for j in (0, 1))
    torch.testing.assert_close(new, torch.nn.functional.normalize(Z + ETA * step))


def test_a_weight_enlarges_what_no_training_sample_has():
    Z, labels = samples(3, 3)
    v = torch.linalg.svd(Z).Vh[-1]  # orthogonal to all six samples
    mixed = (Z[0] + v) / math.sqrt(2)
    alpha = 12 / (6 * EPS_SQ)

    def grown(tau):
        """The part along v, before the projection: its ratio to the part that E and C leave."""
        scaled = ess_layer(Z, labels, ETA, EPS_SQ, tau=tau).apply(mixed[None])[0][0]
        E, C = inverse(Z, alpha)(mixed), inverse(Z[labels == labels[0]], 2 * alpha)(mixed)
        step = mixed + ETA * (math.exp(tau) * E - 0.5 * C)
        assert torch.allclose(scaled, step / step.norm())
        return step @ v / (mixed @ v)

    assert grown(0) == pytest.approx(1, rel=1e-12)
    assert grown(1) == pytest.approx(1 + ETA * alpha * (math.e - 1), rel=1e-12)


def test_a_printed_layer_treats_new_samples_as_training_samples():
    Z, labels = samples(10, 20, 15)
    layer = printed_layer(Z, labels, ETA, EPS_SQ)
    expected = textbook.layer(Z.T[None], labels, ETA, EPS_SQ, successors.LAMBDA).V[0].T
    torch.testing.assert_close(layer.moved, expected, rtol=0, atol=0)
    torch.testing.assert_close(layer.apply(Z)[0], expected)


def test_the_benchmark_compares_all_methods(capsys, monkeypatch):
    arguments = ["successors", "--only", "wine", "--seeds", "1", "--layers", "3"]
    monkeypatch.setattr(sys, "argv", arguments)
    with torch.no_grad():
        successors.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    names = [row[1].strip() for row in rows]
    assert names[2:5] == ["redunet", "Algorithm 1, η = 0.5", "ESS, τ = 0, η = 0.5"]
    methods = rows[2 : 3 + sum(len(etas) for _, etas in successors.METHODS.values())]
    for row in methods:
        assert all(0.4 < float(part) <= 1 for cell in row[8:11] for part in cell.split("/"))
    rates = {row[1].strip(): float(row[6]) for row in methods}
    assert rates["redunet"] == max(rates.values())
    assert rates["Multi, η = 0.05"] == rates["Multi, d × d, η = 0.05"]
    assert names[-4:] == list(successors.SENSITIVE)
