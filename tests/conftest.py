import importlib
import os
import runpy
import sys
from pathlib import Path

import matplotlib.pyplot
import pytest
import torch
from hypothesis import settings

matplotlib.use("Agg")

# The tests are small. Under load, more threads would spend their time waiting for each other.
torch.set_num_threads(1)

# Its import would write to the home folder, and call home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The same examples in every run, however slow the machine. `make test-roundings` takes fewer.
settings.register_profile("redunet", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("roundings", settings.get_profile("redunet"), max_examples=20)
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


EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(tmp_path, monkeypatch, capsys):
    """A function that runs an example in an empty folder, without MNIST, and gives its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    monkeypatch.syspath_prepend(EXAMPLES)

    def run_example(script, *options):
        monkeypatch.setattr(sys, "argv", [script, *map(str, options)])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return run_example


@pytest.fixture
def imported(monkeypatch):
    """A function that imports an example."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module
