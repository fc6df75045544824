"""
Fine-tuning what was constructed
================================

A constructed network is an ``nn.Module``. Constructed from 20 digits of each class and fine-tuned
on all labelled ones, it starts ahead of the same network with random operators.
"""

import copy

import matplotlib.pyplot as plt
import torch

from redunet import RandomCirculantLift, ReduNet, datasets, finetune

X, labels = datasets.digits()
train, test = slice(0, 1000), slice(1000, None)
few = datasets.subsample(labels[train], 20)
lift = RandomCirculantLift(in_channels=1, out_channels=16, kernel_size=3, ndim=2)
constructed = ReduNet.construct(X[few], labels[few], num_layers=6, eps_sq=0.02, eta=0.1, lift=lift)
print(f"constructed: {(constructed.predict(X[test]) == labels[test].numpy()).mean():.3f}")

# %%
# The same network, with random operators of the same size:

random = copy.deepcopy(constructed)
torch.manual_seed(0)
for parameter in random.layers.parameters():
    parameter.data = torch.randn_like(parameter) * parameter.abs().square().mean().sqrt()

# %%
# A linear head, cross-entropy, and all operators trained:

figure, ax = plt.subplots(layout="constrained")
for name, net, style in (("constructed", constructed, "-"), ("random", random, "--")):
    tuned = finetune(net, X[train], labels[train], epochs=8, lr=0.05, batch_size=50, validation=0.2)
    accuracy = (tuned.predict(X[test]) == labels[test].numpy()).mean()
    epochs = range(1, len(tuned.history.loss) + 1)
    ax.plot(epochs, tuned.history.loss, style, label=f"{name}, test accuracy {accuracy:.3f}")
ax.set(xlabel="epoch", ylabel="validation loss", title="Fine-tuning by back-propagation")
ax.legend(frameon=False)
plt.show()
