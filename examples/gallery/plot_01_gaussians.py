"""
Gaussians on the circle and the sphere
======================================

Two classes on the circle, three on the sphere, 60 degrees apart. Each layer pushes all samples
into directions that are empty, and pulls each class together; in the end classes are orthogonal.
"""

import matplotlib.pyplot as plt

from redunet import ReduNet, datasets
from redunet.plots import plot_paths, plot_rates, plot_sphere

X, labels = datasets.gaussians(ndim=2, per_class=100)
net = ReduNet.construct(X, labels, num_layers=200, eta=0.1)

figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
plot_sphere(X, labels, ax=axes[0]).set_title("Samples")
plot_paths(net, X, labels, ax=axes[1]).set_title("Their way through the layers")

# %%
# On the right the layers go outwards. The classes have come to stand at right angles: no two
# lines in the plane have more room between them. R, the nats that all samples take, has grown as
# far as it can; R_c, those that they take class by class, has fallen to what their spread asks
# for.

plot_rates(net.history)

# %%
# The same on the sphere, with new samples that the network was not constructed from. Paths begin
# at the small points; lines through the origin are the principal directions of the classes.

X, labels = datasets.gaussians(ndim=3, per_class=100)
net = ReduNet.construct(X, labels, num_layers=200, eta=0.1)
X_new, labels_new = datasets.gaussians(ndim=3, per_class=40, seed=1)

figure = plt.figure(figsize=(10, 5), layout="constrained")
left, right = (figure.add_subplot(1, 2, i, projection="3d") for i in (1, 2))
plot_paths(net, X_new, labels_new, ax=left).set_title("New samples, and their way")
plot_sphere(net(X_new), labels_new, subspace_dim=1, ax=right).set_title("Where they end")
plt.show()
