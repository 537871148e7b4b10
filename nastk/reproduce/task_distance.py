"""How far a target is from the devices that are learned from (Multi-Predict, Section A.5: Tables 9 to 12).

Figures 12 to 14 are the maps of these correlations on NAS-Bench-201.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nastk.bench.latency import METHODS, open_table
from nastk.bench.latency_tasks import TASKS
from nastk.metrics import spearman
from nastk.report.curves import Curve, Panel, write_curves
from nastk.report.heatmap import write_heatmap
from nastk.reproduce import correlations
from nastk.reproduce import latency_items as of_latency
from nastk.reproduce.items import Cell, Outcome, Row, Setting
from nastk.reproduce.latency_items import LatencyRun, Runs

TARGETS = ("eyeriss", "fpga", "raspi4")
"""Columns of Tables 9 and 10."""

TABLE_9 = {
    "1080ti_1": ".25 .23 .26", "1080ti_32": ".53 .42 .52", "silver_4114": ".62 .67 .64", "silver_4210r": ".63 .68 .65",
    "essential_ph_1": ".68 .70 .66", "samsung_s7": ".69 .71 .68", "1080ti_64": ".76 .61 .72",
    "samsung_a50": ".86 .86 .84", "pixel3": ".98 .91 .96",
}  # fmt: skip
TABLE_10 = {
    "1080ti_1": ".42 .83 .65", "1080ti_32": ".43 .84 .67", "samsung_s7": ".52 .89 .76", "essential_ph_1": ".62 .92 .81",
    "silver_4114": ".59 .94 .84", "samsung_a50": ".63 .96 .87", "silver_4210r": ".62 .97 .88",
    "1080ti_256": ".89 .89 .73", "pixel3": ".72 .87 .97",
}  # fmt: skip
TABLE_12 = {
    None: (0.886, 0.895, 0.939, 0.91),
    0.7: (0.663, 0.689, 0.727, 0.69),
    0.6: (0.328, 0.395, 0.437, 0.39),
    0.3: (0.146, 0.159, 0.201, 0.17),
}
"""By the bound: FPGA, RasPi4, Eyeriss, and their mean. The first line is HELP's of Table 3."""

RANKINGS = {"FD": (TABLE_9, ".94 .89 .90"), "ND": (TABLE_10, ".94 .99 .89")}
"""Published correlations by task, and of HELP's predictor."""

BOUNDS = tuple(TABLE_12)
"""No source ranks closer to the target."""
ALL = ("help", "nasflat", "maple", "multi-predict", "multi-predict-vec+zcp", "multi-predict-vec+hwl", "few-shot-gp")
FAR: Runs = {
    "quick": [
        *(LatencyRun(("FD",), ("maple", "multi-predict"), (20,), 4, (500,), most=most) for most in BOUNDS),
        *(LatencyRun(("FD",), ("help-short",), (20,), 4, most=most) for most in BOUNDS),
        *(LatencyRun(("FD",), ("nasflat-short",), (20,), 4, (100,), most=most) for most in BOUNDS),
        *(LatencyRun(("FD",), ("few-shot-gp",), (20,), 2, (500,), most=most) for most in BOUNDS),
    ],
    "full": [LatencyRun(("FD",), ALL, (20,), 10, most=most) for most in BOUNDS],
}


def ranking(task: str) -> Outcome:
    """Table 9 (FD) or 10 (ND): how training and test devices rank alike."""
    published, predictors = RANKINGS[task]
    table = open_table(TASKS[task].space)
    value = {device: table.values("latency", device=device) for device in (*published, *TARGETS)}
    cells, closest = [], []
    for source, printed in published.items():
        for target, theirs in zip(TARGETS, printed.split(), strict=True):
            ours = spearman(value[source], value[target])
            cells.append(Cell(f"{source}, {target}", float(theirs), ours))
            closest.append((target, ours))
    for k, target in enumerate(TARGETS):
        best = max(float(printed.split()[k]) for printed in published.values())
        cells.append(Cell(f"closest, {target}", best, max(rho for name, rho in closest if name == target)))
    note = (
        f"HELP's predictor, for comparison, as printed: {predictors} on {', '.join(TARGETS)}. "
        "Ours is over the whole table, and exact."
    )
    return Outcome(cells, notes=[note])


def correlation_map(kind: str, what: str, path: Path, three: bool) -> Outcome:
    """Figures 12 to 14: correlations of a kind on NAS-Bench-201.

    Args:
        kind: one of `correlations.KINDS`.
        what: it shows.
        path: of the picture.
        three: only whether devices are close, neither close nor far, or far.
    """
    rows = [row for row in correlations.run("nasbench201") if row["kind"] == kind]
    values = {(row["a"], row["b"]): row["spearman"] for row in rows}
    if three:
        values = {
            pair: 1.0 if v > correlations.CLOSE else 0.5 if v > correlations.MIDDLING else 0.0
            for pair, v in values.items()
        }
    one, other = correlations.KINDS[kind]
    write_heatmap(values, path, one, other, what, "Spearman", by_space=False)
    if not three:
        return Outcome(pictures=[(path.name, what)])
    tables = correlations.tables(rows)
    (_, lines), *_ = tables
    near = sum(line["spearman"] > correlations.CLOSE for line in lines)
    note = f"{near} of {len(lines)} devices have another one that ranks above .7 like them; the paper: most."
    return Outcome(tables=tables, pictures=[(path.name, what)], notes=[note])


def table_12(setting: Setting) -> Outcome:
    """How fast methods fall as sources that rank like the target are taken away."""
    rows = [r for r in of_latency.all_rows(FAR, setting) if r["metric"] == "spearman" and r["device"] != "*"]
    targets = ("fpga", "raspi4", "eyeriss")
    found: dict[tuple[str, float | None], dict[str, Row]] = {}
    for r in rows:
        bound = {"FD" if most is None else f"FD<{most:g}": most for most in BOUNDS}[r["task"].partition("/")[0]]
        found.setdefault((r["method"], bound), {})[r["device"]] = r
    methods = list(dict.fromkeys(r["method"] for r in rows))
    lines: list[Row] = []
    curves = []
    for method in methods:
        means = {most: _mean_of(found[method, most], targets) for most in BOUNDS if (method, most) in found}
        for most, (mean, half) in means.items():
            line = {t: found[method, most][t]["mean"] if t in found[method, most] else None for t in targets}
            sources = max(r["source_samples"] for r in found[method, most].values())
            lines.append(
                {"sources": _sources(most), "method": method, "source samples": sources, **line, "mean": mean,
                 "± 95 %": half, "of the default set's": mean / means[None][0]}
            )  # fmt: skip
        known = [most for most in BOUNDS[::-1] if most in means]
        at = [1.0 if most is None else most for most in known]
        label = of_latency.LABELS.get(method, method)
        curves.append(Curve(label, at, [means[m][0] for m in known], [means[m][1] for m in known]))
    published = [("the paper", most or 1.0, printed[-1]) for most, printed in TABLE_12.items()]
    panel = Panel("FD, 20 measurements; right: all nine sources", curves, published)
    file, said = "table-12.png", "the closest that a source may rank to the target (Spearman)"
    write_curves([panel], setting.folder / "figures" / file, said, "Spearman, mean over targets")
    notes = [
        "The paper does not say which method, nor how many measurements: its first line is HELP's of Table 3, with 20.",
        "Sources are taken away by all values of the target, as in the paper: a study, no way to choose sources.",
    ]
    caption = f"every method against {said}; diamonds: the paper"
    return Outcome(_cells_12(found, targets), [("every method @20", lines)], [(file, caption)], notes)


def _sources(most: float | None) -> str:
    return "default set" if most is None else f"Spearman < {most:g}"


def _mean_of(devices: dict[str, Row], targets: Sequence[str]) -> tuple[float, float]:
    """Mean over the targets that have any sources, and its half-width, as of independent ones."""
    known = [devices[t] for t in targets if t in devices]
    half = math.sqrt(sum(r["ci95"] ** 2 for r in known)) / len(known)
    return float(np.mean([r["mean"] for r in known])), half


def _cells_12(found: dict[tuple[str, float | None], dict[str, Row]], targets: Sequence[str]) -> list[Cell]:
    """The published cells beside HELP's."""
    cells = []
    for most, published in TABLE_12.items():
        method = "help" if ("help", most) in found else "help-short"
        devices, why = found.get((method, most), {}), METHODS[method].short
        for target, theirs in zip((*targets, "mean"), published, strict=True):
            what, digits = f"{_sources(most)}: HELP @20, {target}", 0.005 if target == "mean" else 0.0005
            if target in devices:
                row = devices[target]
                cells.append(Cell(what, theirs, row["mean"], row["ci95"], row["seeds"], digits, why))
            elif target == "mean" and len(devices) == len(targets):
                seeds = min(r["seeds"] for r in devices.values())
                cells.append(Cell(what, theirs, *_mean_of(devices, targets), seeds, digits, why))
            else:
                far = "no source is as far from this target"
                cells.append(Cell(what, theirs, None, published_half=digits, reason=far))
    return cells
