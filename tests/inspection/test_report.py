import base64
import html.parser
import io
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from redunet import RandomCirculantLift, ReduNet, datasets, report
from redunet.cli import main

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


class Page(html.parser.HTMLParser):
    """What a page shows, and what it asks for."""

    def __init__(self, text):
        super().__init__()
        self.text, self.images, self.addresses, self.open = "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append((attributes["alt"], attributes["src"]))
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def problem():
    X, labels = datasets.digits()
    names = np.array([f"<{label}>" for label in labels])
    lift = RandomCirculantLift(in_channels=1, out_channels=4, kernel_size=3, ndim=2)
    net = ReduNet.construct(X[:100], names[:100], num_layers=2, lift=lift)
    return net, X[100:160], names[100:160]


@pytest.fixture(scope="module")
def path(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(*problem, path, title="Digits & <more>", worst=2)
    return path


def test_a_page_that_holds_everything(path, problem):
    net, X, names = problem
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.images) == 4 + 2
    for alt, source in page.images:
        assert alt
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert min(Image.open(io.BytesIO(base64.b64decode(data))).size) > 200
    assert page.addresses == [source for _, source in page.images]
    assert "Digits & <more>" in page.text
    accuracy = (net.predict(X) == names).mean()
    assert f"{accuracy:.6g}" in page.text
    assert f"{net.history.delta[-1]:.6g}" in page.text


def test_the_accuracy_has_something_to_compare_with(path, problem, tmp_path):
    net, X, names = problem
    chance = np.unique(names, return_counts=True)[1].max() / len(names)
    text = Page(path.read_text(encoding="utf-8")).text
    assert "RBF SVM" not in text
    assert f"chance level (largest class){chance:.6g}" in text
    digits, labels = datasets.digits()
    train = digits[:100], np.array([f"<{label}>" for label in labels[:100]])
    report(net, X, names, tmp_path / "report.html", worst=0, train=train)
    svm = make_pipeline(StandardScaler(), SVC()).fit(train[0].flatten(1), train[1])
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    accuracy = svm.score(X.flatten(1), names)
    assert f"accuracy of an RBF SVM{accuracy:.6g}" in text
    with pytest.raises(
        ValueError, match=r"training samples must have shape \(1, 8, 8\), got \(64,"
    ):
        report(net, X, names, tmp_path / "report.html", train=(train[0].flatten(1), train[1]))


def test_the_worst_samples_are_those_furthest_on_the_wrong_side(path, problem):
    net, X, names = problem
    residuals = net.residual_norms(X)
    margins = []
    for row, name in zip(residuals, names, strict=True):
        own = net.classes_ == name
        margins.append((row[own][0] - row[~own].min()).item())
    worst, second = np.argsort(margins)[::-1][:2]
    text = Page(path.read_text(encoding="utf-8")).text
    lines = [
        f"Sample {i}: true class {names[i]}, predicted class {net.predict(X[i : i + 1])[0]}."
        for i in (worst, second)
    ]
    assert -1 < text.find(lines[0]) < text.find(lines[1])
    assert text.count("true class ") == 2


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_shows_it(path, tmp_path):
    picture = tmp_path / "page.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,2000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}"]
    subprocess.run([*command, path.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    # The diagram's blue boxes, and the heat maps' blues.
    for color in ((0, 114, 178), (8, 48, 107)):
        assert (np.abs(pixels - color).max(2) < 40).sum() > 100


@pytest.mark.parametrize("shape", [(7,), (3, 8), (3, 6, 6), (2, 3, 4, 5)])
def test_samples_of_any_shape_are_drawn(shape, tmp_path, device):
    X = torch.randn(12, *shape, generator=torch.manual_seed(0)).to(device)
    labels = torch.arange(12, device=device) % 3
    net = ReduNet.construct(X, labels, num_layers=1)
    report(net, X, labels, tmp_path / "report.html", worst=1)
    assert len(Page((tmp_path / "report.html").read_text(encoding="utf-8")).images) == 5


def test_rectified_layers_have_no_explanations(tmp_path):
    X = torch.randn(12, 5, generator=torch.manual_seed(0))
    net = ReduNet.construct(X, [0, 1] * 6, num_layers=1, membership="rectified")
    report(net, X, [0, 1] * 6, tmp_path / "report.html")
    assert "Worst samples" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_unknown_labels_leave_the_old_page(problem, tmp_path):
    net, X, _ = problem
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(ValueError, match="got \\['<x>'\\]"):
        report(net, X[:2], ["<x>", "<1>"], tmp_path / "report.html")
    assert [f.read_text() for f in tmp_path.iterdir()] == ["old"]


def test_the_command_writes_it(problem, tmp_path, capsys):
    net, X, names = problem
    net.save(tmp_path / "net.safetensors")
    np.savez(tmp_path / "test.npz", X=X, y=names)
    files = [str(tmp_path / name) for name in ("net.safetensors", "test.npz", "page.html")]
    assert main(["report", *files[:2], "-o", files[2]]) == 0
    assert "page.html" in capsys.readouterr().out
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.text.lstrip().startswith("net.safetensors on test.npz")
