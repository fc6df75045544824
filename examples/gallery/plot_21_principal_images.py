"""
Images that a class is made of
==============================

Features that maximise the rate reduction fill a subspace of several dimensions for each class. This
lesson looks at images along each of these dimensions. It repeats Figures 13 and 20 of the ReduNet
paper (JMLR 2022), which show CIFAR-10, with embedded digits.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redunet import MCR2Loss, datasets
from redunet.plots import plot_singular_values

COUNT = 6
X, labels = datasets.digits()


class OnSphere(nn.Module):
    """Scale features to unit norm."""

    def forward(self, Z):
        return nn.functional.normalize(Z, dim=1)


# %%
# A small featurizer is trained to maximise ΔR. Look at the singular values of its features. Each
# large one belongs to a principal direction that many digits of a class share.

torch.manual_seed(0)
layers = nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), OnSphere()
featurizer = nn.Sequential(*layers)
loader = DataLoader(TensorDataset(X, labels), batch_size=450, shuffle=True)
optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.03, momentum=0.9)
loss = MCR2Loss(eps_sq=0.5)
for _ in range(50):
    for samples, targets in loader:
        optimizer.zero_grad()
        loss(featurizer(samples), targets).backward()
        optimizer.step()
Z = featurizer(X).detach()
plot_singular_values(Z, labels)

# %%
# The classes share the 64 dimensions. Each has a few large singular values of nearly the same size,
# so it consists of several kinds of digits. The next picture shows the kinds of the digit 1. Each
# row has the ten digits whose features are most coherent with one principal direction (Figure 13).
# Compare the digits within a row, and then the rows.


def coherent(label):
    """Samples of a class, the most coherent with each principal direction first."""
    members = (labels == label).nonzero().flatten()
    directions = torch.linalg.svd(Z[members], full_matrices=False).Vh[:COUNT]
    order = (directions @ Z[members].T).abs().argsort(1, descending=True)
    return members[order]  # (directions, samples)


def show(figure, rows, names):
    """Rows of images with the name of each row."""
    for axes, row, name in zip(figure.subplots(*np.shape(rows)), rows, names, strict=True):
        for ax, image in zip(axes, X[row, 0], strict=True):
            ax.imshow(image, cmap="gray_r")
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center")


directions = [f"direction {number}" for number in range(1, COUNT + 1)]
show(plt.figure(figsize=(6.8, 3.8), layout="constrained"), coherent(1)[:, :10], directions)

# %%
# A row is a way of writing: with a foot, as a thick bar, or with a hook. The labels do not tell
# these ways apart. The same for the digit 9:

show(plt.figure(figsize=(6.8, 3.8), layout="constrained"), coherent(9)[:, :10], directions)

# %%
# Here the rows differ in the end of the stroke: it curls in some rows, and is straight in others.
# The first digit of each row stands for its row. Figure 20(a) shows these principal images for all
# classes, in the order of the singular values. Figure 20(b) has random images of the classes. Look
# for rows in which several digits look the same.


def random_images(label, rng):
    """As many samples of a class, drawn at random."""
    return torch.from_numpy(rng.permutation(np.flatnonzero(labels == label))[:COUNT])


rng = np.random.default_rng(0)
figure = plt.figure(figsize=(6.8, 6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1.2, 1])
left.suptitle("principal images")
right.suptitle("random images")
show(left, np.stack([coherent(j)[:, 0] for j in range(10)]), [f"class {j}" for j in range(10)])
show(right, np.stack([random_images(j, rng) for j in range(10)]), [""] * 10)

# %%
# The paper says that principal images are more diverse than random ones, and that they are a good
# summary of a class. Both can be measured in pixels. The first column is the mean distance between
# two of the six images of a class. The second is the mean distance of all digits of a class to the
# nearest of the six. Entries for random images are means over fifty draws.


def diversity_and_coverage(rows, label):
    chosen, everything = X[rows].flatten(1), X[labels == label].flatten(1)
    return torch.pdist(chosen).mean(), torch.cdist(everything, chosen).amin(1).mean()


of_principal = np.mean([diversity_and_coverage(coherent(j)[:, 0], j) for j in range(10)], 0)
of_random = np.mean(
    [[diversity_and_coverage(random_images(j, rng), j) for j in range(10)] for _ in range(50)],
    (0, 1),
)
table = [["principal images", *of_principal], ["random images", *of_random]]
print("mean distances")
print(tabulate(table, ["", "of two", "to the nearest"], floatfmt=".2f"))

# %%
# Principal images are more diverse: two of them are further apart. As a summary they are hardly
# better than random digits. They are at the ends of their class, and the digits in between are not
# near them.

plt.show()

# sphinx_gallery_thumbnail_number = 2
