"""
Explaining a prediction
=======================

Every number in a constructed network has a meaning. For a single sample, the residuals of each
layer show which class the sample fits, and the parts of each step show what moves it.
"""

import matplotlib.pyplot as plt

from redunet import RandomCirculantLift, ReduNet, datasets, explain
from redunet.inspection import Decision
from redunet.plots import (
    plot_decision,
    plot_eigenvalues,
    plot_explanation,
)

X, labels = datasets.digits()
lift = RandomCirculantLift(in_channels=1, out_channels=32, kernel_size=3, ndim=2)
net = ReduNet.construct(X[:1000], labels[:1000], num_layers=12, eps_sq=0.01, lift=lift)
net

# %%
# The first test digit that the network classifies wrongly:

X_test, labels_test = X[1000:], labels[1000:]
wrong = (net.predict(X_test) != labels_test.numpy()).nonzero()[0][0]
explanation = explain(net, X_test[wrong])
figure, ax = plt.subplots(figsize=(2, 2), layout="constrained")
ax.imshow(X_test[wrong, 0].numpy(), cmap="gray_r")
ax.set(xticks=[], yticks=[], title=f"true class {labels_test[wrong]}")
ax.set_xlabel(f"predicted class {explanation.prediction}")

# %%
# In the first layer two classes fit the digit almost equally well. With λ = 500 the membership
# nevertheless decides for one of them at once. Every later layer moves the digit closer to that
# class.

plot_explanation(explanation)

# %%
# The same in numbers, for the three nearest classes:

print(explanation)

# %%
# The difference between the squared residuals of two classes is a sum of shares: of places, or of
# frequencies. This picture compares the predicted class with the true one. Blue
# places speak for the predicted class, orange places for the true class.

true_class = int(labels_test[wrong])
decision = Decision.from_network(net, X_test[wrong], classes=(explanation.prediction, true_class))
print(decision)
plot_decision(decision)

# %%
# The eigenvalues of the operators in the last layer show which directions the samples fill. The
# largest eigenvalue, α, belongs to directions that are empty. All samples together fill about half
# of the directions. Each class fills only a few, those in which the eigenvalues of Cʲ are small.

plot_eigenvalues(net)

# %%
# The lesson on :doc:`principal images </gallery/plot_21_principal_images>` looks closer at the
# directions of a class. ``redunet.report`` puts these pictures on one page, for a network of your
# own.

plt.show()

# sphinx_gallery_thumbnail_number = 3
