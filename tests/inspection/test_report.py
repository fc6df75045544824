import base64
import hashlib
import html
import html.parser
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from redunet import (
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    Search,
    Softmax,
    datasets,
    report,
)
from redunet.cli import main
from redunet.inspection import Decision
from redunet.inspection.sections import shown_rows
from redunet.inspection.text import readable, three_digits, with_three_digits

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


class Page(html.parser.HTMLParser):
    """What a page shows, and what it asks for."""

    def __init__(self, path):
        super().__init__()
        self.text, self.images, self.addresses, self.open = "", [], [], []
        self.tables, self.titles, self.policy, self.script = [], [], "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append((attributes["alt"], attributes["src"]))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "td" and "title" in attributes:
            self.titles.append(attributes["title"])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, *headers):
        """The rows of the table with these first headers."""
        (found,) = [rows for rows in self.tables if tuple(rows[0][: len(headers)]) == headers]
        return found[1:]


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
    page = Page(path)
    assert page.open == []
    assert len(page.images) == 7 + 2 * 6
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


def test_the_only_script_is_the_one_that_the_page_permits(path):
    page = Page(path)
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules.pop("script-src") == f"'sha256-{digest}'"
    assert rules.pop("img-src") == "data:"
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert set(rules.values()) == {"'none'"}
    assert "default-src" in rules
    assert path.read_text(encoding="utf-8").count("<script") == 1


def test_the_confusion_matrix_counts_each_pair_of_classes(path, problem):
    net, X, names = problem
    predictions = net.predict(X)
    page = Page(path)
    (matrix,) = [table for table in page.tables if table[0][0] == ""]
    assert matrix[0][1:] == net.classes_.tolist()
    titles = iter(page.titles)
    for true, (name, *row) in zip(net.classes_, matrix[1:], strict=True):
        assert name == true
        for predicted, shown in zip(net.classes_, row, strict=True):
            count = ((names == true) & (predictions == predicted)).sum()
            assert shown == (str(count) if count else "")
            samples = "1 sample" if count == 1 else f"{count} samples"
            assert next(titles) == f"True class {true}, predicted class {predicted}: {samples}"
    frequent = page.table("true class", "predicted class", "samples")
    counts = [int(row[2]) for row in frequent]
    assert counts == sorted(counts, reverse=True)
    assert 0 < sum(counts) <= (predictions != names).sum()


def test_many_classes_have_a_heat_map(tmp_path):
    X = torch.randn(44, 30, generator=torch.manual_seed(0))
    labels = np.arange(44) % 22
    net = ReduNet.construct(X, labels, num_layers=1)
    report(net, X, labels, tmp_path / "report.html", worst=0)
    page = Page(tmp_path / "report.html")
    assert "Confusion matrix" in [alt for alt, _ in page.images]
    assert not page.titles
    assert (
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, … (22)" in page.text
    )


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
    with pytest.raises(
        ValueError, match=r"training samples must have shape \(1, 8, 8\), got \(64,"
    ):
        report(net, X, names, tmp_path / "report.html", train=(train[0].flatten(1), train[1]))


def test_the_worst_samples_are_those_furthest_on_the_wrong_side(path, problem):
    net, X, names = problem
    residuals = net.residual_norms(X).numpy()
    relative = residuals / (len(net.classes_) * net.layers[-1].alpha.item())
    rows = []
    for row, name in zip(relative, names, strict=True):
        own = net.classes_ == name
        rows.append([row[own][0], row[~own].min(), row[own][0] - row[~own].min()])
    order = np.argsort([-margin for _, _, margin in rows], kind="stable")
    page = Page(path)
    found = page.table("sample", "true class", "predicted class")
    assert len(found) == 30
    predictions = net.predict(X)
    for i, row in zip(order, found, strict=False):
        assert row[:3] == [f"Sample {i}", names[i], predictions[i]]
        np.testing.assert_allclose([*map(float, row[3:])], rows[i], rtol=6e-3, atol=1e-6)
    assert [a for a in page.addresses if a[0] == "#"] == [f"#sample-{i}" for i in order[:2]]
    lines = [
        f"True class {names[i]}, predicted class {net.predict(X[i : i + 1])[0]}." for i in order[:2]
    ]
    assert -1 < page.text.find(lines[0]) < page.text.find(lines[1])


def test_the_decision_between_the_true_class_and_its_rival_is_told(path, problem):
    net, X, _ = problem
    page = Page(path)
    number, true, predicted = page.table("sample", "true class")[0][:3]
    x = X[int(number.removeprefix("Sample "))]
    assert true != predicted
    decision = Decision.from_network(net, x, classes=[predicted, true])
    one, other = map(three_digits, decision.residuals)
    assert (
        f"relative residual is {one} in class {predicted} and {other} in class {true}" in page.text
    )
    assert f"{predicted} (blue) against {true} (orange)" in [alt for alt, _ in page.images]
    layers = [table for table in page.tables if table[0][0] == "layer"]
    assert [len(table) for table in layers] == [3, 3]
    assert f"{true}: ‖Cv‖" in layers[0][0]


def test_unequal_classes_are_compared_as_the_layers_do(tmp_path):
    X = torch.randn(30, 4, generator=torch.manual_seed(0))
    labels = np.repeat([0, 1], [24, 6])
    net = ReduNet.construct(
        X, labels, num_layers=1, membership=Softmax(1, balanced=True), eps_sq=0.5
    )
    report(net, X, labels, tmp_path / "report.html", worst=1)
    rows = Page(tmp_path / "report.html").table("sample", "true class", "predicted class")
    predictions = net.predict(X)
    assert (predictions != labels).any()
    for name, true, predicted, *_, margin in rows:
        i = int(name.removeprefix("Sample "))
        assert (int(true), int(predicted)) == (labels[i], predictions[i])
        assert (float(margin) > 0) == (true != predicted)


def test_samples_have_names(problem, tmp_path):
    net, X, labels = problem
    names = [f"folder/<{number}>.png" for number in range(len(X))]
    report(net, X, labels, tmp_path / "report.html", worst=0, names=names)
    assert "Worst samples" not in Page(tmp_path / "report.html").text
    report(net, X[:5], labels[:5], tmp_path / "report.html", worst=1, names=names[:5])
    rows = Page(tmp_path / "report.html").table("sample")
    assert sorted(row[0] for row in rows) == names[:5]
    with pytest.raises(ValueError, match="names must be 60, one for each sample, got 2"):
        report(net, X, labels, tmp_path / "report.html", names=names[:2])


def test_a_search_is_shown(tmp_path):
    X, labels = datasets.sinusoids(per_class=6)
    model = ReduNetClassifier().fit(X, labels)
    report(model.net_, X, labels, tmp_path / "report.html", worst=0, search=model.search_)
    page = Page(tmp_path / "report.html")
    rows = page.table("chosen", "lift", "band")
    assert len(rows) == 10
    for row, candidate in zip(rows, model.search_.candidates_, strict=False):
        assert row[1] == candidate.name
        assert row[3:] == [
            three_digits(v) for v in (candidate.eps_sq, candidate.loss, candidate.accuracy)
        ]
    assert "has a single layer" in page.text
    few = Search([None], bands=[1]).fit(X[[0, 1, 6, 7]], labels[[0, 1, 6, 7]])
    report(model.net_, X, labels, tmp_path / "report.html", worst=0, search=few)
    assert "Leave-one-out" not in Page(tmp_path / "report.html").text


def test_heat_maps_show_some_samples_of_each_class():
    labels = np.arange(900) % 9
    assert shown_rows(labels).tolist() == list(range(270))
    rows = shown_rows(np.arange(3000) % 200)
    assert np.bincount(rows % 200).tolist() == [2] * 200
    assert shown_rows(np.array(["b", "a"])).tolist() == [0, 1]


def test_numbers_have_three_digits():
    numbers = (0.96, 1540.2, 1e-6, 0.000123, 99.96, 9.999, -0.5, 60.0, 123456.7, 0.0, 0.0999999)
    texts = ("0.960", "1540", "1.00e-06", "0.000123", "100", "10.0", "-0.500", "60.0", "123457")
    assert [three_digits(number) for number in numbers] == [*texts, "0", "0.100"]
    assert three_digits(float("nan")) == "nan"
    assert [readable(value) for value in (0.5, 1234, [1, 8, 8], "0.123456")] == [
        "0.500",
        "1,234",
        "1, 8, 8",
        "0.123456",
    ]
    text = "Softmax(lam=0.023644079736219098, balanced=True)"
    assert with_three_digits(text) == "Softmax(lam=0.0236, balanced=True)"
    assert with_three_digits("Softmax(lam=500.0)") == "Softmax(lam=500.0)"


def browse(page, tmp_path, *options):
    """What chromium prints on standard output."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True)
    return done.stdout


# A reader who sorts the worst samples by their true class and points at a cell of the matrix.
READER = """
for (const button of document.querySelectorAll("table.sortable button")) button.click();
const buttons = [...document.querySelectorAll("table.sortable button")];
buttons.find((button) => button.textContent === "difference").click();
const cell = document.querySelectorAll(".matrix td")[1];
cell.dispatchEvent(new Event("pointerover", { bubbles: true }));
"""


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_sorts_tables_and_names_cells(path, tmp_path):
    page = path.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(READER.encode()).digest()).decode()
    read = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    copy, after = tmp_path / "copy.html", tmp_path / "after.html"
    copy.write_text(read.replace("</body>", f"<script>{READER}</script></body>"), encoding="utf-8")
    after.write_text(browse(copy, tmp_path, "--dump-dom"), encoding="utf-8")
    before = Page(path).table("sample")
    rows = Page(after).table("sample")
    assert rows == before[::-1]  # the table begins with the largest difference
    text = re.sub(r"<script>.*?</script>", "", after.read_text(encoding="utf-8"), flags=re.DOTALL)
    line = re.search(r'class="matrix-line"[^>]*>([^<]*)<', text).group(1)
    assert html.unescape(line) == Page(path).titles[1]


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_shows_it(path, tmp_path):
    picture = tmp_path / "page.png"
    browse(path, tmp_path, "--window-size=1000,2600", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    # The diagram's blue boxes, and the blues of the heat maps.
    for color in ((0, 114, 178), (8, 48, 107)):
        assert (np.abs(pixels - color).max(2) < 40).sum() > 100


@pytest.mark.parametrize("shape", [(7,), (3, 8), (3, 6, 6), (2, 3, 4, 5)])
def test_samples_of_any_shape_are_drawn(shape, tmp_path, device):
    X = torch.randn(12, *shape, generator=torch.manual_seed(0)).to(device)
    labels = torch.arange(12, device=device) % 3
    net = ReduNet.construct(X, labels, num_layers=1)
    report(net, X, labels, tmp_path / "report.html", worst=1)
    page = Page(tmp_path / "report.html")
    assert len(page.images) == 6 + {1: 3, 2: 5, 3: 5, 4: 4}[len(shape)]
    assert ("over all cyclic shifts" in page.text) == (len(shape) > 1)


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
    _, X, names = problem
    net = ReduNet.construct(X, names, num_layers=1, membership="rectified", lift=torch.nn.Flatten())
    net.save(tmp_path / "net.safetensors")
    np.savez(tmp_path / "test.npz", X=X, y=names)
    files = [str(tmp_path / name) for name in ("net.safetensors", "test.npz", "page.html")]
    assert main(["report", *files[:2], "-o", files[2]]) == 0
    assert "page.html" in capsys.readouterr().out
    page = Page(tmp_path / "page.html")
    assert page.text.lstrip().startswith("net.safetensors on test.npz")
