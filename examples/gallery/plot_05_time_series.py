"""
Time series with pulses at unknown times
========================================

The data are three kinds of pulses at unknown times, with noise. The network is constructed from 20
series of each kind. It is exactly invariant to the time of the pulse.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.svm import SVC

from redunet import RandomCirculantLift, ReduNet
from redunet.plots import plot_kernels

LENGTH = 64


def series(per_class, seed):
    """A rise, a fall or a swing of 16 steps at a random time, with noise, and its name."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 16)
    shapes = {"rise": t, "fall": 1 - t, "swing": np.sin(4 * np.pi * t) / 1.4}
    X, labels = [], []
    for name, shape in shapes.items():
        for _ in range(per_class):
            pulse = np.zeros(LENGTH)
            pulse[:16] = shape
            X.append(np.roll(pulse, rng.integers(LENGTH)) + 0.1 * rng.normal(size=LENGTH))
            labels.append(name)
    return np.array(X, dtype=np.float32)[:, None], np.array(labels)


X, labels = series(20, seed=0)
X_test, labels_test = series(100, seed=1)
figure, axes = plt.subplots(3, 3, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
for i, row in enumerate(axes.T):
    row[0].set_title(labels[20 * i])
    for ax, x in zip(row, X[20 * i :], strict=False):
        ax.plot(x[0], linewidth=1)
figure.supxlabel("time")

# %%
# The network has ten layers after a lift by random kernels. The kernels are nine steps long,
# while the noise is independent at every step.

lift = RandomCirculantLift(in_channels=1, out_channels=24, kernel_size=9, ndim=1)
net = ReduNet.construct(X, labels, num_layers=10, eps_sq=0.01, lift=lift)
svm = SVC(C=10).fit(X[:, 0], labels)
print(f"ReduNet: {(net.predict(X_test) == labels_test).mean():.3f}")
print(f"RBF SVM: {svm.score(X_test[:, 0], labels_test):.3f}")

# %%
# The operators of the network are circular convolutions in time. These are the kernels of the first
# layer without their centre.

plot_kernels(net, layer=0, channels=4)
plt.show()
