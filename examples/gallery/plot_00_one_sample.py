"""
A lecture: one sample, layer by layer
=====================================

What does a rate measure, what does a layer do with a sample, and what becomes of a digit in a
network? This lesson starts with pictures in the plane and follows one digit to the end. Each
picture comes with the few lines that compute it.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from redunet import ReduNet, datasets, rate_reduction
from redunet.plots import PALETTE, plot_similarity

# %%
# What a rate measures
# --------------------
#
# Somebody must know each sample only up to an error of ε. How many different messages does this
# take? Put balls of radius ε side by side until they fill the ellipsoid of the samples, and send
# the number of a ball. With m samples of d dimensions in the rows of Z, there are about
#
# .. math:: \sqrt{\det\Bigl(I + \frac{d}{m ε^2} Z^\top Z\Bigr)} = e^R
#
# balls. The logarithm of their number is the *rate* R. If the class is known beforehand, the balls
# need to fill only the ellipsoid of this class. The mean of these rates, each weighted by the share
# of its class, is R_c. What the classes tell about the samples is the difference ΔR = R − R_c.
#
# Here are two classes on the circle, before and after a network. On the left, the balls fill the
# ellipse of all samples. On the right, they fill the ellipse of each class. Compare the numbers of
# balls in the upper row with those in the lower row.

EPS_SQ = 0.02
X, labels = datasets.gaussians(ndim=2, per_class=100)
plane = ReduNet.construct(X, labels, num_layers=300, eps_sq=EPS_SQ, eta=0.5)


def balls(ax, Z, color):
    """Fill the ellipse of samples with balls of radius ε. Return the number of nats."""
    spread = Z.T @ Z / len(Z) + EPS_SQ / 2 * torch.eye(2)
    step = (
        2 * np.pi * EPS_SQ / 3**0.5
    ) ** 0.5  # of a lattice with one point for the area of a ball
    i, j = np.meshgrid(*[np.arange(-30, 31)] * 2)
    points = step * np.stack([(i + j / 2).ravel(), (3**0.5 / 2 * j).ravel()], 1)
    inside = np.einsum("pi,ij,pj->p", points, np.linalg.inv(spread.numpy()), points) <= 2
    for point in points[inside]:
        ax.add_patch(plt.Circle(point, EPS_SQ**0.5, color=color, alpha=0.15, linewidth=0))
    ax.scatter(*Z.T, s=3, color=color)
    rate = torch.linalg.slogdet(2 / EPS_SQ * spread)[1] / 2
    return float(rate)


figure, axes = plt.subplots(2, 2, figsize=(6.8, 7), layout="constrained")
for (left, right), Z, when in zip(axes, (X, plane(X)), ("before", "after"), strict=True):
    R = balls(left, Z, "0.3")
    of_classes = [balls(right, Z[labels == j], PALETTE[j]) for j in (0, 1)]
    left.set_title(f"{when}: {np.exp(R):.0f} balls, R = {R:.2f}")
    numbers = " and ".join(f"{np.exp(rate):.0f}" for rate in of_classes)
    right.set_title(f"{when}: {numbers} balls, R_c = {np.mean(of_classes):.2f}")
    delta = rate_reduction(Z, labels, EPS_SQ).delta.item()
    assert abs(R - np.mean(of_classes) - delta) < 1e-4
    for ax in (left, right):
        ax.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal", xticks=[], yticks=[])

# %%
# The network has turned the classes until they are orthogonal. All samples together now need more
# balls, because they fill the plane in both directions. Each class needs fewer, because it has
# become narrow. So ΔR has grown on both sides. No layer knows more than these ellipses.
#
# What a layer does
# -----------------
#
# A layer has one matrix E for all samples, and one matrix Cʲ for each class. They are inverses of
# the matrix in the formula above, up to a factor: large where samples are missing, and small where
# there are many. A layer moves a sample z along E z, into directions that no sample fills. It moves
# it against Cʲ z of its own class, out of the directions that this class does not fill. The arrows
# show both for one sample, each at the same length. The crosses are where 10, 30, 100 and 300
# layers put it.

paths = torch.stack(list(plane.trajectory(X)))
E, C = (matrices.numpy() for matrices in plane.layers[0].kernels())
number = int(X[labels == 0][:, 1].argmax())  # at the edge of its class
z = X[labels == 0][number].numpy()
figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
for j in (0, 1):
    ax.scatter(*X[labels == j].T, s=6, color=PALETTE[j], alpha=0.3, label=f"class {j}")
for arrow, name, style in ((E @ z, "E z: expand", "-"), (-C[0] @ z, "−C⁰ z: compress", ":")):
    end = z + 0.5 * arrow / np.linalg.norm(arrow)
    ax.annotate("", end, z, arrowprops={"arrowstyle": "->", "linestyle": style, "linewidth": 1.5})
    ax.annotate(name, end, xytext=(-8, 8), textcoords="offset points", ha="right")
path = paths[[10, 30, 100, 300]][:, labels == 0][:, number]
ax.scatter(*path.T, marker="x", color="0.2", zorder=3)
ax.scatter(*z, s=40, color=PALETTE[0], edgecolor="0.2", zorder=3)
ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.8", zorder=0))
ax.set(xlim=(-0.1, 1.6), ylim=(-0.3, 1.4), aspect="equal", xticks=[], yticks=[])
ax.legend(frameon=False, loc="lower left")

# %%
# The sum of both, times a small step η, is the step of this layer. Then the sample is put back on
# the circle. A new sample has no label. The layer estimates its class: ‖Cʲ z‖ is smallest for the
# class whose directions explain z best. This soft choice is the only nonlinearity of the network.
#
# A digit
# -------
#
# The same in 64 dimensions. The network is constructed from the pixels of 1000 digits, without a
# lift, so every feature can be drawn as an image again. It stops by itself when a layer adds
# little.

X, labels = datasets.digits()
vectors = X.flatten(1)
net = ReduNet.construct(vectors[:1000], labels[:1000])
first, last = net.history.delta[0], net.history.delta[-1]
print(f"{len(net.layers)} layers; ΔR rises from {first:.1f} to {last:.1f}")

# %%
# One test digit is followed. The upper row has its features after some layers. Below are the two
# parts of the step of this layer: what E adds, and what the classes take away. Red is positive,
# blue is negative. The bottom row has the relative residuals of the ten classes before the layer.
# The lowest bar is the class to which the layer assigns the digit. Watch what happens to the
# strokes, and to the differences between the bars.

x, truth = vectors[1004:1005], int(labels[1004])
features = torch.cat(list(net.trajectory(x)))
shown = sorted({0, 1, 2, len(net.layers) // 2, len(net.layers) - 1})
figure, axes = plt.subplots(4, len(shown), figsize=(6.8, 5.8), layout="constrained")
for column, number in zip(axes.T, shown, strict=True):
    z, layer = features[number], net.layers[number]
    E, C = layer.kernels()
    weights = layer.proportions * layer.membership(features[None, number : number + 1])[0]
    parts = z, E @ z, -torch.einsum("j,jab,b->a", weights, C, z)
    for ax, part in zip(column, parts, strict=False):
        limit = float(part.abs().max())
        ax.imshow(part.reshape(8, 8).numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
    residuals = net.relative_residuals(x, number)[0].numpy()
    colors = ["C0" if j == truth else "0.7" for j in range(10)]
    column[3].bar(range(10), residuals, color=colors)
    column[3].set(xticks=[0, 5, 9], ylim=(0, 1.1), yticks=[])
    column[0].set_title(f"layer {number + 1}")
for ax, name in zip(axes[:, 0], ("z", "expansion", "compression", "residuals"), strict=True):
    ax.set_ylabel(name)

# %%
# The expansion adds patterns that are rare among all digits, and the compression takes away those
# that are rare in the class. In the last layers both are the same up to their sign, and the digit
# hardly moves any more. It no longer looks like a digit. It has become what its class has and the
# others lack. The residuals of all other classes have risen to 1: they explain nothing of it.
#
# All digits
# ----------
#
# What happened to one digit happens to all. These are the cosines between 200 test digits, sorted
# by class, before and after the network. Look at the fields away from the diagonal.

test = datasets.subsample(labels[1000:], 20) + 1000
figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.4), layout="constrained")
for ax, Z, title in zip(
    axes, (vectors[test], net(vectors[test])), ("pixels", "features"), strict=True
):
    plot_similarity(Z, labels[test], ax=ax).set_title(title)

# %%
# Digits of different classes have become nearly orthogonal, although no layer has seen them. Their
# classes are subspaces of several dimensions. They are not points, as after training by
# cross-entropy. This is what ΔR asks for, and the network is nothing but the way to it.
#
# Go on with the :doc:`lesson on Gaussians </gallery/plot_01_gaussians>`, which has the rates by
# layer, with :doc:`translations </gallery/plot_03_translation>`, where matrices become
# convolutions, or with the :doc:`/theory`.

plt.show()

# sphinx_gallery_thumbnail_number = 3
