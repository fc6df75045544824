"""Time, memory and accuracy of a search and a construction on many samples.

MNIST's 60 000 images with 256 channels, or 10 000 synthetic series of length 500. Samples are read
batch by batch. A subset of 5000 chooses lifts and bands, then all samples determine ε².
"""

import argparse
import resource
import time

import numpy as np
import torch
from torch import nn

from benchmarks.machine import describe
from redunet import MultiScaleLift, ReduNet, Search, Standardize, datasets
from redunet._labels import as_labels


def images(folder: str) -> tuple[torch.Tensor, ...]:
    """MNIST, 60 000 training and 10 000 test images."""
    train, test = (datasets.mnist(split, folder) for split in ("train", "test"))
    return (*train, *test)


def series(samples: int = 12_500, length: int = 500) -> tuple[torch.Tensor, ...]:
    """Five classes of noisy chirps that begin anywhere; every fifth one is a test sample."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % 5
    times = torch.linspace(0, 1, length)
    rates = (10 + 4 * labels)[:, None]
    X = torch.sin(2 * torch.pi * rates * times * (1 + times)) + 2 * torch.randn(
        samples, length, generator=generator
    )
    starts = torch.randint(length, (samples,), generator=generator).tolist()
    X = torch.stack([x.roll(start) for x, start in zip(X, starts, strict=True)])[:, None]
    test = torch.arange(samples) % 25 < 5
    return X[~test], labels[~test], X[test], labels[test]


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of MNIST's files; by default synthetic series")
    parser.add_argument("--kernels", type=int, default=64, help="kernels of each dilation")
    parser.add_argument("--batch-size", type=int, default=2000)
    options = parser.parse_args()
    X, labels, X_test, labels_test = images(options.data) if options.data else series()
    lifts = [
        nn.Sequential(
            Standardize(X.shape[1]),
            MultiScaleLift(
                X.shape[1],
                X.ndim - 2,
                kernels_per_scale=options.kernels,
                dilations=(1, 2, 3, 4) if X.ndim == 4 else (1, 4, 16, 48),
                nonlinearity=nonlinearity,
            ),
        )
        for nonlinearity in ("relu", "soft step", "step")
    ]
    size = options.batch_size
    start = time.perf_counter()
    search = Search(lifts, bands=[2]).fit(X, labels, batch_size=size, progress=True)
    searched = time.perf_counter()
    net = ReduNet.construct(
        X, labels, num_layers=1, batch_size=size, progress=True, **search.arguments
    )
    constructed = time.perf_counter()
    accuracy = np.mean(net.predict(X_test) == as_labels(labels_test))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(describe(torch.device("cpu")))
    print(f"- {len(X)} samples of shape {tuple(X.shape[1:])}, features {net.feature_shape}")
    print(f"- search {searched - start:.0f} s, construction {constructed - searched:.0f} s")
    print(f"- peak memory {peak:.1f} GiB, with the samples, which take {X.nbytes / 2**30:.2f} GiB")
    print(f"- accuracy {accuracy:.4f} on {len(X_test)} test samples; {search.accuracy_:.4f} by")
    print("  leave-one-out")


if __name__ == "__main__":
    main()
