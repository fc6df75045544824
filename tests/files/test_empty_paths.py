"""Empty paths are refused by name; they would be the current folder."""

import pytest

from redunet import ReduNet, datasets
from redunet.cli import main


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["construct", "X.csv", "--checkpoint", ""], "--checkpoint"),
        (["construct", "X.csv", "-o", ""], "-o/--output"),
        (["construct", ""], "DATA"),
        (["info", ""], "NET"),
    ],
)
def test_the_command_refuses_an_empty_path(arguments, name, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"argument {name}: the path is empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["workdir", "checkpoint"])
@pytest.mark.parametrize("path", ["", 3])
def test_a_construction_refuses_an_empty_path(name, path):
    X, labels = datasets.gaussians(per_class=5)
    with pytest.raises(ValueError, match=f"{name} must be a path or None, got {path!r}"):
        ReduNet.construct(X, labels, **{name: path})
