"""What keeping a history in a database costs: processor time to write and open it, memory, and the state's share."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from nastk.bench import _memory as memory
from nastk.database import Database
from nastk.errors import InvalidValue
from nastk.evaluation import Identity, Kind, Record
from nastk.history import History
from nastk.parallel import each
from nastk.storage import open_history
from nastk.studies import delete

CHOICES, OPTIONS = 20, 5
"""Of the architectures that are recorded: as long as those of MobileNetV3's space."""

GENERATION = 100
"""Rows in the state of the searcher, as of an evolutionary one."""

WAYS: tuple[tuple[str, str, Kind], ...] = (
    ("together", "looked up in a table, one at a time: written with others", "table"),
    ("one by one", "measured in a moment: a commit to begin, one to record", "measured"),
)
"""How records are written: name, what it stands for, kind of the records."""


def run(
    records: int = 100_000,
    storage: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Write a study of so many records, each with the state of its searcher, and open it again.

    Each way is a process of its own, which measures its processor time, and its memory beyond what it had after the
    imports.

    Args:
        records: how many.
        storage: SQLAlchemy URL of a database for studies ``bench-...``, which must not be there yet and are deleted
            in the end; by default a new SQLite file in the folder for temporary files.

    Returns:
        Tidy rows: processor and elapsed seconds of writing and of opening, megabytes of memory.
    """
    if records < 1:
        raise InvalidValue(f"there must be at least one record; got {records}")
    if storage is not None:  # what cannot be used is said before any process begins
        found = Database(storage)
        found.create()
        found.close()
    folder = tempfile.mkdtemp(prefix="nastk-bench-")
    url = storage or f"sqlite:///{folder}/run.db"
    rows = []
    try:
        jobs = [(url, name, kind, records) for name, _, kind in WAYS]
        for done, (name, said, _) in enumerate(WAYS, 1):
            ((_, metrics),) = each(_write_and_open, [jobs[done - 1]], workers=1, fresh=True)
            rows += [
                {
                    "experiment": "storage", "method": name, "what": said, "records": records, "metric": metric,
                    "mean": value, "database": url.partition(":")[0],
                }
                for metric, value in metrics.items()
            ]  # fmt: skip
            if progress is not None:
                progress(done, len(WAYS))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _write_and_open(job: tuple[str, str, Kind, int]) -> dict[str, float]:
    url, name, kind, count = job
    study = f"bench-{name.replace(' ', '-')}"

    def opened() -> History:
        return open_history(url, study, {"records": count}, {"accuracy": Identity(study)})

    opened().close()  # the imports of the database's driver
    gc.collect()
    before, clock, wall = memory.now(), time.process_time(), time.perf_counter()
    history = opened()
    if len(history):
        raise InvalidValue(f"study {study!r} is there already; delete it, or give another storage")
    generation = [list(arch) for arch in _archs(GENERATION)]
    for i, arch in enumerate(_archs(count)):
        record = Record(arch, "accuracy", 50.0 + i % 40, 0.1, 1e-4, source="bench", kind=kind)
        if kind == "measured":
            history.begin([record.key])
        state = {"asks": i // 5, "parents": generation, "open": [[list(arch), ["accuracy"], None]] * (5 - i % 5)}
        history.add([record], state)
    history.close()
    written = {"write_cpu_seconds": time.process_time() - clock, "write_seconds": time.perf_counter() - wall}
    written["write_memory_mb"] = memory.now() - before
    del history
    gc.collect()
    clock, wall = time.process_time(), time.perf_counter()
    again = opened()
    taken = {"open_cpu_seconds": time.process_time() - clock, "open_seconds": time.perf_counter() - wall}
    assert len(again) == count
    again.close()
    delete(url, study)
    return {**written, **taken, "memory_mb": memory.peak() - before}


def _archs(count: int) -> Iterator[tuple[int, ...]]:
    """Different architectures: the digits of numbers, spread over the choices."""
    for i in range(count):
        n = i * 48_271 % (OPTIONS**CHOICES)
        yield tuple((n // OPTIONS**j) % OPTIONS for j in range(CHOICES))
