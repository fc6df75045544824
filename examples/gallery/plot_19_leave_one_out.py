"""
Leave-one-out without leaving out
=================================

A network of one layer chooses its settings by the loss of its training samples, each left out in
turn. If samples were really left out, every candidate would need as many networks as there are
samples. A formula gives the same numbers from one decomposition of each class.
"""

import time

import matplotlib.pyplot as plt
import torch

from redunet import ReduNet, Search, datasets
from redunet.plots import plot_search

images, classes = datasets.digits()
rows = datasets.subsample(classes[:1000], 10, seed=0)
X, labels = images[rows].flatten(1).double(), classes[rows]

# %%
# Here is the computation that the formula avoids. For every sample and every class it takes the
# members of the class without this sample, and solves a system of 64 equations. The result is the
# relative residual: 0 if the class explains the sample, 1 if it explains nothing of it.


def left_out(X, labels, eps_sq):
    """Relative residuals ``(m, k)``. Every sample is left out of its own class."""
    V, identity = X / X.norm(dim=1, keepdim=True), torch.eye(X.shape[1], dtype=X.dtype)
    table = torch.empty(len(V), 10, dtype=X.dtype)
    for i, v in enumerate(V):
        for j in range(10):
            others = (labels == j) & (torch.arange(len(V)) != i)
            alpha = X.shape[1] / ((labels == j).sum() * eps_sq)
            moment = V[others].T @ V[others]
            table[i, j] = torch.linalg.solve(identity + alpha * moment, v).norm()
    return table


# %%
# ``Search`` uses the formula, for 13 values of ε² at once. The candidate None stands for the
# samples themselves, without a lift. The seconds depend on the machine that built this page.

start = time.perf_counter()
search = Search([None]).fit(X, labels)
best = search.candidates_[0]
middle = time.perf_counter()
table = left_out(X, labels, best.eps_sq)
end = time.perf_counter()
print(f"formula, {len(best.precisions)} values of ε²: {middle - start:.3f} s")
print(f"leaving out, one value of ε²: {end - middle:.3f} s")
print(f"largest difference: {(table - best.residuals).abs().max():.0e}")

# %%
# In the left plot all points should lie on the diagonal. The right plot has the log loss of the
# samples for each ε². The cross is the loss that follows from really leaving out, at the ε² that
# was chosen. It should lie on the curve, at its lowest point.

figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.6), layout="constrained")
own = torch.nn.functional.one_hot(labels, 10).bool()
for name, chosen, style in (("another class", ~own, "C1."), ("own class", own, "C0.")):
    left.plot(table[chosen], best.residuals[chosen], style, markersize=4, label=name)
left.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
left.set(xlabel="leaving out", ylabel="formula", title="Relative residuals")
left.legend(frameon=False)
loss = torch.nn.functional.cross_entropy(-search.sharpness_ * table, labels)
right.plot(best.precisions, best.losses, "C0o-", label="formula")
right.plot(best.eps_sq, loss, "C1x", markersize=12, label="leaving out")
right.set(xscale="log", xlabel="ε²", ylabel="log loss", title="Log loss of left-out samples")
right.legend(frameon=False)

# %%
# They do. With the formula it costs little to compare many lifts and bands as well. The next plot
# shows all candidates for the same digits as images. Look for the lowest point in the upper plot.

X, X_test = images[rows], images[1000:]
search = Search(bands=[0, 1, 2, 3]).fit(X, labels)
plot_search(search)

# %%
# The band of 0 is the worst with every lift: it sees how often a kernel responds, but not where.
# Candidates below the upper edge of the grey stripe are equally good as far as 100 digits can tell.
# The network has the best of them, which has a ring. Its accuracy on left-out digits is close to
# that on new digits. With 100 digits the estimate has a standard error of three points:

net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
accuracy = (net.predict(X_test) == classes[1000:].numpy()).mean()
print(f"accuracy by leave-one-out: {search.accuracy_:.3f}")
print(f"accuracy on new digits: {accuracy:.3f}")
plt.show()

# sphinx_gallery_thumbnail_number = 2
