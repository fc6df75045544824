"""Full precision inside ``torch.autocast``.

Second moments and their inverses need all digits of float32. Products in half precision would
change features by several percent, and there are no complex numbers in bfloat16.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

# Devices on which products may be autocast.
DEVICES = ("cpu", "cuda")


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """A function that computes without autocasting, also if its caller autocasts."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                with torch.autocast(device, enabled=False):
                    return run(*args, **kwargs)
        return function(*args, **kwargs)

    return run


def makes_operators(function: Callable[P, T]) -> Callable[P, T]:
    """A function in full precision and without gradients, whose results may be trained later.

    Tensors that are made in ``torch.inference_mode`` could never get gradients.
    """
    return torch.inference_mode(False)(torch.no_grad()(full_precision(function)))


def has_overflowed(Z: Tensor) -> bool:
    """Whether features of half precision, or of an autocast model, are not finite."""
    is_half = Z.dtype in (torch.float16, torch.bfloat16)
    if not (is_half or torch.is_autocast_enabled(Z.device.type)):
        return False
    return not bool(torch.isfinite(Z.detach()).all())


def undefined_loss(Z: Tensor) -> Tensor:
    """NaN, whose gradient with respect to every feature is NaN."""
    return Z.float().sum() * math.nan
