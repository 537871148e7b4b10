"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from nastk.errors import StorageError

NETWORKS = "-networks"
"""End of the name of the folder beside a SQLite file that holds what trainings keep of their networks."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`; it replaces `path` only if the block succeeds.

    A device or a pipe is written to directly.

    Raises:
        StorageError: the folder cannot be created or written to, or the disk is full; nothing is left behind.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        prefix = f"{_prefix(target)}{os.getpid()}."
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _prefix(target: Path) -> str:
    """Start of the names of temporary files for `target`, made on this machine."""
    return f".{target.name}.{socket.gethostname()}-"


def _sweep(target: Path) -> None:
    """Remove temporary files for `target` that processes of this machine left behind when they were killed."""
    prefix = _prefix(target)
    for path in target.parent.iterdir():
        number = path.name.removeprefix(prefix).partition(".")[0]
        if path.name.startswith(prefix) and number.isdigit() and not is_running(int(number)):
            with contextlib.suppress(OSError):
                path.unlink()


def is_mine(path: Path) -> bool:
    """Whether a file belongs to this user: what lies in a folder that all share may be anybody's."""
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def locked_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A writable folder (its absolute path) that no other process uses within the block; see :func:`writable_folder`.

    Folders that did not exist, and in which nothing was written, are removed again. The lock goes with the process, and
    leaves nothing behind; where the system has no such locks, there is none.

    Raises:
        StorageError: it cannot be written to, or another process uses it.
    """
    check_outputs([], [path])
    absolute = Path(path).absolute()
    made = [folder for folder in (absolute, *absolute.parents) if not _exists(folder)]
    folder = writable_folder(path).absolute()
    descriptor = _lock(folder, path)
    try:
        yield folder
    finally:
        if descriptor is not None:
            os.close(descriptor)
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _lock(folder: Path, shown: str | os.PathLike[str]) -> int | None:
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StorageError(f"another run is writing to {shown}; wait for it, or give another folder") from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder if needed, and check that it is writable before long work begins."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(f"cannot write to folder {folder}: {error.strerror or error}") from error
    return folder


def check_outputs(
    files: Iterable[str | os.PathLike[str] | None], folders: Iterable[str | os.PathLike[str] | None] = ()
) -> None:
    """Check that files and folders can be written, before long work begins; unlike :func:`writable_folder` it creates
    nothing, so that a command that is then refused leaves nothing behind.

    Args:
        files: to be written; None is passed over.
        folders: to hold such files; None is passed over.

    Raises:
        StorageError: one cannot be written; the message says which and why.
    """
    for file in files:
        if file is None:
            continue
        path = Path(file)
        try:
            if path.is_dir():
                raise StorageError(f"cannot write {path}: it is a folder")
            _check_folder(path.parent, f"{_prefix(path)}{os.getpid()}.{'x' * 8}{path.suffix}")  # as in `atomic_path`
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    for folder in folders:
        if folder is not None:
            try:
                _check_folder(Path(folder), ".x")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise StorageError(f"cannot write to folder {folder}: {reason}") from error


def _check_folder(folder: Path, name: str) -> None:
    """Raise the error of writing a file of this name into a folder that may still have to be made."""
    there = folder
    while not _exists(there):
        there = there.parent
    _exists(there / name)  # too long a name
    with tempfile.TemporaryFile(dir=there):
        pass


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True
