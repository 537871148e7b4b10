"""Every table and figure of the papers, ours beside the published, on one page (``nastk reproduce all``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from nastk import __version__
from nastk.errors import DataError, NastkError, UnknownName
from nastk.files import locked_folder, write_text
from nastk.parallel import kept_processes, kept_seconds
from nastk.report.page import Section, write_html, write_markdown
from nastk.report.rows import without_nan
from nastk.reproduce import of_modnas, of_multi_predict
from nastk.reproduce.items import Cell, Item, Outcome, Setting, Size

ITEMS: tuple[Item, ...] = (*of_multi_predict.ITEMS, *of_modnas.ITEMS)
"""All, in the order of the page."""

PAGE = "index"
"""Name of the page, with .html and .md."""


@dataclass(frozen=True)
class Done:
    """One item and what came of it.

    Args:
        outcome: None where it failed, or nothing can be run.
        failure: why it failed.
        seconds: of processor time that it took, attempts that did not finish included.
        elapsed: seconds that passed.
    """

    item: Item
    outcome: Outcome | None = None
    failure: str = ""
    seconds: float = 0.0
    elapsed: float = 0.0

    @property
    def status(self) -> str:
        """In a few words."""
        if self.failure:
            return f"failed: {self.failure}"
        if self.outcome is None:
            return f"not possible: {self.item.reason}" if self.item.run is None else "not run yet"
        verdicts = [cell.verdict for cell in self.outcome.cells if cell.verdict]
        left = len(self.outcome.cells) - len(verdicts)
        said = []
        if verdicts:
            said.append(f"{verdicts.count('inside')} of {len(verdicts)} inside")
        if left:
            said.append(f"{left} not comparable")
        if not self.outcome.cells:
            said.append("drawn" if self.outcome.pictures else "listed")
        return "; ".join(said)


def find(names: Sequence[str] | None = None) -> list[Item]:
    """Items by their keys, or the beginning of one; all by default.

    Raises:
        UnknownName: no such item.
    """
    if names is None:
        return list(ITEMS)
    found = []
    for name in names:
        asked = name.lower().replace(" ", "-")
        mine = [item for item in ITEMS if item.key == asked] or [i for i in ITEMS if i.key.startswith(f"{asked}-")]
        if not mine:
            raise UnknownName("table or figure", name, [item.key for item in ITEMS])
        found += mine
    return list(dict.fromkeys(found))


def run(
    out: Path,
    size: Size,
    items: Sequence[Item] | None = None,
    workers: int | None = None,
    progress: Callable[[float, float, str], None] | None = None,
) -> list[Done]:
    """Run items, and write the page after each. What fails is a line of the page, and is tried again the next time.

    Args:
        out: folder; what is finished of the same size is kept there and not repeated.
        size: of each experiment.
        items: those to run; the page has all.
        workers: processes, by default one a core.
        progress: called with (done, total, name) within and between items.

    Returns:
        All items of the page, in its order.

    Raises:
        StorageError: the folder cannot be written to, or another run is writing to it.
    """
    with locked_folder(out / size) as folder, kept_processes():
        return _run_all(out, folder, size, items, workers, progress)


def _run_all(
    out: Path,
    folder: Path,
    size: Size,
    items: Sequence[Item] | None,
    workers: int | None,
    progress: Callable[[float, float, str], None] | None,
) -> list[Done]:
    done = {item.key: _kept(folder, item) or Done(item) for item in ITEMS}
    wanted = [item for item in (ITEMS if items is None else items) if item.run is not None]
    for k, item in enumerate(wanted):

        def follow(here: float, of: float, k: int = k, name: str = item.key) -> None:
            if progress:
                progress(k + here / max(of, 1), len(wanted), name)

        follow(0, 1)
        if done[item.key].outcome is None:
            done[item.key] = _run(item, Setting(size, folder, workers, follow))
            _keep(folder, done[item.key])
        write_page(out, size, list(done.values()))
    write_page(out, size, list(done.values()))
    return list(done.values())


def _run(item: Item, setting: Setting) -> Done:
    assert item.run is not None
    spent, passed = _spent(setting.folder, item)
    before, started = _seconds(), perf_counter()
    outcome, failure = None, ""
    try:
        outcome = item.run(setting)
    except NastkError as error:
        failure = str(error)
    except Exception as error:  # one experiment that breaks must not take the others with it
        failure = f"{type(error).__name__}: {error}"
    finally:  # of an interruption too
        seconds, elapsed = spent + _seconds() - before, passed + perf_counter() - started
        _keep_spent(setting.folder, item, None if outcome else (seconds, elapsed))
    return Done(item, outcome, failure, seconds, elapsed)


def _seconds() -> float:
    """Processor time of this process, of the children that have ended, and of the jobs of those that are kept."""
    if sys.platform == "win32":
        return process_time() + kept_seconds()
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + kept_seconds() + children.ru_utime + children.ru_stime


def _spent(folder: Path, item: Item) -> tuple[float, float]:
    """Processor time and seconds that passed in attempts that did not finish: what they finished is not repeated."""
    try:
        seconds, elapsed = json.loads(_unfinished(folder, item).read_text(encoding="utf-8"))
        return float(seconds), float(elapsed)
    except (OSError, ValueError, TypeError):
        return 0.0, 0.0


def _keep_spent(folder: Path, item: Item, spent: tuple[float, float] | None) -> None:
    path = _unfinished(folder, item)
    if spent is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(spent) + "\n")


def _unfinished(folder: Path, item: Item) -> Path:
    return folder / "items" / f"{item.key}.unfinished"


# ---- finished items on disk


def _path(folder: Path, item: Item) -> Path:
    return folder / "items" / f"{item.key}.json"


def _keep(folder: Path, done: Done) -> None:
    if done.outcome is None:
        return
    path = _path(folder, done.item)
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {
        "version": __version__,
        "command": done.item.command.get("quick" if folder.name == "quick" else "full", ""),
        "seconds": done.seconds,
        "elapsed": done.elapsed,
        "outcome": asdict(done.outcome),
    }
    write_text(path, json.dumps(without_nan(entry), indent=1) + "\n")


def _kept(folder: Path, item: Item) -> Done | None:
    """A finished item; None if there is none, or if it was made by another command or version."""
    path = _path(folder, item)
    if not path.exists():
        return None
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        command = item.command.get("quick" if folder.name == "quick" else "full", "")
        if entry["version"] != __version__ or entry["command"] != command:
            return None
        return Done(item, _read(entry["outcome"]), "", float(entry["seconds"]), float(entry.get("elapsed", 0.0)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} does not hold a finished item: {error}; remove it") from error


def _read(facts: dict[str, Any]) -> Outcome:
    cells = [Cell(**{**c, "half": float("nan") if c["half"] is None else c["half"]}) for c in facts["cells"]]
    return Outcome(
        cells,
        [(str(title), list(rows)) for title, rows in facts["tables"]],
        [(str(name), str(said)) for name, said in facts["pictures"]],
        [str(note) for note in facts["notes"]],
    )


# ---- the page


def write_page(out: Path, size: Size, done: Sequence[Done]) -> None:
    """Write ``index.html`` and ``index.md`` into the folder."""
    folder = out / size
    cells = [cell for one in done if one.outcome for cell in one.outcome.cells]
    verdicts = [cell.verdict for cell in cells if cell.verdict]
    seconds, elapsed = sum(one.seconds for one in done), sum(one.elapsed for one in done)
    notes = [
        f"nastk {__version__}, size {size}; {seconds / 60:.1f} minutes of processor time in all, in {elapsed / 60:.1f} "
        "minutes. What an item shares with an earlier one counts there",
        f"{verdicts.count('inside')} of {len(verdicts)} published figures lie inside: ours and theirs differ by no "
        "more than the half-widths of both intervals together",
        "Ours is the 95 % interval over random seeds. The papers print no intervals for these tables: theirs is half "
        "of the last printed digit. Figures of a single seed have no interval, and no verdict",
    ]
    if size == "quick":
        notes.append(
            "quick: fewer seeds, and smaller experiments where a row says so, which then has no verdict; --full runs "
            "all of it"
        )
    index = Section("Overview", tables=[("", [_index_row(one) for one in done])])
    sections = [index]
    for paper in dict.fromkeys(one.item.paper for one in done):
        sections.append(Section(paper, lines=[_PAPERS[paper]]))
        sections += [_section(one, size, folder) for one in done if one.item.paper == paper]
    for write, end in ((write_html, "html"), (write_markdown, "md")):
        write("Multi-Predict and MODNAS, repeated", notes, sections, out / f"{PAGE}.{end}")


_PAPERS = {
    of_multi_predict.PAPER: "Y. Akhauri, M. S. Abdelfattah. Multi-Predict: Few Shot Predictors For Efficient Neural "
    "Architecture Search. AutoML 2023.",
    of_modnas.PAPER: "R. S. Sukthanker, A. Zela, B. Staffler, S. Dooley, J. Grabocka, F. Hutter. Multi-objective "
    "Differentiable Neural Architecture Search. ICLR 2025.",
}


def _index_row(one: Done) -> dict[str, Any]:
    seeds = sorted({cell.seeds for cell in one.outcome.cells if cell.seeds}) if one.outcome else []
    return {
        "item": _title(one.item),
        "what": one.item.what,
        "status": one.status,
        "seeds": ", ".join(map(str, seeds)),
        "processor, s": round(one.seconds) if one.outcome else None,
        "elapsed, s": round(one.elapsed) if one.outcome else None,
    }


def _title(item: Item) -> str:
    return f"{item.paper}, {item.name}"


def _section(one: Done, size: Size, folder: Path) -> Section:
    item, outcome = one.item, one.outcome or Outcome()
    lines = [item.what]
    if item.reason:
        lines.append(item.reason)
    if one.failure:
        lines.append(f"It failed: {one.failure}")
    tables: list[tuple[str, Any]] = [(title, rows) for title, rows in outcome.tables if rows]
    if outcome.cells:
        tables.insert(0, ("published and ours", [cell.row() for cell in outcome.cells]))
    pictures = [(folder / "figures" / name, said) for name, said in outcome.pictures]
    return Section(
        _title(item),
        3,
        [*lines, *outcome.notes],
        item.command[size].splitlines() if size in item.command else [],
        tables,
        [(path, said) for path, said in pictures if path.exists()],
    )


def rows(done: Sequence[Done]) -> list[dict[str, Any]]:
    """Tidy rows: one for each published figure, and one for each item without any."""
    found = []
    for one in done:
        start = {"experiment": "all", "paper": one.item.paper, "item": one.item.name, "status": one.status}
        cells = one.outcome.cells if one.outcome else ()
        found += [{**start, **asdict(replace(cell)), "verdict": cell.verdict} for cell in cells] or [start]
    return found
