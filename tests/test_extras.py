"""Without the packages of an extra, all else works, and what needs them names the extra."""

import configparser
import subprocess
import sys
from pathlib import Path

from redunet._extras import PACKAGES

ROOT = Path(__file__).parents[1]

WITHOUT = """
import sys
from pathlib import Path
for name in ("matplotlib", "jinja2", "kymatio", "PIL", "onnx", "onnxscript"):
    sys.modules[name] = None  # as if it were not installed

import redunet
from redunet.cli import main

X, labels = redunet.datasets.digits()
X, labels = X[:120], labels[:120]
model = redunet.ReduNetClassifier().fit(X, labels)
assert "accuracy" in str(model.search_)
assert "prediction" in str(redunet.explain(model.net_, X[0]))
assert redunet.finetune(model.net_, X, labels, epochs=1, validation=None).predict(X).shape == (120,)
rows = ["a,b,y"] + [f"{i % 7},{i % 5},{'uv'[i % 7 > 3]}" for i in range(40)]
Path("table.csv").write_text("\\n".join(rows))
for command in (
    "construct table.csv -o net.safetensors",
    "evaluate net.safetensors table.csv",
    "predict net.safetensors table.csv -o classes.csv",
):
    assert main(command.split()) == 0, command

Path("images/a").mkdir(parents=True)
Path("images/a/0.png").write_bytes(b"")


def refused(extra, use):
    try:
        use()
    except ImportError as error:
        assert f"pip install 'redunet[{extra}]'" in str(error), error
    else:
        raise AssertionError(extra)


def plots():
    import redunet.plots


refused("plots", plots)
refused("plots", lambda: redunet.plots)
refused("report", lambda: redunet.report)
refused("scattering", lambda: redunet.ScatteringLift((8, 8), J=1))
refused("images", lambda: redunet.datasets.load("images"))
refused("onnx", lambda: redunet.export(model.net_, "net.onnx"))
assert main("report net.safetensors table.csv -o report.html".split()) == 1
"""


def test_the_core_works_alone_and_the_rest_names_its_extra(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'redunet[report]'" in done.stderr


def test_extras_install_what_they_promise():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    for extra, packages in PACKAGES.items():
        for name in packages:
            listed = extras[extra] + (extras["plots"] if "redunet[plots]" in extras[extra] else "")
            assert {"PIL": "pillow"}.get(name, name) in listed
        if extra != "onnx":
            assert extra in extras["all"]
