"""A network constructed from all transformed copies of its samples is invariant to their group."""

import numpy as np
import pytest
import torch

from redunet import RandomCirculantLift, ReduNet
from redunet.datasets import all_shifts

SIDE, KERNELS, EPS_SQ, LAM = 4, 2, 0.1, 0.2
EXACT = {"rtol": 0, "atol": 1e-12}


def flips(images):
    return torch.stack([images, images.flip(-1)])


def square(images):
    turned = torch.stack([images.rot90(turns, (-2, -1)) for turns in range(4)])
    return torch.cat([turned, turned.flip(-1)])


def exchange(kernels, element):
    """The channels in the order in which transformed kernels stand among all."""
    same = (element(kernels)[None] == kernels[:, None]).flatten(2).all(2)
    return same.int().argmax(1)


@pytest.fixture(params=[flips, square], ids=lambda group: group.__name__)
def case(request):
    """A group, a network that is invariant to it, and the samples of the construction."""
    group = request.param
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(6, 1, SIDE, SIDE)))
    copies = group(X)
    lift = RandomCirculantLift(1, KERNELS * len(copies), 3, ndim=2).double()
    lift.kernels = group(lift.kernels[:KERNELS]).flatten(0, 1)
    labels = np.tile([0, 0, 0, 0, 1, 1], len(copies))
    net = ReduNet.construct(
        copies.flatten(0, 1), labels, lift=lift, num_layers=3, eta=0.5, eps_sq=EPS_SQ, lam=LAM
    )
    return group, net, copies.flatten(0, 1), labels


def test_memberships_are_invariant_and_features_equivariant(case):
    group, net, _, _ = case
    X = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 1, SIDE, SIDE)))
    memberships, Z = net.membership(X), net(X)
    assert memberships.min() > 0.01  # not saturated
    for number, copy in enumerate(group(X)):
        moved = copy.roll((1, 2), (2, 3))
        torch.testing.assert_close(net.membership(moved), memberships, **EXACT)
        channels = exchange(net.lift.kernels, lambda t, number=number: group(t)[number])
        torch.testing.assert_close(net(copy), group(Z)[number][:, channels], **EXACT)
    outside = net.membership(X.mT) - memberships
    assert (outside.abs().max() > 1e-3) == (group is flips)  # a transposition is no flip


def test_dense_operators_commute_with_the_group(case):
    group, net, copies, labels = case
    lifted = net.lift(copies)
    lifted = lifted / lifted.flatten(1).norm(dim=1)[:, None, None, None]
    channels, places = lifted.shape[1], SIDE**2
    size = channels * places

    def dense(members):
        """α (I + α M)⁻¹, where M averages over all cyclic shifts."""
        vectors = all_shifts(members, 1).flatten(0, 1).flatten(1)
        alpha = channels / (len(members) * EPS_SQ)
        return alpha * torch.linalg.inv(torch.eye(size) + alpha / places * vectors.T @ vectors)

    operators = [dense(lifted), *(dense(lifted[labels == j]) for j in (0, 1))]
    basis = torch.eye(size, dtype=torch.float64).view(size, channels, SIDE, SIDE)
    for number in range(len(group(basis))):
        order = exchange(net.lift.kernels, lambda t, number=number: group(t)[number])
        moved = group(basis)[number][:, order].flatten(1).T
        for operator in operators:
            torch.testing.assert_close(operator @ moved, moved @ operator, rtol=0, atol=1e-10)
    residuals = torch.stack([(lifted.flatten(1) @ C).norm(dim=1) for C in operators[1:]], 1)
    torch.testing.assert_close(net.residual_norms(copies, 0), residuals, rtol=0, atol=1e-9)
