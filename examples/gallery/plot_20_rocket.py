"""
ROCKET is the frequency zero
============================

ROCKET and MiniRocket classify series by random kernels. Of the responses of each kernel they keep
the share that is above a bias. A network on the same responses sees this share too: it is the
frequency zero. This lesson shows when the other frequencies help, and when they do not.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from redunet import Band, MultiScaleLift, ReduNetClassifier

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
# A linear classifier on these shares, as in ROCKET, is compared with networks of one layer on bands
# of 0, 1, 2, … The lift, its kernels and its biases are the same. Look at the step from 0 to 1: a
# band of 1 also has the wave that passes once through the series, so it says where a kernel
# responds, relative to other kernels.

BANDS = (0, 1, 2, 4, 8)


def accuracies(make):
    """The accuracy on test series of a ridge classifier, and of networks on bands."""
    X, labels = make(20, seed=0)
    X_test, labels_test = make(200, seed=1)
    lift = MultiScaleLift(1, ndim=1, nonlinearity="step").fit(X)
    ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-3, 3, 10)))
    ridge.fit(lift(X).mean(2).numpy(), labels)
    networks = [
        ReduNetClassifier(lift=[lift, Band(band)], standardize=False).fit(X, labels)
        for band in BANDS
    ]
    of_ridge = ridge.score(lift(X_test).mean(2).numpy(), labels_test)
    return of_ridge, [network.score(X_test, labels_test) for network in networks]


figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.8), sharey=True, layout="constrained")
for ax, (title, make) in zip(axes, problems.items(), strict=True):
    of_ridge, of_networks = accuracies(make)
    ax.plot(range(len(BANDS)), of_networks, "C0o-", label="ReduNet")
    ax.axhline(of_ridge, color="C1", linestyle="--", label="ridge on the shares")
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
# ``ReduNetClassifier()`` compares bands by leave-one-out, among them the band of 0, so it need not
# be told which case it has.

plt.show()

# sphinx_gallery_thumbnail_number = 2
