"""
Rotated digits
==============

On a polar grid a rotation is a cyclic shift. A network on polar samples is therefore invariant to
the rotation of digits, although it was constructed from upright digits only.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.svm import SVC
from tabulate import tabulate

from redunet import RandomCirculantLift, ReduNet, datasets, polar_samples

ANGLES = 32

X, labels = datasets.digits()
even = (labels % 2 == 0) & (labels < 8)
X, labels = X[even], labels[even]
train, test = slice(0, 400), slice(400, None)

# %%
# Each radius becomes a channel. The network is invariant to shifts along the axis of angles.
# Compare the digits above with their samples below: the hole of the zero is a white band.

polar = polar_samples(X, radii=[0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], angles=ANGLES)
figure, axes = plt.subplots(2, 4, figsize=(6.8, 3.3), layout="constrained")
for ax, image, rings in zip(axes.T, X[:4], polar[:4], strict=True):
    ax[0].imshow(image[0].numpy(), cmap="gray_r")
    ax[1].imshow(rings.numpy(), cmap="gray_r", aspect="auto")
    ax[0].set(xticks=[], yticks=[])
    ax[1].set(xlabel="angle", yticks=[], xticks=[])
axes[0, 0].set_ylabel("image")
axes[1, 0].set_ylabel("radius")

# %%
# If a digit is rotated, its features are shifted along the angles and its membership does not
# change. Look at the accuracy against the angle: one line should be flat.

lift = RandomCirculantLift(in_channels=8, out_channels=30, kernel_size=5, ndim=1)
net = ReduNet.construct(polar[train], labels[train], num_layers=10, eps_sq=0.02, eta=0.2, lift=lift)
svm = SVC(C=10).fit(polar[train].flatten(1), labels[train])
predictors = {
    "RBF SVM on polar samples": lambda Z: svm.predict(Z.flatten(1)),
    "ReduNet": net.predict,
}
figure, ax = plt.subplots(layout="constrained")
for (name, predict), style in zip(predictors.items(), ("C1s--", "C0o-"), strict=True):
    accuracies = [
        (predict(polar[test].roll(turn, 2)) == labels[test].numpy()).mean()
        for turn in range(ANGLES)
    ]
    ax.plot([360 / ANGLES * turn for turn in range(ANGLES)], accuracies, style, label=name)
ax.set(xlabel="rotation [degrees]", ylabel="test accuracy", ylim=(0, 1.02))
ax.set_title("Rotated digits 0, 2, 4 and 6")
ax.legend(frameon=False, loc="lower left")

# %%
# The network has the same accuracy at every angle. The support vector machine works only near the
# angle of its training digits.
#
# The network predicts the class with the smallest residual ‖Cʲv‖ in the last layer. The residuals
# do not change with the angle, as the table shows for one test digit at four angles. It has a
# column for each class.

turned = torch.cat([polar[test][3:4].roll(turn, 2) for turn in range(0, ANGLES, 8)])
headers = ["degrees", *net.classes_]
rows = [
    [turn, *residuals]
    for turn, residuals in zip(range(0, 360, 90), net.residual_norms(turned).tolist(), strict=True)
]
print(tabulate(rows, headers, floatfmt=".3f"))

# %%
# The columns are constant. :doc:`/invariances` lists what else a network can be invariant to, and
# the lesson on :doc:`channels </gallery/plot_22_channels>` shows how many channels this takes.

plt.show()
