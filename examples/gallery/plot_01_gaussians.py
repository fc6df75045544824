"""
Gaussians on the circle and the sphere
======================================

Two classes on the circle and three classes on the sphere, 60 degrees apart. Each layer pushes the
samples into directions that no sample occupies yet, and pulls each class together. After enough
layers the classes are orthogonal. Figures 15 and 28 of the ReduNet paper (JMLR 2022).
"""

import matplotlib.pyplot as plt

from redunet import ReduNet, datasets
from redunet.plots import plot_paths, plot_rates, plot_sphere

# %%
# First the circle. In the picture on the right, each layer is drawn a little further outwards than
# the one before. Follow the two bundles of paths from the inside to the outside.

X, labels = datasets.gaussians(ndim=2, per_class=100)
net = ReduNet.construct(X, labels, num_layers=200, eta=5)

figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.2), sharey=True, layout="constrained")
plot_sphere(X, labels, ax=axes[0]).set_title("Samples")
axes[0].get_legend().remove()
plot_paths(net, X, labels, ax=axes[1]).set_title("Paths through the layers")

# %%
# The classes moved to a right angle, which is the largest angle between two lines, and each of them
# became narrow. The next plot has the rates. R is the number of nats per sample for all samples
# together. R_c is the number of nats if the samples are encoded class by class. The layers raise
# their difference, ΔR.

plot_rates(net.history)

# %%
# Here R grows and R_c falls, because each class contracts to a line. In more dimensions a class
# fills several of them, and then R_c rises a little as well, but far less than R.
#
# The same on the sphere, with new samples that the construction has not used. The paths begin at
# the small points. The lines through the origin are the principal directions of the classes.

X, labels = datasets.gaussians(ndim=3, per_class=100)
net = ReduNet.construct(X, labels, num_layers=200, eta=5)
X_new, labels_new = datasets.gaussians(ndim=3, per_class=40, seed=1)

figure = plt.figure(figsize=(6.8, 3.5), layout="constrained")
left, right = (figure.add_subplot(1, 2, i, projection="3d") for i in (1, 2))
plot_paths(net, X_new, labels_new, ax=left).set_title("Paths of new samples")
plot_sphere(net(X_new), labels_new, subspace_dim=1, ax=right).set_title("Features of new samples")

# %%
# The three classes, 60 degrees apart at first, are now orthogonal to one another. So are the new
# samples, which no layer has seen.

plt.show()

# sphinx_gallery_thumbnail_number = 3
