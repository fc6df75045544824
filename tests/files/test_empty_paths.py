"""Empty paths are refused by name; they would be the current folder."""

import pytest

from redunet.cli import main
from tests.small import construct

TAKING = {
    "construct": lambda path: construct(checkpoint=path),
    "workdir": lambda path: construct(workdir=path),
}


@pytest.mark.parametrize("taking", TAKING)
@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ValueError, "is an empty path: name a place, or leave it out"),
        (3, TypeError, "must be a path, got 3"),
        (True, TypeError, "must be a path, got True"),
    ],
)
def test_what_is_no_path_is_refused(taking, path, error, message):
    name = "workdir" if taking == "workdir" else "checkpoint"
    with pytest.raises(error, match=f"{name} {message}"):
        TAKING[taking](path)


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
