import numpy as np
import pytest
import torch
from PIL import Image

from redunet.datasets import load


def test_the_ending_says_how_to_read(tmp_path):
    for name in ("data.csv", "data.TSV", "data.txt"):
        (tmp_path / name).write_text("class;a;b\nx;1;2\ny;3;4\n")
        X, labels = load(tmp_path / name, label="class")
        assert X.tolist() == [[1, 2], [3, 4]]
        assert labels.tolist() == ["x", "y"]
    (tmp_path / "data.ts").write_text("@classLabel true 1 2\n@data\n1,2:2\n3:1\n")
    X, labels = load(str(tmp_path / "data.ts"), length=3)
    assert X.tolist() == [[[1, 2, 0]], [[3, 0, 0]]]
    assert labels.tolist() == [2, 1]
    np.savez(tmp_path / "data.npz", X=np.arange(6, dtype=np.uint8).reshape(2, 3), y=["a", "b"])
    X, labels = load(tmp_path / "data.npz")
    assert X.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert X.dtype == torch.float32
    assert labels.tolist() == ["a", "b"]


def test_a_folder(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.full((4, 4, 3), 255, dtype=np.uint8)).save(tmp_path / "cat" / "1.png")
    assert load(tmp_path)[0].shape == (1, 1, 32, 32)
    assert load(tmp_path, size=(2, 4), color=True)[0].shape == (1, 3, 2, 4)


def test_files_of_other_kinds(tmp_path):
    with pytest.raises(ValueError, match=r"data.xlsx should be a folder of images, or a file that"):
        load(tmp_path / "data.xlsx")
    for name in ("none.csv", "none.ts", "none.npz"):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / name)


def test_options_of_other_kinds_of_data_are_refused(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.eye(2), kind=["a", "b"])
    assert load(tmp_path / "data.npz", label="kind")[1].tolist() == ["a", "b"]
    assert load(tmp_path / "data.npz", label=None)[1].mask.all()
    with pytest.raises(ValueError, match=r"decimal is for tables, but .*data.npz has arrays"):
        load(tmp_path / "data.npz", decimal=",")
    with pytest.raises(ValueError, match="colour is no option of reading, but"):
        load(tmp_path, colour=True)
