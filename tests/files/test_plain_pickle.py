import os
import pickle

import numpy as np
import pytest

from redunet.files.plain_pickle import read_plain_pickle


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_and_arrays_are_read(tmp_path, protocol):
    values = {"a": [1, -2.5, "text", b"\xff\x00", None], "b": np.arange(6, dtype=np.uint8)}
    path = tmp_path / "plain"
    path.write_bytes(pickle.dumps(values, protocol=protocol))
    content = read_plain_pickle(path)
    assert content["a"] == values["a"]
    np.testing.assert_array_equal(content["b"], values["b"])


def test_strings_of_python_2_become_bytes(tmp_path):
    path = tmp_path / "old"
    path.write_bytes(b"\x80\x02}U\x04dataU\x03abcs.")
    assert read_plain_pickle(path) == {b"data": b"abc"}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Runs(os.mkdir, "made"), "mkdir"),
        (Runs(eval, "__import__('os').mkdir('made')"), "eval"),
        (Runs(getattr, "text", "upper"), "getattr"),
        (Runs(np.load, "made"), "load"),
        (Runs(np.memmap, "made", "u1", "w+", 0, (1,)), "memmap"),
        ({"labels": [Runs(os.mkdir, "made")]}, "mkdir"),
        (os.mkdir, "mkdir"),
        (Runs, "Runs"),
    ],
)
def test_other_functions_and_classes_are_refused(tmp_path, monkeypatch, value, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil").write_bytes(pickle.dumps(value))
    with pytest.raises(ValueError, match=rf"cannot read the pickle .*evil: it names .*{name}"):
        read_plain_pickle(tmp_path / "evil")
    assert [path.name for path in tmp_path.iterdir()] == ["evil"]


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02}q\x01(U\x04da", b"\x80\x02K\x01"])
def test_damaged_pickles(tmp_path, content):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot read the pickle"):
        read_plain_pickle(path)
    codec = pickle.dumps(Runs(__import__("_codecs").encode, "text", "rot13"))
    path.write_bytes(codec)
    with pytest.raises(ValueError, match="bytes are encoded as 'rot13', expected 'latin1'"):
        read_plain_pickle(path)
