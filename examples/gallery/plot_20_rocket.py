"""
ROCKET is the frequency zero
============================

ROCKET and MiniRocket classify series by random kernels. Of the responses of each kernel they keep
the share that is above a bias, and read these shares by ridge regression. A network on the same
responses has both: the ROCKET family is the frequency 0 of a lifted ReduNet, read by E. This lesson
checks that, and shows when the other frequencies help.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from redunet import Band, ExpansionRegression, MultiScaleLift, ReduNetClassifier, Search

LENGTH = 120


def orders(per_class, seed):
    """A bump, a dip and a swing in one of two orders, at any time, with noise."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 16)
    bump = 3 * np.sin(np.pi * t) ** 2
    shapes = {"bump": bump, "dip": -bump, "swing": bump * np.sin(4 * np.pi * t)}
    labels = np.repeat(["bump, dip, swing", "bump, swing, dip"], per_class)
    X = [np.concatenate([np.pad(shapes[name], 12) for name in y.split(", ")]) for y in labels]
    X = np.stack([np.roll(x, rng.integers(LENGTH)) for x in X])
    return torch.tensor(X + rng.normal(size=X.shape)).float().unsqueeze(1), labels


def textures(per_class, seed):
    """Noise with most of its power near periods of 4, 5 or 6 steps."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([4, 5, 6], per_class)
    distance = np.abs(np.fft.fftfreq(LENGTH)) * labels[:, None] - 1
    noise = np.fft.fft(rng.normal(size=(len(labels), LENGTH)))
    X = np.fft.ifft(np.exp(-6 * distance**2) * noise).real
    X = X / X.std() + 0.7 * rng.normal(size=X.shape)
    return torch.tensor(X).float().unsqueeze(1), labels


problems = {"three events in two orders": orders, "textures of three periods": textures}
figure, axes = plt.subplots(2, 2, figsize=(6.8, 4.4), sharex=True, layout="constrained")
for column, (title, make) in zip(axes.T, problems.items(), strict=True):
    X, labels = make(1, seed=0)
    for ax, x, label in zip(column, X[:, 0], labels, strict=False):
        ax.plot(x, "C6", linewidth=1)
        ax.set(ylabel=label, yticks=[])
    column[0].set_title(title)
figure.supxlabel("time")

# %%
# The lift compares the responses of each kernel with a bias. Its output is 1 where a response is
# above the bias, and 0 elsewhere. The share of ones is ROCKET's feature, PPV. ``Band(0)`` keeps the
# frequency zero alone. Both are the same, up to the root of the length:

X, labels = orders(20, seed=0)
lift = MultiScaleLift(1, ndim=1, nonlinearity="step").fit(X)
shares = lift(X).mean(2)
zero = Band(0)(lift(X)).squeeze(2)
print(f"{shares.shape[1]} kernels with the dilations {lift.dilations}")
print(f"largest difference: {(zero / LENGTH**0.5 - shares).abs().max():.0e}")

# %%
# ROCKET reads the shares by ridge regression. The matrix of such a regression is the operator E of
# a layer: with standardised shares, the penalty is mε². ``ExpansionRegression`` chooses ε² by
# leave-one-out, and has the same scores as scikit-learn's ridge regression of one-hot labels:

reader = ExpansionRegression(lift).fit(X, labels)
one_hot = (labels[:, None] == reader.classes_).astype(float)
Z = StandardScaler().fit_transform(shares.double())
ridge = Ridge(alpha=len(X) * reader.eps_sq_).fit(Z, one_hot)
scores = reader(X).numpy()
print(f"ε² = {reader.eps_sq_:.2g}, scores up to {abs(scores).max():.2f}")
print(f"largest difference: {abs(ridge.predict(Z) - scores).max():.0e}")

# %%
# So ROCKET's features and its classifier are both parts of a network. The regression is compared
# with the residuals of networks of one layer on bands of 0, 1, 2, … The lift, its kernels and its
# biases are the same. Look at the step from 0 to 1: a band of 1 also has the wave that passes once
# through the series, so it says where a kernel responds, relative to other kernels.

BANDS = (0, 1, 2, 4, 8)


def accuracies(make):
    """The accuracy on test series of the regression, and of the residuals on bands."""
    X, labels = make(20, seed=0)
    X_test, labels_test = make(200, seed=1)
    lift = MultiScaleLift(1, ndim=1, nonlinearity="step").fit(X)
    reader = ExpansionRegression(lift).fit(X, labels)
    networks = [
        ReduNetClassifier(lift=Search([lift], bands=[band])).fit(X, labels) for band in BANDS
    ]
    of_reader = np.mean(reader.predict(X_test) == labels_test)
    return of_reader, [network.score(X_test, labels_test) for network in networks]


figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.8), sharey=True, layout="constrained")
for ax, (title, make) in zip(axes, problems.items(), strict=True):
    of_reader, of_networks = accuracies(make)
    ax.plot(range(len(BANDS)), of_networks, "C0o-", label="residuals")
    ax.axhline(of_reader, color="C2", linestyle="--", label="regression on the shares")
    ax.set(title=title, xlabel="band", ylim=(0.5, 1.02))
    ax.set_xticks(range(len(BANDS)), BANDS)
axes[0].set_ylabel("test accuracy")
axes[0].legend(frameon=False, loc="lower right")

# %%
# All events occur in both classes on the left, so shares hardly differ. Only kernels that are long
# enough to see two events at once tell the orders apart, and noise hides that. With a band of 1 the
# network sees the order, although it does not see where the series starts. In a texture nothing has
# a place. There, the shares are all that matters, and further frequencies only add noise.
#
# ``ReduNetClassifier()`` compares bands by leave-one-out, among them the band of 0, and multiplies
# the memberships of the residuals with those of the regression. So it need not be told which case
# it has.

plt.show()

# sphinx_gallery_thumbnail_number = 2
