"""What the package promises by its names."""

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import redunet
from redunet import datasets, plots

ROOMS = (
    "datasets",
    "rates",
    "coding",
    "layers",
    "construction",
    "lifts",
    "training",
    "estimators",
    "inspection",
)
PUBLIC = [
    *(getattr(redunet, name) for name in redunet.__all__),
    *(getattr(plots, name) for name in plots.__all__),
    *(getattr(datasets, name) for name in datasets.__all__),
]


def callables():
    """Public functions, constructors and methods, by the object whose docstring describes them."""
    for thing in PUBLIC:
        if inspect.isfunction(thing):
            yield pytest.param(thing, thing, id=thing.__qualname__)
        elif inspect.isclass(thing) and thing.__module__.startswith("redunet"):
            if not issubclass(thing, tuple | redunet.ReduNet):  # those are made by construct
                own = vars(thing).get("__init__", object)  # or else nothing to describe
                yield pytest.param(thing, own, id=thing.__qualname__)
            for name, member in vars(thing).items():
                if any(name in vars(base) for base in thing.__mro__[1:]):
                    continue  # described where it is first defined
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) and not name.startswith("_"):
                    yield pytest.param(function, function, id=function.__qualname__)


@pytest.mark.parametrize(("documented", "function"), [*callables()])
def test_docstrings_name_every_parameter(documented, function):
    doc = inspect.getdoc(documented)
    assert doc
    parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
    if "Parameters\n" in doc or len(parameters) > 1:
        described = doc.split("Parameters\n", 1)[1]
        for parameter in parameters:
            assert parameter in described, f"{parameter} is not described"


@pytest.mark.parametrize(
    "module",
    [
        "coding.length",
        "datasets.series",
        "estimators.classifier",
        "estimators.lossy_coding",
        "estimators.micl",
        "inspection.explanation",
        "network",
        "rates.meter",
        "rates.optimum",
        "training.losses",
    ],
)
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"redunet.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


SIDE_EFFECTS = """
import sys, torch, numpy, warnings
warnings.filterwarnings("error", module="redunet")
torch.manual_seed(0); numpy.random.seed(0)
before = (torch.get_rng_state(), numpy.random.get_state()[1].copy(), torch.get_default_dtype())
modules = set(sys.modules)
import redunet
assert not [name for name in set(sys.modules) - modules if name.startswith("redunet.rates")]
from redunet import MCR2Loss, ReduNet, Search, datasets, explain, export, finetune
heavy = ("matplotlib", "jinja2", "tabulate", "PIL", "tqdm.notebook", "IPython", "sklearn", "pandas")
heavy = (*heavy, "scipy.stats")
assert not [name for name in heavy if name in sys.modules], sys.modules.keys() & set(heavy)
assert redunet.plots.plot_rates and redunet.report  # these load them
assert "matplotlib" in sys.modules
assert "jinja2" in sys.modules
import matplotlib.pyplot as plt
assert torch.equal(torch.get_rng_state(), before[0])
assert (numpy.random.get_state()[1] == before[1]).all()
assert torch.get_default_dtype() is before[2]
assert torch.is_grad_enabled()
assert not plt.get_fignums()
"""


def test_importing_has_no_side_effects_and_loads_nothing_that_only_pictures_need():
    subprocess.run([sys.executable, "-c", SIDE_EFFECTS], check=True)


WITHOUT_TORCH = """
import sys
import redunet
from redunet.cli import main
for arguments in (["--help"], ["construct", "--help"], ["fly"], ["construct", "x", "--rank", "a"]):
    try:
        main(arguments)
    except SystemExit:
        pass
assert main(["construct", "none.csv"]) == 1
assert main(["evaluate", "none.safetensors", "none.csv"]) == 1
assert main(["construct", sys.argv[1], "--length", "3"]) == 1
assert main(["construct", sys.argv[1], "-o", "net.onnx"]) == 1
heavy = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "pandas"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_help_and_errors_about_arguments_load_nothing_that_takes_long(tmp_path):
    (tmp_path / "table.csv").write_text("a,y\n1,0\n2,1\n")
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, str(tmp_path / "table.csv")]
    subprocess.run(command, check=True, capture_output=True)


def test_every_public_name_is_there():
    for name in redunet.__all__:
        assert getattr(redunet, name) is not None
    assert set(redunet.__all__) <= set(dir(redunet))
    stub = Path(redunet.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    names = {}
    exec(compile(stub, "__init__.pyi", "exec"), names)
    assert names["__all__"] == redunet.__all__
    with pytest.raises(AttributeError, match="redunet has no attribute 'ReduNett'"):
        _ = redunet.ReduNett


def test_no_function_hides_a_module():
    for module in [redunet, *(getattr(redunet, room) for room in ROOMS)]:
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                folder = Path(module.__file__).parent
                assert not (folder / name).exists()
                assert not (folder / f"{name}.py").exists()
