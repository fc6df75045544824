"""Empty paths in commands are refused by name; they would be the current folder."""

import pytest

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
