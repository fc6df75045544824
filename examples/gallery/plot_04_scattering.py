"""
Wavelets first
==============

A scattering transform, half-rectified at four phases, makes small deformations small before any
layer: with few labels that is worth more than anything learned. No filter is trained here either.
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import RidgeClassifier
from torch import nn

from redunet import NearestSubspaceClassifier, ReduNet, ScatteringLift, datasets
from redunet.plots import plot_similarity

X, labels = datasets.digits()
test = slice(1000, None)
counts = (5, 10, 20, 50)

lifts = {
    "pixels": nn.Flatten(),
    "scattering": nn.Sequential(ScatteringLift((8, 8), J=2, L=4, phases=4), nn.Flatten()),
}
figure, ax = plt.subplots(layout="constrained")
for (name, lift), marker in zip(lifts.items(), "so", strict=True):
    lifted = lift(X)
    accuracies, linear = [], []
    for count in counts:
        few = datasets.subsample(labels[:1000], count)
        net = ReduNet.construct(lifted[few], labels[few], num_layers=20, eps_sq=0.5, eta=0.1)
        classifier = NearestSubspaceClassifier(min(5, count - 1)).fit(net(lifted[few]), labels[few])
        accuracies.append(classifier.score(net(lifted[test]), labels[test]))
        ridge = RidgeClassifier().fit(lifted[few], labels[few])
        linear.append(ridge.score(lifted[test], labels[test]))
    (line,) = ax.plot(counts, accuracies, marker=marker, label=f"{name}, ReduNet")
    ax.plot(counts, linear, "--", marker=marker, color=line.get_color(), label=f"{name}, linear")
ax.set(xlabel="labelled digits of each class", ylabel="test accuracy", xscale="log")
ax.set_xticks(counts, counts, minor=False)
ax.set_xticks([], minor=True)
ax.legend(frameon=False)

# %%
# Features of test digits, by a network from 20 digits of each class:

few = datasets.subsample(labels[:1000], 20)
lift = [ScatteringLift((8, 8), J=2, L=4, phases=4), nn.Flatten()]
net = ReduNet.construct(X[few], labels[few], num_layers=60, eps_sq=0.5, eta=0.1, lift=lift)
rows = test.start + datasets.subsample(labels[test], 30)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
plot_similarity(X[rows], labels[rows], ax=axes[0]).set_title("Pixels")
plot_similarity(net(X[rows]), labels[rows], ax=axes[1]).set_title("Features")
plt.show()
