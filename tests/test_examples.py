"""The examples and the demonstration run, with few layers and samples."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from redunet import ReduNet

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "options", "figure"),
    [
        ("gaussians.py", ["--layers", "5"], "gaussians_3_classes_in_3d.png"),
        (
            "gaussians.py",
            ["--dim", "2", "--classes", "6", "--layers", "5"],
            "gaussians_6_classes_in_2d.png",
        ),
        (
            "rotated_mnist.py",
            ["--layers", "2", "--angles", "20", "--channels", "5"],
            "rotated_mnist.png",
        ),
        ("translated_mnist.py", ["--layers", "2", "--channels", "5"], "translated_mnist.png"),
        ("momentum.py", ["--layers", "5", "--per-class", "20"], "momentum.png"),
        ("redu_conv_net.py", ["--epochs", "1", "--channels", "4"], "redu_conv_net.png"),
        ("train_mcr2.py", ["--epochs", "3", "--per-class", "30"], "train_mcr2.png"),
        ("train_mcr2.py", ["--epochs", "2", "--per-class", "30", "--paper"], "train_mcr2.png"),
        (
            "label_noise.py",
            ["--epochs", "2", "--per-class", "30", "--ratios", "0", "0.5"],
            "label_noise.png",
        ),
        (
            "self_supervised.py",
            ["--epochs", "1", "--per-class", "4", "--clustered", "8"],
            "self_supervised.png",
        ),
    ],
)
def test_examples_run_and_draw(script, options, figure, example, tmp_path):
    assert figure in example(script, *options)
    assert (tmp_path / "figures" / figure).read_bytes().startswith(b"\x89PNG")


def test_steps_of_attention_lower_the_compression(example):
    first, *table = example("tokens.py", "--tokens", 8, 16, "--steps", 3).splitlines()
    rates = [float(rate) for rate in first.partition(": ")[2].split(", ")]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] - 0.5
    assert [row.split("|")[1].strip() for row in table[2:]] == ["8", "16"]


def test_two_processes_share_their_samples(tmp_path):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    script = [ROOT / "examples" / "distributed.py", "--layers", "3", "--save", "net.safetensors"]
    done = subprocess.run(
        [sys.executable, *launch, *map(str, script)],
        cwd=tmp_path,
        env={"PATH": "", "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ReduNetWarning" not in done.stderr
    assert "process 0 of 2: 899 samples" in done.stdout
    assert "process 1 of 2: 898 samples" in done.stdout
    assert len(ReduNet.load(tmp_path / "net.safetensors").layers) == 3


def test_a_process_alone_is_told_how_to_start(example, capsys, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit) as stopped:
        example("distributed.py")
    assert stopped.value.code == 2
    assert "start it with: torchrun" in capsys.readouterr().err


@pytest.mark.parametrize(
    "script",
    [
        "gaussians.py",
        "label_noise.py",
        "momentum.py",
        "redu_conv_net.py",
        "rotated_mnist.py",
        "self_supervised.py",
        "train_mcr2.py",
        "translated_mnist.py",
    ],
)
def test_examples_have_help(script, example, capsys):
    with pytest.raises(SystemExit) as stopped:
        example(script, "--help")
    assert stopped.value.code == 0
    assert "--figures" in capsys.readouterr().out


@pytest.mark.parametrize("size", [(8, 8), (32, 28)])
def test_transformations_crop_at_random_and_mirror_half_of_the_images(imported, size):
    torch.manual_seed(0)
    height, width = size
    image = torch.arange(1.0, 2 * height * width + 1).reshape(2, height, width)
    padded = torch.nn.functional.pad(image, [width // 4] * 2 + [height // 4] * 2)
    crops = padded.unfold(1, height, 1).unfold(2, width, 1).movedim(0, 2).flatten(0, 1)
    transformed = imported("featurizers").transformations_1(image.expand(400, -1, -1, -1))
    assert transformed.shape == (400, 2, height, width)
    as_they_are, mirrored = (
        torch.stack([(crops == t).flatten(1).all(1) for t in looks])
        for looks in (transformed, transformed.flip(3))
    )
    assert bool((as_they_are.any(1) ^ mirrored.any(1)).all())  # each is one of the crops
    assert 140 < mirrored.any(1).sum() < 260
    used = (as_they_are | mirrored).any(0).float().mean()
    assert used > 0.5  # at many places


def test_clusters_are_scored_with_the_geometric_mean(imported):
    labels, clusters = [0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 3, 3]
    # The clusters determine the labels, so the mutual information is the entropy of the labels.
    entropy, of_clusters = math.log(2), math.log(2) / 2 + math.log(6) / 2
    found = imported("self_supervised").scores(torch.tensor(labels), clusters)[0]
    assert found == pytest.approx(entropy / math.sqrt(entropy * of_clusters))


def test_demonstration(tmp_path, capsys, monkeypatch, imported):
    demo = imported("demo")
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    problem = demo.digits_problem()
    train, test = tuple(t[:200] for t in problem.train), tuple(t[:300] for t in problem.test)
    smaller = problem._replace(train=train, test=test)
    monkeypatch.setattr(demo, "digits_problem", lambda: smaller)
    monkeypatch.setattr(sys, "argv", ["demo.py", "--figures", str(tmp_path / "pictures")])
    demo.main()
    shown = capsys.readouterr()
    assert "layers:" in shown.err  # the progress bar
    accuracies = {
        line[:24].strip(): [float(x) for x in line[24:].split()]
        for line in shown.out.splitlines()
        if line.startswith(("RBF SVM", "ReduNet,"))
    }
    on_originals, on_shifted = accuracies['ReduNet, lift="auto"']
    assert on_originals == on_shifted > 0.9
    assert max(accuracies["RBF SVM on pixels"][1], accuracies["ReduNet, vectors"][1]) < 0.3
    assert "Accuracy on the training images, each left out in turn: 0.9" in shown.out
    drawn = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert drawn == ["demo_rates.png", "demo_search.png", "demo_similarity.png"]


@pytest.mark.real_data
def test_demonstration_takes_mnist_if_there_is_one(mnist_dir, imported):
    problem = imported("demo").mnist_problem(mnist_dir)
    assert problem.train[0].shape == (500, 1, 28, 28)
    assert problem.test[1].bincount().tolist() == [20] * 10
