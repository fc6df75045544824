import pytest
import torch
from torch import nn

from redunet.training.convolutional import ReduConvLayer, ReduConvNet


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_layer_is_its_formula():
    torch.manual_seed(0)
    layer, Z = ReduConvLayer(3, 4, eta=0.5, lam=0.1), images(2, 3, 6, 5)

    def operator(modules, j):
        """One of the operators by itself, with whole layer normalisations."""
        first, norm1, second, norm2 = modules
        own = slice(3 * j, 3 * j + 3)
        out = nn.functional.conv2d(Z, first.weight[own], padding=1)
        out = nn.functional.layer_norm(out, out.shape[1:])
        out = out * norm1.weight[own, None, None] + norm1.bias[own, None, None]
        out = nn.functional.conv2d(out, second.weight[own], padding=1)
        out = nn.functional.layer_norm(out, out.shape[1:])
        return out * norm2.weight[own, None, None] + norm2.bias[own, None, None]

    with torch.no_grad():
        for modules in (layer.expansion, layer.compression):
            for norm in (modules[1], modules[3]):
                norm.weight.normal_()
                norm.bias.normal_()
    responses = torch.stack([operator(layer.compression, j) for j in range(4)], 1)
    membership = torch.softmax(-0.1 * responses.flatten(2).norm(dim=2), 1)
    compression = torch.einsum("mk,mkchw->mchw", membership, responses)
    expected = Z + 0.5 * (operator(layer.expansion, 0) - compression)
    torch.testing.assert_close(layer(Z), expected)


@pytest.mark.parametrize("relu", [True, False])
def test_a_network_learns(relu, device):
    torch.manual_seed(0)
    net = ReduConvNet(1, 3, channels=4, relu=relu).to(device)
    assert sum(isinstance(m, ReduConvLayer) for m in net) == 4
    assert any(isinstance(m, nn.ReLU) for m in net.modules()) == relu
    labels = (torch.arange(30) % 3).to(device)
    X = images(30, 1, 8, 8).to(device) + 3 * torch.eye(8).to(device).roll(2, 0) * labels.view(
        -1, 1, 1, 1
    )
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(net(X), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert (net(X).argmax(1) == labels).float().mean() > 0.9


def test_settings():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ReduConvLayer(3, 0)
    with pytest.raises(ValueError, match="lam must be a positive number"):
        ReduConvLayer(3, 2, lam=-1)
