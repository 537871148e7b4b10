"""The report at the end of a run: a chart with notes, tidy rows, files, a table for the screen."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.measured import has_values, to_fill_in
from nastk.evaluation import ISOMORPHIC, of_one_call
from nastk.files import write_text
from nastk.metrics import ModnasProtocol, nondominated
from nastk.report.chart import KINDS, Chart
from nastk.report.front import agreement, chart_of
from nastk.report.front_table import heading_notes
from nastk.report.promise import promise_notes, seed_notes
from nastk.report.rows import without_nan, write_json
from nastk.report.tables import number, show
from nastk.report.text import printable
from nastk.result import Result
from nastk.search.base import Objective

REASONS = 5
"""Name at most this many reasons of failures; ``result.json`` has all."""

FILES = ("front.html", "front.png", "front.csv", "result.json")
"""Files of a search, as :meth:`Summary.write` names them."""

NEXT = "measure-next.csv"
"""File of the networks of the front whose latency is only predicted and cannot be measured here: a table to fill in."""


class Summary:
    """The end of a search.

    Args:
        result: of the search.
        seed: random seed of the architectures drawn in the picture.
    """

    def __init__(self, result: Result, seed: int = 0):
        self.result, self.seed = result, seed
        self.searcher, self.space = result.searcher, result.space

    @cached_property
    def chart(self) -> Chart:
        """The chart of the result, with notes on its values."""
        notes = [
            *self._hypervolume_notes(),
            *self._front_notes(),
            *promise_notes(self.result),
            *seed_notes(self.result),
            self._evaluations(),
            *self._unmeasured(),
            *self._failures(),
            *heading_notes(self.result),
            *self.result.notes,
        ]
        return chart_of(self.result, self.result.proposed, notes=notes, true_front=self._true_front, seed=self.seed)

    # ---- the table's true front

    @property
    def _on_table(self) -> tuple[Objective, Objective] | None:
        """An accuracy and a latency, if both are of a table: MODNAS's protocol is defined for these."""
        of_table = [o for o in self.searcher.objectives if o.oracle.kind == "table"]
        accuracy = next((o for o in of_table if "accuracy" in o.oracle.name), None)
        latency = next((o for o in of_table if o.oracle.name == "latency"), None)
        return None if accuracy is None or latency is None else (accuracy, latency)

    @cached_property
    def _protocol(self) -> tuple[ModnasProtocol, NDArray[np.int64], NDArray[np.float64]] | None:
        """MODNAS's protocol over the table, the rows it covers and their values; None where there is no table.

        It normalises by the whole table, with constraints too, so that hypervolumes under different bounds compare.
        """
        if self._on_table is None:
            return None
        everything = self.space.enumerate()
        values = np.column_stack([o.oracle(everything) for o in self._on_table])
        known = np.flatnonzero(np.isfinite(values).all(axis=1))
        return ModnasProtocol(100.0 - values[known, 0], values[known, 1]), known, values[known]

    @cached_property
    def _unknown_bounds(self) -> list[str]:
        """Constraints on what is estimated or must be evaluated: it is unknown which rows of the table keep them."""
        of = {o.name: o for o in self.searcher.objectives}
        constrained = [(c, of[c.objective]) for c in self.searcher.constraints]
        return [
            str(c) for c, o in constrained if o.oracle.kind == "estimate" or (o.expensive and o.oracle.kind != "table")
        ]

    @cached_property
    def _feasible(self) -> NDArray[np.bool_]:
        """Which of the rows that the protocol covers and keeps are feasible by their true values."""
        assert self._protocol is not None
        protocol, known, _ = self._protocol
        feasible = protocol.kept.copy()
        of = {o.name: o.oracle for o in self.searcher.objectives}
        archs = self.space.enumerate()[known]
        for constraint in self.searcher.constraints:
            feasible &= constraint.violation(of[constraint.objective](archs)) <= 0  # false where the value is unknown
        return feasible

    @cached_property
    def hypervolume(self) -> dict[str, float]:
        """Hypervolume of the front by MODNAS's protocol, and of the table's true front.

        With constraints, of the feasible architectures of both. Empty without a table, and where nothing in it is
        feasible or it cannot be told.
        """
        if self._protocol is None or self._unknown_bounds or not self._feasible.any():
            return {}
        protocol, known, _ = self._protocol
        found = np.isin(known, self.space.index(self.result.front_archs))
        return {
            "hypervolume": protocol.hypervolume(np.flatnonzero(found & self._feasible)),
            "true_front": protocol.hypervolume(np.flatnonzero(self._feasible)),
        }

    @cached_property
    def _true_front(self) -> dict[str, list[float]]:
        if self._protocol is None or self._on_table is None or not self.hypervolume:
            return {}
        kept = self._protocol[2][self._feasible]
        best = kept[nondominated(kept * np.array([-1.0, 1.0]))]
        return {o.name: best[:, j].tolist() for j, o in enumerate(self._on_table)}

    # ---- notes

    def _hypervolume_notes(self) -> list[str]:
        if self._protocol is None:
            return []
        if self._unknown_bounds:
            bounds = ", ".join(self._unknown_bounds)
            return [f"No true front and no hypervolume: which of the table's architectures keep {bounds} is not known."]
        if not self.hypervolume:
            bounds = ", ".join(map(str, self.searcher.constraints))
            return [f"No architecture of the table keeps {bounds}: there is no true front and no hypervolume."]
        found, true = self.hypervolume["hypervolume"], self.hypervolume["true_front"]
        of, which = (" of what is feasible", "feasible ") if self.searcher.constraints else ("", "")
        return [f"Hypervolume{of} by the MODNAS protocol: {found:.4f}; the table's true {which}front has {true:.4f}."]

    def _front_notes(self) -> list[str]:
        notes = []
        proposed, front = self.result.proposed, self.result.front_archs
        if proposed is not None:
            there = {network.tobytes() for network in self.space.as_networks(front)}
            gone = sum(network.tobytes() not in there for network in self.space.as_networks(proposed))
            if gone:
                notes.append(
                    f"{gone} of the {len(proposed)} proposed architectures left the front when they were measured."
                )
        missed = self.result.promise is not None and bool(self.result.promise.missed)
        if self.searcher.constraints and not self.result.feasible and not missed:
            bounds = ", ".join(map(str, self.searcher.constraints))
            notes.append(f"Nothing that keeps {bounds} was found; showing the least-violating architecture.")
        return notes

    def _evaluations(self) -> str:
        """Number of evaluations of each objective, by fidelity, and how many isomorphic architectures saved."""
        records = self.result.history.records("search")
        parts = []
        for o in self.searcher.objectives:
            own = [r for r in records if r.objective == o.name and not r.study]
            fidelities = [o.target if r.fidelity is None else r.fidelity for r in own]
            if not fidelities:
                continue
            each = [f"{fidelities.count(f)} at {f:g}" for f in sorted({f for f in fidelities if f is not None})]
            told = of_one_call(o, self.searcher.objectives)
            with_it = f" (also by calls for {' and '.join(other.name for other in told)})" if told else ""
            parts.append(
                f"{len(fidelities)} of {o.name}" + (f" ({', '.join(each)})" if len(each) > 1 else "") + with_it
            )
        if not parts:
            return "Nothing was evaluated."
        isomorphic = sum(r.source == ISOMORPHIC for r in records)
        saved = f"; {isomorphic} of them known from isomorphic networks" if isomorphic else ""
        return f"Evaluations: {', '.join(parts)}{saved}."

    def _unmeasured(self) -> list[str]:
        """What is predicted from measurements that a user brought, and so could not be verified."""
        sources = {o.name: o.oracle.source for o in self.searcher.objectives}
        front = len(self.result.front_archs)
        return [
            f"{name} of {len(archs)} of the {front} networks of the front is only predicted, from {sources[name]}: "
            f"nothing was measured. {NEXT} lists them, to be measured on the device next."
            for name, archs in self.result.unverifiable().items()
        ]

    def _failures(self) -> list[str]:
        """How many evaluations failed, by objective and reason, and how many succeeded at a later try."""
        notes = []
        by_objective: dict[str, list[dict[str, Any]]] = {}
        for row in self.result.failures:
            name = row["objective"] + (" in the verification" if row["purpose"] == "verify" else "")
            by_objective.setdefault(name, []).append(row)
        for name, rows in by_objective.items():
            reasons = "; ".join(f"{row['count']} x {row['reason']}" for row in rows[:REASONS])
            more = f"; {len(rows) - REASONS} more reasons" if len(rows) > REASONS else ""
            notes.append(f"Failed: {sum(r['count'] for r in rows)} of {rows[0]['of']} of {name}: {reasons}{more}.")
        again = Counter(r.objective for r in self.result.history.records() if r.status == "ok" and r.attempts > 1)
        notes += [f"{count} of {name} succeeded when tried again." for name, count in again.items()]
        if incomplete := self._incomplete():
            more = f" and {len(incomplete) - REASONS} more" if len(incomplete) > REASONS else ""
            notes.append(f"Not compared with the others: {'; '.join(incomplete[:REASONS])}{more}.")
        return notes

    def _incomplete(self) -> list[str]:
        """Architectures of which one objective failed and another is known, and that are not in the front: as texts."""
        values: dict[tuple[int, ...], list[str]] = {}
        broken: dict[tuple[int, ...], str] = {}
        for record in self.result.history.records():
            if record.status == "failed":
                broken[record.arch] = record.objective
            else:
                values.setdefault(record.arch, []).append(f"{record.objective} {number(record.value)}")
        for name, reasons in self.result.free_failures.items():
            broken |= dict.fromkeys(reasons, name)
        front = {tuple(arch) for arch in self.result.front_archs.tolist()}
        return [
            f"{self.space.format(arch)} ({', '.join(values[arch])}; {name} failed)"  # type: ignore[arg-type]
            for arch, name in broken.items()
            if arch in values and arch not in front
        ]

    # ---- files

    def write(self, folder: Path, json_file: str | os.PathLike[str] | None = None) -> None:
        """Write :data:`FILES`, and tidy rows to `json_file`, each whole or not at all."""
        from nastk.report import write_html, write_png

        content = {
            **self.result.to_dict(),
            "hypervolume": self.hypervolume,
            "chart": self.chart.to_dict(),
        }
        self.result.to_csv(folder / "front.csv")
        write_text(folder / "result.json", json.dumps(without_nan(content), indent=1, allow_nan=False) + "\n")
        write_html(self.chart, folder / "front.html")
        write_png(self.chart, folder / "front.png")
        if json_file is not None:
            write_json(json_file, self.rows())

    def write_next(self, folder: Path) -> list[str]:
        """Write :data:`NEXT` where something is to be measured elsewhere; one that has been filled in stays as it is,
        and the new one gets a number.

        Returns:
            The names of the files.
        """
        names = []
        for objective, archs in self.result.unverifiable().items():
            name = _unfilled(folder, NEXT)
            texts = self.space.format_all(archs)
            predicted = self.result.searcher.estimate(archs)[objective].mean
            to_fill_in(folder / name, texts, predicted_ms=[f"{ms:.6g}" for ms in predicted])
            names.append(name)
        return names

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows, one per metric of the run.

        ``samples`` are evaluated architectures, ``measurements`` latencies within the budget, of all devices, and
        ``verification`` evaluations of the front beyond the budget.
        """
        spent = self.result.history.counts("search")
        latencies = {o.name for o in self.searcher.objectives if o.oracle.few_shot}
        of_calls: dict[str, int] = {}  # an energy that the same calls told is no further measurement
        for o in self.searcher.objectives:
            if o.name in latencies:
                same = [o.name, *(other.name for other in of_one_call(o, self.searcher.objectives))]
                first = min(same)
                of_calls[first] = max(of_calls.get(first, 0), spent.get(o.name, 0))
        of = [o.oracle for o in self.searcher.objectives]
        common = {
            "experiment": "search",
            "space": self.space.name,
            "dataset": next((o.dataset for o in of if o.dataset), None),
            "device": next((o.device for o in of if o.device), None),
            "method": (self.result.description or {}).get("searcher"),
            "samples": max((n for name, n in spent.items() if name not in latencies), default=0),
            "measurements": sum(of_calls.values()),
            "verification": sum(self.result.history.counts("verify").values()),
        }
        metrics: list[tuple[str, float, float | None]] = [("front_size", float(len(self.result.front_archs)), None)]
        if self.hypervolume:
            metrics.append(("hypervolume", self.hypervolume["hypervolume"], self.hypervolume["true_front"]))
        for objective in self.searcher.objectives:
            found = agreement(self.chart, objective.name)
            for metric in ("spearman", "median_error_percent"):
                if found is not None and not np.isnan(found[metric]):
                    metrics.append((f"{objective.name}_{metric}", found[metric], None))
        return [
            {**common, "metric": name, "mean": value, "ci95": None, "seeds": 1}
            | ({} if reference is None else {"reference": reference, "reference_source": "true front of the table"})
            for name, value, reference in metrics
        ]


def _unfilled(folder: Path, name: str) -> str:
    """`name`, or with a number where a file of this name has been filled in."""
    stem, end = os.path.splitext(name)
    names = (f"{stem}{f'-{i}' if i else ''}{end}" for i in range(10_000))
    return next(free for free in names if not has_values(folder / free))


# ---- the screen


def show_chart(chart: Chart, say: Callable[[str], None]) -> None:
    """A front as a table, and its notes.

    Args:
        say: prints a line.
    """
    rows = _table(chart)
    if rows:
        show(rows, title=printable(chart.title), shorten=("architecture",))
    else:
        say(f"{printable(chart.title)}: no architecture could be evaluated")
    say("")
    for note in chart.notes:
        say(printable(note))


def _table(chart: Chart) -> list[dict[str, Any]]:
    """Rows for the screen; the kind of value is in the heading where a column has one kind only."""
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
                before = point.predicted.get(axis.name)
                row[f"predicted {axis.label}"] = None if before is None else before.value
    return rows
