"""
Training with wrong labels
==========================

Half of the training labels are wrong. A classifier memorises them. The rate of all samples together
does not depend on labels, so the rate reduction relies on what the samples have in common.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redunet import MCR2Loss, NearestSubspaceClassifier, datasets

X, labels = datasets.digits()
X_test, labels_test = X[1000:], labels[1000:]
X, labels = X[:1000], labels[:1000]
noisy = datasets.corrupt_labels(labels, 0.5)
print(f"{(noisy == labels).float().mean():.2f} of the labels are right")


class OnSphere(nn.Module):
    """Scale features to unit norm."""

    def forward(self, Z):
        return nn.functional.normalize(Z, dim=1)


def featurizer():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 32), OnSphere()
    )


# %%
# Both objectives train the same network from the same start, and each is scored by its own
# classifier: the linear one that cross-entropy trains, and the nearest subspace for MCR². The plot
# has the accuracy after each epoch on test digits, whose labels are correct. Compare the first ten
# epochs with the last ones.

loader = DataLoader(TensorDataset(X, noisy), batch_size=200, shuffle=True)
accuracies = {"cross-entropy": [], "MCR²": []}
for name, curve in accuracies.items():
    net, classifier = featurizer(), nn.Linear(32, 10)
    rate = MCR2Loss()
    lr = 0.2 if name == "MCR²" else 0.02
    optimizer = torch.optim.SGD([*net.parameters(), *classifier.parameters()], lr, momentum=0.9)
    for _ in range(80):
        for samples, targets in loader:
            Z = net(samples)
            if name == "MCR²":
                loss = rate(Z, targets)
            else:
                loss = nn.functional.cross_entropy(10 * classifier(Z), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        Z, Z_test = net(X).detach(), net(X_test).detach()
        if name == "MCR²":
            curve.append(NearestSubspaceClassifier(3).fit(Z, noisy).score(Z_test, labels_test))
        else:
            right = classifier(Z_test).argmax(1) == labels_test
            curve.append(right.float().mean().item())

figure, ax = plt.subplots(layout="constrained")
for (name, curve), style in zip(accuracies.items(), ("C1--", "C0-"), strict=True):
    ax.plot(range(1, 81), curve, style, label=f"{name}, final accuracy {curve[-1]:.2f}")
ax.set(xlabel="epoch", ylabel="test accuracy", title="Half of the training labels are wrong")
ax.legend(frameon=False)

# %%
# At first both learn what the samples have in common. Then cross-entropy memorises the wrong
# labels, and its accuracy falls. One could stop it early, but without correct labels one does not
# know when. With MCR² the accuracy stays above 0.8. :doc:`/losses_compared` has the same comparison
# for more shares of wrong labels.

plt.show()
