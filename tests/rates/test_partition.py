import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redunet.rates.partition import Partition

sizes = st.lists(st.integers(1, 200), min_size=2, max_size=12)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1, 3, 7],
        np.array(["c", "a", "c", "z"]),
        torch.tensor([3, 1, 3, 7]),
        [1.0, 0.0, 1.0, 2.0],
    ],
)
def test_labels_of_any_kind(labels):
    partition = Partition.from_labels(labels, 4)
    assert partition.classes.tolist() == sorted({*np.asarray(labels).tolist()})
    assert partition.counts.tolist() == [1, 2, 1]
    assert partition.membership.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def memberships_from_groups(partition):
    found = torch.zeros(len(partition), partition.num_classes, dtype=torch.float64)
    for batch in partition.class_batches:
        weights = batch.mask.to(found.dtype) if batch.weights is None else batch.weights
        for j, samples, shares in zip(batch.classes, batch.samples, weights, strict=True):
            found[:, j].index_add_(0, samples, shares)
    return found


@given(sizes, st.integers(0, 5))
def test_groups_hold_every_membership_once_with_little_padding(sizes, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    partition = Partition.from_labels(labels, len(labels))
    torch.testing.assert_close(memberships_from_groups(partition), partition.membership)
    assert len(partition.class_batches) <= math.ceil(math.log2(max(sizes))) + 1
    for batch in partition.class_batches:
        assert (batch.samples.shape[1] < 2 * partition.counts[batch.classes]).all()


def test_groups_of_soft_memberships():
    soft = np.random.default_rng(0).dirichlet([0.2] * 4, size=30)
    soft[soft < 0.05] = 0
    soft /= soft.sum(1, keepdims=True)
    partition = Partition.from_labels(soft, 30)
    assert partition.is_soft
    torch.testing.assert_close(memberships_from_groups(partition), torch.tensor(soft))
    torch.testing.assert_close(partition.counts, torch.tensor(soft.sum(0)))


def test_members_have_the_second_moments_of_their_classes():
    soft = torch.tensor(np.random.default_rng(0).dirichlet([0.3] * 3, size=20))
    partition = Partition.from_labels(soft, 20)
    V = torch.randn(2, 20, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    for whole in partition.class_batches:
        members = whole.gather(V)
        found = members.mT @ members.conj()
        expected = torch.einsum("mk,fma,fmb->fkab", soft.to(V.dtype), V, V.conj())
        torch.testing.assert_close(found, expected[:, whole.classes])


def test_classes_of_another_partition():
    partition = Partition.from_labels(["b", "d"], 2, classes=np.array(["a", "b", "d"]))
    assert partition.counts.tolist() == [0, 1, 1]
    assert memberships_from_groups(partition).tolist() == [[0, 1, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match="labels 'x' are not among 'a', 'b'"):
        Partition.from_labels(["x", "a"], 2, classes=np.array(["a", "b"]))
    with pytest.raises(ValueError, match="expected memberships in 3 classes, got 2"):
        Partition.from_labels(np.eye(2), 2, classes=np.arange(3))
