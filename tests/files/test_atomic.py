import os
import stat

import pytest

from redunet import ReduNet
from redunet.files.atomic import atomic_write


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_have_the_permissions_that_open_gives(umask, tmp_path):
    (tmp_path / "opened").write_text("")
    with atomic_write(tmp_path / "written") as temporary:
        temporary.write_text("content")
    ReduNet.construct([[1.0, 0.0], [0.0, 1.0]], [0, 1], num_layers=1).save(tmp_path / "net")
    assert mode(tmp_path / "written") == mode(tmp_path / "net") == mode(tmp_path / "opened")


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert mode(path) == 0o640


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
