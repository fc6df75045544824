"""Several processes that train together take the steps of one process with the whole batches."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from redunet import MCR2Loss, VariationalMCR2Loss, train
from redunet.training.featurizers import TrainingHistory
from tests.two_processes import needs_two_processes, run_two

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [
    (torch.randn(m, 6, generator=GENERATOR, dtype=torch.float64), torch.arange(m) % 3)
    for m in (17, 12)
]
SHARDS = [slice(0, 7), slice(7, None)]  # of different lengths

# Labels of the first batch, as a loop of one's own may have them.
LABELS = {
    "integers": BATCHES[0][1],
    "names": np.array(["a", "bb", "c"])[BATCHES[0][1]],
    "memberships": torch.rand(17, 3, generator=GENERATOR, dtype=torch.float64).softmax(1),
}

pytestmark = needs_two_processes


class Featurizer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, dim))

    def forward(self, X):
        return nn.functional.normalize(self.layers(X), dim=1)


class CrossEntropy(nn.Module):
    """A loss with parameters of its own."""

    def __init__(self, dim):
        super().__init__()
        self.classifier = nn.Linear(dim, 3)

    def forward(self, Z, labels):
        return nn.functional.cross_entropy(self.classifier(Z), labels)


LOSSES = {
    "exact": lambda: MCR2Loss(),
    "variational": lambda: VariationalMCR2Loss(3, 5, 2, mu=0.5),
    "cross-entropy": lambda: CrossEntropy(5),
}


def prepared(name, seed=0):
    torch.manual_seed(seed)
    featurizer = Featurizer(5).double()
    return featurizer, LOSSES[name]().double()


def run(featurizer, loss, batches, **options):
    parameters = [*featurizer.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    options = {"epochs": 3, "latch_every": 2, **options}
    return train(featurizer, loss, batches, optimizer, **options)


def work(rank, port, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    batches = [(X[SHARDS[rank]], labels[SHARDS[rank]]) for X, labels in BATCHES]
    group = dist.group.WORLD
    for name in LOSSES:
        path = f"{folder}/{name}.safetensors"
        for epochs in (1, 3):  # the second time from the file
            featurizer, loss = prepared(name, rank)  # the first process decides
            together = DistributedDataParallel(featurizer)
            options = {"checkpoint": path, "process_group": group, "epochs": epochs}
            history = run(together, loss, batches, **options)
        result = featurizer.state_dict(), loss.state_dict(), vars(history)
        torch.save(result, f"{folder}/{name}-{rank}.pt")
    try:
        run(prepared("exact")[0], MCR2Loss(), batches, process_group=group)
    except ValueError as error:
        torch.save(str(error), f"{folder}/error-{rank}.pt")
    for name, labels in LABELS.items():
        torch.save(own_loop(labels, SHARDS[rank], group), f"{folder}/loop-{name}-{rank}.pt")
    torch.save(undefined(rank, group), f"{folder}/undefined-{rank}.pt")
    dist.destroy_process_group()


def own_loop(labels, shard, group=None):
    """The loss and all gradients after a step of a loop of one's own."""
    featurizer, _ = prepared("exact")
    loss = MCR2Loss(0.3, process_group=group)
    memberships = None
    if not isinstance(labels, np.ndarray):
        labels = labels.clone()
        memberships = labels.requires_grad_() if labels.is_floating_point() else None
    model = featurizer if group is None else DistributedDataParallel(featurizer)
    value = loss(model(BATCHES[0][0][shard]), labels[shard])
    value.backward()
    gradients = [p.grad for p in featurizer.parameters()]
    if memberships is not None:  # of the own samples; DistributedDataParallel divides others
        size = 1 if group is None else dist.get_world_size(group)
        gradients.append(memberships.grad[shard] / size)
    return value.detach(), gradients


def undefined(rank, group):
    """The loss if the half precision features of the first process overflowed."""
    Z = torch.randn(4, 3, generator=torch.Generator().manual_seed(rank)).half()
    Z[0, 0] = torch.inf if rank == 0 else 1
    return MCR2Loss(process_group=group)(Z, torch.arange(4) % 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    run_two(work, folder)
    return folder


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_equal_one(name, folder):
    featurizer, loss = prepared(name)
    history = run(featurizer, loss, BATCHES)
    for rank in range(2):
        weights, state, found = torch.load(folder / f"{name}-{rank}.pt")
        torch.testing.assert_close(weights, featurizer.state_dict(), rtol=0, atol=1e-10)
        torch.testing.assert_close(state, loss.state_dict(), rtol=0, atol=1e-10)
        for key in ("loss", "expansion", "compression", "variational"):
            np.testing.assert_allclose(found[key], vars(history)[key], rtol=1e-10)


@pytest.mark.parametrize("name", LABELS)
def test_a_loop_of_ones_own_equals_one_process(name, folder):
    value, gradients = own_loop(LABELS[name], slice(None))
    for rank in range(2):
        found, own = torch.load(folder / f"loop-{name}-{rank}.pt")
        torch.testing.assert_close(found, value, rtol=0, atol=1e-12)
        if name == "memberships":
            torch.testing.assert_close(own.pop(), gradients[-1][SHARDS[rank]], rtol=0, atol=1e-12)
        expected = gradients[: len(own)]
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-12)


def test_an_overflow_on_one_process_makes_the_loss_of_all_undefined(folder):
    for rank in range(2):
        assert torch.load(folder / f"undefined-{rank}.pt").isnan()


def test_several_processes_need_a_featurizer_that_they_share(folder):
    for rank in range(2):
        message = torch.load(folder / f"error-{rank}.pt")
        assert "must be a DistributedDataParallel, got Featurizer" in message


def test_a_checkpoint_belongs_to_a_number_of_processes(folder):
    with pytest.raises(ValueError, match="was written by 2 processes, got 1"):
        run(*prepared("exact"), BATCHES, checkpoint=folder / "exact.safetensors")


def test_a_history_has_one_entry_for_each_epoch(folder):
    history = TrainingHistory(**torch.load(folder / "exact-0.pt")[2])
    assert len(history.delta) == len(history.seconds) == 3
