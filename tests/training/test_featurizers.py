import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, TensorDataset

from redunet import (
    MCR2Loss,
    NearestSubspaceClassifier,
    OLELoss,
    VariationalMCR2Loss,
    rate_reduction,
    train,
)
from redunet.training.featurizers import features
from redunet.training.state import read_state


class OnSphere(nn.Module):
    def forward(self, Z):
        return nn.functional.normalize(Z, dim=1)


def featurizer_of(dim):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, dim), OnSphere()
    )


@pytest.fixture
def batches():
    X, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(X, dtype=torch.float32) / 16, torch.tensor(labels))
    generator = torch.Generator().manual_seed(0)
    return DataLoader(data, 100, shuffle=True, generator=generator)


@pytest.mark.parametrize(
    ("loss", "lr"),
    [(MCR2Loss(), 0.1), (VariationalMCR2Loss(10, 32, 6, mu=0.1), 0.01), (OLELoss(), 0.001)],
    ids=["exact", "variational", "ole"],
)
def test_training_separates_classes(batches, loss, lr):
    featurizer = featurizer_of(32)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=lr)
    history = train(featurizer, loss, batches, optimizer, epochs=20)
    assert len(history.loss) == len(history.delta) == len(history.seconds) == 20
    assert len(history.variational) == (20 if isinstance(loss, VariationalMCR2Loss) else 0)
    Z, labels = features(featurizer, batches)
    if isinstance(loss, OLELoss):
        assert history.loss[-1] < history.loss[0] - 1
    else:
        assert history.delta[-1] > history.delta[0] + 3
        torch.testing.assert_close(
            rate_reduction(Z, labels, 0.5).delta.item(), history.delta[-1], rtol=0.1, atol=0
        )
    assert NearestSubspaceClassifier(3).fit(Z, labels).score(Z, labels) > 0.9


def test_algorithm_1(batches):
    # One epoch by hand: latch, then dictionary and codes, then the featurizer, in turns.
    X, labels = next(iter(batches))
    featurizer = featurizer_of(16)
    featurizer[2].p = 0
    expected = copy.deepcopy(featurizer)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.01)
    loss, expected_loss = VariationalMCR2Loss(10, 16, 4), VariationalMCR2Loss(10, 16, 4)
    expected_loss.load_state_dict(loss.state_dict())
    train(featurizer, loss, [(X, labels)] * 3, optimizer, epochs=1)

    expected_loss.latch(expected(X).detach().repeat(3, 1), labels.repeat(3))
    for _ in range(3):
        expected.zero_grad()
        Z = expected(X)
        expected_loss.update(Z, labels)
        expected_loss(Z, labels).backward()
        with torch.no_grad():
            for parameter in expected.parameters():
                parameter -= 0.01 * parameter.grad
    torch.testing.assert_close(featurizer.state_dict(), expected.state_dict())
    torch.testing.assert_close(loss.state_dict(), expected_loss.state_dict())


def test_latching_comes_once_in_a_while(batches, monkeypatch):
    loss, sizes = VariationalMCR2Loss(10, 16, 4), []
    monkeypatch.setattr(loss, "latch", lambda Z, labels: sizes.append(len(Z)))
    featurizer = featurizer_of(16)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=1e-3)
    train(featurizer, loss, batches, optimizer, epochs=5, latch_every=2)
    assert sizes == [1797] * 3  # all samples, before epochs 0, 2 and 4


def test_counts_are_checked(batches):
    featurizer = featurizer_of(8)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        train(featurizer, MCR2Loss(), batches, optimizer, epochs=0)


def test_the_schedule_takes_a_step_after_each_epoch(batches):
    featurizer = featurizer_of(8)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.1)
    scheduler = MultiStepLR(optimizer, [1, 3])
    train(featurizer, MCR2Loss(), [next(iter(batches))], optimizer, epochs=2, scheduler=scheduler)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert scheduler.last_epoch == 2


class Interrupted(Exception):
    pass


def prepared(seed, generator):
    """Everything that a training needs, with random values that depend on the seed."""
    torch.manual_seed(seed)
    X, labels = (torch.as_tensor(t[:200]) for t in load_digits(return_X_y=True))
    data = TensorDataset(X.float() / 16, labels)
    if generator:
        generator = torch.Generator().manual_seed(seed)
    batches = DataLoader(data, 50, shuffle=True, generator=generator or None)
    featurizer = nn.Sequential(
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(32, 8),
        OnSphere(),
    )
    loss = VariationalMCR2Loss(10, 8, 2, mu=0.1)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    return featurizer, loss, batches, optimizer, MultiStepLR(optimizer, [1, 3])


def results(featurizer, loss, batches, optimizer, scheduler, **options):
    """The state after a training, and the history without its times."""
    options = {"epochs": 5, "latch_every": 3, "scheduler": scheduler, **options}
    history = train(featurizer, loss, batches, optimizer, **options)
    rates = (history.loss, history.expansion, history.compression, history.variational)
    return [featurizer.state_dict(), loss.state_dict(), *rates, optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("generator", [False, True], ids=["global", "of the loader"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_a_training_that_is_resumed_ends_bit_for_bit_the_same(tmp_path, generator, autocast):
    options = {"checkpoint": tmp_path / "training.safetensors", "autocast": autocast}
    expected = results(*prepared(0, generator), autocast=autocast)
    results(*prepared(0, generator), **options, epochs=2)
    again = prepared(0, generator)
    torch.rand(3)  # other random numbers
    resumed = results(*again, **options)
    torch.testing.assert_close(resumed, expected, rtol=0, atol=0)
    finished = results(*prepared(0, generator), **options)  # nothing is left to do
    torch.testing.assert_close(finished, expected, rtol=0, atol=0)


def test_an_interruption_within_an_epoch_leaves_the_last_whole_epoch(tmp_path):
    path = tmp_path / "training.safetensors"
    featurizer, _, batches, optimizer, _ = prepared(0, False)
    calls = []

    def interrupted(Z, labels):
        calls.append(len(Z))
        if len(calls) == 7:  # in the second of two epochs of four batches
            raise Interrupted
        return MCR2Loss()(Z, labels)

    with pytest.raises(Interrupted):
        train(featurizer, interrupted, batches, optimizer, epochs=2, checkpoint=path)
    assert read_state(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["training.safetensors"]


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_only_the_featurizer_is_computed_in_half_precision(autocast):
    seen, steps = [], []

    def loss(Z, labels):
        seen.append((Z.dtype, torch.is_autocast_enabled("cpu")))
        return MCR2Loss()(Z, labels)

    for dtype in (autocast, None):
        featurizer, _, batches, optimizer, _ = prepared(0, False)
        featurizer[3].p = 0
        before = copy.deepcopy(list(featurizer.parameters()))
        hidden = []
        featurizer[0].register_forward_hook(lambda module, X, Z, into=hidden: into.append(Z.dtype))
        train(featurizer, loss, [next(iter(batches))], optimizer, epochs=1, autocast=dtype)
        assert hidden == [dtype or torch.float32]
        moved = [p - q for p, q in zip(featurizer.parameters(), before, strict=True)]
        steps.append(torch.cat([p.flatten() for p in moved]))
    assert seen == [(torch.float32, False)] * 2
    assert steps[0].dtype == torch.float32
    # The step is near the step in full precision, so gradients have not vanished.
    assert (steps[0] - steps[1]).norm() < 0.1 * steps[1].norm()


def test_other_types_are_refused(batches):
    featurizer = featurizer_of(8)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"autocast must be .*bfloat16 or .*, got torch\.float64"):
        train(featurizer, MCR2Loss(), batches, optimizer, epochs=1, autocast=torch.float64)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "training.safetensors"
    path.write_text("text")
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        results(*prepared(0, False), checkpoint=path)
