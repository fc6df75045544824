import numpy as np
import pytest
import torch
from torch import nn

from redunet import (
    ExpansionRegression,
    MultiScaleLift,
    ReduNet,
    ReduNetClassifier,
    Search,
    Softmax,
    explain,
    report,
)
from redunet.inspection import Decision
from redunet.layers import READERS, Reader
from redunet.search import automatic_reader
from tests.exported import assert_graph_equals
from tests.samples import samples

SHAPES = [(6,), (1, 12), (1, 6, 5), (1, 3, 4, 3)]


def problem(*shape, m=30, dtype=torch.float64):
    labels = np.arange(m) % 3
    scale = torch.from_numpy(1 + labels / 2).to(dtype).view(m, *[1] * len(shape))
    return samples(m, *shape, dtype=dtype) * scale, np.array(["a", "b", "c"])[labels]


def small(shape, **options):
    """A search that takes no time, with a reader."""
    channels, ndim = shape[0], len(shape) - 1
    kernels = {"kernels_per_scale": 8, "dilations": [1]}
    lift = MultiScaleLift(channels, ndim, nonlinearity="relu", **kernels)
    reader = ExpansionRegression(
        MultiScaleLift(channels, ndim, nonlinearity=("step", "competing"), mean=True, **kernels)
    )
    return Search([lift], bands=[1] if ndim else None, reader=reader, **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_memberships_are_those_of_both_readers(shape):
    X, labels = problem(*shape)
    search = small(shape)
    net = ReduNet.construct(X, labels, lift=search)
    t, reader = search.sharpness_, search.reader_
    logits = reader.sharpness_ * reader(X) - t * net.relative_residuals(X)
    torch.testing.assert_close(net.membership(X), logits.softmax(1))
    assert (net.predict(X) == net.classes_[logits.argmax(1)]).all()
    axes = tuple(range(2, X.ndim))
    moved = X.roll([2, 1, 1][: len(axes)], axes) if axes else X
    torch.testing.assert_close(net.membership(moved), net.membership(X), rtol=1e-9, atol=1e-9)
    again = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    torch.testing.assert_close(again.membership(X), net.membership(X))


def test_sharpnesses_have_the_least_loss_of_both_together():
    X, labels = problem(1, 12)
    search, alone = small((1, 12)).fit(X, labels), small((1, 12))
    alone.reader = None
    alone.fit(X, labels)
    regression = search.reader.fit(X, labels)
    ratio = search.sharpness_ / alone.sharpness_
    assert search.reader_.sharpness_ / regression.sharpness_ == pytest.approx(ratio)
    table = search.best_.residuals
    logits = search.reader_.sharpness_ * search.reader_.held_out_ - search.sharpness_ * table
    target = torch.from_numpy(np.searchsorted(["a", "b", "c"], labels))
    assert search.accuracy_ == (logits.argmax(1) == target).double().mean()
    losses = {
        factor: nn.functional.cross_entropy(factor * logits, target).item()
        for factor in (0.95, 1, 1.05)
    }
    assert search.loss_ == pytest.approx(losses[1], rel=1e-6)
    assert losses[1] <= min(losses.values())
    assert alone.loss_ == alone.candidates_[0].loss


def test_the_table_of_a_search_shows_both_readers():
    X, labels = problem(6)
    lines = str(small((6,)).fit(X, labels)).splitlines()
    assert "MultiScaleLift, relu" in lines[-2]
    assert "ExpansionRegression" in lines[-1]
    assert lines[-1].startswith("*")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_files(shape, dtype, tmp_path):
    X, labels = problem(*shape, dtype=dtype)
    net = ReduNet.construct(X, labels, lift=small(shape))
    for samples_too in (None, (X, labels)):
        net.save(tmp_path / "net.safetensors", samples=samples_too)
        twin = ReduNet.load(tmp_path / "net.safetensors")
        assert torch.equal(twin.membership(X), net.membership(X))
        assert (twin.reader.predict(X) == net.reader.predict(X)).all()
        assert twin.reader.describe() == net.reader.describe()


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_graphs(format, tmp_path):
    X, labels = problem(1, 12, dtype=torch.float32)
    net = ReduNet.construct(X, labels, lift=small((1, 12)))
    assert_graph_equals(net, tmp_path / f"net.{format}", X, membership=1e-4)


@pytest.mark.parametrize("shape", [(6,), (1, 12)])
def test_explanations_and_reports_know_the_reader(shape, tmp_path):
    X, labels = problem(*shape)
    # A layer that knows nothing, so that the reader decides.
    net = ReduNet.construct(
        X,
        labels,
        lift=None if len(shape) == 1 else MultiScaleLift(1, 1, kernels_per_scale=8).fit(X),
        num_layers=1,
        membership=Softmax(1e-6, balanced=True),
        reader=ExpansionRegression().fit(X, labels),
    )
    predicted = net.predict(X)
    assert (predicted == net.reader.predict(X)).all()
    for x, label in zip(X[:5], predicted, strict=False):
        explanation = explain(net, x)
        assert explanation.prediction == label
        np.testing.assert_allclose(explanation.memberships[-1], net.membership(x[None])[0])
        decision = Decision.from_network(net, x)
        assert decision.classes[0] == label
        assert decision.scores[0] > decision.scores[1]
        assert "scores of the reader: " in str(decision)
    report(net, X, labels, tmp_path / "report.html")
    assert "ExpansionRegression" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_classifier_takes_a_reader(num_layers):
    X, labels = problem(1, 12)
    reader = ExpansionRegression(MultiScaleLift(1, 1, kernels_per_scale=8, mean=True))
    lift = MultiScaleLift(1, 1, kernels_per_scale=8, dilations=[1])
    model = ReduNetClassifier(num_layers, lift=Search([lift], reader=reader)).fit(X, labels)
    values, t = model.decision_function(X), model.sharpness_
    torch.testing.assert_close(
        torch.from_numpy(t * values).softmax(1).numpy(), model.predict_proba(X)
    )
    assert (model.predict(X) == model.classes_[values.argmax(1)]).all()
    if num_layers == 1:
        found = torch.from_numpy(model.predict_proba(X))
        torch.testing.assert_close(found, model.net_.membership(torch.as_tensor(X)))


def test_automatic_readers():
    for shape in SHAPES:
        X, labels = problem(*shape)
        reader = automatic_reader(shape).fit(X, labels)
        assert reader(X).shape == (30, 3)
    search = Search().fit(*problem(6))
    assert len(search.reader_.mean) == 3 * 1024  # one, two, three or all columns
    assert Search([None]).fit(*problem(6)).reader_ is None


def test_more_samples_than_are_compared():
    X, labels = problem(1, 12, m=90)
    search = small((1, 12), most_samples=40)
    search.reader = ExpansionRegression(nn.Tanh())
    search.fit(X, labels)
    whole = ExpansionRegression(nn.Tanh(), eps_sq=search.reader_.eps_sq_)
    torch.testing.assert_close(search.reader_(X), whole.fit(X, labels)(X))


def test_unknown_labels_and_data_sets():
    X, labels = problem(1, 12)
    some = labels.copy()
    some[3:9] = "?"
    net = ReduNet.construct(X, some, lift=small((1, 12)), unknown="?")
    known = some != "?"
    twin = ReduNet.construct(X[known], labels[known], lift=small((1, 12)))
    torch.testing.assert_close(net.reader_logits(X), twin.reader_logits(X))


def test_what_does_not_fit():
    X, labels = problem(6)
    with pytest.raises(ValueError, match='reader must be "auto", an ExpansionRegression or None'):
        Search(reader="all")
    reader = ExpansionRegression().fit(X[:20], np.arange(20) % 2)
    with pytest.raises(
        ValueError, match=r"reader knows the classes \[0, 1\], but the samples have"
    ):
        ReduNet.construct(X, labels, num_layers=1, reader=reader)
    with pytest.raises(ValueError, match="the reader is not fitted"):
        ReduNet.construct(X, labels, num_layers=1, reader=ExpansionRegression())


class Largest(Reader):
    """A reader of another kind: the largest entries."""

    def __init__(self, classes):
        super().__init__()
        self.classes_ = np.array(classes)
        self.register_buffer("sharpness", torch.tensor(3.0))

    def forward(self, X):
        return X[:, : len(self.classes_)]

    def describe(self):
        return {"classes": self.classes_.tolist()}

    @classmethod
    def restored(cls, description, tensors):
        return cls(description["classes"])


def test_readers_of_another_kind(tmp_path):
    X, labels = problem(6)
    net = ReduNet.construct(X, labels, num_layers=1, reader=Largest(["a", "b", "c"]))
    expected = net.layers[-1].assign(net.residual_norms(X)) * (3 * X[:, :3]).exp()
    torch.testing.assert_close(net.membership(X), expected / expected.sum(1, keepdim=True))
    with pytest.raises(ValueError, match="Largest is not registered as a kind of reader"):
        net.save(tmp_path / "net.safetensors")
    READERS.register("largest", Largest)
    net.save(tmp_path / "net.safetensors")
    assert torch.equal(ReduNet.load(tmp_path / "net.safetensors").membership(X), net.membership(X))


def test_a_reader_with_a_lift_that_a_file_cannot_name_is_not_saved(tmp_path):
    X, labels = problem(6)
    reader = ExpansionRegression(nn.Tanh()).fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=1, reader=reader)
    with pytest.raises(ValueError, match=r"a lift of class Tanh \(not registered\): register"):
        net.save(tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_no_reader_and_no_scores():
    X, labels = problem(6)
    net = ReduNet.construct(X, labels, num_layers=1)
    assert not net.reader_logits(X).any()
    assert torch.equal(net.membership(X), net.layers[-1].assign(net.residual_norms(X)))
    assert Decision.from_network(net, X[0]).scores is None
