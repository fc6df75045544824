import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet import RateReductionMeter, rate_reduction
from tests.samples import samples


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.sampled_from([(4,), (3, 5), (2, 3, 4)]),
    st.booleans(),
)
def test_batches_count_as_one(sizes, shape, soft):
    # In whatever order classes come, most batches lacking some.
    m = sum(sizes) + 2
    Z = samples(m, *shape)
    generator = torch.Generator().manual_seed(m)
    labels = torch.randint(4, (m,), generator=generator)
    labels[:2] = torch.tensor([3, 0])
    if soft:
        labels = torch.rand(m, 3, generator=generator, dtype=torch.float64).softmax(1)
    meter = RateReductionMeter(0.3)
    for batch in torch.arange(m).split([2, *sizes]):
        meter.update(Z[batch], labels[batch])
    for ours, expected in zip(meter.compute(), rate_reduction(Z, labels, 0.3), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-12)


def test_it_is_not_a_mean_over_batches():
    Z, labels = samples(40, 6), torch.arange(40) % 2
    meter = RateReductionMeter()
    means = []
    for batch in torch.arange(40).split(4):
        meter.update(Z[batch], labels[batch])
        means.append(rate_reduction(Z[batch], labels[batch], 0.5).delta)
    assert abs(meter.compute().delta - torch.stack(means).mean()) > 0.1


def test_labels_may_be_strings_and_a_reset_forgets():
    meter = RateReductionMeter()
    meter.update(samples(3, 5), ["b", "b", "a"])
    meter.update(samples(2, 5, seed=1), ["c", "a"])
    assert meter.classes_.tolist() == ["a", "b", "c"]
    meter.reset()
    meter.update(samples(4, 7), np.array([1, 1, 0, 0]))  # of another dimension
    expected = rate_reduction(samples(4, 7), [1, 1, 0, 0], 0.5).delta
    torch.testing.assert_close(meter.compute().delta, expected)


def test_no_graph_is_kept():
    meter = RateReductionMeter()
    meter.update(samples(4, 3).requires_grad_(), [0, 0, 1, 1])
    assert not meter.compute().delta.requires_grad


def test_errors_say_what_is_wrong():
    meter = RateReductionMeter()
    with pytest.raises(RuntimeError, match="seen no samples"):
        meter.compute()
    meter.update(samples(4, 3), [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"expected samples of shape \(3,\)"):
        meter.update(samples(4, 5), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="eps_sq must be a positive number"):
        RateReductionMeter(0)


def test_many_small_classes_of_single_precision():
    meter, (k, d) = RateReductionMeter(), (60, 40)
    Z, labels = samples(180, d).float(), torch.arange(180) % k
    for batch in torch.arange(180).split(50):
        meter.update(Z[batch], labels[batch])
    expected = rate_reduction(Z.double(), labels, 0.5)
    for ours, rate in zip(meter.compute(), expected, strict=True):
        torch.testing.assert_close(ours, rate, rtol=1e-11, atol=1e-12)


def test_classes_may_have_less_than_one_sample():
    Z = samples(3, 4)
    soft = torch.tensor([[0.9, 0.1, 0], [0.8, 0.2, 0], [1, 0, 0]], dtype=torch.float64)
    meter = RateReductionMeter(0.3)
    meter.update(Z, soft)
    for ours, rate in zip(meter.compute(), rate_reduction(Z, soft, 0.3), strict=True):
        torch.testing.assert_close(ours, rate, rtol=1e-11, atol=1e-12)


def test_it_keeps_no_view_of_what_it_is_given():
    Z, labels = samples(12, 5), np.arange(12) % 3
    meter, buffer, of_labels = RateReductionMeter(0.5), torch.empty(4, 5).double(), np.zeros(4, int)
    for start in range(0, 12, 4):
        buffer.copy_(Z[start : start + 4])
        of_labels[:] = labels[start : start + 4]
        meter.update(buffer, of_labels)
    expected = rate_reduction(Z, labels, 0.5)
    torch.testing.assert_close(torch.stack(meter.compute()), torch.stack(expected))


@pytest.mark.parametrize("shape", [(5,), (2, 6)])
def test_it_keeps_no_graph(shape):
    Z = samples(4, *shape).requires_grad_()
    features = Z * 2
    graph = weakref.ref(features)
    meter = RateReductionMeter(0.5)
    meter.update(features, [0, 1, 0, 1])
    del features
    assert graph() is None
    assert not any(part.requires_grad for part in meter.compute())


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0, 1, 0], ["a", "b", "a"], "those before are integers, got strings"),
        ([0, 1, 0], np.eye(3), "those before are integers, got memberships in 3 classes"),
        (np.eye(3), np.eye(4)[:3], "memberships in 3 classes, got memberships in 4 classes"),
    ],
)
def test_labels_of_two_kinds_are_refused(first, second, message):
    Z = samples(3, 5)
    meter = RateReductionMeter(0.5)
    meter.update(Z, first)
    before = meter.compute()
    with pytest.raises(ValueError, match=f"all batches need labels of one kind: .*{message}"):
        meter.update(Z, second)
    assert meter.compute() == before
