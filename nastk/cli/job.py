"""The main job behind ``nastk search``: pay, learn, search, verify, report."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import typer

from nastk.cli import objectives as parts
from nastk.cli.config import RunOptions
from nastk.cli.progress import bar
from nastk.errors import InvalidValue
from nastk.history import History, open_history
from nastk.metrics import ModnasProtocol, nondominated
from nastk.registry import SEARCHERS
from nastk.report.chart import Chart
from nastk.report.front import agreement, chart_of, kind_of
from nastk.report.rows import write_json
from nastk.report.tables import number, show
from nastk.result import Result
from nastk.search.base import Constraint, Searcher
from nastk.study import EQUAL, Study

SAVED = "interrupted.db"
STUDY = "nastk"

BATCH, ROUNDS = 5, 10
"""At most so many proposals at a time, and at least so many rounds: refitting costs seconds."""


def prepare(options: RunOptions) -> Job:
    """Everything up to the first evaluation: names resolved, oracles made, the history opened.

    Raises:
        NastkError: whatever a user can get wrong.
    """
    takes = inspect.signature(SEARCHERS.get(options.searcher)).parameters
    if options.predictor and "predictor" not in takes:
        raise InvalidValue(f"the searcher {options.searcher!r} learns nothing; leave out --predictor")
    for text in options.constraint:
        Constraint.parse(text, options.objective)
    space = parts.named_space(options)
    goals = parts.objectives(options, space)
    models = parts.predictors(options, space, goals) if "predictor" in takes else {}
    budget = parts.budgets(options, goals, models)
    extra: dict[str, Any] = {"predictor": models} if "predictor" in takes else {}
    if "contexts" in takes:
        extra["contexts"] = parts.contexts(options, goals)
    if "front_size" in takes and options.verify:
        extra["front_size"] = options.verify
    if "trainings" in takes:
        extra["trainings"] = options.budget
    searcher: Searcher = SEARCHERS.create(
        options.searcher, space, goals, constraints=options.constraint, seed=options.seed, budget=budget, **extra
    )
    if "trainings" in takes:
        budget = searcher.budget
    history = open_history(options.storage, options.study or STUDY, settings(options, searcher))
    return Job(options, searcher, budget, history)


def settings(options: RunOptions, searcher: Searcher) -> dict[str, Any]:
    """What makes a study what it is; a resumed one must have the same."""
    return {
        "space": searcher.space.name,
        "objectives": [[o.name, o.direction, o.fidelity, o.oracle.source] for o in searcher.objectives],
        "constraints": [str(c) for c in searcher.constraints],
        "searcher": options.searcher,
        "predictor": sorted(options.predictor),
        "seed": options.seed,
    }


class Job:
    """One run of ``nastk search``.

    Args:
        options: as gathered.
        searcher: built for them.
        budget: evaluations of each paid objective.
        history: where they are recorded.
    """

    def __init__(self, options: RunOptions, searcher: Searcher, budget: dict[str, int], history: History):
        self.options, self.searcher, self.budget, self.history = options, searcher, budget, history
        self.space = searcher.space
        self.fell_out = 0

    # ---- the work

    def search(self) -> None:
        """Spend the budget, then check what the predictors say of the front."""
        started = time.perf_counter()
        with bar(sum(self.budget.values()), "paying") as progress:
            most = max(self.budget.values(), default=1)
            batch = min(max(1, most // ROUNDS), BATCH)
            if set(self.searcher.expensive) <= set(self.searcher.few_shot):  # measurements alone: they take turns
                batch = max(1, most)
            budget = self.budget or self.options.budget  # where all is free: so many architectures
            study = Study(self.searcher, budget, self.history, batch, progress=_follow(progress))
            self.result: Result = study.run()
        self.proposed = self._along(self.result.front_archs)
        some = _evenly(self.proposed, self.options.verify)
        with bar(len(some), "verifying the front") as progress:
            self.result.verify(some, progress=_follow(progress))
        self.result.front_archs = self._settle(self.proposed)
        self.seconds = time.perf_counter() - started

    def _along(self, front: Any) -> Any:
        """The front in the order of its last objective, by what is known or believed."""
        return self.space.as_archs(list(self.result.describe(front)["arch"])) if len(front) else front

    def _settle(self, proposed: Any) -> Any:
        """Leave out what verification showed to be dominated or beyond a constraint; never everything."""
        if not len(proposed):
            return proposed
        table = self.result.describe(proposed)
        proposed = self.space.as_archs(list(table["arch"]))
        values = table[[o.name for o in self.searcher.objectives]].to_numpy(dtype=float)
        known = np.isfinite(values).all(axis=1)
        violation = np.where(known, self.searcher.violation(np.nan_to_num(values)), np.inf)
        fine = np.flatnonzero(violation <= 0)
        if not len(fine):
            return proposed
        kept = fine[nondominated(values[fine] * self.searcher.signs)]
        self.fell_out = len(proposed) - len(kept)
        return proposed[kept]

    # ---- what came out

    @cached_property
    def chart(self) -> Chart:
        """The picture of it, with the notes that a reader needs."""
        notes = [*self._hypervolume_notes(), *self._fate_notes(), self._paid()]
        return chart_of(self.result, self.proposed, notes=notes, true_front=self._true_front, seed=self.options.seed)

    @cached_property
    def _protocol(self) -> tuple[ModnasProtocol, Any, Any] | None:
        """MODNAS's protocol over the table, the rows it covers and their values; None where there is no table."""
        goals = {o.name: o for o in self.searcher.objectives}
        on_table = all(name in goals and kind_of(goals[name].oracle) == "table" for name in ("accuracy", "latency"))
        if not on_table:
            return None
        everything = self.space.enumerate()
        values = np.column_stack([goals[n].oracle(everything) for n in ("accuracy", "latency")])
        known = np.flatnonzero(np.isfinite(values).all(axis=1))
        return ModnasProtocol(100.0 - values[known, 0], values[known, 1]), known, values[known]

    @cached_property
    def hypervolume(self) -> dict[str, float]:
        """Hypervolume of the front by MODNAS's protocol, and of the table's true front; empty without a table."""
        if self._protocol is None:
            return {}
        protocol, known, _ = self._protocol
        rows = np.flatnonzero(np.isin(known, self.space.index(self.result.front_archs)))
        return {"hypervolume": protocol.hypervolume(rows), "true_front": protocol.front_hypervolume()}

    @cached_property
    def _true_front(self) -> dict[str, list[float]]:
        if self._protocol is None:
            return {}
        protocol, _, values = self._protocol
        kept = values[protocol.kept]
        best = kept[nondominated(kept * np.array([-1.0, 1.0]))]
        return {"accuracy": best[:, 0].tolist(), "latency": best[:, 1].tolist()}

    def _hypervolume_notes(self) -> list[str]:
        if not self.hypervolume:
            return []
        found, true = self.hypervolume["hypervolume"], self.hypervolume["true_front"]
        return [f"Hypervolume by the MODNAS protocol: {found:.4f}; the table's true front has {true:.4f}."]

    def _fate_notes(self) -> list[str]:
        notes = []
        if self.fell_out:
            notes.append(
                f"{self.fell_out} of the {len(self.proposed)} proposed architectures fell out of the front when they "
                "were measured."
            )
        if self.searcher.constraints and not self.result.feasible:
            bounds = ", ".join(map(str, self.searcher.constraints))
            notes.append(f"Nothing that keeps {bounds} was found; shown is what breaks it least.")
        return notes

    def _paid(self) -> str:
        """What was paid for: how often each objective, at which fidelities, and what equal networks saved."""
        records = self.history.records("search")
        parts = []
        for o in self.searcher.objectives:
            fidelities = [o.target if r.fidelity is None else r.fidelity for r in records if r.objective == o.name]
            if not fidelities:
                continue
            each = [f"{fidelities.count(f)} at {f:g}" for f in sorted({f for f in fidelities if f is not None})]
            parts.append(f"{len(fidelities)} of {o.name}" + (f" ({', '.join(each)})" if len(each) > 1 else ""))
        if not parts:
            return "Nothing was paid for."
        equal = sum(r.source == EQUAL for r in records)
        saved = f"; {equal} of them known from equal networks" if equal else ""
        return f"Evaluations: {', '.join(parts)}{saved}."

    # ---- files

    def write(self, folder: Path) -> None:
        """Write front.csv, result.json, front.html and front.png, each whole or not at all."""
        from nastk.files import write_text
        from nastk.report import write_html, write_png

        content = {
            "options": asdict(self.options),
            **self.result.to_dict(),
            "hypervolume": self.hypervolume,
            "chart": self.chart.to_dict(),
        }
        self.result.to_csv(folder / "front.csv")
        write_text(folder / "result.json", json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n")
        write_html(self.chart, folder / "front.html")
        write_png(self.chart, folder / "front.png")
        if self.options.json is not None:
            write_json(self.options.json, self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one a metric of the run."""
        spent = self.history.counts("search")
        common = {
            "experiment": "search",
            "space": self.space.name,
            "dataset": self.options.dataset,
            "device": self.options.device,
            "method": self.options.searcher,
            "samples": spent.get("accuracy", 0),
            "measurements": spent.get("latency", 0),
        }
        metrics: list[tuple[str, float, float | None]] = [("front_size", float(len(self.result.front_archs)), None)]
        if self.hypervolume:
            metrics.append(("hypervolume", self.hypervolume["hypervolume"], self.hypervolume["true_front"]))
        for objective in self.searcher.objectives:
            found = agreement(self.chart, objective.name)
            for metric in ("spearman", "median_error_percent"):
                if found is not None:
                    metrics.append((f"{objective.name}_{metric}", found[metric], None))
        return [
            {**common, "metric": name, "mean": value, "ci95": None, "seeds": 1}
            | ({} if reference is None else {"reference": reference, "reference_source": "true front of the table"})
            for name, value, reference in metrics
        ]

    # ---- the screen

    def show(self, folder: Path) -> None:
        """A short table, what its values are, and where the files lie."""
        show_chart(self.chart)
        files = ", ".join(("front.html", "front.png", "front.csv", "result.json"))
        typer.echo(f"Took {self.seconds:.0f} s. Written to {folder}: {files}")

    # ---- Ctrl-C

    def save(self, folder: Path) -> str:
        """After Ctrl-C: see to it that what was paid for is kept; one line that says where and how to go on."""
        count = len(self.history)
        if not count:
            return "interrupted; nothing had been paid for yet"
        if self.options.storage is not None:
            return (
                f"interrupted; {count} evaluations are in {self.options.storage}; the same command goes on from there"
            )
        from nastk.files import atomic_path

        target = folder / SAVED
        with atomic_path(target) as temporary:
            saved = open_history(f"sqlite:///{temporary}", STUDY, settings(self.options, self.searcher))
            saved.add(self.history.records(), self.history.state())
            saved.close()
        again = shlex.join(["nastk", *sys.argv[1:], "--storage", f"sqlite:///{target}"])
        return f"interrupted; {count} evaluations are saved in {target}; to go on: {again}"

    def close(self) -> None:
        """Let go of the database."""
        self.history.close()


def show_chart(chart: Chart) -> None:
    """A front as a table, and its notes."""
    rows = _table(chart)
    if rows:
        show(rows, title=chart.title, shorten=("architecture",))
    else:
        typer.echo(f"{chart.title}: no architecture could be evaluated")
    typer.echo("")
    for note in chart.notes:
        typer.echo(note)


def _follow(progress: Any) -> Any:
    def follow(done: int, total: int, label: str) -> None:
        progress.total = total
        progress.n = done
        progress.set_postfix_str(label, refresh=True)

    return follow


def _evenly(archs: Any, n: int) -> Any:
    """At most `n` of the architectures, evenly along their order."""
    if len(archs) <= n:
        return archs
    return archs[np.unique(np.linspace(0, len(archs) - 1, n).round().astype(int))] if n else archs[:0]


def _table(chart: Chart) -> list[dict[str, Any]]:
    """Rows for the screen: the kind of a value stands in the heading where a column has one kind only."""
    from nastk.report.chart import KINDS

    rows: list[dict[str, Any]] = [{"architecture": p.arch} for p in chart.front]
    for axis in chart.axes:
        kinds = {p.shown[axis.name].kind for p in chart.front if axis.name in p.shown}
        heading = f"{axis.label} {KINDS[next(iter(kinds))]}" if len(kinds) == 1 else axis.label
        for row, point in zip(rows, chart.front, strict=True):
            value = point.shown.get(axis.name)
            if value is None:
                row[heading] = None
            elif len(kinds) == 1:
                row[heading] = value.value
            else:
                row[heading] = f"{number(value.value)} {KINDS[value.kind]}"
        if any(axis.name in p.predicted for p in chart.front):
            for row, point in zip(rows, chart.front, strict=True):
                row["predicted"] = point.predicted[axis.name].value if axis.name in point.predicted else None
    return rows


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return value
