import os

import matplotlib.pyplot
import pytest
import torch
from hypothesis import settings

matplotlib.use("Agg")

# The tests are small. Under load, more threads would spend their time waiting for each other.
torch.set_num_threads(1)

# Its import would write to the home folder, and call home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The same examples in every run, however slow the machine.
settings.register_profile("redunet", deadline=None, derandomize=True)
settings.load_profile("redunet")

cuda = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ],
)


@pytest.fixture(params=["cpu", cuda])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def mnist_dir():
    folder = os.environ.get("REDUNET_DATA")
    if not folder:
        pytest.skip("set REDUNET_DATA to a folder of MNIST's IDX files to run this test")
    return folder


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    matplotlib.pyplot.close("all")
