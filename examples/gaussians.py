"""Gaussian clusters on the circle or the sphere become points on orthogonal axes.

Figures 15, 28 and 29 of the ReduNet paper (JMLR 2022). Every class converges to one point of the
sphere, or to a point and its opposite. The points of different classes are orthogonal. New samples
converge to the same points. On the circle, three or more classes cannot all be orthogonal; classes
that are linearly related merge.
"""

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from redunet import ReduNet, datasets
from redunet.plots import PALETTE, plot_rates, plot_similarity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dim", type=int, choices=(2, 3), default=3, help="2: circle, 3: sphere (default: 3)"
    )
    parser.add_argument(
        "--classes", type=int, help="number of classes, at equal angles, for --dim 2 (default: 2)"
    )
    parser.add_argument("--layers", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, default=Path("figures"))
    options = parser.parse_args()

    means = None
    if options.classes:
        if options.dim != 2:
            parser.error("--classes needs --dim 2")
        angles = torch.arange(options.classes) * (2 * math.pi / options.classes)
        means = torch.stack([angles.cos(), angles.sin()], 1)
    X, labels = datasets.gaussians(means, ndim=options.dim, seed=options.seed)
    if means is None:  # new samples of the same clusters
        means = torch.stack([X[labels == j].mean(0) for j in labels.unique()])
    X_new, labels_new = datasets.gaussians(means, per_class=100, seed=options.seed + 1)

    net = ReduNet.construct(
        X, labels, num_layers=options.layers, eta=0.5, eps_sq=0.1, progress=True
    )
    Z, Z_new = net(X), net(X_new)

    print(f"rate reduction: {net.history.delta[0]:.4f} before, {net.history.delta[-1]:.4f} after")
    print("largest |cosine similarity| of the class means of new samples:", end=" ")
    centres = torch.stack([principal_direction(Z_new[labels_new == j]) for j in labels.unique()])
    print(f"{(centres @ centres.T).fill_diagonal_(0).abs().max():.4f}")

    figure = plt.figure(figsize=(13, 8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    kind = {"projection": "3d"} if options.dim == 3 else {}
    for place, (Z_, labels_, title) in enumerate(
        [
            (X, labels, "Samples"),
            (Z, labels, f"Features after {options.layers} layers"),
            (Z_new, labels_new, "Features of new samples"),
        ]
    ):
        ax = figure.add_subplot(2, 3, place + 1, **kind)
        for label, color in zip(labels_.unique(), PALETTE, strict=False):
            ax.scatter(*Z_[labels_ == label].T, s=18, alpha=0.7, color=color, label=int(label))
        ax.set(title=title, aspect="equal")
        ax.legend(title="class", frameon=False)
    ax = figure.add_subplot(2, 3, 4)
    plot_similarity(X, labels, ax=ax).set_title("Similarity of samples")
    ax = figure.add_subplot(2, 3, 5)
    plot_similarity(Z, labels, ax=ax).set_title("Similarity of features")
    plot_rates(net.history, ax=figure.add_subplot(2, 3, 6))

    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / f"gaussians_{len(centres)}_classes_in_{options.dim}d.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


def principal_direction(Z: torch.Tensor) -> torch.Tensor:
    """The unit vector along which the samples lie, up to their signs."""
    return torch.linalg.eigh(Z.T @ Z).eigenvectors[:, -1]


if __name__ == "__main__":
    main()
