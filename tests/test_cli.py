import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from redunet import ReduNet, __version__
from redunet.cli import main

CONSTRUCT = ["--num-layers", "3", "--eps-sq", "0.01", "--channels", "8"]


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
    assert net.feature_shape == (8, 8, 8)
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
    assert "feature shape          8 8 8\n" in printed


def test_evaluate_tells_the_accuracy(folder, capsys):
    status, printed, _ = run(
        capsys, "evaluate", folder / "net.safetensors", folder / "test.npz", "--json"
    )
    net, data = ReduNet.load(folder / "net.safetensors"), np.load(folder / "test.npz")
    assert status == 0
    found = json.loads(printed)
    assert found["samples"] == 200
    assert found["accuracy"] == (net.predict(data["X"]) == data["y"]).mean()


def test_plot_and_export_write_files(folder, capsys):
    for data in ([], [folder / "test.npz"]):
        picture = folder / f"picture{len(data)}.png"
        assert run(capsys, "plot", folder / "net.safetensors", *data, "-o", picture)[0] == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
    path = folder / "net.pt2"
    assert run(capsys, "export", folder / "net.safetensors", "-o", path)[0] == 0
    X = torch.from_numpy(np.load(folder / "test.npz")["X"][:5])
    net = ReduNet.load(folder / "net.safetensors")
    torch.testing.assert_close(torch.export.load(path).module()(X)[0], net(X), rtol=0, atol=1e-5)


def test_errors_are_one_line(folder, capsys):
    np.savez(folder / "other.npz", a=np.zeros(3))
    np.savez(folder / "pickled.npz", X=np.array([object()]), y=np.zeros(1))
    (folder / "text.npz").write_text("no archive")
    for arguments, message in (
        (["construct", folder / "none.npz"], "No such file or directory"),
        (["construct", folder / "other.npz"], "should contain arrays X and y, it contains a"),
        (["construct", folder / "pickled.npz"], "pickled.npz is not an .npz file of plain arrays"),
        (["construct", folder / "text.npz"], "text.npz is not an .npz file of plain arrays"),
        (["info", folder / "train.npz"], "not a complete safetensors file"),
        (["construct", folder / "train.npz", "--eta", "-1"], "eta must be a positive number"),
        (["export", folder / "net.safetensors", "-o", "net.pkl"], "format must be one of"),
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


def test_the_module_is_the_command(folder):
    command = [sys.executable, "-m", "redunet", "info", str(folder / "none"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("redunet: error: no such file")


def test_folders_of_images_are_data(tmp_path, capsys):
    X, y = load_digits(return_X_y=True)
    for number in range(60):
        (tmp_path / "images" / str(y[number])).mkdir(exist_ok=True, parents=True)
        image = Image.fromarray((X[number].reshape(8, 8) * 15).astype(np.uint8))
        image.save(tmp_path / "images" / str(y[number]) / f"{number}.png")
    net = str(tmp_path / "net.safetensors")
    images = str(tmp_path / "images")
    options = ["--image-size", "12", "--channels", "4", "--num-layers", "1", "--eta", "0.1"]
    assert main(["construct", images, "-o", net, *options]) == 0
    assert ReduNet.load(net).sample_shape == (1, 12, 12)
    status, printed, _ = run(capsys, "evaluate", net, images, "--json")
    assert status == 0
    assert json.loads(printed[printed.index("{") :])["samples"] == 60
    vectors = ReduNet.construct(X[:60], y[:60], num_layers=1, eta=0.1)
    vectors.save(net)
    status, _, error = run(capsys, "evaluate", net, images)
    assert status == 1
    assert "the network takes (64,)" in error


def test_settings_follow_the_data(folder, tmp_path):
    """Unless they are given."""
    path = tmp_path / "net.safetensors"
    train = str(folder / "train.npz")
    assert main(["construct", train, "-o", str(path), "--num-layers", "1"]) == 0
    net = ReduNet.load(path)
    assert net.feature_shape == (16, 8, 8)
    assert net.settings.eps_sq == 0.5 / 64
    assert net.settings.eta * 16 / (400 * net.settings.eps_sq) == pytest.approx(2)
    assert main(["construct", train, "-o", str(path), "--num-layers", "1", "--flatten"]) == 0
    net = ReduNet.load(path)
    assert net.feature_shape == (64,)
    assert (net.settings.eps_sq, net.settings.eta) == (0.5, 2 * 400 * 0.5 / 64)
    assert main(["construct", train, "-o", str(path), "--num-layers", "1", "--channels", "0"]) == 0
    assert ReduNet.load(path).feature_shape == (1, 8, 8)
