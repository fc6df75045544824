"""Adam with steps that are relative to the size of each parameter."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Decay of the mean squares, and the smallest root of one, relative to the size of a parameter.
SQUARES, SMALLEST = 0.999, 1e-8


class RelativeAdam(torch.optim.AdamW):
    """AdamW on parameters that are divided by their root mean square at the start.

    The length of a step does not depend on the scale of the gradient, and it is a share of the size
    of the parameter. A network whose operators have other units thus takes the same steps.

    Parameters
    ----------
    rates : mapping of Parameter to float
        The learning rate of each parameter, relative to its root mean square.
    momentum : float
        Decay of the mean gradient, β₁.
    weight_decay : float
        Decoupled weight decay.

    References
    ----------
    Loshchilov and Hutter, Decoupled Weight Decay Regularization (ICLR 2019).
    """

    def __init__(
        self, rates: Mapping[nn.Parameter, float], *, momentum: float, weight_decay: float
    ):
        # AdamW on p/s with lr, weight_decay and eps is AdamW on p with s lr, weight_decay/s, eps/s.
        groups = []
        for p, lr in rates.items():
            size = p.detach().abs().square().mean().sqrt().item() or 1.0
            options = {"lr": lr * size, "weight_decay": weight_decay / size, "eps": SMALLEST / size}
            groups.append({"params": [p], **options})
        super().__init__(groups, betas=(momentum, SQUARES))
        self._rates = [group["lr"] for group in self.param_groups]

    def anneal(self, done: float) -> None:
        """Set the learning rates after a share of the training, along half a cosine."""
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            group["lr"] = rate * (1 + math.cos(math.pi * done)) / 2

    def tensors(self) -> dict[str, Tensor]:
        """The state, for a file."""
        states = self.state_dict()["state"]
        return {f"{i}.{name}": t for i, state in states.items() for name, t in state.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what :meth:`tensors` gave."""
        for i, group in enumerate(self.param_groups):
            (p,) = group["params"]
            if f"{i}.step" in tensors:  # E of the last layer may not be used
                means = {n: tensors[f"{i}.{n}"].to(p.device) for n in ("exp_avg", "exp_avg_sq")}
                self.state[p] = {"step": tensors[f"{i}.step"], **means}
