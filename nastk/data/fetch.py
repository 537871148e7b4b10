"""Fetching files by name from pinned URLs into the user's cache, verified by SHA-256.

The cache is the folder ``NASTK_HOME`` (by default the platform's cache folder); files are stored under ``raw/`` by
their name in the catalogue. ``NASTK_MIRROR``, a folder or a URL with the same ``raw/`` layout, replaces the hosts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from nastk.data.catalogue import Catalogue, File, shipped
from nastk.errors import DataError, InvalidValue, StorageError
from nastk.files import writable_folder

TIMEOUT = 30.0
"""Seconds without a response after which a host counts as unreachable: patience with slow hosts against a quick
error."""

NOTHING = "; nothing was kept"
"""End of messages about a file that is not the catalogue's."""
PAUSE = 1.0
"""Seconds between attempts, for a host that is briefly overloaded."""


def default_home() -> Path:
    """The cache folder: ``NASTK_HOME``, else the platform's cache folder for nastk."""
    chosen = os.environ.get("NASTK_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("nastk"))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class State:
    """One file of the catalogue in one cache: "fetched", "missing" or "damaged" (another size or content)."""

    file: File
    path: Path
    state: str


class Store:
    """One cache of fetched files.

    Args:
        home: its folder; by default :func:`default_home`.
        mirror: a folder, ``file://`` or ``http(s)://`` address that replaces the hosts; by default ``NASTK_MIRROR``.
        catalogue: the files that can be fetched; by default the shipped catalogue.
    """

    def __init__(
        self, home: str | os.PathLike[str] | None = None, mirror: str | None = None, catalogue: Catalogue | None = None
    ):
        self.home = default_home() if home is None else Path(home).expanduser().absolute()
        self.mirror = os.environ.get("NASTK_MIRROR") or None if mirror is None else mirror
        self.catalogue = shipped() if catalogue is None else catalogue

    def where(self, file: File) -> Path:
        """Path of a file, fetched or not."""
        return self.home / "raw" / file.path

    def state(self, file: File, checksum: bool = False) -> State:
        """Whether a file is fetched, by its size or, with `checksum`, by its content."""
        path = self.where(file)
        try:
            size = path.stat().st_size
            whole = size == file.bytes and (not checksum or sha256_of(path) == file.sha256)
        except (FileNotFoundError, NotADirectoryError):
            return State(file, path, "missing")
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        return State(file, path, "fetched" if whole else "damaged")

    def path(self, name: str, checksum: bool = False) -> Path:
        """Path of a fetched file.

        Args:
            name: its name in the catalogue ("help/fbnet/arch.pt").
            checksum: verify the content too, not only the size.

        Raises:
            UnknownName: the catalogue has no such file.
            DataError: not fetched, or altered since; the message names the command that repairs it.
        """
        file = self.catalogue.file(name)
        found = self.state(file, checksum)
        if found.state == "fetched":
            return found.path
        cure = f"run: nastk data fetch {self.catalogue.collection_of(file)}"
        if found.state == "missing":
            raise DataError(f"{name} is not fetched; {cure}")
        raise DataError(f"{found.path} is truncated or altered (size or SHA-256 differs from the catalogue); {cure}")

    def verify(self, names: Iterable[str] = ()) -> list[State]:
        """Recompute checksums of these collections or files; without names, of every fetched file."""
        names = list(names)
        states = [self.state(f, checksum=True) for f in self.catalogue.select(names or ["all"])]
        return states if names else [s for s in states if s.state != "missing"]

    def fetch(self, names: Iterable[str], progress: bool | None = None, retries: int = 2) -> list[File]:
        """Fetch collections or files into the cache; intact files are kept.

        Args:
            names: collections, file names, or "all" (every file with a URL or on the mirror).
            progress: show a progress bar; by default only on a terminal.
            retries: further attempts after a broken connection or a wrong checksum.

        Returns:
            The files that were downloaded.

        Raises:
            UnknownName: no such collection or file.
            DataError: unreachable, truncated, or not the catalogue's content; nothing of the file is kept.
            StorageError: the cache cannot be written to, or the disk is full.
        """
        names = list(names)
        files = self.catalogue.select(names)
        if not self.mirror:
            unreachable = [f for f in files if f.url is None and self.state(f).state != "fetched"]
            if unreachable and names != ["all"]:
                raise DataError(
                    f"{unreachable[0].path} has no public address (compiled from {unreachable[0].source.repo}); "
                    f"set NASTK_MIRROR to a folder or URL that has raw/{unreachable[0].path}"
                )
            files = [f for f in files if f not in unreachable]
        todo = [f for f in files if self.state(f, checksum=True).state != "fetched"]
        if not todo:
            return []
        with self._bar(sum(f.bytes for f in todo), progress) as bar:
            for file in todo:
                self._download(file, retries)
                if bar is not None:
                    bar.update(file.bytes)
        return todo

    @staticmethod
    def _bar(total: int, progress: bool | None) -> AbstractContextManager[Any]:
        if not (sys.stderr.isatty() if progress is None else progress):
            return nullcontext()
        from tqdm import tqdm

        return tqdm(total=total, unit="B", unit_scale=True, desc="fetching", file=sys.stderr)

    def _download(self, file: File, retries: int) -> None:
        import pooch
        import requests

        pooch.get_logger().setLevel("WARNING")
        target = self.where(file)
        writable_folder(target.parent)
        address, download = self._from(file)
        attempts = retries if address.startswith("http") else 0
        while True:
            try:
                pooch.retrieve(
                    address, f"sha256:{file.sha256}", fname=target.name, path=target.parent, downloader=download
                )
                _open_to_others(target)
                return
            except (DataError, requests.RequestException, ValueError) as error:
                if attempts == 0 or not _worth_another_try(error):
                    raise self._explain(error, file, address) from error
                attempts -= 1
                time.sleep(PAUSE)
            except OSError as error:
                full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
                cure = f"disk full; {file.bytes / 1e6:.1f} MB are needed" if full else error.strerror or error
                raise StorageError(f"cannot write {target}: {cure}") from error

    def _from(self, file: File) -> tuple[str, Callable[[str, Any, Any], None]]:
        """The URL of a file, and the function that downloads it."""
        if not self.mirror:
            assert file.url is not None
            return file.url, _http(file)
        scheme = urlsplit(self.mirror).scheme.lower()
        if scheme in ("http", "https"):
            return f"{self.mirror.rstrip('/')}/raw/{quote(file.path)}", _http(file)
        if "://" in self.mirror and scheme != "file":
            raise InvalidValue(f"NASTK_MIRROR={self.mirror}: must be a folder, or a file://, http:// or https:// URL")
        folder = Path(url2pathname(urlsplit(self.mirror).path) if scheme == "file" else self.mirror).expanduser()
        return str(folder.absolute() / "raw" / file.path), _copy(file, self.mirror)

    def _explain(self, error: Exception, file: File, address: str) -> DataError:
        import requests

        if isinstance(error, DataError):
            return error
        if isinstance(error, requests.HTTPError) and error.response is not None:
            status = error.response.status_code
            if self.mirror and status == 404:
                return _not_in_mirror(self.mirror, file)
            return DataError(f"{address} answered {status} {error.response.reason}; nothing was kept of {file.path}")
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            return DataError(f"{file.path}: the connection broke before the end; run the command again")
        if isinstance(error, requests.RequestException):
            host = urlsplit(address).netloc
            cure = "NASTK_MIRROR" if self.mirror else "the connection, or set NASTK_MIRROR to a folder or URL with raw/"
            return DataError(f"cannot reach {host} for {file.path} ({type(error).__name__}); check {cure}")
        return DataError(
            f"{file.path}: what {address} holds differs from the catalogue (SHA-256 mismatch); nothing was kept"
        )


def path(name: str) -> Path:
    """Where a fetched file lies in the default cache; see :meth:`Store.path`.

    Args:
        name: its name in the catalogue ("help/fbnet/arch.pt").

    Raises:
        UnknownName: the catalogue has no such file.
        DataError: not fetched; the message has the command that fetches it.
    """
    return Store().path(name)


def _http(file: File) -> Callable[[str, Any, Any], None]:
    def download(url: str, output: Any, pooch_: Any) -> None:
        import requests

        size = 0
        with requests.get(url, stream=True, timeout=TIMEOUT) as response, open(output, "wb") as target:
            response.raise_for_status()
            for part in response.iter_content(1 << 16):
                size += len(part)
                if size > file.bytes:  # at once: a body without end would fill the disk
                    more = f"more than the {file.bytes} bytes of the catalogue"
                    raise DataError(f"{file.path}: {url} holds {more}{NOTHING}")
                target.write(part)
        _check_size(size, file, url)

    return download


def _copy(file: File, mirror: str) -> Callable[[str, Any, Any], None]:
    def download(source: str, output: Any, pooch_: Any) -> None:
        if not os.path.isfile(source):
            raise _not_in_mirror(mirror, file)
        _check_size(os.path.getsize(source), file, source)
        shutil.copyfile(source, output)

    return download


def _check_size(size: int, file: File, address: str) -> None:
    if size < file.bytes:
        raise DataError(f"{file.path}: truncated at {size} of {file.bytes} bytes by {address}{NOTHING}")
    if size > file.bytes:
        raise DataError(f"{file.path}: {address} holds {size} bytes where the catalogue has {file.bytes}{NOTHING}")


def _worth_another_try(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is None or response.status_code == 429 or response.status_code >= 500


def _not_in_mirror(mirror: str, file: File) -> DataError:
    return DataError(
        f"the mirror {mirror} has no raw/{file.path}; NASTK_MIRROR names a folder or URL that holds raw/<source>/<file>"
    )


def _open_to_others(path: Path) -> None:
    """Temporary files are private; a finished one gets the permissions that the user's umask gives."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
