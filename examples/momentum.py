"""Momentum reaches the same rate reduction in a fraction of the layers.

Nesterov's acceleration (ReduNet, JMLR 2022, eq. 28) on Gaussian clusters and on digits as vectors.
The digits are MNIST if its folder is given, otherwise the embedded ones. If a layer with momentum
would lower the rate reduction, the layer is computed again without momentum. The figure marks these
layers by vertical strokes.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from redunet import ReduNet, datasets
from redunet.plots import PALETTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of MNIST's IDX files (default: $REDUNET_DATA; without it, embedded digits)",
    )
    parser.add_argument("--per-class", type=int, default=100, help="training digits of each class")
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--momentum", type=float, nargs="+", default=[0.5, 0.9])
    parser.add_argument("--figures", type=Path, default=Path("figures"))
    options = parser.parse_args()

    name, (X, labels) = "Digits", datasets.digits()
    if options.data_dir:
        name, (X, labels) = "MNIST", datasets.mnist("train", options.data_dir)
    rows = datasets.subsample(labels, options.per_class)
    digits = X[rows].flatten(1), labels[rows]

    figure, axes = plt.subplots(2, 1, figsize=(7, 8), layout="constrained")
    # The Gaussians are nearly as far apart as possible, and the remaining steps are small.
    compare("Gaussians on the sphere", datasets.gaussians(), 10 * options.layers, options, axes[0])
    compare(f"{name}, {options.per_class} of each class", digits, options.layers, options, axes[1])
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "momentum.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


def compare(
    title: str, samples: tuple, num_layers: int, options: argparse.Namespace, ax: Axes
) -> None:
    """Construct networks without and with momentum, and draw ΔR against layers."""
    print(title)
    target = None
    for momentum, color in zip([0.0, *options.momentum], PALETTE, strict=False):
        net = ReduNet.construct(
            *samples,
            num_layers=num_layers,
            eta=0.5,
            eps_sq=0.5,
            momentum=momentum,
            progress=True,
        )
        delta = net.history.delta
        if target is None:  # 99 % of the gain without momentum
            target = delta[-1] - 0.01 * (delta[-1] - delta[0])
        needed = int(np.argmax(delta >= target))
        print(f"  momentum {momentum:<4}  rate reduction {delta[-1]:.3f}, {target:.3f} at {needed}")
        ax.plot(delta, color=color, label=f"momentum {momentum:g}" if momentum else "no momentum")
        again = [
            i for i, layer in enumerate(net.layers, 1) if i > 1 and momentum and not layer.momentum
        ]
        ax.plot(again, delta[again], "|", color=color, markersize=12)
    ax.set(title=title, xlabel="layer", ylabel=r"$\Delta R$ [nats]")
    ax.axhline(
        target,
        color=PALETTE[6],
        linewidth=0.8,
        linestyle=":",
        label="99 % of the gain without momentum",
    )
    ax.legend(frameon=False)


if __name__ == "__main__":
    main()
