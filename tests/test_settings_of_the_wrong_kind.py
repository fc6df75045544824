"""Settings of the wrong kind are refused by name."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from redunet import (
    LossyCodingClustering,
    MICLClassifier,
    NearestSubspaceClassifier,
    ReduNet,
    Search,
)

X = torch.tensor([[3.0, 0, 1], [4, 1, 0], [3, -1, 0], [0, 3, 1], [1, 4, 0], [-1, 3, 0]])
LABELS = [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"momentum": None}, ValueError, r"momentum must be in \[0, 1\), got None"),
        ({"momentum": math.nan}, ValueError, r"momentum must be in \[0, 1\), got nan"),
        ({"lift": 3}, TypeError, "a lift must be a torch module, or a list of them, got 3"),
        ({"lift": torch.relu}, TypeError, "a lift must be a torch module"),
        ({"device": 3.5}, ValueError, "the device '3.5' cannot be used here"),
        ({"device": ["cpu"]}, ValueError, r"the device \"\['cpu'\]\" cannot be used here"),
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


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([3], "candidates must be a list of torch modules and None, got 3 in it"),
        ([torch.relu], "candidates must be a list of torch modules and None"),
        (3, "candidates must be a list of lifts, got 3"),
        ("auto", "candidates must be a list of lifts, got 'auto'"),
        (nn.ReLU(), r"candidates must be a list of lifts, got ReLU\(\)"),
    ],
)
def test_lifts_of_a_search(candidates, message):
    with pytest.raises(TypeError, match=message):
        Search(candidates)


def test_a_number_of_components():
    with pytest.raises(TypeError, match="n_components must be an integer, got None"):
        NearestSubspaceClassifier(None).fit(X, LABELS)


@pytest.mark.parametrize("header", [[1], 3, "text", None])
def test_a_header_is_an_object(tmp_path, header):
    save_file({"a": torch.zeros(1)}, tmp_path / "net", {"redunet": json.dumps(header)})
    with pytest.raises(ValueError, match="net has format None, this version reads format 7"):
        ReduNet.load(tmp_path / "net")
