"""Networks with the structure of a ReduNet whose operators are trainable convolutions."""

import torch
from torch import Tensor, nn

from redunet._checks import check_count, check_positive
from redunet.layers.membership import soft_membership


class ReduConvLayer(nn.Module):
    """The layer z + η (E z − Σ_j π̂_j(z) Cʲ z), with trainable convolutions as E and Cʲ.

    E and each Cʲ consist of two 3 × 3 convolutions. Each convolution is followed by a layer
    normalisation over channels and pixels. The softmax π̂_j = softmax_j(−λ ‖Cʲ z‖) is the only
    other nonlinearity. Unlike in a ReduNet, the sum over the classes has no factors γ_j, because
    the weights of Cʲ are trained, and the result is not projected onto the sphere.

    Parameters
    ----------
    channels : int
        Number of channels, C.
    num_classes : int
        Number of classes, k. There is one Cʲ per class.
    eta : float
        Step size η.
    lam : float
        Sharpness λ.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2 and Figure 17; eq. 26 for the layer of a ReduNet.
    """

    def __init__(self, channels: int, num_classes: int, eta: float = 1.0, lam: float = 1.0):
        super().__init__()
        channels, self.num_classes = check_count(channels=channels, num_classes=num_classes)
        self.eta, self.lam = check_positive(eta=eta, lam=lam)
        self.expansion = _convolutions(channels, 1)
        self.compression = _convolutions(channels, self.num_classes)

    def forward(self, Z: Tensor) -> Tensor:
        """Map features ``(m, C, H, W)`` to features of the same shape."""
        responses = self.compression(Z).unflatten(1, (self.num_classes, -1))  # (m, k, C, H, W)
        norms = torch.linalg.vector_norm(responses, dim=(2, 3, 4))
        weights = soft_membership(norms, self.lam)[:, :, None, None, None]
        return Z + self.eta * (self.expansion(Z) - (weights * responses).sum(1))

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"num_classes={self.num_classes}, eta={self.eta}, lam={self.lam}"


class ReduConvNet(nn.Sequential):
    """A residual network of four :class:`ReduConvLayer`, from images to logits.

    It consists of a convolution, an optional ReLU, two layers, average pooling over 2 × 2 pixels,
    two more layers, average pooling over all pixels, and a linear classifier. The paper lists a
    convolution, an optional ReLU, four layers and a linear classifier; both poolings are additions.

    Parameters
    ----------
    in_channels : int
        Number of channels of the images.
    num_classes : int
        Number of classes, k.
    channels : int
        Number of channels of the layers, C.
    relu : bool
        Apply a ReLU after the first convolution. Without it, the memberships and the normalisations
        are the only nonlinearities.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 5.2.
    """

    def __init__(
        self, in_channels: int, num_classes: int, channels: int = 16, *, relu: bool = True
    ):
        in_channels, num_classes, channels = check_count(
            in_channels=in_channels, num_classes=num_classes, channels=channels
        )
        layers = [ReduConvLayer(channels, num_classes) for _ in range(4)]
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.ReLU() if relu else nn.Identity(),
            *layers[:2],
            nn.AvgPool2d(2),
            *layers[2:],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, num_classes),
        )


def _convolutions(channels: int, operators: int) -> nn.Sequential:
    """Two convolutions per operator, computed together; each has its own normalisation."""
    total = operators * channels
    return nn.Sequential(
        nn.Conv2d(channels, total, 3, padding=1, bias=False),
        nn.GroupNorm(operators, total),
        nn.Conv2d(total, total, 3, padding=1, groups=operators, bias=False),
        nn.GroupNorm(operators, total),
    )
