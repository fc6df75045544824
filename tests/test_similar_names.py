"""Names of classes that look like one get one warning."""

import numpy as np
import pytest

from redunet import ReduNet, ReduNetWarning
from tests.small import X

VECTORS = X.flatten(1)


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cat"),
        ("cat", "cat "),
        ("a cat", "a  cat"),
        ("a cat", "a\xa0cat"),
        ("cat", "cat\u200b"),
    ],
)
def test_similar_names_are_a_warning(names):
    with pytest.warns(ReduNetWarning, match="differ only in case or in spaces") as caught:
        net = ReduNet.construct(VECTORS, np.array([*names, "dog", "dog"] * 2), num_layers=1)
    (found,) = caught
    assert " and ".join(map(repr, sorted(names))) in str(found.message)
    assert found.filename == __file__
    assert net.classes_.tolist() == sorted({*names, "dog"})


@pytest.mark.parametrize("names", [("cat", "cats"), ("x2", "x²"), ("ab", "a b"), ("Maße", "Masse")])
def test_other_names_are_none(names):
    net = ReduNet.construct(VECTORS, np.array([*names] * 4), num_layers=1)
    assert net.classes_.tolist() == sorted(names)
