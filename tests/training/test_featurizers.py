import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
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
