"""Shared by the examples that train featurizers: data, the network, and the objectives."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from redunet import MCR2Loss, NearestSubspaceClassifier, VariationalMCR2Loss, datasets
from redunet.training.featurizers import features

Samples = tuple[Tensor, Tensor]
NUM_CLASSES = 10

# The paper's dropout of 1/2 before the last layer fills dimensions with noise. Training then takes
# many more epochs.
LITTLE_DROPOUT = (0.1, 0.1)


def argument_parser(description: str, **defaults: object) -> argparse.ArgumentParser:
    """A parser with the options that these examples have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of MNIST's IDX files (default: $REDUNET_DATA; without it, embedded digits)",
    )
    parser.add_argument(
        "--per-class", type=int, help="training digits of each class (default: all)"
    )
    parser.add_argument(
        "--pool", type=int, default=1, help="average blocks of so many pixels in each direction"
    )
    parser.add_argument("--epochs", type=int, help="default: depends on the example and the data")
    parser.add_argument(
        "--batch-size", type=int, help="default: 100 for embedded digits, 1000 for MNIST"
    )
    parser.add_argument(
        "--dim", type=int, help="dimension of features (default: 32, 128 for MNIST)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, …"
    )
    parser.add_argument("--figures", type=Path, default=Path("figures"))
    parser.set_defaults(**defaults)
    return parser


class Problem(NamedTuple):
    """Training and test digits, with settings that suit them."""

    name: str
    train: Samples
    test: Samples
    batch_size: int
    dim: int
    dropout: tuple[float, float]

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Problem":
        """MNIST if its folder is given, otherwise the embedded digits."""
        if options.data_dir:
            name, batch_size, dim, dropout = "MNIST", 1000, 128, (0.25, 0.5)
            train, test = (datasets.mnist(s, options.data_dir) for s in ("train", "test"))
            # The paper's network expects images of 32 × 32, so add a border.
            train, test = ((nn.functional.pad(X, [2] * 4), labels) for X, labels in (train, test))
        else:
            name, batch_size, dim, dropout = "digits", 100, 32, LITTLE_DROPOUT
            X, labels = datasets.digits()
            halves = train_test_split(X, labels, test_size=0.5, stratify=labels, random_state=0)
            train, test = halves[::2], halves[1::2]
        if options.per_class:
            rows = datasets.subsample(train[1], options.per_class)
            train = train[0][rows], train[1][rows]
        train, test = (
            (nn.functional.avg_pool2d(X, options.pool), labels) for X, labels in (train, test)
        )
        batch_size, dim = options.batch_size or batch_size, options.dim or dim
        return cls(name, train, test, batch_size, dim, dropout)

    def batches(
        self, labels: Tensor | None = None, *, transformed: bool = False
    ) -> Iterable[Samples]:
        """Batches of training digits, shuffled in every epoch.

        ``labels`` replaces their labels. ``transformed`` applies :func:`transformations_1`.
        """
        data = TensorDataset(self.train[0], self.train[1] if labels is None else labels)
        sampler = BatchSampler(RandomSampler(data), self.batch_size, drop_last=False)
        transform = _transform if transformed else None
        return DataLoader(data, sampler=sampler, batch_size=None, collate_fn=transform)

    def featurizer(self, device: str) -> nn.Module:
        """An untrained network for these digits."""
        channels, height, width = self.train[0].shape[1:]
        return architecture_1(channels, (height, width), self.dim, self.dropout).to(device)


def transformations_1(images: Tensor) -> Tensor:
    """The random crops and flips of the V-MCR² paper (CVPR 2022, Transformations 1).

    A border of zeros is added, a quarter as wide as the image, which is 8 pixels for images of
    32 × 32. Then each image is cropped to its size at a random place, and mirrored with a
    probability of one half.
    """
    count, _, height, width = images.shape
    border = (height // 4, width // 4)
    padded = nn.functional.pad(images, (border[1], border[1], border[0], border[0]))
    rows = torch.randint(2 * border[0] + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * border[1] + 1, (count, 1)) + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    samples = torch.arange(count)[:, None, None]
    return padded.movedim(1, 3)[samples, rows[:, :, None], columns[:, None]].movedim(3, 1)


def _transform(batch: Samples) -> Samples:
    return transformations_1(batch[0]), batch[1]


class OnSphere(nn.Module):
    """Scale features to unit norm."""

    def forward(self, Z: Tensor) -> Tensor:
        """Features ``(m, d)`` divided by their norms."""
        return nn.functional.normalize(Z, dim=1)


def architecture_1(
    channels: int, size: tuple[int, int], dim: int, dropout: tuple[float, float]
) -> nn.Module:
    """The MNIST network of the V-MCR² paper (CVPR 2022, Architecture 1), for any image size."""
    pooled = (size[0] - 4) // 2 * ((size[1] - 4) // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(dropout[0]),
        nn.Flatten(),
        nn.Linear(64 * pooled, dim),
        nn.ReLU(),
        nn.Dropout(dropout[1]),
        nn.Linear(dim, dim),
        OnSphere(),
    )


class CrossEntropy(nn.Module):
    """Cross-entropy with a linear classifier on the features."""

    def __init__(self, dim: int):
        super().__init__()
        self.classifier = nn.Linear(dim, NUM_CLASSES)

    def forward(self, Z: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.classifier(Z), labels)


class Objective(NamedTuple):
    """A loss and the learning rate that suits it."""

    loss: nn.Module
    learning_rate: float

    def optimizer(self, featurizer: nn.Module) -> torch.optim.Optimizer:
        """Plain stochastic gradient descent, as in the papers."""
        parameters = [*featurizer.parameters(), *self.loss.parameters()]
        return torch.optim.SGD(parameters, lr=self.learning_rate)


def objectives(problem: Problem, device: str, *, paper: bool = False) -> dict[str, Objective]:
    """Cross-entropy, MCR² and V-MCR², with learning rates of the paper or for fewer epochs."""
    if paper:
        rates, atoms, mu = (1e-2, 1e-3, 1e-3), 20, 1.0
    else:
        # The gradient of V-MCR² is a sum over the samples of a batch.
        rates, atoms, mu = (0.5, 0.1, 1 / problem.batch_size), problem.dim // 5, 0.1
    losses = {
        "cross-entropy": CrossEntropy(problem.dim),
        "MCR²": MCR2Loss(),
        "V-MCR²": VariationalMCR2Loss(NUM_CLASSES, problem.dim, atoms, mu=mu),
    }
    return {
        name: Objective(loss.to(device), rate)
        for (name, loss), rate in zip(losses.items(), rates, strict=True)
    }


def nearest_subspace_accuracy(
    featurizer: nn.Module, problem: Problem, labels: Tensor | None = None
) -> float:
    """Test accuracy, with as many components per class as fit into the features.

    Class means are not subtracted, as in eq. 8 of the V-MCR² paper (CVPR 2022). The formula in
    Section 5.1 of the ReduNet paper (JMLR 2022) subtracts them.
    """
    Z, known = features(featurizer, problem.batches(labels))
    classifier = NearestSubspaceClassifier(problem.dim // NUM_CLASSES).fit(Z.cpu(), known.cpu())
    return classifier.score(test_features(featurizer, problem).cpu(), problem.test[1])


def test_features(featurizer: nn.Module, problem: Problem) -> Tensor:
    """Features of the test digits."""
    return features(featurizer, zip(*(t.split(1000) for t in problem.test), strict=True))[0]
