"""A constructed network before and after back-propagation, and a network from random values.

This is Table 2 of the ReduNet paper (JMLR 2022). A network of 30 layers is constructed from 50
digits of each class, with 16 kernels of 7 × 7 and ε² = 0.1. It is then trained on more digits with
a linear head and cross-entropy, or with the residual head. The same network with random operators
is trained in the same way.

The defaults are the sizes of the paper, with all 60 000 digits of 28 × 28. ``--eta 0.5`` is the
step size of its text.
"""

import argparse
import copy
import os
import time

import torch
from tabulate import tabulate
from torch import Tensor
from torch.nn.functional import avg_pool2d

from benchmarks.machine import add_device_option, describe
from redunet import FineTuned, NearestSubspaceClassifier, RandomCirculantLift, ReduNet, finetune
from redunet.datasets import mnist, subsample

# η, λ, and number of components of the nearest subspaces. The text of the paper has η = 0.5.
FORWARD = [(0.5, 500.0, 10), (0.1, 500.0, 10), (0.1, 50.0, 20)]
CONSTRUCTED = 50
STARTS = {"random": "random values", "construction": "construction"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default=os.environ.get("REDUNET_DATA"))
    parser.add_argument(
        "--per-class", type=int, default=6000, help="digits of each class for training"
    )
    parser.add_argument("--tests", type=int, default=10_000, help="number of test digits")
    parser.add_argument(
        "--epochs", type=int, default=10, help="epochs of training; 0 for no back-propagation"
    )
    parser.add_argument("--lr", type=float, help="relative learning rate (default: one that fits)")
    parser.add_argument("--head", choices=("linear", "residual"), default="linear")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument(
        "--pool", type=int, default=1, help="side of the squares of pixels that are averaged"
    )
    parser.add_argument(
        "--eta",
        type=float,
        default=0.1,
        help="η of the network that is trained (default: 0.1, which gives the paper's accuracy of "
        "the constructed network; its text has 0.5)",
    )
    add_device_option(parser)
    options = parser.parse_args()
    if not options.data_dir:
        parser.error("set --data-dir or REDUNET_DATA to the folder of MNIST's IDX files")

    (X, labels), (X_test, labels_test) = (mnist(s, options.data_dir) for s in ("train", "test"))
    X, X_test = (avg_pool2d(images, options.pool) for images in (X, X_test))
    X, X_test = X.to(options.device), X_test[: options.tests].to(options.device)
    labels_test = labels_test[: options.tests]
    construction = subsample(labels, CONSTRUCTED)
    training = torch.arange(len(labels))
    if 10 * options.per_class < len(labels):
        training = subsample(labels, options.per_class)
    print(describe(options.device), end="\n\n")
    rows = []
    for eta, lam, components in FORWARD:
        start = time.perf_counter()
        net = construct(X[construction], labels[construction], eta, lam, options.layers)
        seconds = time.perf_counter() - start
        with torch.no_grad():
            Z, Z_test = net(X[construction]), net(X_test)
        classifier = NearestSubspaceClassifier(components).fit(Z, labels[construction])
        name = f"forward, η = {eta}, λ = {lam:g}, {components} components"
        rows.append([name, seconds, classifier.score(Z_test, labels_test)])
    if options.epochs:
        net = construct(X[construction], labels[construction], options.eta, 500.0, options.layers)
        for name, start_from in (("random", randomised(net)), ("construction", net)):
            start = time.perf_counter()
            tuned = tune(start_from, X[training], labels[training], options)
            seconds = time.perf_counter() - start
            accuracy = (tuned.predict(X_test) == labels_test.numpy()).mean()
            rows.append([f"{STARTS[name]} + back-propagation", seconds, accuracy])
    print(tabulate(rows, ["", "seconds", "test accuracy"], "github", floatfmt=("", ".0f", ".4f")))


def tune(net: ReduNet, X: Tensor, labels: Tensor, options: argparse.Namespace) -> FineTuned:
    """Train a network and a linear head by back-propagation."""
    return finetune(
        net,
        X,
        labels,
        epochs=options.epochs,
        lr=options.lr,
        head=options.head,
        batch_size=options.batch_size,
        validation=None,
        progress=True,
    )


def construct(X: Tensor, labels: Tensor, eta: float, lam: float, layers: int) -> ReduNet:
    lift = RandomCirculantLift(1, 16, 7, ndim=2)
    return ReduNet.construct(
        X, labels, num_layers=layers, eta=eta, eps_sq=0.1, lam=lam, lift=lift, batch_size=500
    )


def randomised(net: ReduNet) -> ReduNet:
    """The same network with random operators that have the same mean squares."""
    net = copy.deepcopy(net)
    generator = torch.Generator(net.layers[0].proportions.device).manual_seed(0)
    for parameter in net.layers.parameters():
        scale = parameter.abs().square().mean().sqrt()
        noise = torch.randn(
            parameter.shape, generator=generator, dtype=parameter.dtype, device=parameter.device
        )
        parameter.data.copy_(scale * noise)
    return net


if __name__ == "__main__":
    main()
