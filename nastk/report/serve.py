"""Studies in a browser while they run: pages on this machine alone, which read the database and change nothing."""

from __future__ import annotations

import os
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

from nastk.errors import NastkError, StorageError, UnknownName
from nastk.report.html import render
from nastk.report.page import Section
from nastk.report.page import render as render_page
from nastk.report.stored import chart_of_stored, duration, standing
from nastk.studies import read_study, studies

HOST = "127.0.0.1"
"""Where pages are served: nobody else's machine can reach them."""

RELOAD = 10
"""Seconds after which a page reads the database again."""

RELOADING = f"""
setInterval(() => {{
  if (!document.hidden && !document.querySelector("details[open]")) location.reload(); }}, {RELOAD}000);
"""
"""Reads the page again unless somebody looks at one of its networks."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""A browser loads nothing from elsewhere, whatever the texts of a study are."""


class StudyServer(ThreadingHTTPServer):
    """A server of the pages of a database.

    Args:
        storage: SQLAlchemy URL.
        study: show this one only; else there is a list of all.
        port: where to listen; 0 for any free one.

    Raises:
        StorageError: no such database; the port is taken.
        UnknownName: no such study.
    """

    daemon_threads = True

    def __init__(self, storage: str | os.PathLike[str], study: str | None = None, port: int = 0):
        self.storage, self.study = storage, study
        if study is None:
            studies(storage)
        else:
            read_study(storage, study)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise StorageError(
                f"cannot listen on port {port}: {error.strerror or error}; give another one with --port"
            ) from error

    @property
    def url(self) -> str:
        """The address of the first page."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def page(self, study: str | None) -> str:
        """The page of a study, or the list of all."""
        if study is None:
            return _list_page(self.storage)
        found = read_study(self.storage, study)
        if not found.goals:
            return render_page(f"Study {found.facts.name}", standing(found), [])
        note = (
            f"This page reads the database again every {RELOAD} s, unless a network is open. Predictions are not shown."
        )
        return _reloading(render(chart_of_stored(found, [note])))


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (HOST, "localhost"):  # a page of the web that has its own name point here
            self._answer(HTTPStatus.FORBIDDEN, render_page("Not here", [], []))
            return
        address = urlsplit(self.path)
        asked = parse_qs(address.query).get("study", [None])[0]
        if address.path != "/" or (self.server.study is not None and asked not in (None, self.server.study)):
            self._answer(HTTPStatus.NOT_FOUND, render_page("No such page", [], []))
            return
        try:
            self._answer(HTTPStatus.OK, self.server.page(asked or self.server.study))
        except UnknownName as error:
            self._answer(HTTPStatus.NOT_FOUND, render_page("No such study", [str(error)], []))
        except NastkError as error:  # the database may come back: the page goes on asking
            page = _reloading(render_page("The database cannot be read", [str(error)], []))
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, page)

    def _answer(self, status: HTTPStatus, page: str) -> None:
        content = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line for each reload would fill the terminal."""


def _list_page(storage: str | os.PathLike[str]) -> str:
    import time

    rows, links = [], {}
    for facts in studies(storage):
        links[facts.name] = f"/?study={quote(facts.name)}"
        rows.append(
            {
                "study": facts.name,
                "space": facts.identity.get("space"),
                "evaluations": ", ".join(f"{n} of {name}" for name, n in facts.evaluations.items()) or "none",
                "failed": sum(facts.failures.values()),
                "last evaluation": None if facts.last is None else f"{duration(time.time() - facts.last)} ago",
                "run by": None if facts.holder is None else f"process {facts.holder.process} on {facts.holder.host}",
            }
        )
    note = f"This page reads the database again every {RELOAD} s."
    if not rows:
        return _reloading(render_page("Studies", [note], [Section("none", lines=["no study yet"])]))
    return _reloading(render_page("Studies", [note], [Section("in this database", tables=[("", rows)])], links))


def _reloading(page: str) -> str:
    return page.replace("</body>", f"<script>{RELOADING}</script></body>", 1)
