"""
How many channels invariance needs
==================================

If a network is invariant to rotation, all rotations of a digit belong to the same subspace. Such
subspaces are large, and they need room. The channels after the lift are that room. This lesson
repeats Figures 22 to 27 of the ReduNet paper (JMLR 2022) with embedded digits.
"""

import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from redunet import (
    NearestSubspaceClassifier,
    RandomCirculantLift,
    ReduNet,
    datasets,
    polar_samples,
)
from redunet.plots import plot_similarity

X, labels = datasets.digits()
rows = datasets.subsample(labels, 20).reshape(10, -1)
rows_train, rows_test = rows[:, :10].flatten(), rows[:, 10:].flatten()

# %%
# Rotation comes first (Figure 22). On the left are the points of a polar grid. Each circle becomes
# a channel, and a rotation becomes a cyclic shift of the angles. On the right are a zero and a one
# at eight angles.

RADII, ANGLES = 5, 32
figure = plt.figure(figsize=(6.8, 1.7), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 3])
ax = left.subplots()
ax.imshow(X[0, 0].numpy(), cmap="gray_r", alpha=0.5)
angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
for radius in range(RADII):
    ax.plot(3.5 + radius * np.cos(angle), 3.5 - radius * np.sin(angle), "C0o", markersize=1.4)
ax.axis("off")
for axes, digit in zip(right.subplots(2, 8), (0, 1), strict=True):
    for ax, image in zip(axes, datasets.rotations(X[digit : digit + 1], 8)[0, :, 0], strict=True):
        ax.imshow(image.numpy(), cmap="gray_r")
        ax.axis("off")

# %%
# A network is constructed from ten digits of each class, with 5 to 20 channels. The settings are
# those of the paper, with fewer layers. The heat maps have the similarities of features of training
# digits at eight angles each (Figure 24). Look at the fields away from the diagonal: pairs of
# different classes should be white. Below are the rates by layer for training and test digits
# (Figure 25). Compare the heights.


def networks(samples, channels, kernel_size, num_layers):
    """A network for each number of channels."""
    for count in channels:
        lift = RandomCirculantLift(samples.shape[1], count, kernel_size, ndim=samples.ndim - 2)
        yield ReduNet.construct(
            samples[rows_train],
            labels[rows_train],
            num_layers=num_layers,
            eps_sq=0.1,
            eta=0.5,
            lift=lift,
            validation=(samples[rows_test], labels[rows_test]),
        )


def shifted(samples, rows, stride):
    """All shifts of some samples by multiples of a stride, and their labels."""
    shifts = datasets.all_shifts(samples[rows], stride)
    return shifts.flatten(0, 1), labels[rows].repeat_interleave(shifts.shape[1])


def show(constructed, samples, stride):
    """Draw similarities and rates. Return the accuracies of nearest subspaces of features."""
    _, axes = plt.subplots(4, 2, figsize=(6.8, 11.5), layout="constrained")
    maps, curves = axes[:2].flatten(), axes[2:].flatten()
    parts = {
        "training": (samples[rows_train], labels[rows_train]),
        "test": (samples[rows_test], labels[rows_test]),
        "shifted training": shifted(samples, rows_train, stride),
        "shifted test": shifted(samples, rows_test, stride),
    }
    accuracies = {name: [] for name in parts}
    for net, top, bottom in zip(constructed, maps, curves, strict=True):
        features = {name: net(part) for name, (part, _) in parts.items()}
        subspaces = NearestSubspaceClassifier(10).fit(features["training"], labels[rows_train])
        for name, (_, known) in parts.items():
            accuracies[name].append(subspaces.score(features[name], known))
        plot_similarity(features["shifted training"], parts["shifted training"][1], ax=top)
        top.set_title(f"{net.lift.out_channels} channels")
        for number, history in enumerate((net.history, net.history.validation)):
            line = "--" if number else "-"
            for name, color in (("expansion", "C1"), ("compression", "C2"), ("delta", "C0")):
                bottom.plot(getattr(history, name), color + line)
        bottom.set(title=top.get_title(), xlabel="layer", ylabel="rate [nats]")
    plt.setp(curves, ylim=(0, max(ax.get_ylim()[1] for ax in curves)))
    curves[0].legend(["R", r"$R_c$", r"$\Delta R$", "test digits"], frameon=False)
    return accuracies


CHANNELS = [5, 10, 15, 20]
polar = polar_samples(X, RADII, ANGLES)
accuracies = show(networks(polar, CHANNELS, kernel_size=5, num_layers=20), polar, stride=4)

# %%
# With 5 channels, the features of nearly all digits point in the same direction. With 20, rotated
# digits of different classes are orthogonal, and ΔR is about twenty times as large. The rates of
# test digits follow those of training digits at a distance. The table has the accuracies of nearest
# subspaces that are fitted to upright digits. Look at the row of rotated training digits.

print(tabulate([[name, *row] for name, row in accuracies.items()], ["", *CHANNELS], floatfmt=".2f"))

# %%
# This is Table 14 for embedded digits. The training digits are right with any number of channels.
# Of their rotations, less than half are right with 5 channels, and nearly all with 20.
#
# The same for translations (Figure 23). An image that leaves at the right comes back at the left,
# and in the same way at the top. Such an image lives on a torus. On the right are translations of
# the two digits by two pixels each.

figure = plt.figure(figsize=(6.8, 1.7), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 2.4])
ax = left.add_subplot(projection="3d", computed_zorder=False)
around, through = np.meshgrid(*[np.linspace(0, 2 * np.pi, 65)] * 2)
torus = [(2 + np.cos(through)) * f(around) for f in (np.cos, np.sin)] + [np.sin(through)]
pixels = np.kron(np.roll(X[0, 0].numpy()[::-1], (-2, 0), (0, 1)), np.ones((8, 8)))
colors = plt.cm.gray_r(0.15 + 0.85 * pixels)
ax.plot_surface(*torus, facecolors=colors, rstride=1, cstride=1, shade=False)
ax.set(xlim=(-2, 2), ylim=(-2, 2), zlim=(-1.6, 1.6))
ax.view_init(50, 180)
ax.axis("off")
for axes, digit in zip(right.subplots(2, 8), (0, 1), strict=True):
    for ax, image in zip(axes, datasets.all_shifts(X[digit : digit + 1], 2)[0, :, 0], strict=False):
        ax.imshow(image.numpy(), cmap="gray_r")
        ax.set(xticks=[], yticks=[])

# %%
# The network has two-dimensional kernels, and between 5 and 55 channels as in the paper. The heat
# maps have four translations of each training digit (Figure 26), and the rates are below (Figure
# 27). Look for the number of channels that is enough.

CHANNELS = [5, 15, 35, 55]
accuracies = show(networks(X, CHANNELS, kernel_size=3, num_layers=12), X, stride=4)

# %%
# Fifteen channels are nearly enough here. More channels raise the rates further, because there is
# more room, and the accuracy follows (Table 15):

print(tabulate([[name, *row] for name, row in accuracies.items()], ["", *CHANNELS], floatfmt=".2f"))

# %%
# The accuracies on test digits and on shifted test digits hardly differ once there are enough
# channels. The programs ``examples/rotated_mnist.py`` and ``examples/translated_mnist.py``
# construct such networks for MNIST, with ``--channels``. The lesson on :doc:`sparsity and channels
# </gallery/plot_18_sparse_channels>` shows why a lift must not be linear.

plt.show()

# sphinx_gallery_thumbnail_number = 3
