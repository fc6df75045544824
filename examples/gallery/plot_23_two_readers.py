"""
Two readers of the same features
================================

The residual of a class knows the samples of this class alone. The expansion operator E knows all
samples, and reads the features by regression. This lesson shows what each of them sees, and why a
network has both.
"""

import matplotlib.pyplot as plt
import torch

from redunet import ExpansionRegression, ReduNet, Search, datasets

# %%
# Two simulated problems have four classes in twelve dimensions. In the first, each class is a plane
# through the origin, so that v and −v belong to the same class. In the second, each class has a
# centre, and noise that is seven times as strong along some axes as along others.

random = torch.Generator().manual_seed(7)
planes = torch.linalg.qr(torch.randn(12, 8, generator=random)).Q.reshape(12, 4, 2).mT
centres = torch.randn(4, 12, generator=random)


def in_planes(per_class, seed):
    """Samples near four planes, and their classes."""
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(4 * per_class) % 4
    noise = torch.randn(len(labels), 12, generator=generator)
    places = torch.randn(len(labels), 2, generator=generator)
    return torch.einsum("drk,mr->mkd", planes, places)[
        range(len(labels)), labels
    ] + noise / 10, labels


def around_centres(per_class, seed):
    """Samples around four centres, and their classes."""
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(4 * per_class) % 4
    noise = torch.randn(len(labels), 12, generator=generator) * torch.linspace(0.3, 2, 12)
    return centres[labels] + noise, labels


# %%
# A search with both readers is asked for three answers: the class of the smallest residual, that of
# the largest score, and that of the network, which multiplies the memberships of both.


def readings(search, X, labels, X_test):
    """Logits of the residuals, of the regression, and of the network, for test samples."""
    search.fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    residuals = net.relative_residuals(X_test)
    of_residuals = -search.sharpness_ * residuals
    of_regression = net.reader_logits(X_test)
    return {
        "residuals": of_residuals,
        "regression by E": of_regression,
        "both": of_residuals + of_regression,
    }


def accuracies(logits, labels):
    """The share of test samples with the largest logit for their class."""
    return {name: (z.argmax(1) == labels).float().mean().item() for name, z in logits.items()}


for title, make in {"four planes": in_planes, "four centres": around_centres}.items():
    (X, labels), (X_test, labels_test) = make(8, seed=0), make(500, seed=1)
    search = Search([None], reader=ExpansionRegression())
    found = accuracies(readings(search, X, labels, X_test), labels_test)
    print(f"{title:13}", ", ".join(f"{name} {value:.3f}" for name, value in found.items()))

# %%
# The mean of every plane is the origin, so regression finds next to nothing there, while residuals
# are made for planes. Around centres it is the other way round: eight samples say little about the
# twelve dimensions of a class, but all 32 together say which directions are noise. The network
# comes close to the better reader in both cases, although nobody told it which one that is.
#
# The regression is the operator E of a layer. With standardised features z, that are divided by √C,
# and one-hot labels y, its scores are the mean of y plus z* E Σ z_i (y_i − mean of y)*. The largest
# difference from this formula is:

reader, y = search.reader_, torch.nn.functional.one_hot(labels).double()
Z, z = ((V.double() - X.mean(0)) / (12**0.5 * X.std(0, correction=0)) for V in (X, X_test))
alpha = 12 / (len(Z) * reader.eps_sq_)
E = alpha * torch.linalg.inv(torch.eye(12) + alpha * Z.T @ Z)
scores = y.mean(0) + z @ E @ Z.T @ (y - y.mean(0))
print(f"{(scores - reader(X_test)).abs().max():.0e}")

# %%
# Digits are neither planes nor centres. On them, the residuals read a lift with a band of
# frequencies, and the regression reads the frequency zero of thousands of channels. Look for the
# reader that needs fewer samples in the left plot. In the right plot, every point is a test digit.
# To the right of the vertical line the residuals are right, and above the horizontal line the
# regression is. Look at the two quadrants where the readers disagree.

X, labels = datasets.digits()
sizes, curves = (5, 10, 20), []
X_test, labels_test = X[1000:], labels[1000:]
for size in sizes:
    rows = datasets.subsample(labels[:1000], size, seed=0)
    logits = readings(Search(), X[rows], labels[rows], X_test)
    curves.append(accuracies(logits, labels_test))


def margins(logits):
    """By how much the logit of the true class is the largest."""
    true = torch.nn.functional.one_hot(labels_test, 10).bool()
    return logits[true] - logits.masked_fill(true, -torch.inf).amax(1)


figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.6), layout="constrained")
styles = {"both": "C0o-", "residuals": "C2^-", "regression by E": "C3v-"}
for name, style in styles.items():
    left.plot(sizes, [found[name] for found in curves], style, label=name)
left.set(xscale="log", xlabel="digits of each class", ylabel="test accuracy")
left.set_xticks(sizes, sizes)
left.minorticks_off()
left.legend(frameon=False)
x, y = margins(logits["residuals"]), margins(logits["regression by E"])
correct = logits["both"].argmax(1) == labels_test
right.plot(x[correct], y[correct], "C0.", markersize=4, label="both together right")
right.plot(x[~correct], y[~correct], "C6x", markersize=6, label="both together wrong")
right.axhline(0, color="0.6", linewidth=1, zorder=0)
right.axvline(0, color="0.6", linewidth=1, zorder=0)
right.set(xlabel="margin of the residuals", ylabel="margin of the regression")
right.legend(frameon=False, markerscale=2)

# %%
# The residuals are the better reader of digits, because frequencies above zero say where a kernel
# responds. The network gives the regression the same say. This costs three points with five digits
# of each class, and half a point with twenty. On series of many classes it is often the other way
# round. In the right plot the margins of both readers grow together, but more than half of the
# errors of the regression are no errors of the residuals. Where the readers disagree, the larger
# margin decides, and mostly it is right:

of_residuals, of_regression = x > 0, y > 0
for name, rows in {
    "both wrong": ~of_residuals & ~of_regression,
    "only the residuals right": of_residuals & ~of_regression,
    "only the regression right": ~of_residuals & of_regression,
}.items():
    print(f"{name}: {rows.sum()} digits, of which the network gets {correct[rows].sum()} right")
plt.show()
