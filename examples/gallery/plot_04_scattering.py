"""
Textures and the scattering transform
=====================================

A texture is described by its statistics, not by a shape at some place. A scattering transform
averages the responses to wavelets of every angle and scale; here they are half-rectified at four
phases. The transform is not trained. With it, two samples of each class are enough.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from redunet import ReduNet, ScatteringLift, datasets
from redunet.plots import plot_similarity

SIZE = 32


def textures(per_class, seed):
    """Random waves of four directions with noise, ``(m, 1, H, W)``, and their directions."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*[np.fft.fftfreq(SIZE)] * 2, indexing="ij")
    X, labels = [], []
    for degrees in (0, 45, 90, 135):
        along = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
        across = y * np.cos(np.radians(degrees)) - x * np.sin(np.radians(degrees))
        band = np.exp(-((np.abs(along) - 0.2) ** 2) / 0.013 - across**2 / 0.02)
        waves = np.fft.ifft2(band * np.fft.fft2(rng.normal(size=(per_class, SIZE, SIZE)))).real
        X.append(waves / waves.std() + 0.7 * rng.normal(size=waves.shape))
        labels += [f"{degrees:3d}°"] * per_class
    return torch.tensor(np.concatenate(X), dtype=torch.float32).unsqueeze(1), np.array(labels)


X, labels = textures(50, seed=0)
X_test, labels_test = textures(100, seed=1)
figure, axes = plt.subplots(2, 4, figsize=(6.8, 3.6), layout="constrained")
for i, row in enumerate(axes.T):
    row[0].set_title(labels[50 * i])
    for ax, image in zip(row, X[50 * i :, 0], strict=False):
        ax.imshow(image.numpy(), cmap="gray")
        ax.set(xticks=[], yticks=[])

# %%
# The next plot has the accuracy against the number of labelled samples, for networks on pixels and
# on scattering coefficients. η is chosen so that the step ηn/(mε²) is 1. Look at the left end.

lifts = {
    "pixels": [nn.Flatten()],
    "scattering": [ScatteringLift((SIZE, SIZE), J=3, L=4, phases=4), nn.Flatten()],
}
counts = (2, 5, 10, 20, 50)
figure, ax = plt.subplots(layout="constrained")
for (name, lift), style in zip(lifts.items(), ("C2^--", "C0o-"), strict=True):
    accuracies = []
    for count in counts:
        rows = datasets.subsample(labels, count)
        n = nn.Sequential(*lift)(X[:1]).shape[1]
        eta = 0.5 * len(rows) / n
        net = ReduNet.construct(
            X[rows], labels[rows], num_layers=20, eps_sq=0.5, eta=eta, lift=lift
        )
        accuracies.append((net.predict(X_test) == labels_test).mean())
    ax.plot(counts, accuracies, style, label=name)
ax.set(xlabel="labelled samples per class", ylabel="test accuracy", xscale="log")
ax.set_xticks(counts, counts, minor=False)
ax.set_xticks([], minor=True)
ax.legend(frameon=False)

# %%
# With scattering, two samples of each class are enough. With pixels, fifty are needed.
#
# The last plot has the similarities of test samples. The network was constructed from fifty samples
# of each class. Look for blocks on the diagonal.

rows = datasets.subsample(labels_test, 25)
figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.9), layout="constrained")
plot_similarity(X_test[rows], labels_test[rows], ax=axes[0]).set_title("Pixels")
plot_similarity(net(X_test[rows]), labels_test[rows], ax=axes[1]).set_title("Features")

# %%
# The pixels of two waves of the same direction have nothing in common. Their features in a network
# on scattering coefficients are similar, and those of different directions are not. See
# :doc:`/invariances` for this and other front ends.

plt.show()
