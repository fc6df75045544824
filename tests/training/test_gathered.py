"""Several processes that train together take the steps of one process with the whole batches."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from redunet import MCR2Loss
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


def work(rank, port, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    group = dist.group.WORLD
    for name, labels in LABELS.items():
        torch.save(own_loop(labels, SHARDS[rank], group), f"{folder}/loop-{name}-{rank}.pt")
    torch.save(undefined(rank, group), f"{folder}/undefined-{rank}.pt")
    dist.destroy_process_group()


def own_loop(labels, shard, group=None):
    """The loss and all gradients after a step of a loop of one's own."""
    torch.manual_seed(0)
    featurizer = Featurizer(5).double()
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
