"""The tests of this folder have their samples on a device, and `make test-device` runs them.

The device is the simulated one, or the one that REDUNET_TEST_DEVICE names, such as "cuda".
"""

import os

import pytest
import torch

from tests.device import simulated

NAME = os.environ.get("REDUNET_TEST_DEVICE", "sim")


def pytest_collection_finish():
    """Register the device before any test: torch counts devices in its first backward pass."""
    if NAME == "sim" and simulated.can_be_compiled():
        simulated.load()


@pytest.fixture(scope="session")
def device():
    if NAME != "sim":
        return torch.device(NAME)
    if not simulated.can_be_compiled():
        pytest.skip(f"the simulated device needs the compiler {simulated.COMPILER}")
    return simulated.load()
