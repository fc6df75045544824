"""Settings of the wrong kind are refused by name."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file

from redunet import LossyCodingClustering, MICLClassifier, NearestSubspaceClassifier, ReduNet

X = torch.tensor([[3.0, 0, 1], [4, 1, 0], [3, -1, 0], [0, 3, 1], [1, 4, 0], [-1, 3, 0]])
LABELS = [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"momentum": None}, ValueError, r"momentum must be in \[0, 1\), got None"),
        ({"momentum": math.nan}, ValueError, r"momentum must be in \[0, 1\), got nan"),
        ({"lift": 3}, TypeError, "a lift must be a torch module, or a list of them, got 3"),
        ({"lift": torch.relu}, TypeError, "a lift must be a torch module"),
        ({"feature_names": "abc"}, TypeError, "feature_names must be a list of names, got 'abc'"),
    ],
)
def test_settings_of_a_construction(settings, error, message):
    with pytest.raises(error, match=message):
        ReduNet.construct(X, LABELS, **settings)


@pytest.mark.parametrize("kind", [MICLClassifier, NearestSubspaceClassifier, LossyCodingClustering])
@pytest.mark.parametrize("name", ["center", "shift_invariant"])
@pytest.mark.parametrize("value", ["no", "False", 0, None])
def test_flags_of_estimators_are_true_or_false(kind, name, value):
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        kind(**{name: value}).fit(X, LABELS)


@pytest.mark.parametrize("header", [[1], 3, "text", None])
def test_a_header_is_an_object(tmp_path, header):
    save_file({"a": torch.zeros(1)}, tmp_path / "net", {"redunet": json.dumps(header)})
    with pytest.raises(ValueError, match="damaged header: expected an object"):
        ReduNet.load(tmp_path / "net")
