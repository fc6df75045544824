"""
Invariance, sparsity and channels
=================================

A network that is invariant to shifts treats all shifts of a signal alike. This costs something. The
shifts of a single signal already span the whole space, so classes cannot be told apart as
subspaces. Two things help: signals that are sparse combinations of a few motifs, and a nonlinear
lift to many channels (Section 4.2 of the ReduNet paper, JMLR 2022). This lesson looks at each of
them.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from tabulate import tabulate
from torch import nn

from redunet import RandomCirculantLift, ReduNet
from redunet.inspection.style import class_colors

LENGTH, CLASSES, SEEDS = 64, 4, 3

# %%
# A signal is the circular convolution of the motif of its class with a sparse code, which has a few
# normally distributed spikes at random places (eq. 38). The motifs are hard to tell apart on
# purpose. Each is the convolution of two short filters. Class 0 has the filters as they are.
# Class 1 reverses the second one, class 2 the first one, and class 3 both. Reversal does not change
# a power spectrum, so all motifs have the same.


def motifs(rng):
    """Four motifs of 11 places with the same power spectrum."""
    a, b = rng.normal(size=(2, 6))
    forms = np.stack([np.convolve(x, y) for x in (a, a[::-1]) for y in (b, b[::-1])])
    return forms / np.linalg.norm(forms, axis=1, keepdims=True)


def sparse_signals(rng, forms, spikes, per_class):
    """Signals of unit norm ``(m, 1, LENGTH)`` with so many spikes, and their classes."""
    labels = np.arange(CLASSES * per_class) % CLASSES
    codes = rng.normal(size=(len(labels), LENGTH))
    order = rng.random(codes.shape).argsort(1)
    codes[order >= spikes] = 0
    X = np.fft.irfft(np.fft.rfft(forms[labels], LENGTH) * np.fft.rfft(codes), LENGTH)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return torch.tensor(X[:, None], dtype=torch.float32), labels


rng = np.random.default_rng(0)
forms = motifs(rng)
X, labels = sparse_signals(rng, forms, spikes=4, per_class=1)
figure, axes = plt.subplot_mosaic("MS;PP", figsize=(6.8, 5.6), layout="constrained")
for j, color in enumerate(class_colors(CLASSES)):
    axes["M"].plot(forms[j] - 1.5 * j, "o-", markersize=3, color=color)
    axes["S"].plot(X[j, 0] - 1.2 * j, color=color, linewidth=1)
    power = np.abs(np.fft.rfft(forms[j], LENGTH)) ** 2
    axes["P"].plot(power, color=color, linewidth=7 - 2 * j, label=f"class {j}")
axes["M"].set(title="Motifs", xlabel="place", yticks=[])
axes["S"].set(title="Signals with four spikes", xlabel="place", yticks=[])
axes["P"].set(title="Power spectra of the motifs", xlabel="frequency")
axes["P"].legend(frameon=False)

# %%
# The four power spectra in the lower plot are one curve. With a single channel, the operators of a
# layer are one number at each frequency, and these numbers depend on power spectra only. A linear
# lift to many channels multiplies the spectrum of a signal by the spectra of the kernels. At each
# frequency the channels of all signals then lie on the same line, and again only the power is left.
# A linear lift therefore cannot separate these classes, however many channels it has. A threshold
# after the kernels changes this (eq. 41). We compare four lifts with the same random kernels.

lifts = {
    "linear": [0.0],
    "ReLU": ["relu"],
    "soft threshold": [0.5],
    "hard threshold": [0.0, nn.Hardshrink(0.5)],
}


def trial(seed, spikes, channels, nonlinearity):
    """Accuracy on 400 test signals, the same on shifted signals, and ΔR of 160 signals."""
    rng = np.random.default_rng(seed)
    forms = motifs(rng)
    X, labels = sparse_signals(rng, forms, spikes, per_class=40)
    X_test, labels_test = sparse_signals(rng, forms, spikes, per_class=100)
    threshold, *after = nonlinearity
    kernels = RandomCirculantLift(1, channels, 9, ndim=1, seed=seed, threshold=threshold)
    net = ReduNet.construct(X, labels, lift=[kernels, *after], num_layers=1)
    shifted = torch.stack(
        [x.roll(int(s), -1) for x, s in zip(X_test, rng.integers(0, LENGTH, 400), strict=True)]
    )
    accuracies = [np.mean(net.predict(Z) == labels_test) for Z in (X_test, shifted)]
    return [*accuracies, net.history.delta[0]]


def show(results, positions, names, colors, label):
    """Plot accuracy and ΔR, the mean over seeds and the range."""
    _, axes = plt.subplots(2, 1, figsize=(6.8, 6.8), sharex=True, layout="constrained")
    for name, values, color in zip(names, results, colors, strict=True):
        for ax, table in zip(axes, (values[..., 0], values[..., 2]), strict=True):
            ax.plot(positions, table.mean(1), "o-", color=color, label=name)
            ax.fill_between(positions, table.min(1), table.max(1), color=color, alpha=0.15)
    axes[0].axhline(1 / CLASSES, color="C6", linestyle=":")
    axes[1].set(xscale="log", xlabel=label)
    axes[1].set_xticks(positions, positions)
    axes[1].minorticks_off()
    axes[0].set(ylabel="accuracy on test signals", ylim=(0.15, 1.03))
    axes[1].set(ylabel=r"$\Delta R$ of the lifted signals [nats]", ylim=(0, None))
    axes[1].legend(frameon=False)


channels = [1, 2, 4, 8, 16, 32]
by_channels = np.array(
    [
        [[trial(seed, 4, count, nonlinearity) for seed in range(SEEDS)] for count in channels]
        for nonlinearity in lifts.values()
    ]
)
show(by_channels, channels, list(lifts), ["C6", "C0", "C2", "C3"], "channels")

# %%
# The linear lift stays at chance, the dotted line, and its ΔR near zero. With a threshold, ΔR grows
# with the number of channels, and so does the accuracy until it is almost one. Channels are the
# resource that buys back what invariance costs.
#
# The second ingredient is sparsity. The next plot changes the number of spikes in a signal, with a
# ReLU. A signal has 64 places.

spikes, widths = [1, 2, 4, 8, 16, 32, 64], [2, 8, 32]
by_spikes = np.array(
    [
        [[trial(seed, count, width, lifts["ReLU"]) for seed in range(SEEDS)] for count in spikes]
        for width in widths
    ]
)
blues = plt.colormaps["Blues"]([0.4, 0.7, 1.0])
show(by_spikes, spikes, [f"{width} channels" for width in widths], blues, "spikes")

# %%
# A signal with many spikes is a sum of many independent terms, and looks like Gaussian noise. Its
# power spectrum is that of the motif, which is the same for all classes. With a spike at all 64
# places, nothing else is left, and no number of channels helps. In between, denser codes need more
# channels. ΔR does not fall to zero, because no two finite sets of training signals have the same
# second moments.
#
# The invariance was exact in all of this. The test signals at random cyclic shifts have the same
# accuracy in every trial.

everything = np.concatenate([by_channels.reshape(-1, 3), by_spikes.reshape(-1, 3)])
differences = np.abs(everything[:, 0] - everything[:, 1])
print(f"{len(everything)} trials with shifted test signals")
print(f"largest difference in accuracy: {differences.max()}")

# %%
# Here are the mean accuracies with a ReLU in numbers, first with 4 spikes and then with 32
# channels:

for name, counts, values in (
    ("channels", channels, by_channels[1]),
    ("spikes", spikes, by_spikes[-1]),
):
    rows = zip(counts, values[..., 0].mean(1), strict=True)
    print(tabulate(rows, [name, "accuracy"], floatfmt=".2f"), end="\n\n")
plt.show()

# %%
# These signals have no noise, and each class has a single motif. With data of your own,
# ``ReduNetClassifier()`` chooses the lift by leaving out the training samples in turn.

# sphinx_gallery_thumbnail_number = 2
