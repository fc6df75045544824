"""ResNet-18 with the last layers of the MCR² papers, for small and for large images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from featurizers import OnSphere


class Block(nn.Module):
    """Two convolutions of 3 × 3 beside a shortcut.

    The shortcut is a convolution of 1 × 1 if the block changes the number of channels or the size.
    """

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            convolution = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, X: Tensor) -> Tensor:
        """Features ``(m, width, H, W)``, or of half the height and width with a stride of 2."""
        return functional.relu(self.layers(X) + self.shortcut(X))


class PreActBlock(nn.Module):
    """Two convolutions of 3 × 3, each after batch normalisation and ReLU, beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.shortcut = None
        if stride > 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, X: Tensor) -> Tensor:
        """Features ``(m, width, H, W)``, or of half the height and width with a stride of 2."""
        active = self.activation(X)
        return self.layers(active) + (X if self.shortcut is None else self.shortcut(active))


def small_stem(channels: int, width: int) -> nn.Sequential:
    """The first layers of ResNet-18 for CIFAR, which keep the size of the images."""
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def large_stem(channels: int, width: int) -> nn.Sequential:
    """The first layers of ResNet-18 for ImageNet, which divide height and width by four."""
    convolution = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(
        convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)
    )


def trunk(
    stem: nn.Sequential, width: int, block: Callable[[int, int, int], nn.Module] = Block
) -> nn.Sequential:
    """A stem and the eight blocks of ResNet-18: images ``(m, C, H, W)`` to ``(m, 8 width)``."""
    layers, channels = [*stem], width
    for stage in range(4):
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(block(channels, width * 2**stage, stride))
            channels = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def head(channels: int, dim: int) -> nn.Sequential:
    """The last layers of both papers (V-MCR² paper, CVPR 2022, Architecture 2)."""
    return nn.Sequential(
        nn.Linear(channels, channels, bias=False),
        nn.BatchNorm1d(channels),
        nn.ReLU(),
        nn.Linear(channels, dim),
        OnSphere(),
    )


def resnet18_for_cifar(channels: int, dim: int, width: int = 64) -> nn.Sequential:
    """The network of the MCR² paper (JMLR 2022, Appendix D.2): ResNet-18 with a small stem."""
    return nn.Sequential(trunk(small_stem(channels, width), width), head(8 * width, dim))


def preact_resnet18(channels: int, dim: int, width: int = 64) -> nn.Sequential:
    """The network of Table 3 of the V-MCR² paper (CVPR 2022, Appendix 7.4)."""
    stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False))
    *blocks, pool, flatten = trunk(stem, width, PreActBlock)
    last = nn.BatchNorm2d(8 * width), nn.ReLU()
    return nn.Sequential(nn.Sequential(*blocks, *last, pool, flatten), head(8 * width, dim))


def resnet18_for_imagenet(channels: int, dim: int, width: int = 64) -> nn.Sequential:
    """The network of the V-MCR² paper (CVPR 2022, Appendix 7.2): the ResNet-18 of Torchvision.

    Its convolutions start with the random values of Torchvision (He et al., fan-out).
    """
    network = nn.Sequential(trunk(large_stem(channels, width), width), head(8 * width, dim))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
