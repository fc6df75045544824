"""Networks with each kind of operators on MNIST: time, memory, rate reduction, accuracy.

This is the network of Table 18 of the ReduNet paper (JMLR 2022). It is constructed from 500 digits
of each class as vectors. The accuracy is that of the nearest subspace classifier with 10 components
on all test digits.
"""

import argparse
import os
import time

import torch
from tabulate import tabulate

from benchmarks.machine import add_device_option, describe
from redunet import (
    NearestSubspaceClassifier,
    ReduNet,
    SharedDictionary,
    rate_reduction,
)
from redunet.datasets import mnist, subsample

WAYS = {
    "exact": {},
    "exact, momentum 0.9": {"momentum": 0.9},
    "variational, r = 30": {"operators": "variational", "rank": 30},
    "variational, r = 30, momentum 0.9": {
        "operators": "variational",
        "rank": 30,
        "momentum": 0.9,
    },
    "variational, r = 100": {"operators": "variational", "rank": 100},
    "shared dictionary, q = 100": {"operators": SharedDictionary(100)},
    "shared dictionary, q = 200": {"operators": SharedDictionary(200)},
    "shared dictionary, q = 300": {"operators": SharedDictionary(300)},
    "shared dictionary, q = 300, μ = 1000": {"operators": SharedDictionary(300, mu=1000)},
    "shared dictionary, q = 500": {"operators": SharedDictionary(500)},
}
SHOWN = (10, 20, 30, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default=os.environ.get("REDUNET_DATA"))
    parser.add_argument("--per-class", type=int, default=500, help="digits of each class")
    parser.add_argument("--eps-sq", type=float, default=0.5)
    parser.add_argument("--layers", type=int, default=100, help="number of layers")
    parser.add_argument("--only", default="", help="networks whose name contains this text")
    add_device_option(parser)
    options = parser.parse_args()
    if not options.data_dir:
        parser.error("set --data-dir or REDUNET_DATA to the folder of MNIST's IDX files")

    train, test = (mnist(split, options.data_dir) for split in ("train", "test"))
    rows = subsample(train[1], options.per_class)
    X, labels = train[0][rows].flatten(1).to(options.device), train[1][rows]
    X_test, labels_test = test[0].flatten(1).to(options.device), test[1]
    table, shown = [], [layer for layer in SHOWN if layer <= options.layers]
    # On a CPU, the time of the processor does not depend on what else the machine does.
    clock = time.process_time if options.device.type == "cpu" else time.perf_counter
    for name, way in WAYS.items():
        if options.only not in name:
            continue
        start = clock()
        net = ReduNet.construct(
            X, labels, num_layers=options.layers, eta=0.5, eps_sq=options.eps_sq, **way
        )
        seconds = clock() - start
        Z = net(X)
        classifier = NearestSubspaceClassifier(10).fit(Z, labels)
        table.append(
            [
                name,
                seconds,
                bytes_of(net.layers[-1]) / 2**20,
                *(net.history.delta[layer] for layer in shown),
                rate_reduction(Z, labels, options.eps_sq).delta.item(),
                classifier.score(net(X_test), labels_test),
            ]
        )
        del net
    print(describe(options.device), end="\n\n")
    headers = ["", "seconds", "MB per layer", *(f"ΔR @{layer}" for layer in shown)]
    headers += ["true ΔR", "test accuracy"]
    print(tabulate(table, headers, "github", floatfmt=("", *[".1f"] * (3 + len(shown)), ".4f")))


def bytes_of(layer: torch.nn.Module) -> int:
    """Size of all tensors of a layer."""
    return sum(t.numel() * t.element_size() for t in layer.state_dict().values())


if __name__ == "__main__":
    with torch.no_grad():
        main()
