"""
One label for each class
========================

Often there are many samples, and labels for few of them. The samples without labels still show
where the subspaces of the classes lie. With ``unknown=-1``, memberships of these samples are
variables like the features, and both ascend the rate reduction.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.semi_supervised import LabelSpreading
from torch import nn

from redunet import Band, MultiScaleLift, ReduNet, ReduNetClassifier, Search, Softmax, datasets
from redunet.inspection.style import class_colors

# %%
# Samples lie near two planes and a line. One sample of each class has a label. From these three
# samples alone, every class is a line. Look at the two planes, which look like great circles: the
# network at the bottom left cuts them into pieces, and the one at the bottom right should follow
# them.


def subspaces(seed):
    """Unit vectors near two planes and a line, their classes, and one label of each class."""
    random = np.random.default_rng(seed)
    bases = [random.normal(size=(dimension, 3)) for dimension in (2, 2, 1)]
    X = np.concatenate([random.normal(size=(80, len(basis))) @ basis for basis in bases])
    X = X / np.linalg.norm(X, axis=1, keepdims=True) + 0.02 * random.normal(size=X.shape)
    labels = np.full(240, -1)
    labels[[0, 80, 160]] = [0, 1, 2]
    return X, np.repeat([0, 1, 2], 80), labels


def found(X, labels):
    """Labels from the labelled samples alone, and from all samples."""
    known, options = labels >= 0, {"eps_sq": 0.02, "num_layers": 1}
    options["membership"] = Softmax(balanced=True)  # the classes that are found may be uneven
    alone = ReduNet.construct(X[known], labels[known], **options)
    together = ReduNet.construct(X, labels, unknown=-1, **options)
    return alone.predict(X), together.transduction_


X, truth, labels = subspaces(7)
panels = dict(zip(["from labelled samples", "from all samples"], found(X, labels), strict=True))
figure, axes = plt.subplot_mosaic(
    ".AA.;BBCC", figsize=(6.8, 6.2), layout="constrained", subplot_kw={"projection": "3d"}
)
colors = np.concatenate([class_colors(3), [[0.8, 0.8, 0.8, 1]]])  # the last one is for -1
for ax, (title, classes) in zip(axes.values(), ({"labels": labels} | panels).items(), strict=True):
    ax.scatter(*X.T, c=colors[classes], s=8)
    ax.scatter(*X[[0, 80, 160]].T, c=colors[:3], s=60, edgecolors="black")
    ax.set(title=title, xticks=[], yticks=[], zticks=[])
    ax.set_box_aspect(None, zoom=1.2)

# %%
# The share of right labels in the picture, and the mean over twelve draws of subspaces:

draws = [subspaces(seed) for seed in range(12)]
right = np.array([[np.mean(guess == y) for guess in found(X, known)] for X, y, known in draws])
for title, of_draws in zip(panels, right.T, strict=True):
    print(f"{title}: {of_draws[7]:.3f}, on average {of_draws.mean():.3f}")

# %%
# The same with digits, each at a random cyclic shift. The lift and ε² are the same in both
# networks. Label spreading joins neighbours. It compares amplitudes of Fourier transforms, which
# shifts do not change, and its number of neighbours is the best of four for the true labels. Look
# at the left end, where labels are few: there, samples without labels should help most.

X, y = (part.numpy() for part in datasets.digits())
X, y, random = X[:300], y[:300], np.random.default_rng(0)
X = np.stack([np.roll(image, random.integers(8, size=2), axis=(1, 2)) for image in X])
amplitudes = np.abs(np.fft.rfft2(X)).reshape(len(X), -1)
lift = nn.Sequential(
    MultiScaleLift(1, 2, kernels_per_scale=16, dilations=(1, 2), nonlinearity="relu").fit(X),
    Band(2),
)


def accuracies(per_class, seed):
    """Share of right labels among the samples without labels, for three methods."""
    labels = np.full(len(y), -1)
    kept = datasets.subsample(y, per_class, seed=seed).numpy()
    labels[kept] = y[kept]
    hidden = labels < 0
    search = Search([lift], bands=[None], eps_sq=0.004)
    semi = ReduNetClassifier(lift=search, unknown=-1).fit(X, labels)
    few = ReduNetClassifier(lift=search).fit(X[kept], y[kept])
    spread = [
        LabelSpreading(kernel="knn", n_neighbors=k).fit(amplitudes, labels).transduction_
        for k in (5, 7, 10, 15)
    ]
    found = [semi.transduction_, few.predict(X)]
    right = [np.mean(guess[hidden] == y[hidden]) for guess in [*found, *spread]]
    return right[0], right[1], max(right[2:])


counts = [1, 2, 5, 10]
results = np.array([[accuracies(count, seed) for seed in range(3)] for count in counts])
methods = ["ReduNet, all samples", "ReduNet, labelled samples", "label spreading"]
figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
for number, (method, style) in enumerate(zip(methods, ("C0o-", "C2^-", "C1s--"), strict=True)):
    means, spreads = results[..., number].mean(1), results[..., number].std(1)
    ax.errorbar(counts, means, spreads, fmt=style, capsize=3, label=method)
ax.set(xlabel="labels of each class", ylabel="share of right labels", xscale="log")
ax.set_xticks(counts, [str(count) for count in counts])
ax.legend()

# %%
# The curve of all samples is above the others. The means over three draws of labels, in the order
# of the legend:

for count, row in zip(counts, results.mean(1), strict=True):
    print(f"{count:2} label(s) of each class: " + ", ".join(f"{value:.3f}" for value in row))

# %%
# Samples without labels help most with one label of each class, and hardly with ten. :doc:`/labels`
# says how memberships are found, and when they are wrong.

plt.show()
