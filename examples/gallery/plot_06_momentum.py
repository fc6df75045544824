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

figure, ax = plt.subplots(layout="constrained")
for momentum in (0, 0.5, 0.9):
    net = ReduNet.construct(X, labels, num_layers=60, eps_sq=0.5, eta=0.5, momentum=momentum)
    ax.plot(net.history.delta, label=rf"$\beta$ = {momentum}")
ax.set(xlabel="layer", ylabel=r"$\Delta R$ [nats]", title="Rate reduction of the digits")
ax.legend(frameon=False)

# %%
# The network stores the momentum and applies the same recursion to new samples. With ``tol``, the
# construction stops at the first layer that raises ΔR by less than this fraction.

for momentum in (0, 0.9):
    net = ReduNet.construct(
        X, labels, num_layers=300, eps_sq=0.5, eta=0.5, momentum=momentum, tol=1e-3
    )
    print(f"momentum {momentum}: {len(net.layers)} layers, ΔR = {net.history.delta[-1]:.2f}")
plt.show()
