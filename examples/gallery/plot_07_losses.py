"""
Rate reduction as a loss
========================

Any network whose features have unit norm can be trained to maximise ΔR. Cross-entropy contracts
each class to one direction. MCR² gives each class as many directions as there is room for. V-MCR²
replaces the log determinants of the classes by a dictionary.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redunet import MCR2Loss, NearestSubspaceClassifier, VariationalMCR2Loss, datasets, train
from redunet.plots import plot_similarity, plot_singular_values

DIM = 32
X, labels = datasets.digits()
loader = DataLoader(TensorDataset(X[:1000], labels[:1000]), batch_size=200, shuffle=True)


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
# Each objective is a module that is called as ``loss(Z, labels)``. ``train`` is a short loop that
# also records the rates of every epoch.

objectives = {
    "cross-entropy": (CrossEntropy(), 0.05),
    "MCR²": (MCR2Loss(), 0.1),
    "V-MCR²": (VariationalMCR2Loss(10, DIM, atoms_per_class=6, mu=0.1), 0.005),
}
figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
curves, ax = plt.subplots(layout="constrained")
for (name, (loss, lr)), column in zip(objectives.items(), axes.T, strict=True):
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, DIM), OnSphere()
    featurizer = nn.Sequential(*layers)
    parameters = [*featurizer.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    history = train(featurizer, loss, loader, optimizer, epochs=30)
    with torch.no_grad():
        Z, Z_test = featurizer(X[:1000]), featurizer(X[1000:])
    accuracy = NearestSubspaceClassifier(3).fit(Z, labels[:1000]).score(Z_test, labels[1000:])
    ax.plot(history.delta, label=name)
    plot_similarity(Z[:300], labels[:300], ax=column[0])
    column[0].set_title(f"{name}, test accuracy {accuracy:.3f}")
    plot_singular_values(Z, labels[:1000], ax=column[1])
ax.set(xlabel="epoch", ylabel=r"$\Delta R$ [nats]", title="Rate reduction of training digits")
ax.legend(frameon=False)
plt.show()
