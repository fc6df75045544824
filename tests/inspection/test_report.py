"""The report and its parts."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from redunet import ReduNet, ReduNetClassifier, Search, datasets, report
from redunet._tables import three_digits
from redunet.cli import main
from tests.inspection.report_page import Page


def test_a_page_that_holds_everything(path, problem):
    net, X, names = problem
    page = Page(path)
    assert page.open == []
    assert len(page.images) == 6 + 2 * 2
    for alt, source in page.images:
        assert alt
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert min(Image.open(io.BytesIO(base64.b64decode(data))).size) > 200
    assert [a for a in page.addresses if a[0] != "#"] == [source for _, source in page.images]
    assert "Digits & <more>" in page.text
    accuracy = (net.predict(X) == names).mean()
    assert f"accuracy{three_digits(accuracy)}" in page.text
    assert f"rate reduction after{three_digits(net.history.delta[-1])}" in page.text
    for sentence in (
        "Depth is for the features",
        "R_c usually rises too",
        "over all cyclic shifts",
    ):
        assert sentence in page.text


def test_the_page_permits_neither_scripts_nor_other_files(path):
    rules = dict(rule.split(" ", 1) for rule in Page(path).policy.split("; "))
    assert rules.pop("img-src") == "data:"
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert set(rules.values()) == {"'none'"}
    assert "default-src" in rules
    assert "<script" not in path.read_text(encoding="utf-8")


def test_the_most_frequent_errors_are_counted(path, problem):
    net, X, names = problem
    predictions = net.predict(X)
    page = Page(path)
    assert "Confusion matrix" in [alt for alt, _ in page.images]
    frequent = page.table("true class", "predicted class", "samples")
    counts = [int(row[2]) for row in frequent]
    assert counts == sorted(counts, reverse=True)
    assert 0 < sum(counts) <= (predictions != names).sum()
    for true, predicted, count in frequent:
        assert int(count) == ((names == true) & (predictions == predicted)).sum()


def test_many_classes_are_reported(tmp_path):
    X = torch.randn(44, 30, generator=torch.manual_seed(0))
    labels = np.arange(44) % 22
    net = ReduNet.construct(X, labels, num_layers=1)
    report(net, X, labels, tmp_path / "report.html", worst=0)
    page = Page(tmp_path / "report.html")
    assert "Confusion matrix" in [alt for alt, _ in page.images]
    assert "classes0, 1, 2, 3, 4, 5, … (22)" in page.text


def test_the_accuracy_has_something_to_compare_with(path, problem, tmp_path):
    net, X, names = problem
    chance = np.unique(names, return_counts=True)[1].max() / len(names)
    text = Page(path).text
    assert "RBF SVM" not in text
    assert f"chance level (largest class){three_digits(chance)}" in text
    digits, labels = datasets.digits()
    train = digits[:100], np.array([f"<{label}>" for label in labels[:100]])
    report(net, X, names, tmp_path / "report.html", worst=0, train=train)
    svm = make_pipeline(StandardScaler(), SVC()).fit(train[0].flatten(1), train[1])
    text = Page(tmp_path / "report.html").text
    accuracy = svm.score(X.flatten(1), names)
    assert f"accuracy of an RBF SVM{three_digits(accuracy)}" in text
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), .* got X of shape \(\d+, 64\)"):
        report(net, X, names, tmp_path / "report.html", train=(train[0].flatten(1), train[1]))


def test_a_search_is_shown(tmp_path):
    X, labels = datasets.sinusoids(per_class=6)
    model = ReduNetClassifier().fit(X, labels)
    report(model.net_, X, labels, tmp_path / "report.html", worst=0, search=model.search_)
    page = Page(tmp_path / "report.html")
    printed = str(model.search_).splitlines()
    assert all(line in page.text for line in printed[:12])
    assert "Log loss of all candidates" in [alt for alt, _ in page.images]
    assert "A single layer moves features only a little" in page.text
    assert "has a single layer" in page.text
    few = Search([None], bands=[1]).fit(X[[0, 1, 6, 7]], labels[[0, 1, 6, 7]])
    report(model.net_, X, labels, tmp_path / "report.html", worst=0, search=few)
    assert "Leave-one-out" not in Page(tmp_path / "report.html").text


@pytest.mark.parametrize("shape", [(7,), (3, 8), (3, 6, 6), (2, 3, 4, 5)])
def test_samples_of_any_shape_are_drawn(shape, tmp_path, device):
    X = torch.randn(12, *shape, generator=torch.manual_seed(0)).to(device)
    labels = torch.arange(12, device=device) % 3
    net = ReduNet.construct(X, labels, num_layers=1)
    report(net, X, labels, tmp_path / "report.html", worst=1)
    page = Page(tmp_path / "report.html")
    assert len(page.images) == 6 + 2
    assert ("over all cyclic shifts" in page.text) == (len(shape) > 1)


def test_unknown_labels_leave_the_old_page(problem, tmp_path):
    net, X, _ = problem
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(ValueError, match="got '<x>'"):
        report(net, X[:2], ["<x>", "<1>"], tmp_path / "report.html")
    assert [f.read_text() for f in tmp_path.iterdir()] == ["old"]


def test_the_command_writes_it(problem, tmp_path, capsys):
    _, X, names = problem
    net = ReduNet.construct(X, names, num_layers=1, membership="rectified", lift=torch.nn.Flatten())
    net.save(tmp_path / "net.safetensors")
    np.savez(tmp_path / "test.npz", X=X, y=names)
    files = [str(tmp_path / name) for name in ("net.safetensors", "test.npz", "page.html")]
    assert main(["report", *files[:2], "-o", files[2]]) == 0
    assert "page.html" in capsys.readouterr().out
    page = Page(tmp_path / "page.html")
    assert page.text.lstrip().startswith("net.safetensors on test.npz")
