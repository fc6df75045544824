"""
Digits that are turned
======================

On a polar grid a rotation is a cyclic shift. A network on polar samples therefore does not mind
how digits are turned, although it has seen upright ones only.
"""

import matplotlib.pyplot as plt
import torch

from redunet import RandomCirculantLift, ReduNet, datasets, polar_samples
from redunet.plots import plot_similarity

ANGLES = 32

X, labels = datasets.digits()
chosen = (labels == 0) | (labels == 1)
X, labels = X[chosen], labels[chosen]
train, test = slice(0, 200), slice(200, None)

# %%
# Each radius becomes a channel, and the angle is the axis along which the network is invariant.

polar = polar_samples(X, radii=[0.5, 1, 1.5, 2, 2.5, 3, 3.5], angles=ANGLES)
figure, axes = plt.subplots(2, 4, figsize=(9, 4), layout="constrained")
for ax, image, rings in zip(axes.T, X[[0, 1, 4, 5]], polar[[0, 1, 4, 5]], strict=True):
    ax[0].imshow(image[0], cmap="gray_r")
    ax[1].imshow(rings, cmap="gray_r", aspect="auto")
    ax[0].set(xticks=[], yticks=[])
    ax[1].set(xlabel="angle", yticks=[], xticks=[])
axes[0, 0].set_ylabel("image")
axes[1, 0].set_ylabel("radius")

# %%
# Features of turned digits are turned features, and memberships are the same.

lift = RandomCirculantLift(in_channels=7, out_channels=30, kernel_size=5, ndim=1)
net = ReduNet.construct(polar[train], labels[train], num_layers=10, eps_sq=0.02, eta=0.2, lift=lift)
turns = torch.stack([polar[test].roll(angle, 2) for angle in range(ANGLES)])
accuracies = [(net.predict(turned) == labels[test].numpy()).mean() for turned in turns]
print(f"upright: {accuracies[0]:.3f}, at the worst angle: {min(accuracies):.3f}")

# %%
# What is left of digits turned at random if all angles are averaged: of the samples, how bright
# each ring is, which is alike in both classes; of the features, enough to tell them apart.

generator = torch.Generator().manual_seed(0)
angles = torch.randint(ANGLES, (turns.shape[1],), generator=generator)
turned = turns[angles, torch.arange(turns.shape[1])]
figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
for ax, name, Z in zip(axes, ("Samples", "Features"), (turned, net(turned)), strict=True):
    plot_similarity(Z.mean(2), labels[test], ax=ax).set_title(f"{name}, mean over angles")
plt.show()
