"""The state of a training in a file."""

import collections
import random

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from redunet.files.tensors import write_tensors
from redunet.training.random_states import random_states, set_random_states
from redunet.training.state import read_state, write_state


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


def test_generators_continue_where_they_were(device, tmp_path):
    generator = torch.Generator().manual_seed(3)
    sampler = RandomSampler(range(9), generator=generator)
    batches = DataLoader(range(9), sampler=BatchSampler(sampler, 2, drop_last=False))
    torch.rand(5)
    write_state({"random": random_states(device, batches)}, tmp_path / "state")
    states = read_state(tmp_path / "state")["random"]

    def draw():
        numbers = [torch.rand(4), torch.rand(4, device=device), torch.rand(4, generator=generator)]
        numpy = torch.from_numpy(np.random.normal(size=3))  # noqa: NPY002
        return [*numbers, numpy, random.gauss(), random.random()]

    expected = draw()
    set_random_states(states, device, batches)
    torch.testing.assert_close(draw(), expected, rtol=0, atol=0)
