"""
Digits that are turned
======================

On a polar grid a rotation is a cyclic shift. A network on polar samples therefore does not mind
how digits are turned, although it has seen upright ones only.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.svm import SVC

from redunet import RandomCirculantLift, ReduNet, datasets, polar_samples

ANGLES = 32

X, labels = datasets.digits()
chosen = (labels == 0) | (labels == 1)
X, labels = X[chosen], labels[chosen]
train, test = slice(0, 200), slice(200, None)

# %%
# Each radius becomes a channel, and the angle is the axis along which the network is invariant.

polar = polar_samples(X, radii=[0.5, 1, 1.5, 2, 2.5, 3, 3.5], angles=ANGLES)
figure, axes = plt.subplots(2, 4, figsize=(9, 4), layout="constrained")
for ax, image, rings in zip(axes.T, X[[0, 1, 4, 5]], polar[[0, 1, 4, 5]], strict=True):
    ax[0].imshow(image[0], cmap="gray_r")
    ax[1].imshow(rings, cmap="gray_r", aspect="auto")
    ax[0].set(xticks=[], yticks=[])
    ax[1].set(xlabel="angle", yticks=[], xticks=[])
axes[0, 0].set_ylabel("image")
axes[1, 0].set_ylabel("radius")

# %%
# Features of turned digits are turned features, and memberships are the same.

lift = RandomCirculantLift(in_channels=7, out_channels=30, kernel_size=5, ndim=1)
net = ReduNet.construct(polar[train], labels[train], num_layers=10, eps_sq=0.02, eta=0.2, lift=lift)
svm = SVC(C=10).fit(polar[train].flatten(1), labels[train])
predictors = {
    "RBF SVM on polar samples": lambda Z: svm.predict(Z.flatten(1)),
    "ReduNet": net.predict,
}
figure, ax = plt.subplots(layout="constrained")
for (name, predict), style in zip(predictors.items(), ("s--", "o-"), strict=True):
    accuracies = [
        (predict(polar[test].roll(turn, 2)) == labels[test].numpy()).mean()
        for turn in range(ANGLES)
    ]
    ax.plot([360 / ANGLES * turn for turn in range(ANGLES)], accuracies, style, label=name)
ax.set(xlabel="turned by [degrees]", ylabel="test accuracy", ylim=(0, 1.02), title="Zeros and ones")
ax.legend(frameon=False, loc="lower left")

# %%
# How far a turned one is from being a zero: the residuals ‖Cʲv‖ in the last layer, which decide,
# do not change with the angle.

one = polar[test][labels[test] == 1][:1]
residuals = torch.cat([net.residual_norms(one.roll(turn, 2)) for turn in range(0, ANGLES, 8)])
for turn, (zero, one) in zip(range(0, 360, 90), residuals.tolist(), strict=True):
    print(f"{turn:3} degrees: {zero:.4f} against the zeros, {one:.4f} against the ones")
plt.show()
