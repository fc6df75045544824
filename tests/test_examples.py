"""The code of README and documentation pages, and the examples, run as typed with few layers."""

import importlib
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from redunet import ReduNet, cli, datasets, demo

ROOT = Path(__file__).parents[1]


@pytest.fixture
def example(tmp_path, monkeypatch, capsys):
    """A function that runs an example in an empty folder, without MNIST, and gives its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    monkeypatch.syspath_prepend(ROOT / "examples")

    def run_example(script, *options):
        monkeypatch.setattr(sys, "argv", [script, *options])
        runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def run(*arguments, cwd, **environment):
    """Run Python in a folder without MNIST, and without programs that count processors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=cwd,
        env={
            "PATH": "",
            "LOKY_MAX_CPU_COUNT": "1",
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )


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


def test_two_processes_share_their_samples(tmp_path):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    script = [ROOT / "examples" / "distributed.py", "--layers", "3", "--save", "net.safetensors"]
    done = run(*launch, *script, cwd=tmp_path)
    assert "process 0 of 2: 899 samples" in done.stdout
    assert "process 1 of 2: 898 samples" in done.stdout
    assert len(ReduNet.load(tmp_path / "net.safetensors").layers) == 3


def test_a_process_alone_is_told_how_to_start(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(ROOT / "examples" / "distributed.py", cwd=tmp_path)
    assert "start it with: torchrun" in failed.value.stderr


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


@pytest.fixture
def imported(monkeypatch):
    """A function that imports an example."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


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


def lines_of_python(page, blocks=1):
    """The first of them; others go on from there."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return "\n".join(found[:blocks])


def test_the_lines_of_python_in_the_readme(tmp_path):
    code = lines_of_python("README.md", blocks=2)
    done = run("-c", f"{code}\nprint(accuracy)", cwd=tmp_path)
    assert "prediction: " in done.stdout
    assert float(done.stdout.splitlines()[-1]) > 0.9
    assert (tmp_path / "digits.safetensors").is_file()
    assert (tmp_path / "digits.html").is_file()


def test_the_lines_of_python_about_a_look_inside(tmp_path):
    page = ROOT / "docs" / "start.md"
    session = re.findall(r"^>>> (.*)$|^\.\.\. (.*)$", page.read_text(), re.MULTILINE)
    lines = [line for line, _ in session if "model" not in line]
    setup = lines[: 1 + [line.startswith("net = ") for line in lines].index(True)]
    run("-c", "\n".join(setup) + "\n" + lines_of_python("docs/start.md", blocks=3), cwd=tmp_path)
    assert (tmp_path / "digits.html").is_file()


def test_the_lines_about_tables_and_images_of_ones_own(tmp_path, monkeypatch, capsys):
    X, labels = datasets.digits()
    for i, (image, label) in enumerate(zip(X[:300, 0], labels[:300].tolist(), strict=True)):
        folder = tmp_path / "pets" / ("train" if i < 200 else "test") / f"pet {label}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (255 * image).to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    code = lines_of_python("docs/own_data.md", blocks=2) + "\nprint(accuracy)"
    assert float(run("-c", code, cwd=tmp_path).stdout) > 0.5
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "own_data.md").read_text()
    for command in re.findall(r"^    redunet (.*wine.*)$", page, re.MULTILINE):
        assert cli.main(command.split()) == 0, command
    names = re.findall(r"^    (.*?)  +[0-9.]+$", page, re.MULTILINE)
    assert "accuracy of an RBF SVM" in names
    printed = capsys.readouterr().out
    assert all(re.search(rf"^{re.escape(name)}  ", printed, re.MULTILINE) for name in names)


def test_the_lines_of_python_about_losses(tmp_path):
    code = lines_of_python("docs/losses.md") + "\nprint(history.delta[0], history.delta[-1])"
    before, after = run("-c", code, cwd=tmp_path).stdout.split()
    assert float(after) > float(before) + 5


def test_demonstration(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    problem = demo.digits_problem()
    train, test = (tuple(t[:300] for t in part) for part in (problem.train, problem.test))
    smaller = problem._replace(train=train, test=test)
    monkeypatch.setattr(demo, "digits_problem", lambda: smaller)
    demo.main(["--figures", str(tmp_path / "pictures")])
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
def test_demonstration_takes_mnist_if_there_is_one(mnist_dir):
    problem = demo.mnist_problem(mnist_dir)
    assert problem.train[0].shape == (500, 1, 28, 28)
    assert problem.test[1].bincount().tolist() == [20] * 10
