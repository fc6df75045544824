import numpy as np
import pytest
import torch
from torch import nn

from redunet import Band, JoinedLift, MultiScaleLift, RandomCirculantLift, ReduNet, Softmax
from redunet.layers import BlockDiagonal
from redunet.rates import Partition
from redunet.rates.coding_rates import spectral_rate_reduction
from tests.exported import assert_graph_equals
from tests.samples import samples

LABELS = np.array([0] * 14 + [1] * 6 + [2] * 10)
SETTINGS = {"membership": Softmax(20.0, balanced=True), "eta": 0.05}


def joined(X, sizes=(3, 30)):
    """A narrow block of channels that are fewer than the samples, and a wide one of many."""
    axes = X.ndim - 2
    lifts = [
        MultiScaleLift(2, axes, kernels_per_scale=size, dilations=(1,), kernel_size=3).fit(X)
        for size in sizes
    ]
    return JoinedLift(lifts, [[1], [2]])


def construct(X, dtype=torch.float64, **options):
    kind = BlockDiagonal([3, 30], [0.01, 0.04], [1, 2])
    return ReduNet.construct(
        X.to(dtype),
        LABELS,
        lift=joined(X.to(dtype)),
        operators=kind,
        eps_sq=0.02,
        **SETTINGS,
        **options,
    )


def test_blocks_are_networks_of_their_own():
    X = samples(30, 2, 9)
    lift = joined(X)
    net = construct(X, num_layers=1)
    squares = 0
    for part, band, eps_sq in zip(lift.lifts, lift.bands, (0.01, 0.04), strict=True):
        one = ReduNet.construct(
            X, LABELS, lift=[part, Band(band[0])], eps_sq=2 * eps_sq, num_layers=1, **SETTINGS
        )
        relative = one.residual_norms(X) * one.layers[0].proportions / one.layers[0].alpha
        squares = squares + relative.square() / 2
    relative = net.residual_norms(X) * net.layers[0].proportions / net.layers[0].alpha
    torch.testing.assert_close(relative.square(), squares)


@pytest.mark.parametrize("shape", [(7,), (5, 6)])
def test_the_step_is_the_gradient_of_the_weighted_rates(shape):
    net = construct(samples(30, 2, *shape), num_layers=2)
    (V,) = net.encode(samples(30, 2, *shape))
    V = V.clone().requires_grad_()
    kind, partition = net.settings.operators, Partition.from_labels(LABELS, 30)
    rate, alpha = 0, 33 / (30 * 0.02)
    for part, C, eps_sq in zip(V.split([3, 30], 2), kind.channels, kind.eps_sq, strict=True):
        weight = alpha / (C / (30 * eps_sq))
        rate = rate + weight * spectral_rate_reduction(part, net.spectrum, partition, eps_sq).delta
    np.testing.assert_allclose(net.history.delta[0], rate.item(), rtol=1e-10)
    (gradient,) = torch.autograd.grad(rate, V)
    # Frequencies that a block does not have stay zero.
    gradient = torch.where(V == 0, 0, gradient)
    layer = net.layers[0]
    increment = layer.increment(V.detach(), partition.membership)
    torch.testing.assert_close(
        torch.where(V == 0, 0, increment), net.spectrum.size * gradient, rtol=1e-8, atol=1e-10
    )
    E, C = layer.operators.matrices()
    assert not E[:, :3, 3:].any()
    assert not C[:, :, 3:, :3].any()
    torch.testing.assert_close(V.detach() @ E.mT, layer.operators.expand(V.detach()))
    expected = torch.einsum("fkab,fmb->fmka", C, V.detach())
    torch.testing.assert_close(layer.operators.respond(V.detach()), expected)
    half = slice(1, 3)
    torch.testing.assert_close(layer.operators.respond(V.detach()[half], half), expected[half])
    norms = layer.operators.responder()(V.detach()).norms()
    torch.testing.assert_close(norms, expected.abs().square().sum((0, 3)).sqrt())


def test_validation_and_depth():
    X = samples(30, 2, 9)
    net = construct(X, num_layers=3, validation=(X, LABELS))
    np.testing.assert_allclose(net.history.validation.delta, net.history.delta)
    assert net.history.delta[-1] > net.history.delta[0]
    assert net.layers[0].operators.description.startswith("dense + rank")


def test_saved_and_exported(tmp_path):
    X = samples(30, 2, 9).float()
    net = construct(X, torch.float32, num_layers=2)
    net.save(tmp_path / "net.safetensors")
    again = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(again(X), net(X))
    assert again.settings == net.settings
    for format in ("pt2", "onnx"):
        assert_graph_equals(net, tmp_path / f"net.{format}", X[:1], X, membership=1e-4)


def test_vectors_in_blocks():
    X = samples(30, 2)
    lift = JoinedLift([nn.Identity(), MultiScaleLift(2, 0, kernels_per_scale=9).fit(X)])
    kind = BlockDiagonal([2, 9], [0.1, 0.2])
    net = ReduNet.construct(X, LABELS, lift=lift, operators=kind, num_layers=2)
    features, membership = net.real_form()(X)
    torch.testing.assert_close(features, net(X))
    torch.testing.assert_close(membership, net.membership(X))
    net.to(torch.float32)
    assert net(X.float()).dtype == torch.float32


def test_blocks_that_do_not_fit():
    with pytest.raises(ValueError, match="one value for each block, got 2, 1 and 2 values"):
        BlockDiagonal([2, 3], [0.1])
    with pytest.raises(ValueError, match="eps_sq must be a positive number, got 0"):
        BlockDiagonal([2], [0])
    X = samples(30, 1, 9)
    with pytest.raises(ValueError, match=r"the blocks have 2 \+ 3 = 5 channels, but the features"):
        ReduNet.construct(
            X, LABELS, lift=RandomCirculantLift(1, 6, 3, 1), operators=BlockDiagonal([2, 3], [1, 1])
        )
