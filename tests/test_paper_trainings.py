"""The trainings of the papers take their first step on small files in the formats of the data."""

import contextlib
import copy
import os
import re
import runpy
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.definitions import negative_rate_reduction
from tests.paper_files import WRITE, options_of, write_cifar10
from tests.two_processes import needs_two_processes, run_two

ROOT = Path(__file__).parents[1]


def distance_to_dictionary(loss, Z, labels):
    """μ/(2m) M of eq. 7, with the dictionary after its step."""
    m, atoms = len(Z), loss.dictionary.T.to(Z)
    value = 0
    for j in labels.unique():
        members = Z[labels == j]
        code = len(members) * loss.codes[j].to(Z)
        difference = members.T @ members - atoms @ torch.diag(code) @ atoms.T
        value = value + m / len(members) * difference.square().sum()
    return value / (2 * m)


CASES = [
    ("mnist", "v-mcr2", "V-MCR²", 1e-3, (0.0, 0.0)),
    ("cifar10", "mcr2", "MCR²", 1e-2, (0.9, 5e-4)),
    ("cifar10", "v-mcr2", "V-MCR²", 1e-3, (0.0, 0.0)),
    ("cifar100", "v-mcr2", "MCR²", 1e-3, (0.0, 0.0)),
    ("stl10", "any", "MCR²", 1e-2, (0.9, 5e-4)),
    ("tiny_imagenet", "any", "V-MCR²", 1e-3, (0.0, 0.0)),
]


@pytest.mark.parametrize(("data", "paper", "name", "lr", "decay"), CASES)
def test_the_first_step_follows_the_gradient(data, paper, name, lr, decay, tmp_path, imported):
    WRITE[data](tmp_path)
    papers, resnet = imported("papers"), imported("resnet")
    options = options_of(data, tmp_path, paper)
    problem = papers.paper_problem(options)
    if data == "stl10":  # its images are large, so take a narrow network
        problem = problem._replace(network=partial(resnet.resnet18_for_cifar, width=16))
    torch.manual_seed(0)
    objective = papers.paper_objectives(problem, options)[name]
    assert (objective.learning_rate, objective.momentum, objective.weight_decay) == (lr, *decay)
    featurizer = problem.featurizer("cpu")
    batch = next(iter(problem.batches(transformed=True)))
    before, optimizer = copy.deepcopy(featurizer), objective.optimizer(featurizer)
    torch.manual_seed(0)
    history = imported("training").train(featurizer, objective.loss, [batch], optimizer, epochs=1)

    torch.manual_seed(0)
    Z, labels = before(batch[0]), batch[1]
    assert Z.shape == (len(labels), problem.dim)
    torch.testing.assert_close(Z.norm(dim=1), torch.ones(len(Z)))
    Z = Z.double()
    exact = negative_rate_reduction(Z, labels)
    value = exact if name == "MCR²" else distance_to_dictionary(objective.loss, Z, labels)
    assert history.loss[0] == pytest.approx(value.item(), rel=1e-3)
    assert history.delta[0] == pytest.approx(-exact.item(), rel=1e-4)
    gradients = torch.autograd.grad(value, list(before.parameters()))
    pairs = zip(before.parameters(), featurizer.parameters(), gradients, strict=True)
    steps = [((p - q) / lr, g + decay[1] * p) for p, q, g in pairs]
    found, expected = (
        torch.cat([t.detach().flatten() for t in part]) for part in zip(*steps, strict=True)
    )
    assert expected.norm() > 1e-4
    assert (found - expected).norm() < 0.02 * expected.norm()  # (p − q)/lr is a difference


def test_settings_are_those_of_the_papers(imported):
    papers = imported("papers")
    settings = papers.SETTINGS
    found = {name: s[:4] for name, s in settings["v-mcr2"].items() if name != "digits"}
    large = imported("resnet").resnet18_for_imagenet
    assert found == {
        "mnist": (None, 10, 128, 1000),
        "cifar10": (large, 10, 128, 1000),
        "cifar100": (large, 100, 500, 2000),
        "tiny_imagenet": (large, 200, 500, 2000),
    }
    assert [s.atoms_per_class for s in settings["v-mcr2"].values()][:4] == [20, 20, 10, 10]
    assert [s.border for s in settings["v-mcr2"].values()][:4] == [6, 8, 8, 0]
    (schedule,) = {s.schedules["V-MCR²"] for s in settings["v-mcr2"].values()}
    assert (schedule.learning_rate, schedule.epochs) == (1e-3, 2000)
    for setting in settings["v-mcr2-table3"].values():
        assert setting.network is imported("resnet").preact_resnet18
        assert (setting.dim, setting.batch_size) == (500, 2000)
        for schedule in setting.schedules.values():
            assert schedule == (0.1, 2000, 0.9, 1e-4, (1000, 1500))
    options = options_of("cifar100", None, "v-mcr2-table3", eps_sq=0.25)
    found = papers.paper_objectives(SimpleNamespace(num_classes=3, dim=9), options)
    assert list(found) == ["cross-entropy", "V-MCR²"]
    assert (found["V-MCR²"].loss.mu, found["V-MCR²"].loss.eps_sq) == (0.1, 0.25)
    mainline = settings["mcr2"]["cifar10"]
    assert mainline.schedules["MCR²"] == (0.01, 500, 0.9, 5e-4, (200, 400))
    assert (mainline.dim, mainline.batch_size, mainline.components) == (128, 1000, 30)


@pytest.mark.parametrize(
    ("network", "count", "side"),
    [
        ("resnet18_for_cifar", 11_168_832, 4),
        ("resnet18_for_imagenet", 11_176_512, 1),
        ("preact_resnet18", 11_167_040, 4),  # without normalisation in the three shortcuts
    ],
)
def test_the_network_is_resnet_18(network, count, side, imported):
    featurizer = getattr(imported("resnet"), network)(3, 128).eval()
    # 11 689 512 parameters of ResNet-18 for ImageNet, without its last layer of 512 × 1000 + 1000.
    assert sum(p.numel() for p in featurizer[0].parameters()) == count
    head = 512 * 512 + 2 * 512 + 512 * 128 + 128
    assert sum(p.numel() for p in featurizer[1].parameters()) == head
    convolutions = [m for m in featurizer.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([m for m in convolutions if m.kernel_size != (1, 1)]) == 17
    with torch.no_grad():
        assert featurizer[0][:-2](torch.zeros(1, 3, 32, 32)).shape == (1, 512, side, side)


def test_several_processes_share_each_batch(imported):
    X = torch.arange(10.0)[:, None, None, None]
    problem = imported("featurizers").Problem("", (X, torch.arange(10)), (), 4, 2, (0.0, 0.0))
    parts = [
        [labels.tolist() for _ in range(2) for _, labels in batches]
        for batches in (problem.batches(part=(number, 3), seed=1) for number in range(3))
    ]
    sizes = [[len(rows) for rows in part] for part in parts]
    assert sizes == [[2, 2, 1] * 2, [1, 1, 1] * 2, [1, 1, 0] * 2]
    epochs = [[i for part in parts for rows in part[e : e + 3] for i in rows] for e in (0, 3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]


def test_a_run_is_resumed_and_draws_the_same_result(example, tmp_path):
    write_cifar10(tmp_path)
    options = ["--data", "cifar10", "--data-dir", tmp_path, "--paper", "v-mcr2", "--epochs", 1]
    options += ["--objectives", "mcr2", "v-mcr2", "--batch-size", 5, "--amp", "bf16"]
    options += ["--checkpoint", tmp_path / "run.pt"]
    first = example("train_mcr2.py", *options)
    assert "cifar10: 10 training images, 1 epochs" in first
    files = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert files == ["run-mcr2.pt", "run-v-mcr2.pt"]
    assert (tmp_path / "figures" / "train_mcr2.png").is_file()
    assert example("train_mcr2.py", *options) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "cifar10", "--data-dir", "."], "--data cifar10 needs --paper"),
        (["--data", "cifar10", "--paper"], "to the folder of cifar10"),
        (
            ["--data", "stl10", "--paper", "v-mcr2", "--data-dir", "."],
            "--paper v-mcr2 has no settings for stl10",
        ),
        (
            ["--data", "stl10", "--paper", "--objectives", "v-mcr2", "--data-dir", "."],
            "this paper has only cross-entropy, MCR²",
        ),
    ],
)
def test_data_without_settings_are_refused(example, capsys, options, message):
    with pytest.raises(SystemExit):
        example("train_mcr2.py", *options)
    assert message in capsys.readouterr().err


def train_in_one_of_two(rank, port, folder):
    """One of the processes that torchrun starts, with the environment that it gives them."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": 2}
    place = {"RANK": rank, "LOCAL_RANK": rank, "MPLBACKEND": "Agg"}
    os.environ |= {name: str(value) for name, value in {**address, **place}.items()}
    os.environ.pop("REDUNET_DATA", None)
    os.chdir(folder)
    sys.path.insert(0, str(ROOT / "examples"))
    sys.argv = ["train_mcr2.py", "--epochs", "1", "--per-class", "10", "--paper"]
    sys.argv += ["--objectives", "mcr2"]
    with open(f"printed-{rank}", "w") as file, contextlib.redirect_stdout(file):
        runpy.run_path(str(ROOT / "examples" / "train_mcr2.py"), run_name="__main__")


@needs_two_processes
def test_two_processes_train_together(tmp_path):
    run_two(train_in_one_of_two, tmp_path)
    printed = (tmp_path / "printed-0").read_text() + (tmp_path / "printed-1").read_text()
    assert printed.count("digits: 100 training images") == 1
    assert re.search(r"^\| MCR² +\|", printed, re.MULTILINE)
