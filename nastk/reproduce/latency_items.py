"""For items that compare latency predictors: runs of `nastk reproduce latency`, published cells beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nastk.bench import latency
from nastk.bench.device_sets import all_far_sets, random_sets
from nastk.bench.latency_tasks import PUBLISHED, TASKS, DeviceSet, Figure
from nastk.report.curves import write_curves
from nastk.reproduce import cross_space, latency_tables
from nastk.reproduce.items import Cell, Outcome, Row, Setting, Size

IN_FULL = "only in --full"


@dataclass(frozen=True)
class LatencyRun:
    """One line of ``nastk reproduce latency``; arguments as its options."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    samples: tuple[int, ...]
    seeds: int
    source_samples: tuple[int, ...] = ()
    space: str = ""
    random_sets: int = 0
    most: float | None = None
    least: float | None = None
    share: float | None = None

    @property
    def command(self) -> str:
        """The line that can be typed."""
        given: dict[str, Any] = {
            "--space": self.space,
            "--tasks": ",".join(self.tasks),
            "--random-sets": self.random_sets,
            "--max-correlation": self.most,
            "--min-correlation": self.least,
            "--methods": ",".join(self.methods),
            "--samples": ",".join(map(str, self.samples)),
            "--source-samples": ",".join(map(str, self.source_samples)),
            "--source-share": self.share,
            "--seeds": self.seeds,
        }
        return " ".join(["nastk reproduce latency", *(f"{name} {value}" for name, value in given.items() if value)])

    def _tasks(self) -> tuple[list[str], list[str], dict[str, DeviceSet]]:
        """Tasks within a space, between spaces, and the device sets of those that the literature does not have."""
        sets: dict[str, DeviceSet] = random_sets(self.space, self.random_sets) if self.random_sets else {}
        wanted = [*self.tasks, *sets]
        if self.most is not None:
            sets = all_far_sets(wanted, sets, self.most, self.least)
            wanted = list(sets)
        between = [task for task in wanted if task in cross_space.PAIRS]
        return [task for task in wanted if task not in between], between, sets

    def jobs(self) -> list[latency.Job]:
        """Its jobs within a space."""
        within, _, sets = self._tasks()
        sizes = list(self.source_samples) or None
        return latency.jobs(within, self.methods, self.samples, self.seeds, sizes, sets=sets) if within else []

    def rows(self, setting: Setting) -> list[Row]:
        """Tidy rows; jobs that the folder holds are not repeated."""
        within, between, sets = self._tasks()
        shared: dict[str, Any] = {
            "workers": setting.workers,
            "progress": setting.progress,
            "journal": _journal(setting),
        }
        sizes = list(self.source_samples) or None
        found: list[Row] = []
        if within:
            found += latency.run(within, self.methods, self.samples, self.seeds, sizes, sets=sets, **shared)
        if between:
            found += cross_space.run(between, self.methods, self.samples, self.seeds, sizes, share=self.share, **shared)
        return found


def _journal(setting: Setting) -> Path:
    return setting.folder / "latency.jsonl"


Runs = Mapping[Size, Sequence[LatencyRun]]


def commands(runs: Runs) -> dict[Size, str]:
    """The lines of each size."""
    return {size: "\n".join(run.command for run in some) for size, some in runs.items()}


def all_rows(runs: Runs, setting: Setting) -> list[Row]:
    """Rows of all runs of a size; their jobs are run together."""
    jobs = [job for run in runs[setting.size] for job in run.jobs()]
    latency.finish(jobs, _journal(setting), setting.workers, setting.progress)
    return [row for run in runs[setting.size] for row in run.rows(setting)]


LABELS = {
    "multi-predict": "TL, table (ET)",
    "multi-predict-index": "TL, index",
    "multi-predict-sample": "TL, sample",
    "multi-predict-vec+zcp": "TL, ZCPVec, table",
    "multi-predict-vec+hwl": "TL, HWLVec, table",
    "brp-nas": "BRP-NAS",
    "brp-nas-short": "BRP-NAS, short",
    "help": "HELP",
    "help-short": "HELP, short",
    "flops": "FLOPs",
}
"""The paper's names of methods (TL: transfer learning)."""


def cells(table: str, rows: Sequence[Row], size: Size) -> list[Cell]:
    """All cells of a published table beside ours."""
    ours = {
        (r["task"], r["method"], r["samples"], r["source_samples"], r["device"]): r
        for r in rows
        if r["metric"] == "spearman"
    }
    return [_cell(figure, ours, size) for figure in PUBLISHED if figure.table == table]


def _cell(figure: Figure, ours: Mapping[tuple[Any, ...], Row], size: Size) -> Cell:
    task = TASKS[figure.task]
    sources = figure.source_samples or task.source_samples
    said = f"{figure.task}: {LABELS.get(figure.method, figure.method)}"
    said += "" if figure.samples is None else f" @{figure.samples}"
    said += f", {figure.source_samples} source samples" if figure.source_samples else ""
    said += ", mean" if figure.device == "*" else f", {figure.device}"
    counts = [k for _, method, k, *_ in ours if method == figure.method]
    samples = figure.samples or max(counts, default=0)
    row = ours.get((figure.task, figure.method, samples, sources, figure.device))
    reason = ""
    if row is None:
        row, reason = _less(figure, ours, sources)
    if row is None:
        lacking = latency.missing(task)[1]
        reason = f"the tables lack {', '.join(lacking)}" if lacking and figure.device != "*" else ""
        return Cell(said, figure.value, None, reason=reason or (IN_FULL if size == "quick" else "not run"))
    if figure.device == "*" and row["devices"] < len(task.targets):
        partial = f"partial: {row['devices']} of {len(task.targets)} targets are in the tables"
        reason = f"{partial}; {reason}" if reason else partial
    half = 0.0 if figure.method == "flops" else row["ci95"]
    return Cell(said, figure.value, row["mean"], half, row["seeds"], reason=reason)


def _less(figure: Figure, ours: Mapping[tuple[Any, ...], Row], sources: int) -> tuple[Row | None, str]:
    """The row of a smaller experiment that comes nearest to a published one, and what it has less of."""
    found: list[tuple[tuple[int, int, bool], Row, str]] = []
    for (task, method, samples, size, device), row in ours.items():
        asked, short = latency.find(figure.method), latency.find(method)
        same = method == figure.method or (short.short and short.predictor == asked.predictor)
        fits = samples <= (figure.samples or samples) if asked.scratch else samples == figure.samples
        if (task, device) != (figure.task, figure.device) or not same or not fits or size > sources:
            continue
        less = [f"{size} of {sources} source samples"] * (size < sources and not asked.scratch)
        less += [f"{samples} of {figure.samples} measurements"] * (samples != figure.samples)
        less += [short.short] * bool(short.short)
        found.append(((samples, size, not short.short), row, "; ".join(less)))
    _, best, said = max(found, key=lambda one: one[0], default=((0, 0, False), None, ""))
    return best, said


def pictures(
    setting: Setting, rows: Sequence[Row], name: str, kinds: Sequence[str] = ("samples",)
) -> list[tuple[str, str]]:
    """Draw curves into the setting's folder; names and captions.

    Args:
        kinds: names of `latency_tables.MEASURED`.
    """
    drawn = []
    for what, against, label, logarithmic in latency_tables.MEASURED:
        if what in kinds:
            file = f"{name}-{what}.png"
            panels = latency_tables.curves(rows, against)
            write_curves(panels, setting.folder / "figures" / file, label, "Spearman", logarithmic)
            drawn.append((file, f"Spearman against {label}; ours, with 95 % intervals; published figures are diamonds"))
    return drawn


def compared(table: str, runs: Runs, setting: Setting, note: str = "") -> Outcome:
    """A published table beside ours, with the means of all methods that were run."""
    rows = all_rows(runs, setting)
    means = [("means over devices, and what was measured", latency_tables.means(rows))]
    return Outcome(cells(table, rows, setting.size), means, notes=[note] if note else [])
