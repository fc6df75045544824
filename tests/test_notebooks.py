"""What notebooks and logs show."""

import html.parser
import re

import numpy as np
import pytest

from redunet import LossyCodingClustering, ReduNet, Search, datasets, explain, finetune, report
from tests.inspection.report_page import Page
from tests.samples import samples

NAMES = ["<ant>", "bee & co", "cow"]
LABELS = np.array(NAMES)[np.arange(60) % 3]


class Shown(Page):
    """A piece of HTML as a reader sees it."""

    def __init__(self, text):
        self.page = ""
        html.parser.HTMLParser.__init__(self)
        self.text, self.images, self.addresses, self.open, self.tables = "", [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        self.page = dict(attrs).get("srcdoc", self.page)


def rows(thing):
    """The rows of the tables of a thing, without spaces around."""
    found = Shown(thing._repr_html_()).tables
    return [[[cell.strip() for cell in row] for row in table] for table in found]


@pytest.fixture(scope="module")
def net():
    X = samples(60, 4)
    X[:, 0] += np.arange(60) % 3
    return ReduNet.construct(X, LABELS, num_layers=40, eta=0.5, membership="softmax"), X


def test_a_network_is_a_table_of_a_page(net):
    (table,) = rows(net[0])
    values = dict(table)
    assert values["classes"] == "<ant>, bee & co, cow"
    assert values["layers"] == "40"
    assert values["membership"] == "Softmax(lam=500.0, balanced=False)"
    assert repr(net[0]).count("ReduLayer") == 1
    assert "LayerList(40 layers, the first:" in repr(net[0])
    assert repr(net[0]).count("\n") < 20


def test_settings_and_history_are_tables(net):
    (table,) = rows(net[0].settings)
    assert dict(table)["num_layers"] == "40"
    assert dict(table)["true_membership"] == "no"
    (header, *found) = rows(net[0].history)[0]
    assert header == ["layer", "ΔR", "R", "R_c"]
    assert [row[0] for row in found] == [str(layer) for layer in range(41)]
    assert found[-1][1] == f"{net[0].history.delta[-1]:.3f}"


def test_explanations_are_tables(net):
    explanation = explain(net[0], net[1][0], label="<ant>")
    texts, layers = rows(explanation)
    assert dict(texts)["prediction"] == str(explanation.prediction)
    assert dict(texts)["true class"] == "<ant>"
    assert dict(texts)["columns"].startswith("column ")
    assert len(layers) == 41
    assert layers[1][1] == f"{explanation.angles[0]:.3f}"
    assert rows(explanation.decision) == [texts[2:]]


def test_a_search_is_a_table_of_its_candidates_and_its_reader():
    assert repr(Search()) == str(Search()) == Search()._repr_html_() == "Search()"
    X, labels = datasets.sinusoids(per_class=6)
    search = Search().fit(X, labels)
    (found,) = rows(search)
    best = search.best_
    assert found[1][:2] == ["*", best.name]
    assert found[-1][:2] == ["*", "ExpansionRegression"]
    assert repr(search) == (
        f"Search(best: {best.name}, band {best.band}, accuracy {search.accuracy_:.3f})"
    )


def test_a_report_shows_itself(net, tmp_path):
    model = ReduNet.construct(net[1], LABELS, num_layers=1)
    shown = report(model, net[1], LABELS, title="Mine", worst=0)
    frame = Shown(shown._repr_html_())
    assert frame.page == shown.page.replace("\r\n", "\n")
    assert "<title>Mine</title>" in frame.page
    assert repr(shown) == "Report('not written')"
    written = report(model, net[1], LABELS, tmp_path / "page.html", title="Mine", worst=0)
    assert written.path.read_text(encoding="utf-8") == written.page
    assert "page.html" in repr(written)
    assert len(repr(written)) < 300


@pytest.mark.filterwarnings("ignore:the constructed network is returned as it was")
def test_a_log_gets_few_lines_of_progress(capsys, net):
    ReduNet.construct(net[1], LABELS, num_layers=100, eta=0.5, progress=True)
    LossyCodingClustering(0.5, progress=True).fit(net[1])
    validation = (net[1], LABELS)
    finetune(net[0], net[1], LABELS, epochs=20, validation=validation, progress=True)
    told = capsys.readouterr().err
    assert re.search(r"layers: 100%.*100/100", told)
    assert "rate_reduction" in told
    assert told.count("\r") <= 9
