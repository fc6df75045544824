"""
Gaussians on the circle and the sphere
======================================

Two classes on the circle and three classes on the sphere, 60 degrees apart. Each layer pushes the
samples into directions that no sample occupies yet, and pulls each class together. After enough
layers the classes are orthogonal. Figures 15 and 28 of the ReduNet paper (JMLR 2022).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from redunet import ReduNet, datasets
from redunet.plots import PALETTE, plot_rates


def scatter(ax, Z, labels, title):
    """Samples on the circle or the sphere, in the colours of their classes."""
    for label, color in zip(labels.unique(), PALETTE, strict=False):
        ax.scatter(*Z[labels == label].T, s=9, color=color, label=f"class {label}")
    ax.set(title=title, aspect="equal")


def draw_paths(ax, net, X, labels, title, inner):
    """Paths of samples through the layers. The radius grows from ``inner`` to 1."""
    paths = torch.stack(list(net.trajectory(X)))  # (layers + 1, samples, dimensions)
    paths = paths * torch.linspace(inner, 1, len(paths))[:, None, None]
    for label, color in zip(labels.unique(), PALETTE, strict=False):
        for path in paths[:, labels == label].unbind(1):
            ax.plot(*path.T, color=color, linewidth=0.5, alpha=0.5)
        ax.scatter(*paths[0, labels == label].T, s=3, color=color)
    scatter(ax, paths[-1], labels, title)


# %%
# First the circle. In the picture on the right, each layer is drawn a little further outwards than
# the one before. Follow the two bundles of paths from the inside to the outside.

X, labels = datasets.gaussians(ndim=2, per_class=100)
net = ReduNet.construct(X, labels, num_layers=200, eta=5)

figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.2), sharey=True, layout="constrained")
scatter(axes[0], X, labels, "Samples")
draw_paths(axes[1], net, X, labels, "Paths through the layers", inner=0.35)
for ax in axes:
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.8", zorder=0))
    ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
axes[0].legend(frameon=False, loc="center left")

# %%
# The classes moved to a right angle, which is the largest angle between two lines, and each of them
# became narrow. The next plot has the rates. R is the number of nats per sample for all samples
# together. R_c is the number of nats if the samples are encoded class by class. The layers raise
# their difference, ΔR.

plot_rates(net.history)

# %%
# Here R grows and R_c falls, because each class contracts to a line. In more dimensions a class
# fills several of them, and then R_c rises a little as well, but far less than R.
#
# The same on the sphere, with new samples that the construction has not used. The paths begin at
# the small points. The lines through the origin are the principal directions of the classes.

X, labels = datasets.gaussians(ndim=3, per_class=100)
net = ReduNet.construct(X, labels, num_layers=200, eta=5)
X_new, labels_new = datasets.gaussians(ndim=3, per_class=40, seed=1)

figure = plt.figure(figsize=(6.8, 3.5), layout="constrained")
left, right = (figure.add_subplot(1, 2, i, projection="3d") for i in (1, 2))
draw_paths(left, net, X_new, labels_new, "Paths of new samples", inner=1)
Z = net(X_new)
scatter(right, Z, labels_new, "Features of new samples")
for label, color in zip(labels_new.unique(), PALETTE, strict=False):
    direction = torch.linalg.svd(Z[labels_new == label], full_matrices=False).Vh[:1]
    right.plot(*torch.cat([direction, -direction]).T, color=color)
turn = np.linspace(0, 2 * np.pi, 31)
tilt = turn[:16, None] / 2
sphere = np.cos(turn) * np.sin(tilt), np.sin(turn) * np.sin(tilt), np.cos(tilt) + 0 * turn
for ax in (left, right):
    ax.plot_wireframe(*sphere, color="0.85", linewidth=0.4)
    ax.view_init(elev=25, azim=35)
    ax.set_axis_off()

# %%
# The three classes, 60 degrees apart at first, are now orthogonal to one another. So are the new
# samples, which no layer has seen.

plt.show()

# sphinx_gallery_thumbnail_number = 3
