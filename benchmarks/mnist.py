"""Exact, variational and accelerated networks on MNIST: time, rate reduction by layer, accuracy.

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
from redunet import NearestSubspaceClassifier, ReduNet, Variational, rate_reduction
from redunet.datasets import mnist, subsample

WAYS = {
    "exact": {},
    "exact, momentum 0.9": {"momentum": 0.9},
    "variational, r = 30": {"operators": "variational", "rank": 30},
    "variational, r = 30, new directions in every layer": {
        "operators": Variational(rank=30, latch_every=1),
    },
    "variational, r = 30, momentum 0.9": {
        "operators": "variational",
        "rank": 30,
        "momentum": 0.9,
    },
    "variational, r = 100": {"operators": "variational", "rank": 100},
}
SHOWN = (10, 20, 30, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default=os.environ.get("REDUNET_DATA"))
    parser.add_argument("--per-class", type=int, default=500, help="digits of each class")
    parser.add_argument("--eps-sq", type=float, default=0.5)
    add_device_option(parser)
    options = parser.parse_args()
    if not options.data_dir:
        parser.error("set --data-dir or REDUNET_DATA to the folder of MNIST's IDX files")

    train, test = (mnist(split, options.data_dir) for split in ("train", "test"))
    rows = subsample(train[1], options.per_class)
    X, labels = train[0][rows].flatten(1).to(options.device), train[1][rows]
    X_test, labels_test = test[0].flatten(1).to(options.device), test[1]
    table = []
    for name, way in WAYS.items():
        start = time.perf_counter()
        net = ReduNet.construct(
            X, labels, num_layers=max(SHOWN), eta=0.5, eps_sq=options.eps_sq, **way
        )
        seconds = time.perf_counter() - start
        Z = net(X)
        classifier = NearestSubspaceClassifier(10).fit(Z, labels)
        table.append(
            [
                name,
                seconds,
                *(net.history.delta[layer] for layer in SHOWN),
                rate_reduction(Z, labels, options.eps_sq).delta.item(),
                classifier.score(net(X_test), labels_test),
            ]
        )
        del net
    print(describe(options.device), end="\n\n")
    headers = ["", "seconds", *(f"ΔR @{layer}" for layer in SHOWN), "true ΔR", "test accuracy"]
    print(tabulate(table, headers, "github", floatfmt=("", *[".1f"] * 7, ".4f")))


if __name__ == "__main__":
    with torch.no_grad():
        main()
