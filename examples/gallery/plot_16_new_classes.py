"""
New classes later
=================

The digits arrive two classes at a time, and older digits are gone by then. A network that is
trained further by back-propagation on the new digits forgets the old ones. A constructed network
does not: its operators follow from second moments and counts, which are sums over samples. It keeps
these sums, and adds the new samples to them.
"""

import matplotlib.pyplot as plt
import torch
from tabulate import tabulate
from torch import nn

from redunet import ReduNet, Search, datasets

X, labels = datasets.digits()
X, labels, X_test, labels_test = X[:1000], labels[:1000], X[1000:], labels[1000:]
steps = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]

# %%
# The lift, its band of frequencies and ε² are chosen on the first two classes, because nothing else
# is known at the beginning. ``operators="extensible"`` makes the network keep its sums. The second
# reader is left out, so that the picture shows the operators alone.

first = labels < 2
search = Search(reader=None).fit(X[first], labels[first])
options = search.arguments | {"operators": "extensible", "num_layers": 1}
extended = ReduNet.construct(X[first], labels[first], **options)

# %%
# A multilayer perceptron is trained at each step on the two new classes. Only the outputs of the
# classes that have been seen compete.

torch.manual_seed(0)
mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def train(X, labels, seen, epochs=30):
    optimizer = torch.optim.Adam(mlp.parameters(), 0.003)
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(20):
            loss = nn.functional.cross_entropy(mlp(X[rows])[:, :seen], labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


# %%
# After each step, three classifiers are tested on all classes seen so far: the network that was
# extended, a network that was constructed again from all digits so far, and the perceptron. In the
# picture, look at the last points, where all ten classes count. The first two curves should lie on
# each other. The third one should fall towards 2 of 10 classes.

curves = {"constructed anew": [], "extended": [], "back-propagation": []}
for number, new in enumerate(steps):
    seen = new[1] + 1
    is_new, so_far = (labels == new[0]) | (labels == new[1]), labels < seen
    if number > 0:
        extended = extended.extend(X[is_new], labels[is_new])
    train(X[is_new], labels[is_new], seen)
    whole = ReduNet.construct(X[so_far], labels[so_far], **options)

    rows = labels_test < seen
    answers = {
        "constructed anew": torch.from_numpy(whole.predict(X_test[rows])),
        "extended": torch.from_numpy(extended.predict(X_test[rows])),
        "back-propagation": mlp(X_test[rows])[:, :seen].argmax(1),
    }
    for name, answer in answers.items():
        curves[name].append((answer == labels_test[rows]).float().mean().item())

figure, ax = plt.subplots(layout="constrained")
for (name, curve), style in zip(curves.items(), ("C2^-", "C0o:", "C1s--"), strict=True):
    size = 11 if name.startswith("constructed") else 6
    ax.plot([new[1] + 1 for new in steps], curve, style, markersize=size, label=name)
ax.set(xlabel="classes seen so far", ylabel="test accuracy on these classes", ylim=(0, 1.03))
ax.set(xticks=[2, 4, 6, 8, 10], title="Digits arrive two classes at a time")
ax.legend(frameon=False, loc="lower left")

# %%
# The extended network equals the one that was constructed from all digits, so nothing was
# forgotten. Its accuracy falls a little only because ten classes are harder to tell apart than two,
# and because the lift was chosen for the digits 0 and 1. The perceptron knows little more than the
# last two classes.

print(tabulate([[k, *v] for k, v in curves.items()], ["", 2, 4, 6, 8, 10], floatfmt=".2f"))

# %%
# The two networks agree up to rounding:

difference = (extended.membership(X_test) - whole.membership(X_test)).abs().max()
print(f"largest difference of memberships: {difference:.1e}")

# %%
# ``history`` holds the rate reduction of all digits before the layer, although the old digits are
# gone. The value after the layer would need their features, so it is NaN.

print(f"extended: {extended.history.delta[0]:.5f}")
print(f"constructed anew: {whole.history.delta[0]:.5f}")

# %%
# Both are the same here too. :doc:`/labels` says which networks can be extended.

plt.show()
