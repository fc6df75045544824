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

from redunet import RandomCirculantLift, ReduNet, datasets
from redunet.plots import plot_nearest_images, plot_similarity_histogram

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


def positions(X):
    return datasets.all_shifts(X, 4).flatten(0, 1)


query, others = positions(X_test[6:7]), positions(X[:300])
plot_nearest_images((query, net(query)), (others, net(others)), images=7)

# %%
# The position is kept in every row. The last plot has the similarities of pairs of a training digit
# and a test digit. Look at the filled histograms, which are those of different classes.

figure, ax = plt.subplots(layout="constrained")
plot_similarity_histogram((net(X), labels), (net(X_test), labels_test), ax=ax, label="features")
plot_similarity_histogram((X, labels), (X_test, labels_test), ax=ax, label="pixels")

# %%
# The pixels of any two digits are similar. The features of digits of different classes are nearly
# orthogonal, although the network has not seen the test digits. :doc:`/invariances` says how to
# choose a lift, and ``ReduNetClassifier()`` chooses it by itself.

plt.show()
