"""Summaries of a network and of its results on samples, as words and numbers."""

from typing import Any

import torch
from sklearn.metrics import accuracy_score

from redunet._checks import Array, as_labels
from redunet.network import ReduNet
from redunet.rates.coding_rates import rate_reduction


def description(net: ReduNet) -> dict[str, Any]:
    """Layers, shapes, parameters, memory, settings and rates of a network, as plain values."""
    parameters = list(net.layers.parameters())
    return {
        "layers": len(net.layers),
        "classes": net.classes_.tolist(),
        "sample shape": list(net.sample_shape),
        "feature shape": list(net.feature_shape),
        "operators": net.layers[0].operators.description,
        "parameters": sum(p.numel() for p in parameters),
        "memory [MiB]": round(sum(p.nbytes for p in parameters) / 2**20, 1),
        "eps_sq": net.settings.eps_sq,
        "eta": net.settings.eta,
        "membership": str(net.settings.membership),
        "momentum": net.settings.momentum,
        "rate reduction before": float(net.history.delta[0]),
        "rate reduction after": float(net.history.delta[-1]),
    }


@torch.no_grad()
def evaluation(net: ReduNet, X: Array, labels: Array) -> dict[str, Any]:
    """Accuracy of a network's memberships on labelled samples, and rates of their features."""
    rates = rate_reduction(net(X), labels, net.settings.eps_sq)
    predictions = net.predict(X)
    return {
        "samples": len(predictions),
        "accuracy": float(accuracy_score(as_labels(labels), predictions)),
        "rate reduction": rates.delta.item(),
        "expansion": rates.expansion.item(),
        "compression": rates.compression.item(),
    }


def readable(value: object) -> str:
    """A value of a summary as text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
