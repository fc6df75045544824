import json
from dataclasses import dataclass

import pytest

from redunet._registry import Registry
from redunet.files.tensors import as_text
from redunet.layers import Membership, Softmax


@dataclass(frozen=True)
class Uniform(Membership):
    sharpness: float = float("inf")

    def __call__(self, residual_norms, proportions):
        return residual_norms * 0 + 1 / residual_norms.shape[1]


@pytest.fixture
def registry():
    return Registry(Membership, "membership", {"softmax": Softmax})


def test_names_stand_for_kinds(registry):
    assert registry["softmax"] is Softmax
    registry.register("uniform", Uniform)
    assert registry["uniform"] is Uniform
    assert "uniform" in registry
    assert Uniform() in registry
    assert registry.name_of(Uniform()) == "uniform"


def test_parts_go_to_json_and_back(registry):
    registry.register("uniform", Uniform)
    for part in (Softmax(3.0), Softmax(float("inf")), Uniform()):
        assert registry.from_json(json.loads(as_text(registry.to_json(part)))) == part
    assert registry.to_json(Uniform()) == {"kind": "uniform", "sharpness": float("inf")}


def test_errors_say_what_is_known(registry):
    with pytest.raises(ValueError, match=r"membership must be one of \['softmax'\], got 'sharp'"):
        registry["sharp"]
    with pytest.raises(ValueError, match="Uniform is not registered as a kind of membership"):
        registry.to_json(Uniform())
    with pytest.raises(TypeError, match="membership must derive from Membership, got <class 'int'"):
        registry.register("number", int)
