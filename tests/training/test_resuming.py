"""A training resumes only with the same samples, labels, modules and settings."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from redunet import MCR2Loss, OLELoss, VariationalMCR2Loss, train
from redunet.training.state import read_state, write_state

pytestmark = pytest.mark.filterwarnings("ignore::redunet.ReduNetWarning")

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


def loader(X=X, labels=Y, batch_size=8, seed=None, **options):
    """Batches in a random order, by the global random state or by a generator."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    data = TensorDataset(X, labels)
    return DataLoader(data, batch_size, shuffle=True, generator=generator, **options)


class OnSphere(nn.Module):
    def forward(self, Z):
        return functional.normalize(Z, dim=1)


def run(path, epochs=2, seed=1, featurizer=None, loss=None, batches=None, **options):
    """A training, as a program that is started again would do it."""
    torch.manual_seed(seed)
    featurizer = featurizer or nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.1), OnSphere())
    make = options.pop("optimizer", lambda p: torch.optim.SGD(p, 0.1, momentum=0.5))
    optimizer = make(featurizer.parameters())
    schedule = options.pop("schedule", None)
    if schedule is not None:
        options["scheduler"] = schedule(optimizer)
    batches = loader() if batches is None else batches
    options |= {"epochs": epochs, "checkpoint": path}
    history = train(featurizer, loss or MCR2Loss(), batches, optimizer, **options)
    return featurizer.state_dict(), history.loss


def smooth(Z, labels, *, weight=1.0):
    return weight * MCR2Loss()(Z, labels)


def weighted(weight):
    return lambda Z, labels: weight * MCR2Loss()(Z, labels)


SAMPLES = "the samples differ.* The samples must also come in the same order"
CHANGES = [
    ({"seed": 2}, "the starting weights of the featurizer differ"),
    ({"featurizer": nn.Linear(6, 4)}, "the featurizer.kind.class is Sequential, expected Linear"),
    ({"loss": MCR2Loss(0.01)}, "the loss.kind.eps_sq is 0.5, expected 0.01"),
    ({"loss": MCR2Loss(gamma1=3, gamma2=3)}, "the loss.kind.gamma1 is 1.0, expected 3; the loss"),
    ({"loss": OLELoss()}, "the loss.kind.class is MCR2Loss, expected OLELoss"),
    ({"loss": smooth}, "the loss"),
    ({"optimizer": lambda p: torch.optim.SGD(p, 0.2, momentum=0.5)}, "optimizer.lr is 0.1, exp"),
    ({"optimizer": lambda p: torch.optim.SGD(p, 0.1)}, "the optimizer.momentum is 0.5, expected 0"),
    (
        {"optimizer": lambda p: torch.optim.Adam(p, 0.1)},
        "the optimizer.class is SGD, expected Adam",
    ),
    ({"schedule": lambda o: StepLR(o, 1)}, "the scheduler.class: nothing before"),
    ({"latch_every": 7}, "latch_every is 50, expected 7"),
    ({"autocast": torch.bfloat16}, "autocast is None, expected torch.bfloat16"),
    ({"batches": loader(X + 1e-6)}, SAMPLES),
    ({"batches": loader(X.flip(1))}, SAMPLES),
    ({"batches": loader(labels=Y.roll(1))}, "the labels differ"),
    ({"batches": loader(X.double())}, SAMPLES),
    ({"batches": loader(X[:23], Y[:23])}, SAMPLES),
    ({"batches": loader(batch_size=12)}, "the number of batches is 3, expected 2"),
    ({"batches": DataLoader(TensorDataset(X, Y), 8)}, SAMPLES),
    ({"batches": [(X, Y)]}, "the number of batches is 3, expected 1"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_another_training_is_refused(change, message, tmp_path):
    path = tmp_path / "run.safetensors"
    run(path)
    before = path.read_bytes()
    torch.manual_seed(1)  # a linear layer of the same random numbers
    with pytest.raises(ValueError, match=f"{path} belongs to another training: .*{message}"):
        run(path, 4, **change)
    assert path.read_bytes() == before
    torch.testing.assert_close(run(path, 4), run(None, 4), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (CosineAnnealingLR, lambda o, _: CosineAnnealingLR(o, 9), "the scheduler.T_max is 5, exp"),
        (MultiStepLR, lambda o, _: MultiStepLR(o, [5, 7]), "the scheduler.milestones"),
        (StepLR, lambda o, _: StepLR(o, 5, gamma=0.5), "the scheduler.gamma is 0.1, expected 0.5"),
    ],
)
def test_another_schedule_is_refused(first, second, message, tmp_path):
    path = tmp_path / "run.safetensors"
    setting = [5] if first is MultiStepLR else 5
    run(path, schedule=lambda o: first(o, setting))
    with pytest.raises(ValueError, match=message):
        run(path, 4, schedule=lambda o: second(o, setting))
    resumed = run(path, 4, schedule=lambda o: first(o, setting))
    torch.testing.assert_close(resumed, run(None, 4, schedule=lambda o: first(o, setting)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (weighted(1.0), weighted(2.0)),
        (nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss()),
        (
            nn.CrossEntropyLoss(torch.ones(4)),
            nn.CrossEntropyLoss(torch.tensor([1.0, 1.0, 1.0, 2.0])),
        ),
    ],
)
def test_the_settings_of_other_losses_are_known(first, second, tmp_path):
    path = tmp_path / "run.safetensors"
    run(path, loss=first)
    with pytest.raises(ValueError, match=r"another training: the .*loss"):
        run(path, 4, loss=second)
    torch.testing.assert_close(run(path, 4, loss=first), run(None, 4, loss=first), rtol=0, atol=0)


def test_the_dictionary_of_a_variational_loss_is_a_starting_value(tmp_path):
    def loss(seed):
        torch.manual_seed(seed)
        return VariationalMCR2Loss(3, 4, 2)

    run(tmp_path / "run", loss=loss(0))
    with pytest.raises(ValueError, match="the starting values of the loss differ"):
        run(tmp_path / "run", 4, loss=loss(1))
    resumed = run(tmp_path / "run", 4, loss=loss(0))
    torch.testing.assert_close(resumed, run(None, 4, loss=loss(0)), rtol=0, atol=0)


class Distorted(Dataset):
    """Samples with random numbers of torch, NumPy or Python."""

    def __init__(self, source):
        self._source = source
        self._own = np.random.default_rng(5)

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        noise = {
            "torch": lambda: torch.rand(()).item(),
            "numpy": lambda: np.random.rand(),  # noqa: NPY002
            "python": random.random,
            "own": lambda: self._own.random(),
        }[self._source]()
        return X[index] + noise, Y[index]


@pytest.mark.parametrize("source", ["torch", "numpy", "python", "own"])
@pytest.mark.parametrize("seed", [None, 3])
def test_samples_that_are_distorted_at_random_can_be_resumed(source, seed, tmp_path):
    path = tmp_path / "run.safetensors"

    def started(epochs, path):
        np.random.seed(4)  # noqa: NPY002
        random.seed(4)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        batches = DataLoader(Distorted(source), 8, shuffle=True, generator=generator)
        return run(path, epochs, batches=batches)

    started(2, path)
    resumed = started(4, path)
    if source != "own":  # nobody knows its state
        torch.testing.assert_close(resumed, started(4, None), rtol=0, atol=0)


def test_modules_that_are_as_the_training_left_them_go_on(tmp_path):
    path = tmp_path / "run.safetensors"
    torch.manual_seed(1)
    featurizer, loss = nn.Sequential(nn.Linear(6, 4), OnSphere()), VariationalMCR2Loss(3, 4, 2)
    optimizer = torch.optim.SGD(featurizer.parameters(), 0.1)
    options = {"optimizer": optimizer, "checkpoint": path}
    train(featurizer, loss, loader(seed=3), epochs=2, **options)
    assert len(train(featurizer, loss, loader(seed=3), epochs=4, **options).loss) == 4
    featurizer[0].reset_parameters()
    with pytest.raises(ValueError, match="the starting weights of the featurizer differ"):
        train(featurizer, loss, loader(seed=3), epochs=5, **options)


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    run(path)
    state = read_state(path)
    del state["identity"], state["begun"]
    write_state(state, path)
    with pytest.raises(ValueError, match="written by an earlier version of redunet"):
        run(path, 4)


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], ValueError, "batches has no samples"),
        (
            DataLoader(TensorDataset(X[:3], Y[:3]), 8, drop_last=True),
            ValueError,
            "batches has no samples",
        ),
        (zip([X], [Y], strict=True), ValueError, "read only once, but a training reads them"),
        ((pair for pair in [(X, Y)]), ValueError, "read only once, but a training reads them"),
        (
            [{"x": X, "y": Y}],
            TypeError,
            "batches must give pairs .*, got dictionaries with the keys",
        ),
        ([(X, Y, Y)], TypeError, "got batches of 3 parts"),
        ([X], TypeError, "got samples without labels"),
    ],
)
@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_batches_that_do_not_fit_are_refused_by_name(
    batches, error, message, with_checkpoint, tmp_path
):
    with pytest.raises(error, match=message):
        run(tmp_path / "run" if with_checkpoint else None, batches=batches)


def test_one_epoch_needs_to_read_only_once():
    assert len(run(None, 1, batches=zip([X], [Y], strict=True))[1]) == 1
