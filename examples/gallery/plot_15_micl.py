"""
Classification by compression
=============================

Minimum incremental coding length (MICL) puts a sample into the class whose code it lengthens least.
The code of a class describes its subspace, so a class may have fewer dimensions than the space, and
few samples. In the first picture, look at the places far from all samples. A classifier cannot
interpolate there. It can only continue the classes along their directions.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.svm import SVC

from redunet import MICLClassifier, NearestSubspaceClassifier, datasets
from redunet.inspection.style import class_colors

# %%
# Two classes lie almost on lines, and the third one is a small ball. Each has 12 samples. The
# effective dimensions of the classes are about 1, 1 and 2.

rng = np.random.default_rng(0)
lines = rng.uniform(-1, 1, (2, 12, 1)) * [[[1, 0.35]], [[0.25, 1]]]
ball = [1.2, -1.2] + 0.25 * rng.normal(size=(1, 12, 2))
X = np.concatenate([lines, ball]) + 0.02 * rng.normal(size=(3, 12, 2))
X, y = X.reshape(-1, 2), np.repeat([0, 1, 2], 12)

LIMIT = 3
axis = np.linspace(-LIMIT, LIMIT, 151)
grid = np.stack(np.meshgrid(axis, axis), 2).reshape(-1, 2)
colors = plt.matplotlib.colors.ListedColormap(class_colors(3))


def show_regions(model, title, ax):
    """Colour each point of the plane with its predicted class."""
    regions = model.fit(X, y).predict(grid).reshape(len(axis), -1)
    extent = (-LIMIT, LIMIT, -LIMIT, LIMIT)
    ax.imshow(regions, cmap=colors, alpha=0.35, extent=extent, origin="lower", vmin=0, vmax=2)
    ax.scatter(*X.T, c=y, cmap=colors, s=14, edgecolors="white", linewidths=0.4)
    ax.set(title=title, xticks=[], yticks=[])


models = {
    "MICL": MICLClassifier(),
    "nearest subspace": NearestSubspaceClassifier(1, center=True),
    "LDA": LinearDiscriminantAnalysis(),
    "QDA": QuadraticDiscriminantAnalysis(),
    "RBF SVM": SVC(C=10),
}
figure, axes = plt.subplots(2, 3, figsize=(6.8, 4.9), layout="constrained")
for (name, model), ax in zip(models.items(), axes.flat, strict=False):
    show_regions(model, name, ax)
axes[1, 2].axis("off")

# %%
# MICL continues both lines to the border of the picture, and gives the space between them to the
# class of two dimensions. QDA does the same here, because 12 samples in a plane have an invertible
# covariance. The nearest subspace has one dimension for each class, so the ball becomes a line too.
# LDA has one covariance for all classes. The SVM closes two classes off around their samples, and
# gives the rest of the plane to the third.
#
# ε² is the squared error of the code. Directions in which the variance of a class is below ε²/D
# hardly count. In the next picture ε² grows from the top left to the bottom right. Look at the
# width of the lines, and at the shape of the borders in the last panel.

scale = ((X - X.mean(0)) ** 2).sum(1).mean()
figure, axes = plt.subplots(2, 2, figsize=(6.2, 6.6), layout="constrained")
for relative, ax in zip((1e-4, 1e-2, 1, 100), axes.flat, strict=True):
    show_regions(MICLClassifier(relative * scale), f"ε² = {relative:g} of the variance", ax)

# %%
# With a fine code, only points close to a line belong to it. With a coarse code, directions do not
# matter any more, and the borders are almost straight. By default, ``MICLClassifier`` compares 33
# values of ε² by exact leave-one-out. It does not fit any model again, because all increments
# follow from one eigendecomposition of each class. The next plot shows the comparison.

model = MICLClassifier().fit(X, y)
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.semilogx(model.searched_ / scale, model.losses_, "C0")
ax.axvline(model.eps_sq_ / scale, color="C6", linestyle=":")
ax.set(xlabel="ε² / variance", ylabel="log loss [nats]", title="Samples left out in turn")

# %%
# The dotted line is the value that is taken. Digits are close to subspaces as well: they have 64
# pixels, and the samples of each digit vary in far fewer directions. With 5 samples of a class its
# covariance has no inverse, so QDA needs a regularisation, and LDA has a shrunk covariance here.
# Compare the methods where labels are few.

digits, labels = datasets.digits()
digits = digits.flatten(1).double().numpy()
labels = labels.numpy()
per_class = [3, 5, 10, 20, 50]
methods = {
    "MICL": lambda: MICLClassifier(),
    "LDA, shrunk": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "RBF SVM": lambda: SVC(),
}
figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for (name, make), style in zip(methods.items(), ("C0o-", "C4v--", "C1s--"), strict=True):
    accuracies = np.empty((2, len(per_class)))
    for seed in range(2):
        for column, count in enumerate(per_class):
            train = datasets.subsample(labels, count, seed=seed).numpy()
            test = np.setdiff1d(np.arange(len(labels)), train)
            fitted = make().fit(digits[train], labels[train])
            accuracies[seed, column] = fitted.score(digits[test], labels[test])
    ax.plot(per_class, accuracies.mean(0), style, label=name)
ax.set(xscale="log", xlabel="labels of each class", ylabel="accuracy on test digits")
ax.set_xticks(per_class, per_class)
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()

# %%
# MICL is ahead of LDA and the SVM with up to 10 labels of each class. With 20, leave-one-out takes
# an ε² that is too small for the test digits. The SVM has scikit-learn's default settings here.
# ``benchmarks/micl.py`` compares more data sets, and chooses the settings of all methods.
