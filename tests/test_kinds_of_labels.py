"""Labels of every kind: understood alike everywhere, or refused by name."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from redunet import (
    LossyCodingClustering,
    MCR2Loss,
    MICLClassifier,
    NearestSubspaceClassifier,
    RateReductionMeter,
    ReduNet,
    ReduNetClassifier,
    Search,
    datasets,
    rate_reduction,
    report,
)
from redunet._labels import as_labels
from redunet.coding import coding_length
from redunet.inspection.summary import evaluation
from redunet.plots import plot_similarity, plot_singular_values

POSITIONS = np.arange(24) % 3
NAMES = np.array(["ant", "bee", "cow"])[POSITIONS]
X = np.eye(3, 6)[POSITIONS] + 0.2 * np.random.default_rng(0).normal(size=(24, 6))
COMPOSED, DECOMPOSED = "Käse", unicodedata.normalize("NFD", "Käse")


class Other:
    """Labels of another library, which give an array."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


STRINGS = {
    "list": NAMES.tolist(),
    "tuple": tuple(NAMES),
    "array": NAMES,
    "objects": NAMES.astype(object),
    "scalars": list(NAMES),
    "0-d": [np.array(name) for name in NAMES],
    "big-endian": NAMES.astype(">U3"),
    "StringDType": NAMES.astype(np.dtypes.StringDType()),
    "series": pd.Series(NAMES),
    "category": pd.Series(NAMES).astype("category"),
    "Categorical": pd.Categorical(NAMES),
    "string": pd.Series(NAMES, dtype="string"),
    "object series": pd.Series(NAMES, dtype=object),
    "index": pd.Index(NAMES),
    "not masked": np.ma.masked_array(NAMES),
    "other": Other(NAMES),
}
INTEGERS = {
    "list": POSITIONS.tolist(),
    "array": POSITIONS,
    "int8": POSITIONS.astype(np.int8),
    "uint8": POSITIONS.astype(np.uint8),
    "big-endian": POSITIONS.astype(">i4"),
    "reversed": POSITIONS[::-1].copy()[::-1],
    "floats": POSITIONS.astype(float),
    "objects": POSITIONS.astype(object),
    "scalars": list(POSITIONS),
    "tensor": torch.tensor(POSITIONS),
    "0-d tensors": list(torch.tensor(POSITIONS)),
    "float tensor": torch.tensor(POSITIONS).float(),
    "bfloat16": torch.tensor(POSITIONS).bfloat16(),
    "gradient": torch.tensor(POSITIONS).double().requires_grad_(),
    "Int64": pd.Series(POSITIONS, dtype="Int64"),
    "category": pd.Series(POSITIONS).astype("category"),
    "Float64": pd.Series(POSITIONS, dtype="Float64"),
    "not masked": np.ma.masked_array(POSITIONS, mask=False),
}
READERS = {
    "construct": lambda y: ReduNet.construct(X, y, num_layers=1),
    "auto": lambda y: ReduNet.construct(X, y, lift="auto"),
    "Search": lambda y: Search([None]).fit(X, y),
    "classifier": lambda y: ReduNetClassifier(lift=None).fit(X, y),
    "MICL": lambda y: MICLClassifier().fit(X, y),
    "nearest subspace": lambda y: NearestSubspaceClassifier().fit(X, y),
    "clustering": lambda y: LossyCodingClustering(initial=y).fit(X),
    "MCR2Loss": lambda y: MCR2Loss()(torch.tensor(X), y),
    "meter": lambda y: RateReductionMeter(0.5).update(X, y),
    "rates": lambda y: rate_reduction(X, y, 0.5),
    "coding length": lambda y: coding_length(X, 0.5, y),
    "subsample": lambda y: datasets.subsample(y, 2),
    "similarity": lambda y: plot_similarity(X, y),
    "singular values": lambda y: plot_singular_values(X, y),
}
# These do not know how many labels there should be, or take any number.
WITHOUT_A_NUMBER = {"subsample", "accuracy of clusters"}


@pytest.mark.parametrize("kind", STRINGS)
def test_strings(kind):
    assert as_labels(STRINGS[kind]).tolist() == NAMES.tolist()
    assert ReduNet.construct(X, STRINGS[kind], num_layers=1).classes_.tolist() == sorted(set(NAMES))


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers(kind):
    assert as_labels(INTEGERS[kind]).tolist() == POSITIONS.tolist()
    assert ReduNet.construct(X, INTEGERS[kind], num_layers=1).classes_.tolist() == [0, 1, 2]


def with_first(value, kind=object):
    values = NAMES.astype(kind)
    values[0] = value
    return values


MISSING = {
    "None": with_first(None),
    "NaN among strings": with_first(np.nan),
    "NA": pd.Series(with_first(None), dtype="string"),
    "NA of integers": pd.Series([None, *POSITIONS[1:]], dtype="Int64"),
    "NaN": np.where(np.arange(24) == 0, np.nan, POSITIONS),
    "NaN in a list": [np.nan, *NAMES[1:].tolist()],
    "category": pd.Series(with_first(None)).astype("category"),
    "NaT": with_first(pd.NaT),
    "tensor": torch.tensor([torch.nan, *POSITIONS[1:]]),
}
BAD = {
    "a number among strings": ([-1, *NAMES[1:].tolist()], "all integers or all strings, got .*int"),
    "an object among strings": (with_first(-1), r"all strings, got -1 \(int\) and 'bee' \(str\)"),
    "bytes": (NAMES.astype("S3"), r"got \|S3: pass labels.astype\(str\)"),
    "bytes as objects": (NAMES.astype("S3").astype(object), r"got \|S3"),
    "dates": (
        np.datetime64("2020-01-01") + POSITIONS,
        r"got datetime64\[D\]: pass labels.astype\(str\)",
    ),
    "series of dates": (pd.Series(pd.to_datetime(["2020-01-01"] * 24)), "got datetime64|Timestamp"),
    "durations": (POSITIONS.astype("m8[s]"), r"got timedelta64\[s\]"),
    "complex": (POSITIONS.astype(complex), "got complex128"),
    "fractions": (
        POSITIONS / 2,
        "got 0.5 for sample 1; continuous values are no classes|continuous",
    ),
    "infinite": (np.where(POSITIONS, 1.0, np.inf), "got inf for sample 0|infinity"),
    "two spellings": (
        np.where(POSITIONS == 0, COMPOSED, np.where(POSITIONS == 1, DECOMPOSED, "c")),
        "is written with composed and with decomposed characters: pass .*normalize",
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", MISSING)
def test_missing_labels_are_refused(kind, reader):
    with pytest.raises((ValueError, TypeError), match=r"labels are missing|contains NaN|NaT|NA"):
        READERS[reader](MISSING[kind])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", BAD)
def test_labels_of_other_kinds_are_refused(kind, reader):
    labels, message = BAD[kind]
    theirs = "Unknown label type|bytes is not supported|All entries|Complex data|could not convert"
    with pytest.raises((ValueError, TypeError), match=f"{message}|{theirs}"):
        READERS[reader](labels)


@pytest.mark.parametrize("reader", sorted(READERS.keys() - WITHOUT_A_NUMBER))
@pytest.mark.parametrize("labels", [NAMES[:20], [*NAMES, "ant"], NAMES[:0], "ant", NAMES[:1]])
def test_a_wrong_number_of_labels_is_refused(labels, reader):
    with pytest.raises(
        ValueError,
        match=r"labels must have shape|inconsistent numbers|initial must|1d array|minimum of 1",
    ):
        READERS[reader](labels)


ONE_HOT = np.eye(3, dtype=int)[POSITIONS]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("labels", [NAMES.reshape(-1, 2), ONE_HOT.astype(str)])
def test_strings_with_two_axes_are_refused(labels, reader):
    with pytest.raises((ValueError, TypeError), match=r"labels|memberships|1d array|y should"):
        READERS[reader](labels)


def test_one_hot_labels_are_memberships_where_they_are_allowed():
    names = ReduNet.construct(X, POSITIONS, num_layers=1).predict(X)
    assert ReduNet.construct(X, ONE_HOT, num_layers=1).predict(X).tolist() == names.tolist()
    for reader in ("Search", "subsample", "similarity", "clustering"):
        with pytest.raises(
            ValueError, match=r"one label for each|pass labels.argmax\(1\) if one-hot"
        ):
            READERS[reader](ONE_HOT)
    with pytest.raises(ValueError, match=r"pass labels\.ravel\(\)"):
        plot_similarity(X, POSITIONS[:, None])


KNOWN = np.arange(24) % 4 != 0
UNKNOWN = {
    "masked": (np.ma.masked_array(np.where(KNOWN, POSITIONS, 0), ~KNOWN), None),
    "masked strings": (np.ma.masked_array(np.where(KNOWN, NAMES, "ant"), ~KNOWN), None),
    "masked None": (np.ma.masked_array(np.where(KNOWN, NAMES, None), ~KNOWN), None),
    "masked NaN": (np.ma.masked_array(np.where(KNOWN, POSITIONS, np.nan), ~KNOWN), None),
    "−1": (np.where(KNOWN, POSITIONS, -1), -1),
    "−1 as float": (np.where(KNOWN, POSITIONS, -1.0), -1),
    "tensor": (torch.tensor(np.where(KNOWN, POSITIONS, -1)), -1),
    "NumPy scalar": (np.where(KNOWN, POSITIONS, -1), np.int64(-1)),
    "−1 among strings": ([n if k else -1 for n, k in zip(NAMES.tolist(), KNOWN, strict=True)], -1),
    "−1 among objects": (np.where(KNOWN, NAMES.astype(object), -1), -1),
    "−1 made a string": (np.array([n if k else -1 for n, k in zip(NAMES, KNOWN, strict=True)]), -1),
    "string": (np.where(KNOWN, NAMES, "?"), "?"),
    "series": (pd.Series(np.where(KNOWN, NAMES, "?"), dtype="string"), "?"),
    "string among integers": (np.where(KNOWN, POSITIONS.astype(object), "?"), "?"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_unknown_labels_are_found_and_never_a_class(kind):
    labels, unknown = UNKNOWN[kind]
    expected = NAMES if "ant" in np.asarray(labels).tolist() else POSITIONS
    classes = sorted(set(expected.tolist()))
    net = ReduNet.construct(X, labels, num_layers=1, unknown=unknown)
    model = ReduNetClassifier(lift=None, unknown=unknown).fit(X, labels)
    search = Search([None]).fit(X, labels, unknown=unknown)
    assert net.classes_.tolist() == model.classes_.tolist() == classes
    assert net.transduction_.tolist() == model.transduction_.tolist() == expected.tolist()
    assert search.arguments is not None
    assert (model.predict(X) == expected).all()


WITHOUT_UNKNOWN = sorted(READERS.keys() - {"construct", "auto", "Search", "classifier"})


@pytest.mark.parametrize("reader", WITHOUT_UNKNOWN)
@pytest.mark.parametrize("kind", ["masked", "masked strings"])
def test_masked_labels_are_refused_where_all_must_be_known(kind, reader):
    with pytest.raises(ValueError, match=r"6 of 24 labels are masked, but here all must be known"):
        READERS[reader](UNKNOWN[kind][0])


def test_masked_labels_with_a_search():
    labels, _ = UNKNOWN["masked strings"]
    assert ReduNet.construct(X, labels, lift="auto").transduction_.tolist() == NAMES.tolist()


def test_an_unknown_label_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="unknown is the string '-1', but labels are int64"):
        ReduNet.construct(X, POSITIONS, unknown="-1")


def test_batches_of_a_loader():
    batches = [(torch.tensor(x), n) for x, n in zip(X, NAMES.tolist(), strict=True)]
    assert ReduNet.construct(DataLoader(batches, 5), num_layers=1).classes_.tolist() == [
        "ant",
        "bee",
        "cow",
    ]
    spelled = [(x, DECOMPOSED if n == "ant" else COMPOSED) for x, n in batches]
    with pytest.raises(ValueError, match="is written with composed and with decomposed characters"):
        ReduNet.construct(DataLoader(spelled, 5), num_layers=1)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_keep_their_spelling_and_match_the_other(form, tmp_path):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    names = ["Käse", "Öl", "Zoë"]
    labels = np.array([unicodedata.normalize(form, name) for name in names])[POSITIONS]
    others = np.array([unicodedata.normalize(other, name) for name in names])[POSITIONS]
    net = ReduNet.construct(X, labels, num_layers=1)
    assert (net.predict(X) == labels).all()
    assert evaluation(net, X, others)["accuracy"] == 1
    if form == "NFD":  # it takes two seconds
        report(net, X, others, tmp_path / "r.html")
    for model in (ReduNetClassifier(lift=None), MICLClassifier(), NearestSubspaceClassifier(1)):
        assert model.fit(X, labels).score(X, labels) == 1
    extensible = ReduNet.construct(X, labels, num_layers=1, operators="extensible")
    assert extensible.extend(X, others).classes_.tolist() == net.classes_.tolist()


def test_integers_match_classes_that_are_strings():
    net = ReduNet.construct(X, POSITIONS.astype(str), num_layers=1)
    assert evaluation(net, X, POSITIONS)["accuracy"] == 1
