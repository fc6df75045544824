"""The state of a training in a file."""

import collections

import pytest
import torch

from redunet.files.tensors import write_tensors
from redunet.training.state import random_states, read_state, set_random_states, write_state


def test_nested_values_come_back(tmp_path):
    weight = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    state = {
        "optimizer": {0: {"momentum": weight, "step": 3}, 1: {"betas": (0.9, 0.999)}},
        "tied": weight,
        "part": weight[:, 1],
        "empty": {},
        "none": None,
        "lists": [True, 0.1, [torch.tensor(5), {"pairs": 1, "tensor": 2}]],
        "complex": torch.tensor([1 + 2j]),
        "milestones": collections.Counter([200, 400]),
    }
    write_state(state, tmp_path / "state.safetensors")
    found = read_state(tmp_path / "state.safetensors")
    state["optimizer"][1]["betas"] = [0.9, 0.999]
    state["milestones"] = {200: 1, 400: 1}
    torch.testing.assert_close(found, state, rtol=0, atol=0)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_tensors({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="is not a checkpoint of a training"):
        read_state(path)


def test_generators_continue_where_they_were(device):
    generator = torch.Generator().manual_seed(3)
    torch.rand(5)
    states = random_states(device, generator)

    def draw():
        return [torch.rand(4), torch.rand(4, device=device), torch.rand(4, generator=generator)]

    expected = draw()
    set_random_states(states, device, generator)
    torch.testing.assert_close(draw(), expected, rtol=0, atol=0)
