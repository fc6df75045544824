import os
import stat
from concurrent.futures import ThreadPoolExecutor

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


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_folders_and_pipes_are_not_replaced(tmp_path):
    net = ReduNet.construct([[1.0, 0.0], [0.0, 1.0]], [0, 1], num_layers=1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="device or a pipe"):
        net.save(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        net.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "file"

    def write(text):
        for _ in range(20):
            with atomic_write(path) as temporary:
                temporary.write_text(text)
        return text

    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(write, "abcd"))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
