"""``nastk search --live``: a picture of the search on the terminal, while it runs."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nastk.cli.progress import bar, follow
from nastk.report.text import printable

if TYPE_CHECKING:
    from nastk.evaluation import Key
    from nastk.run import Run
    from nastk.study import Progress

MEMBERS = 12
"""Show at most this many members of the front."""

REASONS = 4
"""And at most this many reasons of failures, and evaluations that are running."""

PAUSE = 0.5
"""Least seconds between two looks at all that is known: evaluations may come thousands a second."""


@contextmanager
def following(search: Run, live: bool) -> Iterator[Progress]:
    """Shows a search on standard error while the block runs, by a picture or a bar; nothing where that is no terminal.

    Args:
        live: show the picture.

    Yields:
        What the study is to call after each evaluation.
    """
    if not live or not sys.stderr.isatty():
        with bar(sum(search.budget.values()), "evaluating") as progress:
            yield follow(progress)
        return
    from rich.console import Console
    from rich.live import Live

    picture = Picture(search)
    console = Console(file=sys.stderr, highlight=False)
    with Live(picture, console=console, refresh_per_second=2, transient=True):
        yield picture.move


class Picture:
    """What is shown: progress and time, the front so far, evaluations that are running, failures by reason.

    What the search knows is read after each evaluation, in the thread that runs it; the terminal's thread only draws
    it, with the time that has passed since.
    """

    def __init__(self, search: Run):
        self.search = search
        self.started = time.monotonic()
        self.read = -math.inf
        self.before: float | None = None
        self.done, self.total = 0.0, 0.0
        self.front: list[tuple[str, list[float]]] = []
        self.failures: Counter[str] = Counter()

    def move(self, done: float, total: float, label: str = "") -> None:
        """An evaluation is recorded, or the search begins."""
        self.before = done if self.before is None else self.before
        self.done, self.total = done, total
        if time.monotonic() - self.read < PAUSE and done < total:
            return
        self.read = time.monotonic()
        searcher = self.search.searcher
        archs, costs, violation = searcher.complete()
        from nastk.metrics import nondominated

        kept = violation <= 0
        best = nondominated(costs[kept])
        texts = searcher.space.format_all(archs[kept][best]) if best.any() else []
        values = (costs[kept][best] * searcher.signs).tolist()
        self.front = sorted(zip(texts, values, strict=True), key=lambda member: member[1])
        failed = [r for r in self.search.history.records() if r.status == "failed"]
        self.failures = Counter(f"{r.objective}: {r.reason}" for r in failed)

    def lines(self) -> list[str]:
        """Progress, time, what is running and what failed."""
        from nastk.report.stored import duration

        passed = time.monotonic() - self.started
        fresh = self.done - (self.before or 0.0)
        left = f", about {duration(passed / fresh * (self.total - self.done))} left" if fresh > 0 else ""
        said = [f"{self.done:g} of {self.total:g} evaluations in {duration(passed)}{left}"]
        running: dict[Key, float] = getattr(self.search.history, "running", dict)()
        import numpy as np

        space = self.search.searcher.space
        some = [
            f"{key[1]} of {space.format(np.array(key[0]))} ({duration(seconds)})" for key, seconds in running.items()
        ]
        more = f" and {len(some) - REASONS} more" if len(some) > REASONS else ""
        said += [f"evaluating {', '.join(some[:REASONS])}{more}"] if some else []
        if self.failures:
            said.append(f"{sum(self.failures.values())} failed:")
            said += [f"  {count} x {reason}" for reason, count in self.failures.most_common(REASONS)]
        return said

    def __rich__(self) -> Any:
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from nastk.report.tables import cell

        parts: list[Any] = [Text(printable(line)) for line in self.lines()]
        if self.front:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
            table.add_column("front so far", overflow="ellipsis", no_wrap=True)
            for o in self.search.searcher.objectives:
                table.add_column(Text(printable(f"{o.name} {o.unit}".strip())), justify="right", no_wrap=True)
            for text, values in self.front[:MEMBERS]:
                table.add_row(Text(printable(text)), *(Text(cell(value)) for value in values))
            parts.append(table)
            if len(self.front) > MEMBERS:
                parts.append(Text(f"and {len(self.front) - MEMBERS} more"))
        return Group(*parts)
