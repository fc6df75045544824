import itertools

import numpy as np
import pytest
import torch

from redunet import datasets
from redunet.datasets.text import labels_from_text


def test_subsample():
    labels = np.array([1, 0, 1, 0, 1, 0, 0])
    assert datasets.subsample(labels, 2).tolist() == [1, 3, 0, 2]
    drawn = datasets.subsample(torch.tensor(labels), 3, seed=0)
    assert labels[drawn].tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(drawn.tolist())) == 6
    assert torch.equal(drawn, datasets.subsample(labels, 3, seed=0))
    with pytest.raises(ValueError, match="class 1 has 3 samples, 4 were asked for"):
        datasets.subsample(labels, 4)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0])
def test_corrupted_labels(ratio):
    labels = torch.tensor([3, 5, 7, 9]).repeat(500)
    corrupted = datasets.corrupt_labels(labels, ratio)
    assert (corrupted != labels).sum() == round(ratio * 2000)
    assert set(corrupted.tolist()) == {3, 5, 7, 9}
    for label, other in itertools.permutations((3, 5, 7, 9), 2):  # any other class is as likely
        share = ((labels == label) & (corrupted == other)).sum() / 500
        assert abs(share - ratio / 3) < 0.07
    assert torch.equal(corrupted, datasets.corrupt_labels(labels, ratio))


def test_corrupting_labels_needs_a_ratio_and_classes():
    with pytest.raises(ValueError, match=r"ratio must be in \[0, 1\], got 1.5"):
        datasets.corrupt_labels([0, 1], 1.5)
    with pytest.raises(ValueError, match="at least two classes are needed"):
        datasets.corrupt_labels([0, 0], 0.5)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        (["1", "x"], ["1", "x"]),
        (["01", "2"], ["01", "2"]),
        (["1.0", "2", "+3", "4e1"], [1, 2, 3, 40]),
        (["-1", "+1"], [-1, 1]),
        (["007", "8.0"], ["007", "8.0"]),
        (["1_0", "2"], ["1_0", "2"]),
        (["inf", "2"], ["inf", "2"]),
        (["9007199254740993", "1"], [9007199254740993, 1]),
        (["9007199254740993.0", "1"], ["9007199254740993.0", "1"]),
        (["1234567890123456789012", "1"], ["1234567890123456789012", "1"]),
    ],
)
def test_labels_in_text_are_integers_or_stay_as_they_are(texts, expected):
    labels = labels_from_text(texts)
    assert labels.tolist() == expected
    assert labels.dtype.kind == ("U" if isinstance(expected[0], str) else "i")
