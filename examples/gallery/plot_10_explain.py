"""
Why this digit is a three
=========================

Nothing is hidden in a constructed network: for one sample, each layer's residuals say which class
it fits, and the parts of the step say what moves it.
"""

import matplotlib.pyplot as plt

from redunet import RandomCirculantLift, ReduNet, datasets, explain
from redunet.plots import plot_architecture, plot_eigenvalues, plot_principal_images

X, labels = datasets.digits()
lift = RandomCirculantLift(in_channels=1, out_channels=32, kernel_size=3, ndim=2)
net = ReduNet.construct(X[:1000], labels[:1000], num_layers=12, eps_sq=0.01, lift=lift)
plot_architecture(net)

# %%
# A test digit that the network gets wrong:

X_test, labels_test = X[1000:], labels[1000:]
wrong = (net.predict(X_test) != labels_test.numpy()).nonzero()[0][0]
explanation = explain(net, X_test[wrong])
figure, ax = plt.subplots(figsize=(2, 2), layout="constrained")
ax.imshow(X_test[wrong, 0], cmap="gray_r")
ax.set(xticks=[], yticks=[], title=f"a {labels_test[wrong]}, found {explanation.prediction}")

# %%
# In the first layer two classes are nearly as good; with λ = 500 the membership decides at once,
# and from then on every layer moves the digit closer to the class it was taken for.

explanation.plot()

# %%
# In numbers, for the three nearest classes:

print(explanation)

# %%
# What the operators of the last layer know. Eigenvalues of α, the largest, belong to directions
# that are empty. All samples together fill half of the directions; each class fills few of them,
# those where the eigenvalues of its Cʲ are small.

plot_eigenvalues(net)

# %%
# And what fills a class: the digits nearest to each of its principal directions.

plot_principal_images(X[:1000], net(X[:1000]), labels[:1000], components=8)
plt.show()
