"""Files and folders that are written completely or not at all, also if the power fails."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path``, with the same ending, that replaces it on success.

    The file has the permissions that ``open(path, "w")`` would give: those of the file that it
    replaces, or else the default ones of the process. A link stays, and the file that it names is
    replaced. Several threads and processes may write the same file; the last one counts.

    Raises
    ------
    OSError
        See :func:`check_place`.
    """
    path = check_place(path).resolve()
    temporary = path.with_name(f".unfinished-{os.getpid()}-{get_ident()}-{path.name}")
    try:
        temporary.touch()
        mode = (path if path.exists() else temporary).stat().st_mode
        yield temporary
        temporary.chmod(mode)
        _to_disk(temporary)
        os.replace(temporary, path)
        _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, which replaces it on success. It holds files only."""
    temporary = path.with_name(f"{path.name}.unfinished")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    yield temporary
    for file in temporary.iterdir():
        _to_disk(file)
    _to_disk(temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the list of files in a folder, is on the disk.

    Without this, a file system may rename a file before it has written what the file holds.
    """
    if path.is_dir() and os.name != "posix":  # other systems do not open folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_place(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is to be written. Check it before long work, so that none is lost.

    Raises
    ------
    OSError
        If its folder does not exist or may not be written, or the path is a folder, a device or a
        pipe, which must not be replaced.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device or a pipe: name a file")
    folder = path.resolve().parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"no permission to write into the folder {folder}")
    return path
