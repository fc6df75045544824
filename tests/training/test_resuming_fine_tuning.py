"""A fine-tuning resumes only with the same network, samples, labels and settings."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from redunet import MCR2Loss, ReduNet, finetune
from redunet.training.fine_tuning import _Training

pytestmark = pytest.mark.filterwarnings("ignore::redunet.ReduNetWarning")

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


def loader(seed=None):
    """Batches in a random order, by the global random state or by a generator."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=generator)


class Distorted(Dataset):
    """Samples with random numbers of torch, NumPy or Python."""

    def __init__(self, source):
        self._source = source

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        noise = {
            "torch": lambda: torch.rand(()).item(),
            "numpy": lambda: np.random.rand(),  # noqa: NPY002
            "python": random.random,
        }[self._source]()
        return X[index] + noise, Y[index]


def network(seed=0):
    samples = torch.randn(24, 6, generator=torch.Generator().manual_seed(seed))
    return ReduNet.construct(samples + 3 * functional.one_hot(Y, 6), Y, num_layers=2)


NET = network()
TUNING = {"epochs": 4, "patience": None, "batch_size": 8, "validation": (X[:9], Y[:9])}


class Stopped(Exception):
    pass


def tune(path, net=NET, X=X, labels=Y, **options):
    return finetune(net, X, labels, checkpoint=path, **{**TUNING, **options})


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """The checkpoint of a fine-tuning that was interrupted after two epochs."""

    def started(net=NET, X=X, labels=Y, **options):
        path, epochs = tmp_path / "tuning.safetensors", []

        def run_epoch(self, *args, original=_Training.run_epoch):
            epochs.append(None)
            if len(epochs) > 2:
                raise Stopped
            return original(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(_Training, "run_epoch", run_epoch)
            with pytest.raises(Stopped):
                finetune(net, X, labels, checkpoint=path, **{**TUNING, **options})
        return path

    return started


RENAMED = torch.where(Y == 2, 5, Y)


def other_classes():
    net = network()
    net.classes_ = np.array([0, 1, 5])
    return net


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": network(1)}, "the weights of the network differ"),
        (
            {"net": other_classes(), "labels": RENAMED, "validation": (X[:9], RENAMED[:9])},
            "the list of classes is",
        ),
        ({"X": X * 1.001}, "the samples differ"),
        ({"X": X.flip(1)}, "the samples differ"),
        ({"X": X.roll(1, 0), "labels": Y.roll(1)}, "the samples differ; the labels differ"),
        ({"labels": Y.roll(1)}, "the labels differ"),
        ({"validation": (X[:9] + 1, Y[:9])}, "the validation samples differ"),
        ({"validation": (X[:9], Y[1:10])}, "the validation labels differ"),
        ({"validation": None}, "the validation samples: nothing now"),
        (
            {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
            "loss.kind.label_smoothing is 0.0, exp",
        ),
        ({"loss": MCR2Loss(0.1)}, "the loss.kind.class is CrossEntropyLoss, expected MCR2Loss"),
        ({"head": "linear"}, "head is residual, expected linear"),
        ({"epochs": 7}, "epochs is 4, expected 7"),
        ({"lr": 0.1}, r"lr is None, expected 0\.1"),
        ({"seed": 1}, "seed is 0, expected 1"),
    ],
)
def test_another_fine_tuning_is_refused(change, message, interrupted):
    path = interrupted()
    with pytest.raises(ValueError, match=f"{path} belongs to another fine-tuning: .*{message}"):
        tune(path, **change)
    resumed, expected = tune(path), tune(None)
    torch.testing.assert_close(resumed.state_dict(), expected.state_dict(), rtol=0, atol=0)
    assert resumed.history == expected.history


@pytest.mark.parametrize(
    "make",
    [
        lambda: TensorDataset(X, Y),
        lambda: DataLoader(TensorDataset(X, Y), 8),
        lambda: loader(),
        lambda: loader(seed=5),
        lambda: DataLoader(Distorted("torch"), 8, shuffle=True),
        lambda: DataLoader(Distorted("numpy"), 8, shuffle=True),
        lambda: DataLoader(Distorted("python"), 8, shuffle=True),
    ],
)
def test_a_fine_tuning_on_a_stream_resumes(make, interrupted):
    options = {"labels": None, "validation": (X[:9], Y[:9])}
    path = interrupted(X=make(), **options)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]  # noqa: NPY002
    resumed, expected = (tune(p, X=make(), **options) for p in (path, None))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002
    torch.testing.assert_close(resumed.state_dict(), expected.state_dict(), rtol=0, atol=0)
    assert resumed.history == expected.history


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            DataLoader(TensorDataset(X[:3], Y[:3]), 8, drop_last=True),
            ValueError,
            "X has no samples",
        ),
        (
            DataLoader([{"x": x, "y": 1} for x in X]),
            TypeError,
            "got dictionaries with the keys x, y",
        ),
        (TensorDataset(X, Y, Y), TypeError, "X must give pairs .* got batches of 3 parts"),
        (TensorDataset(X), TypeError, "got samples without labels"),
    ],
)
def test_streams_that_do_not_fit_are_refused_by_name(data, error, message):
    with pytest.raises(error, match=message):
        tune(None, X=data, labels=None)
