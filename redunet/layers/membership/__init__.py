"""Kinds of membership: how a layer estimates the classes of samples."""

from redunet._registry import Registry
from redunet.layers.membership.base import Layer, Membership
from redunet.layers.membership.rectified import Rectified
from redunet.layers.membership.softmax import Softmax

MEMBERSHIPS: Registry[Membership] = Registry(
    Membership, "membership", {"softmax": Softmax, "rectified": Rectified}
)

__all__ = ["MEMBERSHIPS", "Layer", "Membership", "Rectified", "Softmax"]
