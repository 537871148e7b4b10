"""A PostgreSQL server of the tests' own: no network, no password, gone with its folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

USER = "postgres" if hasattr(os, "getuid") and os.getuid() == 0 else None
"""Whom the server runs as: it refuses root. None is the user who runs the tests."""


def programs() -> Path | None:
    """The folder of the server's programs, which Debian keeps off the path; None where it is not installed."""
    found = [Path(name).parent for name in [shutil.which("pg_ctl")] if name]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


class Server:
    """A running server; :meth:`stop` ends it and removes its folder.

    Args:
        bin: folder of its programs.
    """

    def __init__(self, bin: Path):
        self.bin, self.folder = bin, Path(tempfile.mkdtemp(prefix="nastk-postgres-"))  # sockets need a short path
        if USER is not None:
            shutil.chown(self.folder, USER)
        self.data = self.folder / "data"
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8")
        # What a killed server has to recover is in the system's memory: nothing here survives a power cut anyway.
        settings = f"listen_addresses='' unix_socket_directories='{self.folder}' fsync=off max_connections=50"
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(settings.split()) + "\n")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), "-D", str(self.data), *arguments]
        done = subprocess.run(
            command, user=USER, cwd=self.folder, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-l", str(self.folder / "log"))

    def restart(self) -> None:
        """Kill it, as a power cut would, and start it again."""
        self._run("pg_ctl", "restart", "-w", "-m", "immediate", "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh(self) -> str:
        """The URL of a new database, without a driver, as users write it."""
        import psycopg

        name = f"test_{uuid4().hex}"
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        return f"postgresql://postgres@/{name}?host={self.folder}"
