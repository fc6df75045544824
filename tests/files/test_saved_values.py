"""Tensors in saved networks that are not finite are refused by name."""

import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from redunet import FineTuned, ReduNet, finetune
from tests.small import LABELS, X, construct


def spoiled(path, name, value):
    """Give the first number of a tensor in a file another value."""
    tensors = load_file(path)
    tensors[name].view(-1)[0] = value
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("network", "layers.0.operators.expansion.values"),
        ("network", "layers.0.proportions"),
        ("samples", "samples.X"),
        ("fine-tuned", "net.layers.0.operators.expansion.values"),
    ],
)
def test_tensors_that_are_not_finite_are_refused(kind, name, value, tmp_path):
    path, net = tmp_path / "net.safetensors", construct(num_layers=4)
    if kind == "fine-tuned":
        finetune(net, X, LABELS, epochs=1, validation=None).save(path)
    else:
        net.save(path, samples=(X, LABELS) if kind == "samples" else None)
    spoiled(path, name, value)
    load = FineTuned.load if kind == "fine-tuned" else ReduNet.load
    with pytest.raises(ValueError, match=rf"net\.safetensors: tensor {name} must be finite, but 1"):
        load(path)


class Clip(nn.Module):
    """A lift whose bounds may be infinite."""

    def __init__(self):
        super().__init__()
        self.register_buffer("most", torch.tensor(math.inf))

    def forward(self, X):
        return X.minimum(self.most)


def test_lifts_may_hold_infinite_bounds(tmp_path):
    net = construct(lift=Clip())
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors", lift=Clip())
    assert torch.equal(twin(X), net(X))
