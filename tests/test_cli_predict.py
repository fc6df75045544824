"""``redunet predict`` writes classes and probabilities of samples without labels."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image

from redunet import ReduNet, datasets
from redunet.cli import commands, main
from tests.test_cli import write_ts


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    return status, *capsys.readouterr()


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def check_rows(rows, net, X, names, label):
    """Compare a table with the predictions of a network."""
    classes = net.classes_.tolist()
    assert rows[0] == ["sample", label, *(f"P({name})" for name in classes)]
    assert [row[0] for row in rows[1:]] == names
    assert [row[1] for row in rows[1:]] == [str(name) for name in net.predict(X)]
    found = np.array([row[2:] for row in rows[1:]], dtype=float)
    np.testing.assert_allclose(found, net.membership(X).numpy(), rtol=1e-5, atol=1e-30)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A network of a table with names, and its samples."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(3, 3)), 8, 0) + rng.normal(size=(24, 3)) / 3
    kinds = np.repeat(["ant, red", "bee", "cow"], 8)
    rows = [[*x, kind] for x, kind in zip(X.tolist(), kinds, strict=True)]
    write(folder / "train.csv", [["a", "b", "c", "kind"], *rows])
    net = folder / "net.safetensors"
    assert main(["construct", str(folder / "train.csv"), "-o", str(net), "--lift", "none"]) == 0
    return folder, ReduNet.load(net), X


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param([0, 1, 2], id="no labels"),
        pytest.param([2, 0, 1], id="another order"),
        pytest.param([2, 3, 0, 1], id="with labels"),
    ],
)
def test_tables(table, capsys, columns):
    folder, net, X = table
    names = ["a", "b", "c", "kind"]
    rows = [[*x, "unknown"] for x in X.tolist()]
    new = folder / "new.csv"
    write(new, [[row[i] for i in columns] for row in [names, *rows]])
    status, printed, error = run(capsys, "predict", folder / "net.safetensors", new)
    assert (status, error) == (0, "")
    check_rows(rows_of(printed), net, X, [str(i) for i in range(24)], "kind")
    output = folder / "classes.csv"
    status, told, _ = run(capsys, "predict", folder / "net.safetensors", new, "-o", output)
    assert status == 0
    assert "samples  24\n" in told
    assert output.read_text(encoding="utf-8") == printed


def test_tables_without_a_header(table, capsys):
    folder, net, X = table
    new = folder / "new.csv"
    write(new, X.tolist())
    network = folder / "net.safetensors"
    status, _, error = run(capsys, "predict", network, new)
    assert status == 1
    assert "must have a header with the columns of the construction, 'a', 'b', 'c', got" in error
    assert "write --header no if it has none" in error
    status, printed, _ = run(capsys, "predict", network, new, "--header", "no")
    assert status == 0
    check_rows(rows_of(printed), net, X, [str(i) for i in range(24)], "kind")
    write(new, [["bee", *x] for x in X.tolist()])
    options = ["--header", "no", "--label", "0"]
    assert run(capsys, "predict", network, new, *options)[1] == printed


def test_columns_that_do_not_fit(table, capsys):
    folder, _, X = table
    new = folder / "new.csv"
    for names, message in (
        (["a", "b", "x"], "'c' missing and 'x' not known"),
        (["a", "b"], "'c' missing"),
    ):
        write(new, [names, *X[:, : len(names)].tolist()])
        status, printed, error = run(capsys, "predict", folder / "net.safetensors", new)
        assert (status, printed) == (1, "")
        assert message in error
        assert error.count("\n") == 1


def test_arrays_and_series(tmp_path, capsys):
    X, y = datasets.sinusoids(per_class=6, channels=1, length=20)
    ReduNet.construct(X, y, lift="auto").save(tmp_path / "net.st")
    net = ReduNet.load(tmp_path / "net.st")
    np.savez(tmp_path / "new.npz", X=X.numpy())
    status, printed, _ = run(capsys, "predict", tmp_path / "net.st", tmp_path / "new.npz")
    assert status == 0
    check_rows(rows_of(printed), net, X, [str(i) for i in range(len(X))], "class")
    write_ts(tmp_path / "new.ts", [20] * 4, seed=0)
    status, printed, _ = run(capsys, "predict", tmp_path / "net.st", tmp_path / "new.ts")
    assert status == 0
    X, _ = datasets.read_ts(tmp_path / "new.ts")
    check_rows(rows_of(printed), net, X, list("0123"), "class")


def test_images_are_read_batch_by_batch(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(10):
        place = tmp_path / "pets" / ["cat", "dog"][number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(8, 8), dtype=np.uint8)).save(place)
    X, labels = datasets.image_folder(tmp_path / "pets", 8)
    net = ReduNet.construct(X, labels, num_layers=1, lift=torch.nn.Flatten(), batch_size=4)
    net.save(tmp_path / "net.st")
    sizes = []
    read = commands.new_samples

    def counted(*arguments):
        for names, batch in read(*arguments):
            sizes.append(len(batch))
            yield names, batch

    monkeypatch.setattr(commands, "new_samples", counted)
    status, printed, _ = run(capsys, "predict", tmp_path / "net.st", tmp_path / "pets")
    assert status == 0
    names = [f"cat/{i}.png" for i in range(0, 10, 2)] + [f"dog/{i}.png" for i in range(1, 10, 2)]
    check_rows(rows_of(printed), net, X, names, "class")
    assert sizes == [4, 4, 2]
    # A folder of images without classes, and a single image.
    whole = rows_of(printed)
    for data, name in ((tmp_path / "pets" / "cat", "0.png"), (tmp_path / "pets/cat/0.png", None)):
        rows = rows_of(run(capsys, "predict", tmp_path / "net.st", data)[1])
        assert rows[1] == [name or str(data), *whole[1][1:]]
    status, _, error = run(capsys, "predict", tmp_path / "net.st", tmp_path)
    assert status == 0  # images in folders of folders
    (tmp_path / "empty").mkdir()
    status, _, error = run(capsys, "predict", tmp_path / "net.st", tmp_path / "empty")
    assert status == 1
    assert "expected images in" in error
    # A failure in the last batch leaves no file.
    (tmp_path / "pets" / "dog" / "z.png").write_bytes(b"damaged")
    arguments = ("predict", tmp_path / "net.st", tmp_path / "pets", "-o", tmp_path / "classes.csv")
    status, _, error = run(capsys, *arguments)
    assert status == 1
    assert "z.png" in error
    assert not (tmp_path / "classes.csv").exists()
