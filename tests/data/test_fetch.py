"""Fetching from a folder, a file address and an HTTP server on the loopback, and everything that can go wrong."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nastk.data.fetch as fetching
from nastk.cli.data import app
from nastk.data.catalogue import Catalogue
from nastk.data.fetch import Store
from nastk.errors import DataError, InvalidValue, StorageError, UnknownName

CONTENT = {"s/a.csv": b"x,y\n1,2\n" * 100, "s/deep/b.json": b"[1, 2, 3]" * 50, "s/c.bin": bytes(range(256)) * 4}


def catalogue_of(content: dict[str, bytes], url: bool = True) -> Catalogue:
    rows = [[path, len(data), hashlib.sha256(data).hexdigest()] for path, data in content.items()]
    return Catalogue.parse(
        f"""
        [collection.small]
        description = "three small files"
        files = ["s/*"]
        [source.s]
        repo = "owner/repo"
        commit = "0123"
        licence = "MIT"
        cite = "key"
        citation = "A. Author. Title. 2024."
        prefix = "s/"
        base = ""
        url = {json.dumps(url)}
        files = {json.dumps(rows)}
        """
    )


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    for path, data in CONTENT.items():
        target = folder / "raw" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


@pytest.fixture
def store(tmp_path: Path, mirror: Path) -> Store:
    return Store(tmp_path / "home", str(mirror), catalogue_of(CONTENT))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE", 0.0)
    monkeypatch.setattr(fetching, "TIMEOUT", 5.0)
    monkeypatch.setenv("NO_PROXY", "*")


def everything_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


class Server:
    """Serves the mirror over HTTP; `tamper` may change what one request gets."""

    def __init__(self, folder: Path):
        self.requests: list[str] = []
        self.tamper = None
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args, **options):
                super().__init__(*args, directory=str(folder), **options)

            def do_GET(self):
                outer.requests.append(self.path)
                if outer.tamper is None or not outer.tamper(self):
                    super().do_GET()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def server(mirror: Path):
    server = Server(mirror)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.mark.parametrize("form", ["folder", "file address", "http"])
def test_fetch_brings_every_file_once(tmp_path, mirror, server, form):
    address = {"folder": str(mirror), "file address": mirror.as_uri(), "http": server.url + "/"}[form]
    store = Store(tmp_path / "home", address, catalogue_of(CONTENT))
    assert [f.path for f in store.fetch(["small"])] == list(CONTENT)
    for path, data in CONTENT.items():
        assert store.path(path).read_bytes() == data
    assert everything_in(store.home) == sorted(f"raw/{p}" for p in CONTENT)
    asked = len(server.requests)
    assert store.fetch(["small"]) == []
    assert len(server.requests) == asked


def test_only_the_damaged_file_is_fetched_again(store):
    store.fetch(["small"])
    store.path("s/a.csv").write_bytes(CONTENT["s/a.csv"].replace(b"1", b"7"))
    assert [s.state for s in store.verify()] == ["damaged", "fetched", "fetched"]
    assert [f.path for f in store.fetch(["all"])] == ["s/a.csv"]
    assert {s.state for s in store.verify()} == {"fetched"}


def test_the_environment_names_cache_and_mirror(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("NASTK_MIRROR", str(mirror))
    store = Store(catalogue=catalogue_of(CONTENT))
    store.fetch(["s/c.bin"])
    assert everything_in(tmp_path / "elsewhere") == ["raw/s/c.bin"]


def test_without_a_mirror_the_pinned_address_is_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        fetching,
        "_http",
        lambda file: lambda url, out, _: (asked.append(url), Path(out).write_bytes(CONTENT[file.path])),
    )
    store = Store(tmp_path, "", catalogue_of(CONTENT))
    store.fetch(["s/deep/b.json"])
    assert asked == ["https://raw.githubusercontent.com/owner/repo/0123/deep/b.json"]


def test_a_path_that_was_not_fetched_has_the_command(store):
    with pytest.raises(DataError, match=r"s/a\.csv is not fetched; run: nastk data fetch small"):
        store.path("s/a.csv")


def test_an_altered_file_is_not_kept_and_the_old_one_stays(store, mirror):
    store.fetch(["s/a.csv"])
    old = store.path("s/a.csv")
    (mirror / "raw/s/deep/b.json").write_bytes(CONTENT["s/deep/b.json"].replace(b"2", b"9"))
    with pytest.raises(DataError, match="SHA-256 mismatch"):
        store.fetch(["small"])
    assert old.read_bytes() == CONTENT["s/a.csv"]
    assert everything_in(store.home) == ["raw/s/a.csv"]


def test_a_truncated_file_is_not_kept(store, mirror):
    (mirror / "raw/s/a.csv").write_bytes(CONTENT["s/a.csv"][:100])
    with pytest.raises(DataError, match=r"s/a\.csv: truncated at 100 of 800 bytes"):
        store.fetch(["small"])
    assert everything_in(store.home) == []


def test_a_mirror_without_the_file_says_how_a_mirror_is_laid_out(tmp_path, store, mirror, server):
    (mirror / "raw/s/a.csv").unlink()
    for address in (str(mirror), server.url):
        with pytest.raises(DataError, match=r"has no raw/s/a\.csv; NASTK_MIRROR names a folder or URL that holds raw/"):
            Store(tmp_path / "home", address, catalogue_of(CONTENT)).fetch(["s/a.csv"])
    with pytest.raises(InvalidValue, match="must be a folder"):
        Store(tmp_path / "home", "ftp://host/data", catalogue_of(CONTENT)).fetch(["s/a.csv"])


def test_an_unreachable_host_is_one_line(tmp_path, server):
    server.server.shutdown()
    server.server.server_close()
    store = Store(tmp_path / "home", server.url, catalogue_of(CONTENT))
    with pytest.raises(DataError, match=r"cannot reach 127\.0\.0\.1:\d+ for s/a\.csv") as caught:
        store.fetch(["small"])
    assert "\n" not in str(caught.value)
    assert everything_in(store.home) == []


def test_a_connection_that_breaks_is_tried_again(tmp_path, server):
    def broken_once(handler) -> bool:
        if len(server.requests) > 1:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "800")
        handler.end_headers()
        handler.wfile.write(b"x,y\n")
        handler.wfile.flush()
        handler.connection.close()
        return True

    server.tamper = broken_once
    store = Store(tmp_path / "home", server.url, catalogue_of(CONTENT))
    with pytest.raises(DataError, match=r"s/a\.csv"):
        store.fetch(["s/a.csv"], retries=0)
    assert everything_in(store.home) == []
    server.requests.clear()
    store.fetch(["s/a.csv"])
    assert store.path("s/a.csv", checksum=True).exists()
    assert len(server.requests) == 2


def test_a_server_error_is_reported_with_its_status(tmp_path, server):
    server.tamper = lambda handler: handler.send_error(503) or True
    with pytest.raises(DataError, match="answered 503"):
        Store(tmp_path / "home", server.url, catalogue_of(CONTENT)).fetch(["s/a.csv"], retries=1)
    assert len(server.requests) == 2


def test_a_body_without_end_is_stopped_at_the_size_of_the_catalogue(tmp_path, server):
    sent = []

    def endless(handler) -> bool:
        handler.send_response(200)
        handler.end_headers()
        try:
            while sum(sent) < 1 << 28:
                sent.append(handler.wfile.write(bytes(1 << 16)))
        except OSError:  # hung up
            pass
        return True

    server.tamper = endless
    store = Store(tmp_path / "home", server.url, catalogue_of(CONTENT))
    with pytest.raises(DataError, match=r"s/a\.csv: http.* holds more than the 800 bytes of the catalogue") as caught:
        store.fetch(["s/a.csv"], retries=0)
    assert "\n" not in str(caught.value)
    assert sum(sent) < 1 << 26, "what fits into the buffers of a connection, and not the whole body"
    assert everything_in(store.home) == []


def test_a_file_of_the_mirror_that_is_too_large_is_not_copied(store, mirror, monkeypatch):
    (mirror / "raw/s/a.csv").write_bytes(bytes(801))
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("it was copied"))
    with pytest.raises(DataError, match="holds 801 bytes where the catalogue has 800; nothing was kept"):
        store.fetch(["s/a.csv"])
    assert everything_in(store.home) == []


def test_an_interrupted_download_leaves_nothing_behind(store, monkeypatch):
    def interrupted(source, output):
        Path(output).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.fetch(["small"])
    assert everything_in(store.home) == []
    monkeypatch.undo()
    assert len(store.fetch(["small"])) == 3


def test_a_full_disk_is_a_storage_error(store, monkeypatch):
    def full(source, output):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="disk full"):
        store.fetch(["small"])
    assert everything_in(store.home) == []


def test_a_cache_that_cannot_be_written_to_is_a_storage_error(tmp_path, mirror):
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot write to folder"):
        Store(tmp_path / "home", str(mirror), catalogue_of(CONTENT)).fetch(["small"])


def test_a_file_without_an_address_needs_a_mirror(tmp_path, mirror):
    catalogue = catalogue_of(CONTENT, url=False)
    with pytest.raises(DataError, match="has no public address"):
        Store(tmp_path / "home", "", catalogue).fetch(["small"])
    assert Store(tmp_path / "home", "", catalogue).fetch(["all"]) == []
    assert len(Store(tmp_path / "home", str(mirror), catalogue).fetch(["all"])) == 3


def test_no_progress_bar_in_a_pipe(store, capsys):
    store.fetch(["s/a.csv"])
    assert capsys.readouterr().err == ""
    store.fetch(["s/c.bin"], progress=True)
    assert "fetching" in capsys.readouterr().err


# ---- the command line


@pytest.fixture
def command(store, mirror, monkeypatch):
    import nastk.data.fetch

    monkeypatch.setattr(nastk.data.fetch, "shipped", lambda: store.catalogue)
    monkeypatch.setenv("NASTK_HOME", str(store.home))
    monkeypatch.setenv("NASTK_MIRROR", str(mirror))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_list_fetch_status_and_verify(command, store, tmp_path):
    file = tmp_path / "rows.json"
    assert "no" in command("list", "--json", str(file)).output
    assert json.loads(file.read_text())[0]["fetched"] == "no"
    assert "fetched 3 of 3 files" in command("fetch", "small").output
    assert "fetched 0 of 3 files (0.0 MB; 3 were there already)" in command("fetch", "all").output
    command("list", "--json", str(file))
    assert json.loads(file.read_text())[0]["fetched"] == "yes"
    assert f"cache   {store.home}" in command("status", "--json", str(file)).output
    assert json.loads(file.read_text())[0]["files"] == "3 of 3"
    assert command("verify").exit_code == 0


def test_verify_names_each_bad_file_and_fails(command, store):
    command("fetch", "small")
    store.path("s/a.csv").write_bytes(b"other")
    store.path("s/c.bin").unlink()
    result = command("verify", "small")
    assert result.exit_code == 2
    assert "a.csv is damaged" in result.output
    assert "c.bin is missing; run: nastk data fetch small" in result.output
    assert "1 of 3 files" in result.output
    assert command("verify").exit_code == 2


def test_an_unknown_collection_is_an_error_of_ours(command):
    assert isinstance(command("fetch", "smal").exception, UnknownName)
