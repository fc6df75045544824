"""
Fewer layers with momentum
==========================

The layers of a ReduNet are steps of gradient ascent. A method that accelerates gradient ascent
therefore reduces the number of layers. With Nesterov's momentum, each layer takes its step from a
point ahead of the features.
"""

import matplotlib.pyplot as plt

from redunet import ReduNet, datasets

X, labels = datasets.digits()
X = X.flatten(1)

# %%
# The plot has ΔR after each layer, for three values of the momentum β. Compare the number of layers
# that each needs to reach the same height.

figure, ax = plt.subplots(layout="constrained")
for momentum, color in ((0, "C1"), (0.5, "C2"), (0.9, "C0")):
    net = ReduNet.construct(X, labels, num_layers=60, eps_sq=0.5, eta=0.5, momentum=momentum)
    ax.plot(net.history.delta, color=color, label=rf"$\beta$ = {momentum}")
ax.set(xlabel="layer", ylabel=r"$\Delta R$ [nats]", title="Rate reduction of the digits")
ax.legend(frameon=False)

# %%
# With β = 0.9, fewer than twenty layers reach what takes sixty layers without momentum. The step is
# the same in all of these layers, η = 0.5, as in the papers.
#
# The network stores the momentum and applies the same recursion to new samples. With ``tol``, the
# construction stops at the first layer that raises ΔR by less than this fraction.

for momentum in (0, 0.9):
    net = ReduNet.construct(
        X, labels, num_layers=300, eps_sq=0.5, eta=0.5, momentum=momentum, tol=1e-3
    )
    print(f"momentum {momentum}: {len(net.layers)} layers, ΔR = {net.history.delta[-1]:.2f}")

# %%
# The network with momentum is smaller, and its ΔR is not lower. :doc:`/choosing` says more about
# steps and the number of layers.

plt.show()
