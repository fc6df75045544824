import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from redunet import ReduNet, __version__
from redunet._tables import three_digits
from redunet.cli import main
from redunet.inspection import html_report

CONSTRUCT = ["--lift", "none", "--num-layers", "3", "--eps-sq", "0.01"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 1, 8, 8).astype(np.float32) / 16
    np.savez(folder / "train.npz", X=X[:400], y=y[:400])
    np.savez(folder / "test.npz", X=X[400:600], y=y[400:600])
    output = ["-o", str(folder / "net.safetensors")]
    assert main(["construct", str(folder / "train.npz"), *output, *CONSTRUCT]) == 0
    return folder


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    return status, *capsys.readouterr()


def test_construct_writes_a_network(folder):
    net = ReduNet.load(folder / "net.safetensors")
    assert len(net.layers) == 3
    assert net.feature_shape == (1, 8, 8)
    assert net.settings.eps_sq == 0.01


def test_info_says_what_a_network_is(folder, capsys):
    status, printed, _ = run(capsys, "info", folder / "net.safetensors", "--json")
    found = json.loads(printed)
    net = ReduNet.load(folder / "net.safetensors")
    assert status == 0
    assert found["layers"] == 3
    assert found["classes"] == list(range(10))
    assert found["parameters"] == sum(p.numel() for p in net.layers.parameters())
    assert found["rate reduction after"] == pytest.approx(net.history.delta[-1])
    _, printed, _ = run(capsys, "info", folder / "net.safetensors")
    assert "feature shape          1, 8, 8\n" in printed


def test_evaluate_tells_the_accuracy(folder, capsys):
    status, printed, _ = run(
        capsys, "evaluate", folder / "net.safetensors", folder / "test.npz", "--json"
    )
    net, data = ReduNet.load(folder / "net.safetensors"), np.load(folder / "test.npz")
    assert status == 0
    found = json.loads(printed)
    assert found["samples"] == 200
    assert found["accuracy"] == (net.predict(data["X"]) == data["y"]).mean()
    assert found["chance level (largest class)"] == np.bincount(data["y"]).max() / 200
    assert "accuracy of an RBF SVM" not in found


def test_evaluate_compares_with_a_support_vector_machine(folder, capsys):
    net, test, train = (folder / name for name in ("net.safetensors", "test.npz", "train.npz"))
    status, printed, _ = run(capsys, "evaluate", net, test, "--train", train)
    assert status == 0
    X, y = (np.load(train)[name] for name in ("X", "y"))
    X_test, y_test = (np.load(test)[name] for name in ("X", "y"))
    svm = make_pipeline(StandardScaler(), SVC()).fit(X.reshape(400, 64), y)
    accuracy = svm.score(X_test.reshape(200, 64), y_test)
    assert f"accuracy of an RBF SVM        {three_digits(accuracy)}\n" in printed
    columns = {line.index(line.split("  ")[-1].strip()) for line in printed.splitlines()}
    assert columns == {len("chance level (largest class)  ")}


def test_export_writes_a_file(folder, capsys):
    path = folder / "net.pt2"
    assert run(capsys, "export", folder / "net.safetensors", "-o", path)[0] == 0
    X = torch.from_numpy(np.load(folder / "test.npz")["X"][:5])
    net = ReduNet.load(folder / "net.safetensors")
    torch.testing.assert_close(torch.export.load(path).module()(X)[0], net(X), rtol=0, atol=1e-5)


def test_errors_are_one_line(folder, capsys):
    np.savez(folder / "other.npz", a=np.zeros(3))
    np.savez(folder / "pickled.npz", X=np.array([object()]), y=np.zeros(1))
    (folder / "text.npz").write_text("no archive")
    np.savez(folder / "letters.npz", X=np.zeros((2, 1, 8, 8)), y=["a", "b"])
    np.savez(folder / "w.npz", X=np.zeros((2, 7)), y=[0, 1])
    train = np.load(folder / "train.npz")
    np.savez(folder / "few.npz", X=train["X"][:40], y=train["y"][:40])
    for arguments, message in (
        (["construct", folder / "none.npz"], "No such file or directory"),
        (["construct", folder / "data.xlsx"], "or a file that ends in .csv, .tsv, .txt, .ts or"),
        (
            ["evaluate", folder / "net.safetensors", folder / "letters.npz"],
            "labels must be among the classes 0, 1, 2, 3, 4, … (10 in all), got 'a', 'b'",
        ),
        (
            [
                "evaluate",
                folder / "net.safetensors",
                folder / "test.npz",
                "--train",
                folder / "w.npz",
            ],
            "expected samples of shape (1, 8, 8), that is X of shape (m, 1, 8, 8), got X of",
        ),
        (["construct", folder / "other.npz"], "should contain arrays X and y, it contains a"),
        (["construct", folder / "pickled.npz"], "pickled.npz is not an .npz file of plain arrays"),
        (["construct", folder / "text.npz"], "text.npz is not an .npz file of plain arrays"),
        (
            ["info", folder / "net.safetensors", "--device", "gpu"],
            "the device 'gpu' cannot be used",
        ),
        (["info", folder / "train.npz"], "not a complete safetensors file"),
        (
            ["construct", folder / "few.npz", "--rank", "3"],
            "operators='exact': got an unexpected keyword argument 'rank'",
        ),
        (
            ["construct", folder / "few.npz", "--operators", "variational"],
            "operators='variational': missing a required argument: 'rank'",
        ),
        (["construct", folder / "few.npz", "--eps-sq", "-1"], "eps_sq must be a positive number"),
        (
            ["export", folder / "net.safetensors", "-o", "net.pkl"],
            "writes to a file that ends in .pt2 or .onnx, got -o net.pkl",
        ),
    ):
        status, printed, error = run(capsys, *arguments)
        assert status == 1
        assert printed == ""
        assert message in error
        assert error.splitlines()[-1].startswith("redunet: error: ")
        assert "Traceback" not in error


def test_debugging_shows_the_traceback(folder):
    with pytest.raises(FileNotFoundError):
        main(["info", str(folder / "none"), "--debug"])


def test_wrong_usage_and_help(capsys):
    for arguments, status in ((["fly"], 2), ([], 2), (["--help"], 0), (["--version"], 0)):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == status
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["info", "net.safetensors"], ["construct", "--help"]])
def test_a_reader_that_closes_the_output_is_no_error(folder, arguments):
    command = [sys.executable, "-m", "redunet", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=folder)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_characters_that_the_output_does_not_have_are_escaped(monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    with pytest.raises(SystemExit):
        main(["construct", "--help"])
    assert rb"squared precision \u03b5\xb2" in ascii_only.buffer.getvalue()


def test_an_output_that_is_closed_or_full(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["info", str(folder / "net.safetensors")]) == 0
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(SystemExit) as stopped:
        main(["info", str(folder / "net.safetensors")])
    full.close()
    assert stopped.value.code == 1
    assert "redunet: error: [Errno 28] No space left on device" in capsys.readouterr().err


def test_help_names_the_command_and_each_default_once(capsys):
    for command in ("construct", "evaluate", "predict", "info", "report", "export"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        lines = capsys.readouterr().out
        assert lines.startswith(f"usage: redunet {command} [-h]")
        options = " ".join(lines.split()).split(" --")
        assert all(option.count("(default") <= 1 for option in options)


def test_the_module_is_the_command(folder):
    command = [sys.executable, "-m", "redunet", "info", str(folder / "none"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("redunet: error: no such file")


def test_folders_of_images_are_data(tmp_path, capsys, monkeypatch):
    X, y = load_digits(return_X_y=True)
    for number in range(60):
        (tmp_path / "images" / str(y[number])).mkdir(exist_ok=True, parents=True)
        image = Image.fromarray((X[number].reshape(8, 8) * 15).astype(np.uint8))
        image.save(tmp_path / "images" / str(y[number]) / f"{number}.png")
    net = str(tmp_path / "net.safetensors")
    images = str(tmp_path / "images")
    options = ["--image-size", "12", "--lift", "none", "--num-layers", "1"]
    assert main(["construct", images, "-o", net, *options]) == 0
    assert ReduNet.load(net).sample_shape == (1, 12, 12)
    status, printed, _ = run(capsys, "evaluate", net, images, "--json")
    assert status == 0
    assert json.loads(printed[printed.index("{") :])["samples"] == 60
    asked = {}
    monkeypatch.setattr(html_report, "report", lambda *arguments, **options: asked.update(options))
    assert main(["report", net, images]) == 0
    numbers = sorted(range(60), key=lambda number: (y[number], f"{number}.png"))
    assert asked["names"] == [f"{y[number]}/{number}.png" for number in numbers]
    vectors = ReduNet.construct(X[:60], y[:60], num_layers=1, eta=0.1)
    vectors.save(net)
    status, _, error = run(capsys, "evaluate", net, images)
    assert status == 1
    assert "the network takes (64,)" in error


def test_tables_are_data(tmp_path, capsys):
    frame = load_iris()
    names = frame.target_names[frame.target]
    files = {}
    for part, rows in (("train", slice(None, None, 2)), ("test", slice(1, None, 2))):
        lines = [
            ",".join([name, *map(str, x)])
            for name, x in zip(names[rows], frame.data[rows], strict=True)
        ]
        files[part] = tmp_path / f"{part}.csv"
        files[part].write_text("\n".join(["species,a,b,c,d", *lines]))
    net = tmp_path / "net.safetensors"
    options = ("-o", net, "--label", "species", "--samples")
    assert run(capsys, "construct", files["train"], *options)[0] == 0
    assert net.stat().st_size < 5000
    assert ReduNet.load(net).classes_.tolist() == ["setosa", "versicolor", "virginica"]
    arguments = (net, files["test"], "--label", "first", "--train", files["train"])
    status, printed, _ = run(capsys, "evaluate", *arguments, "--json")
    assert status == 0
    found = json.loads(printed)
    assert found["accuracy"] > 0.9
    assert found["accuracy of an RBF SVM"] > 0.9
    assert found["chance level (largest class)"] == pytest.approx(1 / 3)
    status, _, error = run(capsys, "construct", files["train"])
    assert status == 1
    assert "labels must be integers or names of classes, got 0.2 in 'd'" in error
    page = tmp_path / "page.html"
    assert run(capsys, "report", *arguments, "-o", page)[0] == 0
    assert "accuracy of an RBF SVM" in page.read_text(encoding="utf-8")


def test_labels_like_integers_are_names_if_the_networks_classes_are(tmp_path, capsys):
    """The table of the test samples contains no other labels."""
    rng = np.random.default_rng(0)
    for file, classes in (("train", ["1", "2", "x"] * 10), ("test", ["1", "2"] * 5)):
        rows = [f"{rng.normal()},{rng.normal()},{name}" for name in classes]
        (tmp_path / f"{file}.csv").write_text("\n".join(["a,b,label", *rows]))
    files = [tmp_path / name for name in ("net.safetensors", "train.csv", "test.csv")]
    assert run(capsys, "construct", files[1], "-o", files[0], "--eps-sq", "0.1")[0] == 0
    assert run(capsys, "evaluate", files[0], files[2])[0] == 0


def write_ts(path, lengths, seed):
    """Sinusoids of one or two periods in 20 values, at level 3."""
    rng = np.random.default_rng(seed)
    lines = ["@classLabel true 1 2", "@data"]
    for number, length in enumerate(lengths):
        times = 2 * np.pi * (1 + number % 2) * (np.arange(length) + rng.integers(20)) / 20
        values = 3 + np.sin(times) + 0.1 * rng.normal(size=length)
        lines.append(",".join(map(str, values)) + f":{1 + number % 2}")
    path.write_text("\n".join(lines))


def test_time_series_are_data(tmp_path, capsys):
    train, test, net = (tmp_path / name for name in ("train.ts", "test.ts", "net.safetensors"))
    write_ts(train, [30, 40, 36, 33] * 6, seed=0)
    write_ts(test, [31, 28, 40, 39] * 6, seed=1)
    by_mean = ["--fill", "mean"]
    assert run(capsys, "construct", train, "-o", net, *by_mean)[0] == 0
    assert ReduNet.load(net).sample_shape == (1, 40)
    status, printed, _ = run(capsys, "evaluate", net, test, *by_mean, "--json")
    assert status == 0
    assert json.loads(printed)["accuracy"] > 0.9
    fixed = ["--length", "45", "--fill", "3"]
    assert run(capsys, "construct", train, "-o", net, *fixed, "--lift", "none")[0] == 0
    assert ReduNet.load(net).feature_shape == (1, 45)
    assert run(capsys, "evaluate", net, test, "--fill", "3", "--train", train)[0] == 0
    write_ts(test, [50], seed=1)
    status, _, error = run(capsys, "evaluate", net, test)
    assert status == 1
    assert "series 0 has 50 values, but length is 45" in error


def test_settings_follow_the_data(folder, tmp_path):
    """Unless they are given."""
    path = tmp_path / "net.safetensors"
    construct = ["construct", str(folder / "train.npz"), "-o", str(path), "--num-layers", "1"]
    assert main([*construct, "--lift", "none"]) == 0
    net = ReduNet.load(path)
    assert net.feature_shape == (1, 8, 8)
    assert net.settings.eps_sq == 0.5 / 64
    assert net.settings.eta / (400 * net.settings.eps_sq) == pytest.approx(2)
    assert main([*construct, "--lift", "flatten"]) == 0
    net = ReduNet.load(path)
    assert net.feature_shape == (64,)
    assert (net.settings.eps_sq, net.settings.eta) == (0.5, 2 * 400 * 0.5 / 64)
