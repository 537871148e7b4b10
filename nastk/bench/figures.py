"""Figures, ranks and the HTML page of a comparison of searchers on one table or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.bench.ranks import ALPHA, Ranks, new_name
from nastk.bench.search import Comparison
from nastk.metrics import mean_ci
from nastk.report.curves import Curve, Curves, Panel
from nastk.report.latex import metrics_of, write_latex
from nastk.report.page import Section, write_html
from nastk.report.ranked import write_ranked
from nastk.report.rows import write_csv, write_json
from nastk.report.tables import cell

Row = dict[str, Any]

POINTS = 40
"""Most budgets drawn on a curve: smoothness against drawing time."""

HEADINGS = {"source_measurements": "source measurements", "looked_up": "looked up", "reference": "best possible"}
"""What columns of the rows are called for people."""

METRICS = {
    "igd_plus": "IGD+", "overhead_ms": "proposing, ms", "spearman": "Spearman", "kendall": "Kendall", "ndcg": "nDCG",
    "covered95": "inside 95 % intervals", "median_evaluations_to_best": "median until the best",
    "median_evaluations_to_0.1": "median until .1 of it",
}  # fmt: skip
"""What metrics are called for people."""

CAPTIONS = {
    "regret": "Regret by the number of evaluations, lower is better",
    "hypervolume": "Hypervolume by the number of evaluations, higher is better",
    "igd_plus": "IGD+ by the number of evaluations, lower is better",
    "seconds": "The same by the processor time that the searcher itself takes",
}
"""What the pictures show, by their names."""

BANDS = "; bands are 95 % intervals over the seeds."

BLANK = "blank: searchers see choices alone, no graphs, equal networks, counts, proxies, priors or source devices"
"""What a blank table is, in a line."""

RANKED = "ranked"
"""Name of the critical-difference diagram."""


def name_of(found: Comparison) -> str:
    """A table in a few words: its space, its data set where it has some, and whether it is blank."""
    first = found.problems[0]
    return " ".join(part for part in (first.space, first.dataset, "blank" if found.blank else "") if part)


def ranks(parts: Sequence[Comparison], n: int) -> Ranks:
    """The searchers' ranks by regret or hypervolume after `n` evaluations, over all tables."""
    costs: dict[str, Any] = {}
    for found in parts:
        sign = 1.0 if found.single else -1.0
        costs[new_name(name_of(found), costs)] = sign * np.stack(
            [
                np.stack([found.values(found.main_metric, name, problem, n) for problem in found.problems])
                for name in found.searchers
            ]
        )
    return Ranks(parts[0].searchers, costs)


def figures(parts: Sequence[Comparison]) -> dict[str, Curves]:
    """Curves over evaluations and over the searchers' own processor time, by the names of their files."""
    ranked = ranks(parts, parts[0].budget)
    look: dict[str, Any] = {"top": None, "chosen": ranked.methods[ranked.order[0]]}
    found = {}
    for single, metrics in ((True, ("regret",)), (False, ("hypervolume", "igd_plus"))):
        mine = [part for part in parts if part.single == single]
        if not mine:
            continue
        titled = [(part, *panel) for part in mine for panel in _panels(part, len(parts))]
        label = "trainings (full equivalents)" if any(part.staged for part in mine) else "evaluations"
        for metric in metrics:
            panels = [Panel(title, _curves(part, metric, problems)) for part, title, problems in titled]
            words, caption = METRICS.get(metric, metric), CAPTIONS[metric] + BANDS
            found[metric] = Curves(panels, label, words, caption, log_y=single, **look)
        panels = [Panel(title, _over_seconds(part, problems)) for part, title, problems in titled]
        name = "seconds" if "seconds" not in found else f"seconds-{metrics[0]}"
        label, caption = "processor seconds of the searcher itself", CAPTIONS["seconds"] + BANDS
        found[name] = Curves(panels, label, metrics[0], caption, log=True, log_y=single, **look)
    return found


def rank_section(ranked: Ranks, title: str, folder: Path) -> Section:
    """The ranks on a page: what was tested, the table, and of three methods or more the critical-difference diagram,
    which is written into the folder (:func:`nastk.report.ranked.write_ranked`)."""
    pictures = []
    if len(ranked.methods) > 2:
        path = folder / f"{RANKED}.png"
        joined = f"joined: no difference at {ALPHA:g} (Wilcoxon's signed-rank test, Holm's correction)"
        write_ranked(ranked.methods, list(ranked.mean), ranked.cliques(), path, joined)
        pictures = [(path, "Mean ranks, 1 the best; a bar joins methods between which the tests find no difference.")]
    return Section(title, lines=ranked.sentences(), tables=[("", ranked.rows())], pictures=pictures)


def write_all(parts: Sequence[Comparison], rows: Sequence[Row], folder: Path) -> None:
    """Write what a comparison shows: rows as JSON and CSV, a LaTeX table of each metric, figures, the page."""
    write_rows(rows, folder)
    drawn = figures(parts)
    for name, picture in drawn.items():
        picture.write(folder / f"{name}.png")
    first = parts[0]
    sections = []
    if len(first.searchers) > 1:
        title = f"Ranks after {first.budget} evaluations"
        sections.append(rank_section(ranks(parts, first.budget), title, folder))
    sections += [
        Section("Curves", charts=list(drawn.values())),
        Section("All figures", tables=[("", shown_rows(rows))]),
    ]
    write_html("Searchers compared", _notes(parts), sections, folder / "report.html")


def _notes(parts: Sequence[Comparison]) -> list[str]:
    first, problems = parts[0], sum(len(part.problems) for part in parts)
    facts = [fact for part in parts for fact in _facts(part)]
    facts.append(f"{first.seeds} seeds, {first.budget} evaluations, {problems} problem{'s' * (problems > 1)}")
    if any(p.reported == p.searched and "test" in p.searched for part in parts for p in part.problems[:1]):
        facts.append("the test accuracy itself is the objective, to compare with the literature: no model selection")
    if any(part.blank for part in parts):
        facts.append(BLANK)
    if any(part.staged for part in parts):
        facts.append("costs are modelled, in full trainings: one of f epochs counts f divided by the most epochs")
    return facts


def write_rows(rows: Sequence[Row], folder: Path) -> None:
    """Tidy rows as ``rows.json`` and ``rows.csv``, and of each metric a LaTeX table."""
    write_json(folder / "rows.json", rows)
    write_csv(folder / "rows.csv", rows)
    for metric in metrics_of(rows):
        write_latex(rows, folder / f"{metric}.tex", metric)


def _panels(found: Comparison, tables: int) -> list[tuple[str, Sequence[Any]]]:
    title = name_of(found)
    if len(found.problems) == 1:
        return [(f"{title} {found.problems[0].device}".strip(), found.problems)]
    if tables > 1:
        return [(f"{title}, mean of {len(found.problems)} devices", found.problems)]
    return [(f"{title}, mean", found.problems), *((p.device, [p]) for p in found.problems)]


def _budgets(found: Comparison) -> list[int]:
    return sorted({int(n) for n in np.linspace(min(5, found.budget), found.budget, POINTS).round()})


def _values(found: Comparison, metric: str, searcher: str, problems: Sequence[Any], n: int) -> Any:
    return np.mean([found.values(metric, searcher, problem, n) for problem in problems], axis=0)


def _curves(found: Comparison, metric: str, problems: Sequence[Any]) -> list[Curve]:
    budgets = _budgets(found)
    curves = []
    for name in found.searchers:
        values = {n: _values(found, metric, name, problems, n) for n in budgets}
        known = [n for n in budgets if np.isfinite(values[n]).all()]
        points = [mean_ci(values[n]) for n in known]
        curves.append(Curve(name, known, [m for m, _ in points], [0.0 if np.isnan(h) else h for _, h in points]))
    return curves


def _over_seconds(found: Comparison, problems: Sequence[Any]) -> list[Curve]:
    curves = []
    for curve in _curves(found, found.main_metric, problems):
        seconds = [
            float(np.mean(n * _values(found, "overhead_ms", curve.label, problems, int(n))) / 1000.0) for n in curve.x
        ]
        curves.append(Curve(curve.label, [max(s, 1e-6) for s in seconds], curve.mean, curve.half))
    return curves


PAID = ("samples", "evaluations", "measurements", "source_measurements", "looked_up", "proxies")
"""Columns of the rows that say what was paid."""


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """Tidy rows as a page shows them: a line for each method and setting, with all metrics beside each other; columns
    that say nothing left out, words for people."""
    columns = ("method", "space", "dataset", "objective", "device", *PAID)
    kept = [k for k in columns if k in ("method", "samples") or len({str(row.get(k)) for row in rows}) > 1]
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        line = found.setdefault(tuple(row.get(k) for k in columns), {HEADINGS.get(k, k): row.get(k) for k in kept})
        line[METRICS.get(row["metric"], row["metric"].replace("_", " "))] = _with_half(row["mean"], row["ci95"])
        if row["metric"] in ("regret", "hypervolume"):
            line[HEADINGS["reference"]] = row["reference"]
    return list(found.values())


def _with_half(mean: float, half: float) -> Any:
    return f"{cell(mean)} ± {cell(half)}" if half == half and half != 0 else mean


def _facts(found: Comparison) -> list[str]:
    first = found.problems[0]
    return [
        f"space {first.space}"
        + (f", data set {first.dataset}" if first.dataset else "")
        + f": searched {_text(first.searched, found)}"
        + ("" if first.reported == first.searched else f"; reported {_text(first.reported, found)}")
    ]


def _text(text: str, found: Comparison) -> str:
    return text if len(found.problems) == 1 else f"{text} and the same on the other devices"
