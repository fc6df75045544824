"""The settings with which the papers train featurizers, for each of their data sets.

The V-MCR² paper (CVPR 2022) gives them in Section 4.1 and in Appendices 7.2 to 7.4. The ReduNet
paper (JMLR 2022), which contains the MCR² paper (NeurIPS 2020), gives them in Section 5.1 and in
Appendices D.2 and D.3.2.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from distortions import Distortions
from featurizers import (
    LITTLE_DROPOUT,
    CrossEntropy,
    Objective,
    Problem,
    Samples,
    halves_of_digits,
    mnist_with_border,
)
from natural_images import cifar10, cifar100, stl10, tiny_imagenet
from redunet import MCR2Loss, VariationalMCR2Loss, datasets
from resnet import preact_resnet18, resnet18_for_cifar, resnet18_for_imagenet


class Schedule(NamedTuple):
    """Stochastic gradient descent with one objective."""

    learning_rate: float
    epochs: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()


class Setting(NamedTuple):
    """The settings of a paper for a data set. ε² is 1/2 in all of them; see ``--eps-sq``."""

    network: Callable[[int, int], nn.Module] | None  # None for Architecture 1 of V-MCR²
    num_classes: int
    dim: int
    batch_size: int
    schedules: dict[str, Schedule]
    atoms_per_class: int = 0
    border: int | None = None
    components: int | None = None
    center: bool = False
    dropout: tuple[float, float] = (0.25, 0.5)
    mu: float = 1.0


V_MCR2 = {
    "cross-entropy": Schedule(1e-2, 2000),
    "MCR²": Schedule(1e-3, 2000),
    "V-MCR²": Schedule(1e-3, 2000),
}
# Appendix 7.4: a quarter of the epochs each with the second and the third learning rate.
TABLE_3 = {
    name: Schedule(0.1, 2000, 0.9, 1e-4, (1000, 1500)) for name in ("cross-entropy", "V-MCR²")
}
MCR2 = {
    "cross-entropy": Schedule(0.1, 400, 0.9, 5e-4, (150, 300)),
    "MCR²": Schedule(0.01, 500, 0.9, 5e-4, (200, 400)),
}

# The MCR² papers cluster STL-10 without labels. Here it takes their settings for CIFAR-10.
CIFAR10 = Setting(resnet18_for_cifar, 10, 128, 1000, MCR2, components=30, center=True)
SETTINGS = {
    "v-mcr2": {
        "mnist": Setting(None, 10, 128, 1000, V_MCR2, 20, border=6),
        "cifar10": Setting(resnet18_for_imagenet, 10, 128, 1000, V_MCR2, 20, border=8),
        "cifar100": Setting(resnet18_for_imagenet, 100, 500, 2000, V_MCR2, 10, border=8),
        "tiny_imagenet": Setting(
            resnet18_for_imagenet,
            200,
            500,
            2000,
            {**V_MCR2, "MCR²": Schedule(1e-3, 200)},
            10,
            border=0,
        ),
        "digits": Setting(None, 10, 32, 100, V_MCR2, 20, border=2, dropout=LITTLE_DROPOUT),
    },
    "v-mcr2-table3": {
        "cifar100": Setting(preact_resnet18, 100, 500, 2000, TABLE_3, 10, border=8, mu=0.1),
        "tiny_imagenet": Setting(preact_resnet18, 200, 500, 2000, TABLE_3, 10, border=0, mu=0.1),
    },
    "mcr2": {"cifar10": CIFAR10, "stl10": CIFAR10},
}


DATA = ("digits", "mnist", "cifar10", "cifar100", "stl10", "tiny_imagenet")


def setting_of(options: argparse.Namespace) -> Setting:
    """The settings of ``--paper`` for ``--data``.

    Raises
    ------
    ValueError
        If the paper does not have this data set.
    """
    data = data_of(options)
    papers = [options.paper] if options.paper in SETTINGS else list(SETTINGS)
    for paper in papers:
        if data in SETTINGS[paper]:
            return SETTINGS[paper][data]
    raise ValueError(f"--paper {options.paper} has no settings for {data}")


def data_of(options: argparse.Namespace) -> str:
    """The name of the data set: ``--data``, or MNIST if its folder is given, or the digits."""
    return options.data or ("mnist" if options.data_dir else "digits")


def paper_problem(options: argparse.Namespace) -> Problem:
    """Training and test images of ``--data``, with the settings of ``--paper``."""
    setting, name = setting_of(options), data_of(options)
    train, test = LOADERS[name](options.data_dir)
    if options.per_class:
        rows = datasets.subsample(train[1], options.per_class)
        train = train[0][rows], train[1][rows]
    return Problem(
        name,
        train,
        test,
        options.batch_size or setting.batch_size,
        options.dim or setting.dim,
        setting.dropout,
        setting.num_classes,
        setting.border,
        setting.network,
        setting.components,
        setting.center,
    )


def paper_objectives(problem: Problem, options: argparse.Namespace) -> dict[str, Objective]:
    """The objectives of a paper, with its schedules."""
    setting = setting_of(options)
    classes, dim = problem.num_classes, problem.dim
    losses: dict[str, Callable[[], nn.Module]] = {
        "cross-entropy": lambda: CrossEntropy(dim, classes),
        "MCR²": lambda: MCR2Loss(eps_sq=options.eps_sq),
        "V-MCR²": lambda: VariationalMCR2Loss(
            classes,
            dim,
            setting.atoms_per_class,
            eps_sq=options.eps_sq,
            mu=setting.mu,
            step_size=5.0,
        ),
    }
    return {
        name: Objective(losses[name](), **schedule._asdict())
        for name, schedule in setting.schedules.items()
    }


def _both(load: Callable[..., Samples], *splits: str) -> Callable[[str], tuple[Samples, Samples]]:
    """A function that loads the training images and the test images from a folder."""
    return lambda folder: tuple(load(split, folder) for split in splits)


def _tiny_imagenet(split: str, folder: str) -> Samples:
    """Tiny ImageNet in images of 32 × 32, downsampled with the filter of Pillow and Torchvision."""
    X, labels = tiny_imagenet(split, folder)
    parts = [
        functional.interpolate(part, (32, 32), mode="bilinear", antialias=True)
        for part in X.split(1000)
    ]
    return torch.cat(parts), labels


class SelfSupervised(NamedTuple):
    """The settings of MCR²-CTRL, without labels (JMLR 2022, Section 5.1, Appendices D.2 and D.6).

    A batch has 50 distortions of each of 20 images. γ₁ = γ₂ = 20, and ε² is 1/2.
    """

    distortions: Distortions
    num_classes: int = 10
    dim: int = 128
    schedule: Schedule = Schedule(0.1, 100, 0.9, 5e-4, (20, 40))


SELF_SUPERVISED = {
    "cifar10": SelfSupervised(Distortions(0.4, 0.4, 0.4, 0.1)),
    "cifar100": SelfSupervised(Distortions(0.4, 0.4, 0.4, 0.1), num_classes=20),
    "stl10": SelfSupervised(Distortions(0.8, 0.8, 0.8, 0.2, blur=True)),
}


def self_supervised_problem(options: argparse.Namespace) -> Problem:
    """Images for MCR²-CTRL. The labels of CIFAR-100 are its 20 superclasses."""
    setting = SELF_SUPERVISED[options.data]
    data = "cifar100, coarse" if options.data == "cifar100" else options.data
    train, test = LOADERS[data](options.data_dir)
    if options.per_class:
        rows = datasets.subsample(train[1], options.per_class)
        train = train[0][rows], train[1][rows]
    return Problem(
        options.data,
        train,
        test,
        batch_size=1000,
        dim=options.dim or setting.dim,
        dropout=(0.0, 0.0),
        num_classes=setting.num_classes,
        network=resnet18_for_cifar,
    )


LOADERS: dict[str, Callable[[str], tuple[Samples, Samples]]] = {
    "digits": lambda folder: halves_of_digits(),
    "mnist": _both(mnist_with_border, "train", "test"),
    "cifar10": _both(cifar10, "train", "test"),
    "cifar100": _both(cifar100, "train", "test"),
    "cifar100, coarse": _both(partial(cifar100, coarse=True), "train", "test"),
    "stl10": _both(stl10, "train", "test"),
    "tiny_imagenet": _both(_tiny_imagenet, "train", "val"),
}
