"""The training loop of the examples."""

import copy
import importlib
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, TensorDataset

from redunet import MCR2Loss, VariationalMCR2Loss, datasets, rate_reduction
from tests.two_processes import needs_two_processes, run_two

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def training(imported):
    return imported("training")


class OnSphere(nn.Module):
    def forward(self, Z):
        return normalize(Z, dim=1)


class CrossEntropy(nn.Module):
    """A loss with parameters of its own."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(8, 10)

    def forward(self, Z, labels):
        return cross_entropy(self.classifier(Z), labels)


LOSSES = {
    "exact": MCR2Loss,
    "variational": lambda: VariationalMCR2Loss(10, 8, 2, mu=0.1),
    "cross-entropy": CrossEntropy,
}


def prepared(name="exact", seed=0, dropout=0.0, generator=False):
    """Everything that a training needs, with random values that depend on the seed."""
    torch.manual_seed(seed)
    X, labels = (t[:200] for t in datasets.digits())
    random = torch.Generator().manual_seed(seed) if generator else None
    batches = DataLoader(TensorDataset(X.flatten(1), labels), 50, shuffle=True, generator=random)
    layers = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout)
    featurizer = nn.Sequential(*layers, nn.Linear(32, 8), OnSphere())
    loss = LOSSES[name]()
    parameters = [*featurizer.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)
    return featurizer, loss, batches, optimizer


def test_it_raises_the_rate_reduction_that_it_records(training):
    featurizer, loss, batches, optimizer = prepared()
    history = training.train(featurizer, loss, batches, optimizer, epochs=20)
    assert len(history.loss) == len(history.delta) == len(history.seconds) == 20
    assert history.delta[-1] > history.delta[0] + 1
    found = rate_reduction(*training.features(featurizer, batches), 0.5).delta.item()
    assert found == pytest.approx(history.delta[-1], rel=0.1)


def test_algorithm_1(training):
    # One epoch by hand: latch, then dictionary and codes, then the featurizer, in turns.
    featurizer, loss, batches, _ = prepared("variational")
    featurizer[1] = nn.Identity()
    X, labels = next(iter(batches))
    expected, expected_loss = copy.deepcopy(featurizer), copy.deepcopy(loss)
    optimizer = torch.optim.SGD(featurizer.parameters(), lr=0.01)
    history = training.train(featurizer, loss, [(X, labels)] * 3, optimizer, epochs=1)

    expected_loss.latch(expected(X).detach().repeat(3, 1), labels.repeat(3))
    rates = []
    for _ in range(3):
        expected.zero_grad()
        Z = expected(X)
        expected_loss.update(Z.detach(), labels)
        rates.append(expected_loss.rates(labels))
        expected_loss(Z, labels).backward()
        with torch.no_grad():
            for parameter in expected.parameters():
                parameter -= 0.01 * parameter.grad
    torch.testing.assert_close(featurizer.state_dict(), expected.state_dict())
    torch.testing.assert_close(loss.state_dict(), expected_loss.state_dict())
    assert history.variational == [pytest.approx(sum((r - c).item() for r, c in rates) / 3)]


def test_latching_comes_once_in_a_while(training, monkeypatch):
    featurizer, loss, batches, optimizer = prepared("variational")
    sizes = []
    monkeypatch.setattr(loss, "latch", lambda Z, labels: sizes.append(len(Z)))
    training.train(featurizer, loss, batches, optimizer, epochs=5, latch_every=2)
    assert sizes == [200] * 3  # all samples, before epochs 0, 2 and 4


def results(training, generator=False, epochs=5, **options):
    """The state after a training, and the history without its times."""
    featurizer, loss, batches, optimizer = prepared("variational", 0, 0.5, generator)
    options["scheduler"] = MultiStepLR(optimizer, [1, 3])
    options |= {"epochs": epochs, "latch_every": 3}
    history = vars(training.train(featurizer, loss, batches, optimizer, **options))
    rates = {name: values for name, values in history.items() if name != "seconds"}
    return [featurizer.state_dict(), loss.state_dict(), rates, optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("generator", [False, True], ids=["global", "of the loader"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_a_training_that_is_resumed_ends_bit_for_bit_the_same(
    training, tmp_path, generator, autocast
):
    expected = results(training, generator, autocast=autocast)
    options = {"autocast": autocast, "checkpoint": tmp_path / "run.pt", "settings": {"a": "1"}}
    results(training, generator, epochs=2, **options)
    for _ in range(2):  # the second time nothing is left to do
        resumed = results(training, generator, **options)
        torch.testing.assert_close(resumed, expected, rtol=0, atol=0)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    with pytest.raises(ValueError, match=r"settings \{'a': '1'\}, expected \{'a': '2'\}: choose"):
        results(training, generator, **{**options, "settings": {"a": "2"}})


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_only_the_featurizer_is_computed_in_half_precision(training, autocast):
    seen, steps = [], []

    class Watched(MCR2Loss):
        def forward(self, Z, labels):
            seen.append((Z.dtype, torch.is_autocast_enabled("cpu")))
            return super().forward(Z, labels)

    for dtype in (autocast, None):
        featurizer, _, batches, optimizer = prepared()
        before = copy.deepcopy(list(featurizer.parameters()))
        hidden = []
        featurizer[0].register_forward_hook(lambda module, X, Z, into=hidden: into.append(Z.dtype))
        one = [next(iter(batches))]
        training.train(featurizer, Watched(), one, optimizer, epochs=1, autocast=dtype)
        assert hidden == [dtype or torch.float32]
        moved = [p - q for p, q in zip(featurizer.parameters(), before, strict=True)]
        steps.append(torch.cat([p.flatten() for p in moved]))
    assert seen == [(torch.float32, False)] * 2
    assert steps[0].dtype == torch.float32
    # The step is near the step in full precision, so gradients have not vanished.
    assert (steps[0] - steps[1]).norm() < 0.1 * steps[1].norm()


def test_a_training_leaves_out_batches_that_overflow(training):
    featurizer, loss, batches, optimizer = prepared()
    (X, labels), *_ = batches
    featurizer[1] = nn.Identity()
    two = [(X, labels), (X * 1e38, labels)]
    history = training.train(featurizer, loss, two, optimizer, epochs=1, autocast=torch.float16)
    assert history.loss[0] != history.loss[0]  # NaN
    assert all(p.isfinite().all() for p in featurizer.parameters())
    assert history.delta[0] > 0


def share(batches, rank):
    """Every batch, or the part of a process; the parts have different lengths."""
    part = {None: slice(None), 0: slice(0, 20), 1: slice(20, None)}[rank]
    return [(X[part].double(), labels[part]) for X, labels in batches]


def trained(training, name, rank=None, checkpoint=None):
    """The state after a training; with a checkpoint, in two parts."""
    batches = list(prepared()[2])
    for epochs in (1, 3) if checkpoint else (3,):
        featurizer, loss, _, _ = prepared(name, rank or 0)  # the first process decides
        featurizer, loss = featurizer.double(), loss.double()
        featurizer[1] = nn.Identity()
        parameters = [*featurizer.parameters(), *loss.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        group = None if rank is None else dist.group.WORLD
        options = {"epochs": epochs, "latch_every": 2, "process_group": group}
        model = featurizer if rank is None else DistributedDataParallel(featurizer)
        options["checkpoint"] = checkpoint
        history = training.train(model, loss, share(batches, rank), optimizer, **options)
    return featurizer.state_dict(), loss.state_dict(), history.loss, history.delta


def work(rank, port, folder):
    torch.set_num_threads(1)
    sys.path.insert(0, str(EXAMPLES))
    training = importlib.import_module("training")
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    for name in LOSSES:
        found = trained(training, name, rank, Path(folder, f"{name}.pt"))
        torch.save(found, f"{folder}/{name}-{rank}.pt")
    dist.destroy_process_group()


@needs_two_processes
def test_two_processes_equal_one(training, tmp_path):
    run_two(work, tmp_path)
    for name in LOSSES:
        expected = trained(training, name)
        for rank in range(2):
            found = torch.load(tmp_path / f"{name}-{rank}.pt")
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=r"exact\.pt was written by 2 processes, got 1"):
        trained(training, "exact", checkpoint=tmp_path / "exact.pt")
