"""
Fine-tuning what was constructed
================================

A constructed network is an ``nn.Module``; its operators can be trained further. Here it is
constructed from 20 digits of each class, as if labels had been few, and fine-tuned on 1000 that
came later.
"""

import matplotlib.pyplot as plt
from tabulate import tabulate

from redunet import RandomCirculantLift, ReduNet, datasets, finetune

X, labels = datasets.digits()
train, test = slice(0, 1000), slice(1000, None)
few = datasets.subsample(labels[train], 20)
lift = RandomCirculantLift(in_channels=1, out_channels=16, kernel_size=3, ndim=2)
net = ReduNet.construct(X[few], labels[few], num_layers=3, eps_sq=0.01, eta=0.1, lift=lift)

# %%
# Two heads. A linear one on the features is new and may look at positions; that of residual
# norms, ‖Cʲv‖, is the network's own membership and has no parameters of its own, so what it
# learns is still exactly invariant to shifts.

networks = {"constructed": net}
figure, ax = plt.subplots(layout="constrained")
for head, lr, style in (("linear", 0.03, "s--"), ("residual", 0.3, "o-")):
    tuned = finetune(
        net, X[train], labels[train], head=head, epochs=8, lr=lr, batch_size=50, validation=0.2
    )
    networks[f"fine-tuned, {head} head"] = tuned
    epochs = range(1, 1 + len(tuned.history.validation_accuracy))
    ax.plot(epochs, tuned.history.validation_accuracy, style, label=f"{head} head")
ax.set(xlabel="epoch", ylabel="validation accuracy", title="Fine-tuning by back-propagation")
ax.legend(frameon=False)

# %%
# On test digits as they are, and moved by three pixels:

shifted = X[test].roll((3, 3), (2, 3))
rows = [
    [name, *((found.predict(Z) == labels[test].numpy()).mean() for Z in (X[test], shifted))]
    for name, found in networks.items()
]
print(tabulate(rows, ["test accuracy", "as they are", "moved"], floatfmt=".3f"))
plt.show()
