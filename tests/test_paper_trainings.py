"""The trainings of the papers take their first step on small files in the formats of the data."""

import argparse
import copy
import importlib
import re
import runpy
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import epochs, finetuning, losses
from redunet import MCR2Loss, train
from redunet.training.state import read_state

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)


def bytes_of(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def write_rows(path, labels, *more_labels):
    """A binary file of CIFAR: the labels of an image, and then the image."""
    columns = [np.array(column, np.uint8)[:, None] for column in (labels, *more_labels)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(np.hstack([*columns, bytes_of(len(labels), 3072)]).tobytes())


def write_cifar10(folder):
    inner = folder / "cifar-10-batches-bin"
    for i in range(1, 6):
        write_rows(inner / f"data_batch_{i}.bin", [2 * i - 2, 2 * i - 1])
    write_rows(inner / "test_batch.bin", 3 * list(range(10)))


def write_cifar100(folder):
    for split in ("train", "test"):
        fine = np.array([0, 7, 7, 42, 99, 99])
        write_rows(folder / "cifar-100-binary" / f"{split}.bin", fine // 5, fine)


def write_stl10(folder):
    inner = folder / "stl10_binary"
    inner.mkdir()
    for split in ("train", "test"):
        (inner / f"{split}_X.bin").write_bytes(bytes_of(4, 3, 96, 96).tobytes())
        (inner / f"{split}_y.bin").write_bytes(bytes([1, 1, 10, 10]))


def write_tiny_imagenet(folder):
    inner = folder / "tiny-imagenet-200"
    names = [f"train/{n}/images/{n}_{i}.JPEG" for n in ("n01", "n02") for i in range(3)]
    for name in [*names, "val/images/val_0.JPEG", "val/images/val_1.JPEG"]:
        (inner / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bytes_of(64, 64, 3)).save(inner / name)
    (inner / "wnids.txt").write_text("n02\nn01\n")
    listing = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    (inner / "val" / "val_annotations.txt").write_text(listing)


def write_mnist(folder, train_count=10):
    for split, count in (("train", train_count), ("t10k", 10)):
        images = bytes_of(count, 28, 28)
        labels = (np.arange(count) % 10).astype(np.uint8)
        head = struct.pack(">4i", 2051, count, 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2i", 2049, count)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())


WRITE = {
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "stl10": write_stl10,
    "tiny_imagenet": write_tiny_imagenet,
}


@pytest.fixture
def imported(monkeypatch):
    """A function that imports an example."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


@pytest.fixture
def example(tmp_path, monkeypatch, capsys):
    """A function that runs an example in an empty folder, and returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    monkeypatch.syspath_prepend(ROOT / "examples")

    def run_example(script, *options):
        monkeypatch.setattr(sys, "argv", [script, *map(str, options)])
        runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def options_of(data, folder, paper="any"):
    return argparse.Namespace(
        data=data, data_dir=folder, paper=paper, per_class=None, batch_size=None, dim=None
    )


def log_det(A):
    return torch.linalg.slogdet(torch.eye(len(A), dtype=A.dtype) + A)[1]


def negative_rate_reduction(Z, labels, eps_sq=0.5):
    """R_c − R by the definition."""
    m, d = Z.shape
    value = -log_det(d / (m * eps_sq) * Z.T @ Z) / 2
    for members in (Z[labels == j] for j in labels.unique()):
        rate = log_det(d / (len(members) * eps_sq) * members.T @ members) / 2
        value = value + len(members) / m * rate
    return value


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
    history = train(featurizer, objective.loss, [batch], optimizer, epochs=1)

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
    settings = imported("papers").SETTINGS
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
    mainline = settings["mcr2"]["cifar10"]
    assert mainline.schedules["MCR²"] == (0.01, 500, 0.9, 5e-4, (200, 400))
    assert (mainline.dim, mainline.batch_size, mainline.components) == (128, 1000, 30)


@pytest.mark.parametrize(
    ("network", "count", "side"),
    [("resnet18_for_cifar", 11_168_832, 4), ("resnet18_for_imagenet", 11_176_512, 1)],
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
    options += ["--checkpoint", tmp_path / "run.safetensors"]
    first = example("train_mcr2.py", *options)
    assert "cifar10: 10 training images, 1 epochs" in first
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == ["run-mcr2.safetensors", "run-v-mcr2.safetensors"]
    assert (tmp_path / "figures" / "train_mcr2.png").is_file()
    assert example("train_mcr2.py", *options) == first


def test_images_without_labels_are_trained_and_clustered(imported, tmp_path, monkeypatch, capsys):
    write_cifar10(tmp_path)
    module, papers, resnet = map(imported, ("self_supervised", "papers", "resnet"))
    narrow = partial(resnet.resnet18_for_cifar, width=8)
    monkeypatch.setattr(papers, "resnet18_for_cifar", narrow)
    monkeypatch.setattr(module, "SAMPLES", 4)
    monkeypatch.setattr(module, "DISTORTIONS", 2)
    options = ["--data", "cifar10", "--paper", "--data-dir", tmp_path, "--epochs", 1]
    options += ["--clustered", 3, "--checkpoint", tmp_path / "run.safetensors"]
    options += ["--figures", tmp_path]
    shown = []
    for _ in range(2):  # the second time from the file
        monkeypatch.setattr(sys, "argv", ["self_supervised.py", *map(str, options)])
        module.main()
        shown.append(capsys.readouterr().out)
    assert "30 test images of cifar10, clustered without labels" in shown[0]
    assert shown[0] == shown[1]
    assert len(read_state(tmp_path / "run.safetensors")["loss"]["_extra_state"]["rates"]) == 2


@pytest.mark.parametrize(("data", "classes"), [("cifar10", 10), ("cifar100", 20), ("stl10", 10)])
def test_the_first_step_without_labels(data, classes, imported, tmp_path):
    WRITE[data](tmp_path)
    papers, module = imported("papers"), imported("self_supervised")
    problem = papers.self_supervised_problem(options_of(data, tmp_path))
    setting = papers.SELF_SUPERVISED[data]
    assert setting.schedule == (0.1, 100, 0.9, 5e-4, (20, 40))
    assert (problem.num_classes, problem.dim) == (classes, 128)
    assert problem.train[1].max() < classes
    torch.manual_seed(0)
    featurizer = imported("resnet").resnet18_for_cifar(3, 128, width=16)
    loss = module.RecordedMCR2Loss(gamma1=20, gamma2=20)
    X = setting.distortions(problem.train[0][:3].repeat_interleave(2, 0))
    labels = torch.arange(3).repeat_interleave(2)
    Z = featurizer(X)
    scaled = torch.eye(128) + 20 * 128 / (6 * 0.5) * Z.T @ Z
    expansion = torch.linalg.slogdet(torch.eye(128) + 128 / (6 * 0.5) * Z.T @ Z)[1] / 2
    compression = negative_rate_reduction(Z, labels) + expansion
    value = loss(Z, labels)
    expected = compression - torch.linalg.slogdet(scaled)[1] / (2 * 20)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(loss.rates[0]), torch.stack([expansion, compression]))
    value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in featurizer.parameters())


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


def test_two_processes_train_together(tmp_path):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    options = ["--epochs", "1", "--per-class", "10", "--paper", "--objectives", "mcr2"]
    done = subprocess.run(
        [sys.executable, *launch, str(ROOT / "examples" / "train_mcr2.py"), *options],
        cwd=tmp_path,
        env={"PATH": "", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("digits: 100 training images") == 1
    assert re.search(r"^\| MCR² +\|", done.stdout, re.MULTILINE)


@pytest.fixture
def program(monkeypatch, capsys):
    """A function that runs a benchmark, and returns what it prints."""

    def run_program(module, *options):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, options)])
        module.main()
        return capsys.readouterr().out

    return run_program


def test_table_2_takes_its_first_epoch_and_is_resumed(program, tmp_path, monkeypatch):
    write_mnist(tmp_path, 500)
    monkeypatch.setattr(finetuning, "FORWARD", finetuning.FORWARD[:1])
    options = ["--data-dir", tmp_path, "--pool", 4, "--layers", 1, "--epochs", 1]
    options += ["--batch-size", 500, "--eta", 0.5, "--checkpoint", tmp_path / "table2.safetensors"]
    first = program(finetuning, *options)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == ["table2-construction.safetensors", "table2-random.safetensors"]
    rows = re.findall(r"^\| (.*\S) +\| +\d+ \| +(\d\.\d{4}) \|$", first, re.MULTILINE)
    assert [name for name, _ in rows][1:] == [
        "random values + back-propagation",
        "construction + back-propagation",
    ]
    again = program(finetuning, *options)
    assert re.findall(r"\d\.\d{4} \|", again) == re.findall(r"\d\.\d{4} \|", first)
    options[7] = 2  # other epochs are another training
    with pytest.raises(ValueError, match="epochs is 1, expected 2"):
        program(finetuning, *options)


def test_the_full_size_of_table_2_is_the_default(monkeypatch, program):
    asked = {}
    parse = argparse.ArgumentParser.parse_args

    def stop(parser):
        asked.update(vars(parse(parser, [])))
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(SystemExit):
        program(finetuning)
    assert (asked["per_class"], asked["tests"]) == (6000, 10_000)
    assert (asked["layers"], asked["pool"], finetuning.CONSTRUCTED) == (30, 1, 50)


def test_all_ways_to_compute_the_rates_have_the_same_gradient():
    Z, labels = losses.Batch(3, 8, 30, 2).data(torch.device("cpu"))
    expected = losses.gradient(negative_rate_reduction, Z, labels)
    for loss in (epochs.membership_matrices(3), losses.loop(3, None), MCR2Loss(epochs.EPS_SQ)):
        found = losses.gradient(loss, Z, labels)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_seconds_an_epoch_stand_beside_those_of_the_paper(program, monkeypatch):
    small = {"MNIST": epochs.Task(losses.Batch(4, 8, 40, 2), 400, 11.56, 6.29)}
    monkeypatch.setattr(epochs, "TASKS", small)
    lines = program(epochs, "--repeat", 1, "--slow", 0).splitlines()
    cells = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert cells[:3] == ["MNIST", "10", "–"]
    assert all(float(cell) > 0 for cell in cells[3:6])
    assert cells[6:] == ["11.6", "6.29"]


def test_epochs_have_the_shapes_of_the_paper():
    shapes = {name: (*task.batch[:3], task.batches) for name, task in epochs.TASKS.items()}
    assert shapes == {
        "MNIST": (10, 128, 1000, 60),
        "CIFAR-10": (10, 128, 1000, 50),
        "CIFAR-100": (100, 500, 2000, 25),
        "Tiny ImageNet": (200, 500, 2000, 50),
    }
