"""
Rate reduction as a loss
========================

Any network whose features have unit norm can be trained to maximise ΔR. Cross-entropy contracts
each class to one direction. MCR² gives each class as many directions as there is room for. V-MCR²
replaces the log determinants of the classes by a dictionary.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redunet import (
    MCR2Loss,
    NearestSubspaceClassifier,
    RateReductionMeter,
    VariationalMCR2Loss,
    datasets,
)
from redunet.plots import plot_similarity, plot_singular_values

DIM, EPOCHS, SEEDS = 32, 60, 3
X, labels = datasets.digits()
X, X_test, labels, labels_test = X[:1000], X[1000:], labels[:1000], labels[1000:]


class OnSphere(nn.Module):
    """Scale features to unit norm."""

    def forward(self, Z):
        return nn.functional.normalize(Z, dim=1)


class CrossEntropy(nn.Module):
    """Cross-entropy with a linear classifier on the features."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(DIM, 10)

    def forward(self, Z, labels):
        return nn.functional.cross_entropy(10 * self.classifier(Z), labels)


# %%
# Each objective is a module that is called as ``loss(Z, labels)``. V-MCR² also takes the leading
# directions of each class before the first epoch, and moves its dictionary before each step of the
# featurizer (Algorithm 1). A meter records ΔR of all digits of an epoch. The network, its start and
# the order of the digits are the same for all objectives. Each learning rate was chosen for the
# largest ΔR of training digits, or for the smallest cross-entropy.

objectives = {
    "cross-entropy": (CrossEntropy, 0.02),
    "MCR²": (MCR2Loss, 0.02),
    "V-MCR²": (lambda: VariationalMCR2Loss(10, DIM, atoms_per_class=6, mu=0.1), 0.01),
}


def trained(name, seed):
    """A featurizer after training by an objective, the objective, and ΔR of each epoch."""
    torch.manual_seed(seed)
    layers = nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, DIM), OnSphere()
    featurizer = nn.Sequential(*layers)
    make, lr = objectives[name]
    torch.manual_seed(seed)
    loss = make()
    loader = DataLoader(TensorDataset(X, labels), batch_size=200, shuffle=True)
    parameters = [*featurizer.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    meter, rates = RateReductionMeter(eps_sq=0.5), []
    if name == "V-MCR²":
        loss.latch(featurizer(X), labels)
    torch.manual_seed(seed)
    for _ in range(EPOCHS):
        for samples, targets in loader:
            Z = featurizer(samples)
            if name == "V-MCR²":
                loss.update(Z.detach(), targets)
            optimizer.zero_grad()
            loss(Z, targets).backward()
            optimizer.step()
            meter.update(Z.detach(), targets)
        rates.append(meter.compute().delta)
        meter.reset()
    return featurizer.requires_grad_(False), loss, rates


def accuracies(featurizer, loss):
    """Test accuracy of the linear classifier, if there is one, and of the nearest subspace."""
    Z, Z_test = featurizer(X), featurizer(X_test)
    subspaces = NearestSubspaceClassifier(3).fit(Z, labels).score(Z_test, labels_test)
    if not isinstance(loss, CrossEntropy):
        return np.nan, subspaces
    return (loss.classifier(Z_test).argmax(1) == labels_test).float().mean().item(), subspaces


runs = {name: [trained(name, seed) for seed in range(SEEDS)] for name in objectives}

# %%
# The rates of the training digits, for three seeds each. Look at the height that each objective
# reaches, and whether it has stopped rising.

styles = {"cross-entropy": "C1--", "MCR²": "C0-", "V-MCR²": "C2-."}
figure, ax = plt.subplots(layout="constrained")
for name, style in styles.items():
    for seed, (_, _, rates) in enumerate(runs[name]):
        ax.plot(rates, style, label=None if seed else name)
ax.set(xlabel="epoch", ylabel=r"$\Delta R$ [nats]", title="Rate reduction of training digits")
ax.legend(frameon=False)

# %%
# MCR² maximises ΔR and gets most of it. V-MCR² is still rising. The next picture has a row for each
# objective. On the left are the similarities of 300 training digits. On the right are the singular
# values of all digits in black, and of each class in colour. Count the directions of a class: those
# whose singular value is not small.

figure, axes = plt.subplots(3, 2, figsize=(6.8, 8.4), layout="constrained")
for name, (left, right) in zip(objectives, axes, strict=True):
    Z = runs[name][0][0](X)
    plot_similarity(Z[:300], labels[:300], ax=left).set_title(name)
    plot_singular_values(Z, labels, ax=right)
    right.get_legend().remove()

# %%
# With MCR² and V-MCR² the classes are orthogonal. With cross-entropy they are apart, which is all
# that its linear classifier needs. There, each class has one large singular value. With MCR² it has
# two to five, as many as fit into 32 dimensions.
#
# More directions do not mean a higher accuracy. In the table each objective has its own classifier:
# the linear one that cross-entropy trains, and the nearest subspace for the others. Entries are
# means and standard deviations over the seeds.

rows = []
for name, of_seeds in runs.items():
    scores = np.array([accuracies(featurizer, loss) for featurizer, loss, _ in of_seeds])
    means, deviations = scores.mean(0), scores.std(0)
    cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(means, deviations, strict=True)]
    rows.append([name, "–" if np.isnan(means[0]) else cells[0], cells[1]])
print(tabulate(rows, ["test accuracy", "linear", "subspace"]))

# %%
# With their own classifiers, cross-entropy and V-MCR² are equally good, and MCR² is a little worse.
# :doc:`/losses` says when to take which loss. The lesson on :doc:`principal images
# </gallery/plot_21_principal_images>` shows what the directions of a class are.

plt.show()

# sphinx_gallery_thumbnail_number = 2
