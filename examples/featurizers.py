"""Shared by the examples that train featurizers: data, the network, and the objectives."""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from redunet import MCR2Loss, NearestSubspaceClassifier, VariationalMCR2Loss, datasets
from training import features

Samples = tuple[Tensor, Tensor]
NUM_CLASSES = 10
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}

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


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of long trainings."""
    parser.add_argument(
        "--amp", choices=PRECISIONS, help="compute the network in half precision, but not the loss"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="file from which to resume; with several objectives, each adds its name",
    )
    parser.add_argument("--eps-sq", type=float, default=0.5, help="ε² (default: 0.5)")
    parser.add_argument("--lr", type=float, help="learning rate (default: that of the objective)")


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """The options that a checkpoint belongs to: all that change the steps of a training."""
    others = {"epochs", "checkpoint", "figures", "device", "objectives", "clustered"}
    return {name: str(value) for name, value in vars(options).items() if name not in others}


class Problem(NamedTuple):
    """Training and test images, with settings that suit them."""

    name: str
    train: Samples
    test: Samples
    batch_size: int
    dim: int
    dropout: tuple[float, float]
    num_classes: int = NUM_CLASSES
    border: int | None = None  # of the random crops; by default a quarter of the image
    network: Callable[[int, int], nn.Module] | None = None  # of channels and dim
    components: int | None = None  # of a nearest subspace; by default as many as fit
    center: bool = False  # whether nearest subspaces are those of centred features

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Problem":
        """MNIST if its folder is given, otherwise the embedded digits."""
        if options.data_dir:
            name, batch_size, dim, dropout = "MNIST", 1000, 128, (0.25, 0.5)
            train, test = (mnist_with_border(s, options.data_dir) for s in ("train", "test"))
        else:
            name, batch_size, dim, dropout = "digits", 100, 32, LITTLE_DROPOUT
            train, test = halves_of_digits()
        if options.per_class:
            rows = datasets.subsample(train[1], options.per_class)
            train = train[0][rows], train[1][rows]
        train, test = (
            (nn.functional.avg_pool2d(X, options.pool), labels) for X, labels in (train, test)
        )
        batch_size, dim = options.batch_size or batch_size, options.dim or dim
        return cls(name, train, test, batch_size, dim, dropout)

    def batches(
        self,
        labels: Tensor | None = None,
        *,
        transformed: bool = False,
        part: tuple[int, int] = (0, 1),
        seed: int = 0,
    ) -> Iterable[Samples]:
        """Batches of training images, shuffled in every epoch.

        ``labels`` replaces their labels. ``transformed`` applies :func:`transformations_1`.
        ``part=(1, 4)`` is the second of four parts of every batch. The seed then gives all parts
        the same batches.
        """
        data = TensorDataset(self.train[0], self.train[1] if labels is None else labels)
        generator = torch.Generator().manual_seed(seed) if part[1] > 1 else None
        samples = RandomSampler(data, generator=generator)
        batches = BatchSampler(samples, self.batch_size, drop_last=False)
        return DataLoader(
            data,
            sampler=_Parts(batches, *part),
            batch_size=None,
            collate_fn=self._transform if transformed else None,
            generator=generator,
        )

    def _transform(self, batch: Samples) -> Samples:
        return transformations_1(batch[0], self.border), batch[1]

    def featurizer(self, device: str) -> nn.Module:
        """An untrained network for these images."""
        channels, height, width = self.train[0].shape[1:]
        if self.network is not None:
            return self.network(channels, self.dim).to(device)
        return architecture_1(channels, (height, width), self.dim, self.dropout).to(device)


def halves_of_digits() -> tuple[Samples, Samples]:
    """The embedded digits: half of them for training, the other half for tests."""
    X, labels = datasets.digits()
    halves = train_test_split(X, labels, test_size=0.5, stratify=labels, random_state=0)
    return tuple(halves[::2]), tuple(halves[1::2])


def mnist_with_border(split: str, folder: str) -> Samples:
    """MNIST in images of 32 × 32, the size that the paper's network expects."""
    X, labels = datasets.mnist(split, folder)
    return nn.functional.pad(X, [2] * 4), labels


class _Parts:
    """One of several parts of every batch of positions."""

    def __init__(self, batches: Iterable[list[int]], number: int, count: int):
        self.batches, self.number, self.count = batches, number, count

    def __iter__(self) -> Iterator[list[int]]:
        return (np.array_split(rows, self.count)[self.number].tolist() for rows in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def transformations_1(images: Tensor, border: int | None = None) -> Tensor:
    """The random crops and flips of the V-MCR² paper (CVPR 2022, Transformations 1).

    A border of zeros is added, by default a quarter as wide as the image, which is 8 pixels for
    images of 32 × 32. Then each image is cropped to its size at a random place, and mirrored with a
    probability of one half.
    """
    count, _, height, width = images.shape
    border = (height // 4, width // 4) if border is None else (border, border)
    padded = nn.functional.pad(images, (border[1], border[1], border[0], border[0]))
    rows = torch.randint(2 * border[0] + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * border[1] + 1, (count, 1)) + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    samples = torch.arange(count)[:, None, None]
    crops = padded.movedim(1, 3)[samples, rows[:, :, None], columns[:, None]]
    return crops.movedim(3, 1).contiguous()


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

    def __init__(self, dim: int, num_classes: int = NUM_CLASSES):
        super().__init__()
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, Z: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.classifier(Z), labels)


class Objective(NamedTuple):
    """A loss, and how stochastic gradient descent minimises it."""

    loss: nn.Module
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    epochs: int | None = None
    milestones: tuple[int, ...] = ()  # epochs after which the learning rate is divided by ten

    def to(self, device: str) -> "Objective":
        """The same, with the loss on a device."""
        return self._replace(loss=self.loss.to(device))

    def optimizer(self, featurizer: nn.Module) -> torch.optim.Optimizer:
        """Stochastic gradient descent for the featurizer and the loss."""
        parameters = [*featurizer.parameters(), *self.loss.parameters()]
        return torch.optim.SGD(
            parameters, self.learning_rate, self.momentum, weight_decay=self.weight_decay
        )

    def scheduler(self, optimizer: torch.optim.Optimizer) -> MultiStepLR | None:
        """The schedule of the learning rate, or None if it is constant."""
        return MultiStepLR(optimizer, self.milestones) if self.milestones else None


def objectives(problem: Problem, device: str, eps_sq: float = 0.5) -> dict[str, Objective]:
    """Cross-entropy, MCR² and V-MCR², with learning rates for few epochs."""
    dim, atoms = problem.dim, problem.dim // 5
    cross_entropy = CrossEntropy(dim).to(device)
    variational = VariationalMCR2Loss(NUM_CLASSES, dim, atoms, eps_sq=eps_sq, mu=0.1).to(device)
    return {
        "cross-entropy": Objective(cross_entropy, 0.5),
        "MCR²": Objective(MCR2Loss(eps_sq), 0.1),
        # The gradient of V-MCR² is a sum over the samples of a batch.
        "V-MCR²": Objective(variational, 1 / problem.batch_size),
    }


def nearest_subspace_accuracy(
    featurizer: nn.Module, problem: Problem, labels: Tensor | None = None
) -> float:
    """Test accuracy, by default with as many components per class as fit into the features.

    By default class means are not subtracted, as in eq. 8 of the V-MCR² paper (CVPR 2022). The
    formula in Section 5.1 of the ReduNet paper (JMLR 2022) subtracts them.
    """
    Z, known = features(featurizer, problem.batches(labels))
    components = problem.components or problem.dim // problem.num_classes
    classifier = NearestSubspaceClassifier(components, center=problem.center)
    classifier.fit(Z.cpu(), known.cpu())
    return classifier.score(test_features(featurizer, problem).cpu(), problem.test[1])


def test_features(featurizer: nn.Module, problem: Problem) -> Tensor:
    """Features of the test digits."""
    return features(featurizer, zip(*(t.split(1000) for t in problem.test), strict=True))[0]
