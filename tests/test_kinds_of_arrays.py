"""Arrays of every layout and type are taken, or refused with a reason."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from redunet import (
    LossyCodingClustering,
    MICLClassifier,
    NearestSubspaceClassifier,
    ReduNet,
    ReduNetClassifier,
    coding_rate,
)
from redunet._checks import as_samples
from tests.small import LABELS, construct


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a[::-1][::-1], id="negative strides twice"),
        pytest.param(lambda a: np.flip(np.flip(a, 1).copy(), 1), id="negative strides"),
        pytest.param(lambda a: a.astype(">f4"), id="big-endian"),
        pytest.param(lambda a: a.astype("<f4"), id="little-endian"),
        pytest.param(lambda a: np.asfortranarray(a), id="Fortran order"),
        pytest.param(lambda a: np.repeat(a, 2, 0)[::2], id="not contiguous"),
        pytest.param(lambda a: a.tolist(), id="lists"),
    ],
)
def test_arrays_in_any_layout(change):
    array = np.random.default_rng(0).normal(size=(8, 4, 5)).astype(np.float32)
    net = ReduNet.construct(array, LABELS, num_layers=2)
    changed = change(array)
    torch.testing.assert_close(net(changed), net(array))
    twin = ReduNet.construct(changed, LABELS, num_layers=2)
    torch.testing.assert_close(twin(array), net(array), check_dtype=False)
    labels = np.asarray(LABELS).astype(">i8")[::-1][::-1]
    torch.testing.assert_close(ReduNet.construct(array, labels, num_layers=2)(array), net(array))


def test_read_only_arrays():
    array = np.random.default_rng(0).normal(size=(8, 4))
    array.flags.writeable = False
    net = ReduNet.construct(array, LABELS, num_layers=1)
    assert net(array).shape == (8, 4)
    assert as_samples(array).dtype == torch.float64
    assert as_samples(np.ones((2, 3), dtype=np.uint8)).dtype == torch.float32


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
def test_sparse_matrices_get_an_error_that_says_so(make):
    array = np.random.default_rng(0).normal(size=(8, 4))
    net = ReduNet.construct(array, LABELS, num_layers=1)
    message = "expected a dense array, got a sparse"
    for way in (net, net.predict, lambda a: ReduNet.construct(a, LABELS)):
        with pytest.raises(TypeError, match=message):
            way(make(array))
    with pytest.raises(TypeError, match="expected a dense tensor, got one of layout"):
        net(torch.from_numpy(array).to_sparse())


def test_arrays_of_objects():
    array = np.random.default_rng(0).normal(size=(8, 4))
    net = construct(array)
    torch.testing.assert_close(net(array.astype(object)), net(array))
    frame = pytest.importorskip("pandas").DataFrame(array).convert_dtypes()
    torch.testing.assert_close(construct(frame)(frame), net(array))
    with pytest.raises(TypeError, match=r"expected an array of numbers, got one of objects: .*red"):
        net(np.array([[1.0, 2.0, 3.0, "red"]], dtype=object))


POINTS = np.array([[3.0, 0, 1], [4, 1, 0], [3, -1, 0], [0, 3, 1], [1, 4, 0], [-1, 3, 0]])
SIDES = [0, 0, 0, 1, 1, 1]
HIDDEN = np.ma.masked_array(POINTS, np.eye(6, 3, dtype=bool))
DATES = POINTS.astype("M8[s]")
RECORDS = np.array([tuple(row) for row in POINTS], dtype=[(name, float) for name in "abc"])


def readers():
    """Everything that takes samples, by its name."""
    net = ReduNet.construct(POINTS, SIDES, num_layers=1)
    fitted = [
        ReduNetClassifier(lift=None).fit(POINTS, SIDES),
        MICLClassifier().fit(POINTS, SIDES),
        NearestSubspaceClassifier(1).fit(POINTS, SIDES),
    ]
    functions = {
        "construct": lambda X: ReduNet.construct(X, SIDES, num_layers=1).predict(POINTS),
        "net": net,
        "membership": net.membership,
        "coding_rate": lambda Z: coding_rate(Z, 0.5),
    }
    for model in fitted:
        functions[f"{type(model).__name__}.predict"] = model.predict
        functions[f"{type(model).__name__}.fit"] = partial(model.fit, y=SIDES)
    return functions | {"LossyCodingClustering": LossyCodingClustering().fit}


READERS = readers()


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (HIDDEN, ValueError, "3 values are masked"),
        (DATES, TypeError, r"got datetime64\[s\]: convert dates"),
        (pd.DataFrame(DATES), TypeError, r"got datetime64\[s\]: convert dates"),
        (DATES - DATES[0], TypeError, r"got timedelta64\[s\]"),
        (RECORDS, TypeError, r"got \[\('a'.*fields of records"),
    ],
    ids=["masked", "dates", "frame of dates", "durations", "records"],
)
def test_what_is_no_number_is_refused_by_name(reader, samples, error, message):
    with pytest.raises(error, match=message):
        reader(samples)


@pytest.mark.parametrize("samples", [POINTS * 1j, torch.tensor(POINTS).to(torch.complex64)])
def test_imaginary_parts_are_never_dropped(samples):
    net = ReduNet.construct(POINTS, SIDES, num_layers=1)
    for reader in (net, net.predict, net.membership):
        with pytest.raises(TypeError, match="X must be real"):
            reader(samples)


@pytest.mark.parametrize(
    "samples",
    [
        np.ma.masked_array(POINTS, np.zeros((6, 3), bool)),
        POINTS.astype(np.longdouble),
        torch.tensor(POINTS).bfloat16(),
        torch.tensor(POINTS, requires_grad=True),
    ],
    ids=["no value is masked", "long double", "bfloat16", "requires grad"],
)
@pytest.mark.parametrize("model", [ReduNetClassifier(lift=None), MICLClassifier()])
def test_other_kinds_of_numbers_are_read(samples, model):
    expected = model.fit(POINTS, SIDES).predict(POINTS)
    assert model.predict(samples).tolist() == expected.tolist() == SIDES
    assert model.fit(samples, SIDES).predict(POINTS).tolist() == SIDES
    net = ReduNet.construct(samples, SIDES, num_layers=1)
    assert net.predict(samples).tolist() == SIDES
