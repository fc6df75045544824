"""Constructions whose samples are shared by processes end in the network of all samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

from redunet import ReduNet, Search, SharedDictionary, Variational
from redunet._processes import Processes
from tests.two_processes import needs_two_processes, run_two

GENERATOR = torch.Generator().manual_seed(0)
X = {
    "vectors": torch.randn(17, 6, generator=GENERATOR, dtype=torch.float64),
    "many channels": torch.randn(17, 20, generator=GENERATOR, dtype=torch.float64),
    "signals": torch.randn(17, 3, 5, generator=GENERATOR, dtype=torch.float64),
    "few samples": torch.randn(17, 90, generator=GENERATOR, dtype=torch.float64),
}
LABELS = np.array(list("aabbbaccabcacabcc"))
PARTIAL = np.array(list("a?b??ac?ab?ac???c"))
SOFT = np.random.default_rng(0).dirichlet(np.ones(3), size=17)

CASES = [
    ("vectors", LABELS, {}),
    ("vectors", SOFT, {"true_membership": True}),
    ("many channels", LABELS, {}),
    ("few samples", LABELS, {}),
    ("signals", LABELS, {"momentum": 0.5, "validation": True}),
    ("signals", LABELS, {"membership": "rectified"}),
    ("vectors", LABELS, {"operators": Variational(3)}),
    ("signals", LABELS, {"operators": "variational", "rank": 2}),
    ("vectors", LABELS, {"operators": SharedDictionary(6)}),
    ("signals", LABELS, {"operators": SharedDictionary(6)}),
    ("signals", LABELS, {"stop": 2}),
    ("signals", PARTIAL, {"unknown": "?"}),
    ("many channels", PARTIAL, {"unknown": "?", "stop": 2}),
    ("signals", PARTIAL, {"lift": "auto", "eps_sq": None, "unknown": "?"}),
    ("vectors", LABELS, {"lift": "auto", "eps_sq": None}),
    ("signals", LABELS, {"lift": Search(most_samples=9), "eps_sq": None}),
    ("signals", LABELS, {"operators": "extensible", "eta": 0.1}),
    ("few samples", LABELS, {"workdir": True, "offload": True}),
    ("signals", LABELS, {"loader": True}),
]

pytestmark = needs_two_processes


def construct(case, run, folder, group=None, num_layers=3):
    name, labels, options = case
    options = {"num_layers": num_layers, "eps_sq": 0.2, "batch_size": 3, **options}
    if options.get("workdir"):
        options["workdir"] = Path(folder).parent
    if options.pop("loader", False):
        classes = torch.from_numpy(np.searchsorted(["a", "b", "c"], labels[run]))
        samples = DataLoader(TensorDataset(X[name][run], classes), 4)
        return ReduNet.construct(samples, **options, process_group=group)
    if "validation" in options:
        options["validation"] = (X[name][run] ** 2, labels[run])
    if "stop" in options:  # and go on from a checkpoint
        first = {**options, "num_layers": options.pop("stop")}
        first.pop("stop", None)
        options["checkpoint"] = first["checkpoint"] = folder
        ReduNet.construct(X[name][run], labels[run], **first, process_group=group)
    return ReduNet.construct(X[name][run], labels[run], **options, process_group=group)


def work(rank, port, folder):
    """One process. Shards are of different size, and the first has nothing of class c."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    shards = [slice(0, 6), slice(6, 17)]
    for number, case in enumerate(CASES):
        net = construct(case, shards[rank], f"{folder}/{number}", dist.group.WORLD)
        net.save(f"{folder}/{number}-{rank}.safetensors")
    refused = []
    for name, labels in (("signals", np.roll(LABELS, 1)), ("other signals", LABELS)):
        run = shards[rank]
        samples = X["signals"][run] + (name == "other signals") * rank  # of the second process only
        options = {"num_layers": 4, "eps_sq": 0.2, "batch_size": 3, "checkpoint": f"{folder}/10"}
        try:
            ReduNet.construct(samples, labels[run], **options, process_group=dist.group.WORLD)
        except ValueError as error:
            refused.append(str(error))
    torch.save(refused, f"{folder}/refused-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    run_two(work, folder)
    return folder


@pytest.mark.parametrize("number", range(len(CASES)))
def test_two_processes_equal_one(number, folder, tmp_path):
    name, _, _ = case = CASES[number]
    alone = construct(case, slice(None), tmp_path)
    one, other = (ReduNet.load(folder / f"{number}-{rank}.safetensors") for rank in (0, 1))
    for key, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[key], rtol=0, atol=0)
    if isinstance(case[2].get("lift"), Search):
        return  # each process draws its own samples
    torch.testing.assert_close(one(X[name]), alone(X[name]), rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.history.delta, alone.history.delta, rtol=1e-9)
    if alone.history.validation:
        found, expected = (net.history.validation.delta for net in (one, alone))
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert one.classes_.tolist() == alone.classes_.tolist()
    assert [a.momentum for a in one.layers] == [a.momentum for a in alone.layers]


def test_one_process_alone_shares_with_nobody():
    alone = Processes()
    t = torch.arange(6.0)
    assert alone.all_reduce(t) is t
    assert torch.equal(alone.shard(t.view(2, 3)), t)
    assert alone.all_gather(t, 6) is t
    assert alone.all_gather_object("a") == ["a"]


@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_refuse_a_checkpoint_of_other_samples_or_labels(rank, folder):
    labels, samples = torch.load(folder / f"refused-{rank}.pt")
    assert "belongs to another construction: the labels differ" in labels
    assert "belongs to another construction: the samples differ" in samples
