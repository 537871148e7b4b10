"""Studies in a browser while they run: pages on this machine alone, which read the database and change nothing."""

from __future__ import annotations

import html
import os
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

from nastk.errors import NastkError, StorageError, UnknownName
from nastk.report.html import render
from nastk.report.stored import chart_of_stored, duration, standing
from nastk.report.text import printable
from nastk.studies import read_study, studies

HOST = "127.0.0.1"
"""Where pages are served: nobody else's machine can reach them."""

RELOAD = 10
"""Seconds after which a page reads the database again."""

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
            return _plain(f"Study {found.facts.name}", [f"<p>{_safe(line)}</p>" for line in standing(found)])
        note = f"This page reads the database again every {RELOAD} s. Predictions are not shown."
        return _reloading(render(chart_of_stored(found, [note])))


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (HOST, "localhost"):  # a page of the web that has its own name point here
            self._answer(HTTPStatus.FORBIDDEN, _plain("Not here", []))
            return
        address = urlsplit(self.path)
        asked = parse_qs(address.query).get("study", [None])[0]
        if address.path != "/" or (self.server.study is not None and asked not in (None, self.server.study)):
            self._answer(HTTPStatus.NOT_FOUND, _plain("No such page", []))
            return
        try:
            self._answer(HTTPStatus.OK, self.server.page(asked or self.server.study))
        except UnknownName as error:
            self._answer(HTTPStatus.NOT_FOUND, _plain("No such study", [f"<p>{_safe(str(error))}</p>"]))
        except NastkError as error:  # the database may come back: the page goes on asking
            page = _reloading(_plain("The database cannot be read", [f"<p>{_safe(str(error))}</p>"]))
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

    rows = []
    for facts in studies(storage):
        counts = ", ".join(f"{n} of {name}" for name, n in facts.evaluations.items()) or "none"
        last = "-" if facts.last is None else f"{duration(time.time() - facts.last)} ago"
        run_by = "-" if facts.holder is None else f"process {facts.holder.process} on {facts.holder.host}"
        cells = [facts.identity.get("space", "-"), counts, str(sum(facts.failures.values())), last, run_by]
        link = f'<a href="/?study={quote(facts.name)}">{_safe(facts.name)}</a>'
        rows.append(f"<tr><td>{link}</td>{''.join(f'<td>{_safe(str(cell))}</td>' for cell in cells)}</tr>")
    heads = ("study", "space", "evaluations", "failed", "last evaluation", "run by")
    table = f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{''.join(rows)}</table>"
    return _reloading(_plain("Studies", [table if rows else "<p>no study yet</p>"]))


def _plain(title: str, parts: list[str]) -> str:
    """A page of text; `parts` are HTML."""
    style = (
        ":root { color-scheme: light dark } body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem } "
        "td, th { text-align: left; padding: 3px 18px 3px 0 }"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_safe(title)}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n<h1>{_safe(title)}</h1>\n{''.join(parts)}\n</body>\n</html>\n"
    )


def _reloading(page: str) -> str:
    mark = '<meta charset="utf-8">'
    return page.replace(mark, f'{mark}\n<meta http-equiv="refresh" content="{RELOAD}">', 1)


def _safe(text: str) -> str:
    return html.escape(printable(text))
