"""
The number of clusters and the precision
========================================

ε² is the only setting of clustering by lossy coding. It says how much error the code may make. The
number of clusters depends on it in sharp steps.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score

from redunet import LossyCodingClustering

rng = np.random.default_rng(0)


def noisy(bases, level=0.01, per_subspace=30):
    """Samples of the subspaces that some matrices span, with noise, and the number of each."""
    X = np.concatenate([rng.uniform(-1, 1, (per_subspace, len(B))) @ B for B in bases])
    return X + level * rng.normal(size=X.shape), np.repeat(range(len(bases)), per_subspace)


def line(degrees, azimuth):
    """A unit vector on a cone about the third axis."""
    angle, azimuth = np.deg2rad([degrees, azimuth])
    return np.array(
        [[np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)]]
    )


subspaces = noisy([np.linalg.qr(rng.normal(size=(6, d)))[0].T for d in (1, 2, 3)])
pairs = noisy([line(45 + shift, azimuth) for azimuth in (0, 90) for shift in (-5, 5)])

# %%
# The first data set has subspaces of one, two and three of six dimensions. The second has four
# lines in space: two pairs of lines that are 10 degrees apart. Look at the lengths of the steps.
# The dashed line is the default ε². The dotted line is the mean squared norm of the noise.

precisions = np.geomspace(1e-5, 3, 17)
figure, axes = plt.subplots(2, 2, figsize=(6.8, 5), sharex=True, sharey="row", layout="constrained")
cases = {"subspaces of\n1, 2 and 3 dimensions": subspaces, "two pairs of lines": pairs}
for column, (name, (X, labels)) in zip(axes.T, cases.items(), strict=True):
    found = [LossyCodingClustering(eps_sq).fit(X) for eps_sq in precisions]
    default = LossyCodingClustering().fit(X).eps_sq_
    column[0].plot(precisions, [c.n_clusters_ for c in found], "C0o-")
    scores = [adjusted_rand_score(labels, c.labels_) for c in found]
    column[1].plot(precisions, scores, "C0o-")
    for ax in column:
        ax.axvline(X.shape[1] * 0.01**2, color="black", linestyle=":", linewidth=1)
        ax.axvline(default, color="black", linestyle="--", linewidth=1)
    column[0].set(title=name, xscale="log")
    column[1].set_xlabel("ε²")
axes[0, 0].set_ylabel("number of clusters")
axes[0, 0].locator_params(axis="y", integer=True)
axes[1, 0].set_ylabel("adjusted Rand index")

# %%
# On the left, the three subspaces are found for all ε² over four powers of ten. At a sharp limit
# they become one cluster. On the right there are two limits. A fine code tells all four lines
# apart, and its errors are where the lines of a pair meet. A coarser code takes each pair for one
# cluster, because the error that it may make is larger than the distance of the lines. The default
# is too coarse to tell the lines of a pair apart. If the scale of the clusters is unknown, try
# several ε², and take one from the middle of a long step. :doc:`/theory` has the formulas.

plt.show()
