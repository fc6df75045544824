"""Options of the command change what they name, and are refused if they cannot apply."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_wine
from torch import nn

from redunet import FineTuned, ReduNet, Search
from redunet.cli import commands, main
from redunet.training import ResidualHead
from tests.test_cli import write_ts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table, series, images and arrays, all small."""
    folder = tmp_path_factory.mktemp("data")
    X, y = load_wine(return_X_y=True)
    names = [f"m{number}" for number in range(X.shape[1])]
    for part, rows in (("wine", slice(0, None, 2)), ("test", slice(1, None, 2))):
        table = [[*names, "grower"]]
        table += [[*x, f"grower {label}"] for x, label in zip(X[rows], y[rows], strict=True)]
        lines = [",".join(map(str, row)) for row in table]
        (folder / f"{part}.csv").write_text("\n".join(lines))
    write_ts(folder / "waves.ts", [20] * 12, seed=0)
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True)
        (folder / "pets.st").mkdir(exist_ok=True)
        for number in range(3):
            image = Image.fromarray(rng.integers(256, size=(8, 8), dtype=np.uint8))
            image.save(folder / "pets" / name / f"{number}.png")
    np.savez(folder / "vectors.npz", X=rng.normal(size=(12, 4)), y=np.arange(12) % 2)
    np.savez(folder / "images.npz", X=rng.normal(size=(12, 1, 6, 6)), y=np.arange(12) % 2)
    return folder


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    return status, *capsys.readouterr()


class Enough(ValueError):
    """The construction was asked for."""


@pytest.fixture
def asked(folder, monkeypatch):
    """What options ask of ReduNet.construct."""

    def ask(data, *options):
        passed = {}

        def construct(X, labels, **settings):
            passed.update(settings)
            raise Enough

        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(ReduNet, "construct", construct)
            assert main(["construct", data, *options]) == 1
        assert passed.pop("progress")
        passed.pop("feature_names")
        return passed

    return ask


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ([], {}),
        (["--lift", "auto"], {}),
        (["--operators", "exact"], {}),
        (["--seed", "3"], {"seed": 3}),
        (["--eps-sq", "0.1"], {"eps_sq": 0.1}),
        (["--operators", "variational", "--rank", "3"], {}),
        (["--num-layers", "2", "--batch-size", "5"], {}),
    ],
)
@pytest.mark.parametrize("data", ["wine.csv", "waves.ts", "images.npz"])
def test_an_option_leaves_the_rest_to_the_search(asked, data, options, changes):
    passed = asked(data, *options)
    search = passed.pop("lift")
    assert isinstance(search, Search)
    assert vars(search) == vars(Search(**changes))
    given = dict(zip(options[::2], options[1::2], strict=True))
    names = {name[2:].replace("-", "_") for name in given} - {"lift", "seed", "eps_sq"}
    assert passed.keys() == names | {"operators"}


def test_lifts_without_a_search(asked):
    passed = asked("images.npz", "--lift", "flatten", "--eps-sq", "0.1")
    assert isinstance(passed.pop("lift"), nn.Flatten)
    assert passed == {"eps_sq": 0.1, "operators": "exact"}
    assert asked("wine.csv", "--lift", "none")["lift"] is None


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("wine.csv", ["--seed", "1", "--lift", "none"], "--seed is for --lift auto, and --lift is"),
        ("wine.csv", ["--color"], "--color is for folders of images, but wine.csv has tables"),
        ("wine.csv", ["--image-size", "8"], "--image-size is for folders of images"),
        ("wine.csv", ["--length", "8"], "--length is for time series"),
        ("wine.csv", ["--fill", "mean"], "--fill is for time series"),
        ("waves.ts", ["--label", "y"], "--label is for tables and arrays, but waves.ts has"),
        ("waves.ts", ["--drop", "y"], "--drop is for tables"),
        ("pets", ["--header", "no"], "--header is for tables, but pets has folders of images"),
        ("images.npz", ["--decimal", ","], "--decimal is for tables, but images.npz has arrays"),
        ("images.npz", ["--encoding", "cp1252"], "--encoding is for tables and time series"),
        (
            "wine.csv",
            ["-o", "net.onnx"],
            "redunet construct writes to a file that ends in .safetensors or .st",
        ),
        ("vectors.npz", ["--label", "kind"], "should contain arrays X and kind, it contains X, y"),
        ("wine.csv", ["-o", "net.xyz"], "ends in .safetensors or .st, got -o net.xyz"),
        ("wine.csv", ["-o", "none/net.safetensors"], "no such folder: none"),
        ("wine.csv", ["-o", "pets.st"], "pets.st is a folder: name a file in it"),
        ("wine.csv", ["-o", "wine.csv"], "-o wine.csv would overwrite what is read"),
        ("wine.csv", ["--device", "gpu"], "the device 'gpu' cannot be used here"),
        ("wine.csv", ["--device", "cuda:99"], "the device 'cuda:99' cannot be used here"),
        ("wine.csv", ["--label", "kind"], "label must be 'last', 'first' or the name of a column"),
        ("none.csv", [], "no such file: none.csv"),
    ],
)
def test_options_that_cannot_apply_are_refused_before_the_construction(
    folder, capsys, monkeypatch, data, options, message
):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(ReduNet, "construct", lambda *_, **__: pytest.fail("it has begun"))
    status, printed, error = run(capsys, "construct", data, *options)
    assert (status, printed) == (1, "")
    assert message in error
    assert error.startswith("redunet: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["report", "net.st", "test.csv", "-o", "report.pdf"],
            "ends in .html or .htm, got -o report.pdf",
        ),
        (["report", "net.st", "test.csv", "-o", "none/report.html"], "no such folder: none"),
        (
            ["predict", "net.st", "test.csv", "-o", "classes.xlsx"],
            "ends in .csv or .txt, got -o classes.xlsx",
        ),
        (["predict", "net.st", "test.csv", "-o", "net.st"], "would overwrite what is read"),
        (["evaluate", "none.st", "test.csv"], "no such file: none.st"),
        (["evaluate", "net.st", "test.csv", "--fill", "3"], "--fill is for time series"),
        (["export", "net.st", "-o", "none/net.onnx"], "no such folder: none"),
    ],
)
def test_results_and_devices_are_checked_first(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "net.st").touch()
    monkeypatch.setattr(commands.ReduNet, "load", lambda *_, **__: pytest.fail("it has begun"))
    status, printed, error = run(capsys, *arguments)
    assert (status, printed) == (1, "")
    assert message in error
    assert error.count("\n") == 1


def test_construct_prints_what_was_read_and_chosen(folder, capsys, tmp_path):
    net = tmp_path / "net.safetensors"
    status, printed, _ = run(capsys, "construct", folder / "wine.csv", "-o", net, "--json")
    assert status == 0
    found = json.loads(printed)
    X, labels = load_wine(return_X_y=True)
    search = Search()
    again = ReduNet.construct(X[::2], [f"grower {label}" for label in labels[::2]], lift=search)
    counts = np.bincount(labels[::2])
    assert found["samples"] == 89
    assert found["samples by class"] == {f"grower {j}": int(n) for j, n in enumerate(counts)}
    assert found["columns"] == [f"m{number}" for number in range(13)]
    assert found["label"] == "grower"
    assert found["chosen"] == search.best_.name
    assert found["accuracy (leave-one-out)"] == search.accuracy_
    assert found["log loss (leave-one-out)"] == search.loss_
    assert found["eps_sq"] == again.settings.eps_sq
    assert found["file size [MiB]"] == pytest.approx(net.stat().st_size / 2**20, abs=1e-3)
    assert found["seconds"] > 0
    _, printed, _ = run(capsys, "construct", folder / "waves.ts", "-o", net)
    assert "samples by class" in printed
    assert "1: 6, 2: 6\n" in printed
    assert "sample shape              1, 20\n" in printed
    assert ", band " in printed


def test_classes_of_two_samples_have_no_estimate(folder, capsys, tmp_path):
    np.savez(folder / "few.npz", X=np.eye(4), y=[0, 0, 1, 1])
    arguments = ["construct", folder / "few.npz", "-o", tmp_path / "net.st"]
    assert "accuracy (leave-one-out)  –\n" in run(capsys, *arguments)[1]
    found = json.loads(run(capsys, *arguments, "--json")[1])
    assert found["accuracy (leave-one-out)"] is None


def test_the_name_of_the_labels_and_the_order_of_the_columns_travel(folder, capsys, tmp_path):
    net = tmp_path / "net.st"
    assert run(capsys, "construct", folder / "wine.csv", "-o", net)[0] == 0
    status, printed, _ = run(capsys, "evaluate", net, folder / "test.csv", "--json")
    expected = json.loads(printed)
    assert expected["accuracy"] > 0.9
    lines = [line.split(",") for line in (folder / "test.csv").read_text().splitlines()]
    changed = tmp_path / "changed.csv"
    changed.write_text("\n".join(",".join([line[-1], *line[-2::-1]]) for line in lines))
    status, printed, _ = run(capsys, "evaluate", net, changed, "--train", changed, "--json")
    assert status == 0
    assert expected.items() <= json.loads(printed).items()
    for change, message in (
        (lambda line: [*line, "1" if line[0] != "m0" else "id"], "'id' not known"),
        (lambda line: line[1:], "'m0' missing"),
        (lambda line: [cell.replace("m3", "ash") for cell in line], "'m3' missing and 'ash' not"),
        (lambda line: line[:-1], "the name of a column, got 'grower'; the first row has"),
    ):
        changed.write_text("\n".join(",".join(change(line)) for line in lines))
        status, _, error = run(capsys, "evaluate", net, changed)
        assert status == 1
        assert message in error


def test_tables_are_read_as_options_say(capsys, tmp_path):
    table, net = tmp_path / "table.csv", tmp_path / "net.st"
    rows = [
        f"{7 * i};{i % 3},5;{i % 2 * 5 + i % 3},25;{'nö' if i % 2 else 'já'}" for i in range(12)
    ]
    table.write_text("\n".join(["row;a;b;y", *rows]), encoding="cp1252")
    options = ["--drop", "row", "--decimal", ",", "--encoding", "cp1252", "--label", "3"]
    status, printed, _ = run(capsys, "construct", table, "-o", net, *options, "--json")
    assert status == 0
    assert json.loads(printed)["columns"] == ["a", "b"]
    assert json.loads(printed)["classes"] == ["já", "nö"]
    assert run(capsys, "evaluate", net, table, *options[:-2])[0] == 0
    table.write_text("\n".join(row.replace(",", ".").replace(";", ",") for row in rows))
    options = ["--header", "no", "--label", "last"]
    assert run(capsys, "construct", table, "-o", net, *options)[0] == 0
    assert ReduNet.load(net).names == (None, None)


@pytest.mark.filterwarnings("default::redunet.ReduNetWarning")
def test_warnings_are_one_line(capsys, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{i},{i % 3},{'a' if i % 2 else 'b'}" for i in range(12)]
    table.write_text("\n".join(["row,a,y", *rows]))
    assert main(["construct", str(table), "-o", str(tmp_path / "n.st")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "counts the rows" in line]
    assert len(lines) == 1
    assert lines[0].startswith("redunet: warning: column 'row' counts the rows")


def test_an_interruption_is_one_line(folder, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ReduNet, "construct", interrupt)
    status, _, error = run(capsys, "construct", folder / "wine.csv")
    assert (status, error) == (130, "redunet: interrupted\n")


def test_fine_tuned_networks_are_used_like_others(folder, capsys, tmp_path):
    frame = pytest.importorskip("pandas").read_csv(folder / "wine.csv")
    net = ReduNet.construct(frame.drop(columns="grower"), frame["grower"], num_layers=1)
    tuned = FineTuned(net, ResidualHead(net))
    tuned.save(tmp_path / "tuned.st")
    for command in ("evaluate", "predict", "info"):
        data = [] if command == "info" else [folder / "test.csv"]
        status, printed, _ = run(capsys, command, tmp_path / "tuned.st", *data)
        assert status == 0
        assert printed
    arguments = ("predict", tmp_path / "tuned.st", folder / "test.csv")
    predicted = [line.split(",")[1] for line in run(capsys, *arguments)[1].splitlines()]
    assert predicted == ["grower", *tuned.predict(load_wine().data[1::2])]


def test_files_are_not_named_as_standard_output_or_written_over_pipes(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.st")
    (tmp_path / "data.csv").write_text("a,b,y\n1,2,p\n3,4,q\n")
    for name, message in (("-", "got -o -"), (str(tmp_path / "pipe.st"), "name a file")):
        assert main(["construct", str(tmp_path / "data.csv"), "-o", name]) == 1
        assert message in capsys.readouterr().err
    assert (tmp_path / "pipe.st").is_fifo()
