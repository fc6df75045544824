"""Names of columns and of the label travel with the network and its file."""

import numpy as np
import pytest
import torch

from redunet import ReduNet, ReduNetClassifier, explain, finetune, report
from redunet._names import Names
from redunet.inspection import Decision
from redunet.inspection.summary import evaluation

pandas = pytest.importorskip("pandas")

COLUMNS = ["length", "width", "mass", "volume"]


def measurements(seed=0, per_class=12):
    """Three kinds of animals, whose measurements have very different scales."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 4))
    kinds = np.repeat(["ant", "bee", "cow"], per_class)
    noise = np.random.default_rng(seed + 1).normal(size=(3 * per_class, 4)) / 5
    X = (np.repeat(centres, per_class, 0) + noise) * [1, 10, 100, 1000]
    return pandas.DataFrame(X, columns=COLUMNS), pandas.Series(kinds, name="kind")


@pytest.fixture(scope="module")
def net():
    return ReduNet.construct(*measurements(), num_layers=2)


def test_names_come_from_frames_and_series(net):
    assert net.names == Names(tuple(COLUMNS), "kind")
    frame, kinds = measurements()
    plain = ReduNet.construct(frame.to_numpy(), kinds.to_numpy(), num_layers=2)
    assert plain.names == Names()
    torch.testing.assert_close(plain(frame.to_numpy()), net(frame))
    named = ReduNet.construct(frame.to_numpy(), kinds, feature_names=COLUMNS)
    assert named.names == net.names


def use(name, net, frame, kinds):
    """Numbers that follow from samples and labels, in one of the ways to use a network."""
    return {
        "net": lambda: net(frame).tolist(),
        "predict": lambda: net.predict(frame).tolist(),
        "membership": lambda: net.membership(frame).tolist(),
        "trajectory": lambda: list(net.trajectory(frame))[-1].tolist(),
        "evaluation": lambda: evaluation(net, frame, kinds, train=(frame, kinds)),
        "explain": lambda: explain(net, frame.iloc[5]).memberships.tolist(),
        "decision": lambda: Decision.from_network(net, frame.iloc[5]).by_frequency.tolist(),
        "finetune": lambda: (
            finetune(net, frame, kinds, epochs=1, validation=(frame, kinds)).predict(frame).tolist()
        ),
        "report": lambda: report(net, frame, kinds, worst=0).page,
    }[name]()


WAYS = pytest.mark.parametrize(
    "way",
    [
        "net",
        "predict",
        "membership",
        "trajectory",
        "evaluation",
        "explain",
        "decision",
        "finetune",
        "report",
    ],
)


@WAYS
@pytest.mark.filterwarnings("ignore:the constructed network is returned as it was")
def test_columns_are_put_in_order(way, net):
    frame, kinds = measurements(seed=1)
    expected = use(way, net, frame, kinds)
    for changed in (
        frame[COLUMNS[::-1]],
        frame[["mass", "length", "volume", "width"]],
        frame[COLUMNS[::-1]].assign(kind=kinds),  # the column of the labels is not a measurement
        frame.set_axis(range(4), axis=1),  # without names, columns are taken as they stand
    ):
        assert use(way, net, changed, kinds) == expected
        if way == "report":
            break  # it takes a second


@WAYS
def test_missing_and_surplus_columns_are_named(way, net):
    frame, kinds = measurements()
    for changed, message in (
        (frame.drop(columns="mass"), "'mass' missing$"),
        (frame.rename(columns={"mass": "weight"}), "'mass' missing and 'weight' not known"),
        (frame.assign(id=1), "'id' not known$"),
        (frame.set_axis([*COLUMNS[:3], "mass"], axis=1), "'volume' missing"),
        (frame.assign(**{str(i): 1 for i in range(9)}), r"'4', … \(9 in all\) not known"),
    ):
        with pytest.raises(ValueError, match=message):
            use(way, net, changed, kinds)


def test_columns_that_occur_twice_are_refused(net):
    frame, kinds = measurements()
    twice = pandas.concat([frame, frame["mass"]], axis=1)
    with pytest.raises(ValueError, match="names of columns must differ: 'mass' occurs twice"):
        net(twice)
    with pytest.raises(ValueError, match="names of columns must differ: 'mass' occurs twice"):
        ReduNet.construct(twice, kinds)


def test_names_that_are_numbers(net):
    """Wavelengths, and columns without names that are shuffled."""
    frame, kinds = measurements()
    for names in ([400, 410, 420, 430], [0.5, 1.5, 2.5, 3.5], range(4)):
        numbered = frame.set_axis(names, axis=1)
        other = ReduNet.construct(numbered, kinds, num_layers=2)
        assert torch.equal(other(numbered[list(names)[::-1]]), net(frame))
    model = ReduNetClassifier(lift=None).fit(frame.set_axis([400, 410, 420, 430], axis=1), kinds)
    shuffled = frame.set_axis([400, 410, 420, 430], axis=1)[[430, 410, 400, 420]]
    assert (model.predict(shuffled) == model.predict(shuffled[[400, 410, 420, 430]])).all()


def test_a_column_that_holds_the_labels_is_refused():
    frame, kinds = measurements()
    codes = pandas.Series(kinds.astype("category").cat.codes, name="code")
    with_labels = frame.assign(code=codes)
    for construct in (ReduNet.construct, ReduNetClassifier().fit):
        with pytest.raises(ValueError, match="the column 'code' of X holds the labels"):
            construct(with_labels, with_labels["code"])
    large = (frame["mass"] > 0).astype(int)  # derived from a column, and named like it
    assert ReduNet.construct(frame, large, num_layers=1).names.label == "mass"


def test_feature_names_must_fit():
    frame, kinds = measurements()
    with pytest.raises(ValueError, match=r"feature_names must have 4 names, .* got 2"):
        ReduNet.construct(frame.to_numpy(), kinds, feature_names=["a", "b"])
    with pytest.raises(ValueError, match="but the frame has the columns 'length'"):
        ReduNet.construct(frame, kinds, feature_names=list("abcd"))
    X, labels = torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(0)), [0, 1] * 4
    assert ReduNet.construct(X, labels, feature_names=["x", "y"]).names.features == ("x", "y")
    with pytest.raises(ValueError, match=r"one for each column or channel .* got 5"):
        ReduNet.construct(X, labels, feature_names=list("abcde"))


def test_names_are_saved(net, tmp_path):
    frame, _ = measurements()
    path = tmp_path / "net.safetensors"
    net.save(path)
    again = ReduNet.load(path)
    assert again.names == net.names
    assert torch.equal(again(frame[COLUMNS[::-1]]), net(frame))
    net.save(path, samples=(frame[COLUMNS[::-1]], measurements()[1]))
    assert ReduNet.load(path).names == net.names


def test_an_extended_network_keeps_its_names():
    frame, kinds = measurements()
    net = ReduNet.construct(frame, kinds, operators="extensible", num_layers=1)
    more = net.extend(frame[COLUMNS[::-1]], kinds)
    assert more.names == net.names
    assert torch.equal(more(frame), net.extend(frame, kinds)(frame))


def test_the_classifier_has_names():
    frame, kinds = measurements()
    model = ReduNetClassifier(lift=None).fit(frame, kinds)
    assert model.feature_names_in_.tolist() == COLUMNS
    assert model.net_.names == Names(tuple(COLUMNS), "kind")
    assert (model.net_.predict(frame[COLUMNS[::-1]]) == model.predict(frame)).all()
    for changed in (frame[COLUMNS[::-1]], frame.assign(id=1), frame.drop(columns="mass")):
        with pytest.raises(ValueError, match="feature names"):
            model.predict(changed)


def test_validation_samples_are_put_in_order():
    frame, kinds = measurements()
    test, test_kinds = measurements(seed=1)
    for changed in (test, test[COLUMNS[::-1]]):
        net = ReduNet.construct(frame, kinds, num_layers=2, validation=(changed, test_kinds))
        assert net.history.validation is not None
        if changed is test:
            expected = net.history.validation.delta
        np.testing.assert_array_equal(net.history.validation.delta, expected)
