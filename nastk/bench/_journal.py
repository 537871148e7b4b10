"""Finished runs of a benchmark, in a file, so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from nastk.errors import StorageError
from nastk.parallel import each

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Journal(Generic[Answer]):
    """Answers of runs by the runs' settings, one JSON object a line.

    A truncated line is ignored, and so is one that `read` refuses with ValueError, KeyError or TypeError, such as one
    of an earlier version.

    Args:
        path: of the file; None to keep nothing beyond this object.
        write, read: an answer as a JSON object, and back.

    Raises:
        StorageError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        write: Callable[[Answer], Mapping[str, Any]],
        read: Callable[[Mapping[str, Any]], Answer],
    ):
        self.path, self._write = None if path is None else Path(path), write
        self._found: dict[str, Answer] = {}
        if self.path is None or not self.path.exists():
            return
        try:
            text = self.path.read_text(encoding="utf-8")
            if text and not text.endswith("\n"):
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"cannot use {self.path}: {error}") from error
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._found[_key(entry["run"])] = read(entry)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, settings: Mapping[str, Any]) -> bool:
        return _key(settings) in self._found

    def __getitem__(self, settings: Mapping[str, Any]) -> Answer:
        return self._found[_key(settings)]

    def add(self, settings: Mapping[str, Any], answer: Answer) -> None:
        """Keep an answer, on disk at once."""
        self._found[_key(settings)] = answer
        if self.path is None:
            return
        entry = {"run": settings, **self._write(answer)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error


def each_once(
    function: Callable[[Job], Answer],
    jobs: Sequence[Job],
    kept: Journal[Answer],
    settings: Callable[[Any], Mapping[str, Any]],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Job, Answer]]:
    """Each job with its answer: those of the journal first, then the others, which it keeps as they come.

    Args:
        settings: of a job, by which the journal knows it.
        function, workers, progress: see :func:`nastk.parallel.each`; progress counts all jobs.
    """
    left = []
    for job in jobs:
        if settings(job) in kept:
            yield job, kept[settings(job)]
        else:
            left.append(job)

    def follow(done: int, total: int) -> None:
        if progress:
            progress(len(jobs) - total + done, len(jobs))

    for job, answer in each(function, left, workers, follow):
        kept.add(settings(job), answer)
        yield job, answer


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)
