"""Arrays of every layout and type are taken, or refused with a reason."""

import numpy as np
import pytest
import scipy.sparse
import torch

from redunet import (
    ReduNet,
)
from redunet._checks import as_samples
from tests.small import LABELS, construct


def test_arrays_that_may_not_be_written_are_copied_without_a_warning():
    array = np.ones((2, 3))
    array.flags.writeable = False
    assert as_samples(array).dtype == torch.float64
    assert as_samples(np.ones((2, 3), dtype=np.uint8)).dtype == torch.float32


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
