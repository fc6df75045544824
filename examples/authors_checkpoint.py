"""Features of samples by a network that the authors' code constructed and saved.

Their checkpoints hold plain tensors, which are read without executing pickles. A lift at the
beginning of the network is applied to the samples too.
"""

import argparse

import numpy as np
import torch
from torch import Tensor, nn

from redunet import RandomCirculantLift
from redunet.algorithm import Layer, features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="a file *.pt of a ReduNetVector, ReduNet1D or ReduNet2D")
    parser.add_argument("samples", help="a file *.npy of samples (m, n), (m, C, T) or (m, C, H, W)")
    parser.add_argument("--eta", type=float, default=0.5, help="step size, which the file lacks")
    parser.add_argument("--lmbda", type=float, default=500, help="λ, which the file lacks")
    parser.add_argument("-o", "--output", default="features.npy")
    options = parser.parse_args()
    lift, layers = read(options.checkpoint, options.eta, options.lmbda)
    Z = features(lift(torch.from_numpy(np.load(options.samples))), layers)
    np.save(options.output, Z.numpy())
    print(f"{len(layers)} layers, features of shape {tuple(Z.shape)}: {options.output}")


def read(path: str, eta: float, lam: float) -> tuple[nn.Module, list[Layer]]:
    """The lift and the layers of a checkpoint."""
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    lift: nn.Module = nn.Identity()
    if (kernels := tensors.get("0.kernel")) is not None:
        out_channels, in_channels, *size = kernels.shape
        lift = RandomCirculantLift(in_channels, out_channels, size, len(size))
        lift.kernels.copy_(kernels)
    numbers = [name.removesuffix(".gam") for name in tensors if name.endswith(".gam")]
    return lift, [_layer(tensors, number, eta, lam) for number in numbers]


def _layer(tensors: dict[str, Tensor], number: str, eta: float, lam: float) -> Layer:
    gamma = tensors[f"{number}.gam"]
    names = ["E", *(f"Cs.{j}" for j in range(len(gamma)))]
    weights = [tensors[f"{number}.{name}.weight"] for name in names]  # (C, C) or (C, C, *spatial)
    E, *C = (weight.reshape(*weight.shape[:2], -1).movedim(2, 0) for weight in weights)
    return Layer(E, torch.stack(C), gamma, eta, lam)


if __name__ == "__main__":
    main()
