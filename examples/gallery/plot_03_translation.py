"""
Translated digits
=================

A network on images is equivariant to all cyclic translations. If a digit moves, its features move
with it and its membership does not change. A classifier of pixels, or a network on vectors, needs
training samples in every position.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.svm import SVC
from torch.nn.functional import normalize

from redunet import RandomCirculantLift, ReduNet, datasets

X, labels = datasets.digits()
X, labels, X_test, labels_test = X[:1000], labels[:1000], X[1000:], labels[1000:]

lift = RandomCirculantLift(in_channels=1, out_channels=32, kernel_size=3, ndim=2)
net = ReduNet.construct(X, labels, num_layers=10, eps_sq=0.01, lift=lift)
vectors = ReduNet.construct(X.flatten(1), labels, num_layers=10, eps_sq=0.1)
svm = SVC(C=10).fit(X.flatten(1), labels)

# %%
# The next plot has the accuracy for shifts to the right by 0 to 8 pixels. The last shift brings the
# digits back to where they were. Compare the lines in the middle.

predictors = {
    "RBF SVM on pixels": lambda X: svm.predict(X.flatten(1)),
    "ReduNet, vectors": lambda X: vectors.predict(X.flatten(1)),
    "ReduNet, 2-D": net.predict,
}
figure, ax = plt.subplots(layout="constrained")
for (name, predict), style in zip(predictors.items(), ("C1s--", "C2^--", "C0o-"), strict=True):
    accuracies = [
        np.mean(predict(X_test.roll(shift, 3)) == labels_test.numpy()) for shift in range(9)
    ]
    ax.plot(accuracies, style, label=name)
ax.set(xlabel="shift [pixels]", ylabel="test accuracy", ylim=(0, 1), title="Shifted digits")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
# The line of the network on images is flat. Both other classifiers are near chance for a shift of
# half the image.
#
# The next picture shows equivariance (Figure 30 of the ReduNet paper, JMLR 2022). The first column
# has a test digit in four positions. Each row then has the images with the nearest features, out of
# 300 training digits in four positions each. Compare their positions with that of the test digit.


def similarity(A, B):
    """|cosine similarity| of all pairs of samples or features."""
    A, B = (normalize(Z.flatten(1)) for Z in (A, B))
    return (A @ B.T).abs().numpy()


def positions(X):
    return datasets.all_shifts(X, 4).flatten(0, 1)


query, others = positions(X_test[6:7]), positions(X[:300])
nearest = np.argsort(-similarity(net(query), net(others)), axis=1)[:, :7]
figure, axes = plt.subplots(4, 8, figsize=(6.8, 3.6), layout="constrained")
for row, image, chosen in zip(axes, query, nearest, strict=True):
    for ax, picture in zip(row, [image, *others[chosen]], strict=True):
        ax.imshow(picture[0], cmap="gray_r")
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_title("image", fontsize="medium")
axes[0, 1].set_title("nearest", fontsize="medium")

# %%
# The position is kept in every row. The last plot has the similarities of pairs of a training digit
# and a test digit. Look at the filled histograms, which are those of different classes.

figure, ax = plt.subplots(layout="constrained")
same = (labels[:, None] == labels_test).numpy()
for name, one, other in (("features", net(X), net(X_test)), ("pixels", X, X_test)):
    values = similarity(one, other)
    style = {"bins": np.linspace(0, 1, 51), "density": True}
    bars = ax.hist(values[~same], **style, alpha=0.5, label=f"{name}, different classes")[2]
    color = bars[0].get_facecolor()[:3]
    ax.hist(values[same], **style, histtype="step", color=color, label=f"{name}, same class")
ax.set(xlabel="|cosine similarity|", ylabel="density", title="Training and test digits")
ax.legend(frameon=False)

# %%
# The pixels of any two digits are similar. The features of digits of different classes are nearly
# orthogonal, although the network has not seen the test digits. :doc:`/invariances` says how to
# choose a lift, and ``ReduNetClassifier()`` chooses it by itself.

plt.show()
