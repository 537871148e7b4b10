"""The lease of a study: which process runs it. Two that ran it at once would evaluate everything twice.

Who opens a study to run it takes the lease, and a thread renews it (a heartbeat). Another one is refused, until the
heartbeat is old, or the process is gone, where that can be seen. Every write looks in its own transaction whether the
lease is still held: a laptop that was asleep while another machine took over writes nothing more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from nastk.database import LEASES, RACES, Database, seconds_of
from nastk.errors import StorageError, StudyHeld
from nastk.files import is_running

BEAT = 10.0
"""Seconds between two heartbeats."""

OLD = 60.0
"""Seconds without a heartbeat after which another process may take over: several heartbeats, of which a busy machine or
a database that restarts may miss some."""

PATIENCE = 5.0
"""Seconds for which the end of a run waits for a heartbeat that a database does not answer."""

HELD_HERE: set[str] = set()
"""Runs of this process that hold a lease. What else is held under its number is of a process that is gone: in a
container every process may have the number 1."""

HOLDS = sa.select(LEASES.c.run).where(LEASES.c.study == sa.bindparam("of")).with_for_update()
"""The run that holds the lease; on SQLite, whose writers are alone, without a lock."""


class Holder(NamedTuple):
    """The process that runs a study.

    Args:
        run: identifies one opening of the study.
        host, process: where it runs.
        machine: what the number of the process is a number of; see :func:`machine_of`.
        since: when it began, seconds since 1970.
        age: seconds since its last heartbeat.
    """

    run: str
    host: str
    process: int
    machine: str
    since: float
    age: float

    @property
    def is_gone(self) -> bool:
        """Whether its heartbeat is old, or its process is seen not to be there any more."""
        if self.age > OLD:
            return True
        if self.machine != machine_of(self.process):
            # Of another machine, where nothing can be seen; or the process of this number is not that one any more.
            return self.machine.partition(" ")[0] == machine_of(self.process).partition(" ")[0]
        return not is_running(self.process) or (self.process == os.getpid() and self.run not in HELD_HERE)

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        beat = f"last heartbeat {max(self.age, 0):.0f} s ago"
        here = " (this process)" if self.run in HELD_HERE else ""
        return f"process {self.process}{here} on {self.host} since {since}, {beat}"


class Lease:
    """The lease of one study.

    Args:
        database: of the study.
        study: its row.
        shown: the study and its database, for messages.

    Attributes:
        run: identifies this opening of the study: process numbers come again.
        process: that opened it; one that a user's function forks off has no part in it.
    """

    def __init__(self, database: Database, study: int, shown: str):
        self._database, self._study, self._shown = database, study, shown
        self.run, self.process = uuid4().hex, os.getpid()
        self._ended, self._due = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    @property
    def ended(self) -> bool:
        """Whether it was let go of."""
        return self._ended.is_set()

    def take(self) -> Holder | None:
        """Hold the lease from now on.

        Returns:
            Who held it before and is gone; None where nobody did.

        Raises:
            StudyHeld: another process holds it.
            StorageError: the database cannot be used.
        """
        HELD_HERE.add(self.run)
        try:
            return self._database.within(self._take, races=RACES)
        except BaseException:
            HELD_HERE.discard(self.run)
            raise

    def _take(self, connection: sa.Connection) -> Holder | None:
        held = holder_of(connection, self._study, locked=True)
        if held is not None and held.run != self.run and not held.is_gone:
            raise StudyHeld(
                f"{self._shown} is being run by {held}; wait for it, stop it, or give another --study (if it is gone, "
                f"the study is free {OLD:.0f} s after its last heartbeat)"
            )
        now = seconds_of(connection)
        mine = {
            "run": self.run, "host": socket.gethostname(), "process": self.process,
            "machine": machine_of(self.process), "since": now, "beat": now,
        }  # fmt: skip
        if held is None:
            connection.execute(sa.insert(LEASES).values(study=self._study, **mine))
        else:
            connection.execute(sa.update(LEASES).where(LEASES.c.study == self._study).values(**mine))
        return held if held is not None and held.run != self.run else None

    def check(self, connection: sa.Connection) -> None:
        """To be called first in each transaction that writes: nobody takes over before its end.

        Raises:
            StudyHeld: another process took over.
        """
        if connection.execute(HOLDS, {"of": self._study}).scalar_one_or_none() != self.run:
            held = holder_of(connection, self._study)
            self.lost = True
            by = "it was deleted" if held is None else f"it is now run by {held}"
            raise StudyHeld(
                f"{self._shown} is no longer this process's: {by}. This one gave no sign of life for more than "
                f"{OLD:.0f} s (a computer that slept, a process that was stopped?), and ends without another record"
            )

    def keep(self, soon: Callable[[], float | None]) -> None:
        """Renew it from now on, in a thread, until :meth:`release`.

        Args:
            soon: called by that thread before it waits, and whenever :meth:`wake` is: does what is due, and says in how
                many seconds it is to be called again; None for not before the next heartbeat.
        """
        self._thread = threading.Thread(target=self._beat, args=(soon,), name="nastk-lease", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Let the thread ask `soon` now."""
        self._due.set()

    def _beat(self, soon: Callable[[], float | None]) -> None:
        last = time.monotonic()
        while True:
            again = soon()
            left = last + BEAT - time.monotonic()
            if left <= 0:
                last, left = time.monotonic(), BEAT
                with contextlib.suppress(StorageError):  # the next one, or the next write, has more luck
                    self._database.within(self._renew)
            self._due.wait(left if again is None else min(left, again))
            self._due.clear()
            if self._ended.is_set() or self.lost:
                return

    def _renew(self, connection: sa.Connection) -> None:
        self.check(connection)
        mine = (LEASES.c.study == self._study) & (LEASES.c.run == self.run)
        connection.execute(sa.update(LEASES).where(mine).values(beat=seconds_of(connection)))

    def forget(self) -> None:
        """End the thread, without a word to the database: what is held here is held no more."""
        HELD_HERE.discard(self.run)
        self._ended.set()
        self._due.set()

    def release(self) -> None:
        """Let others run the study."""
        if os.getpid() != self.process or self._ended.is_set():
            return
        self.forget()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)
        mine = (LEASES.c.study == self._study) & (LEASES.c.run == self.run)
        with contextlib.suppress(StorageError):  # it becomes old
            self._database.within(lambda c: c.execute(sa.delete(LEASES).where(mine)))


def holder_of(connection: sa.Connection, study: int, locked: bool = False) -> Holder | None:
    """The process that holds the lease of a study, or None.

    Args:
        locked: let nobody else change it before the end of the transaction (SQLite's writers never do).
    """
    query = sa.select(LEASES).where(LEASES.c.study == study)
    row: Any = connection.execute(query.with_for_update() if locked else query).one_or_none()
    if row is None:
        return None
    age = seconds_of(connection) - row.beat
    return Holder(row.run, row.host, row.process, row.machine, row.since, age)


def refuse_held(connection: sa.Connection, study: int, name: str, what: str) -> None:
    """Refuse to do something with a study that a process runs.

    Raises:
        StudyHeld: one does.
    """
    held = holder_of(connection, study, locked=True)
    if held is not None and not held.is_gone:
        raise StudyHeld(f"cannot {what} study {name!r}: it is being run by {held}; stop it first")


def machine_of(process: int) -> str:
    """What tells a process of this machine from all others, that have its number at another time or place.

    The host, its start and the container: where these are equal, one can see whether a process is there. After a blank,
    when the process began, where the system tells.
    """
    place = [socket.gethostname()]
    with contextlib.suppress(OSError):
        place.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        place.append(os.readlink("/proc/self/ns/pid"))
    began = ""
    with contextlib.suppress(OSError, IndexError):
        # Fields 3 and 22; the name of the program, in brackets before them, may have blanks.
        facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        began = "" if facts[0] == "Z" else facts[19]  # a zombie has ended, and waits for its parent to hear of it
    return f"{'/'.join(place).replace(' ', '')} {began}"
