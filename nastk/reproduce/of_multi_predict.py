"""Every table and figure of Multi-Predict (Akhauri & Abdelfattah, AutoML 2023), with what repeats it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nastk.bench import accuracy
from nastk.bench.device_sets import random_sets
from nastk.bench.latency_tasks import TASKS
from nastk.report.bars import Bar, write_bars
from nastk.report.curves import Panel, write_curves
from nastk.report.heatmap import write_heatmap
from nastk.reproduce import accuracy_figures, accuracy_transfer, correlations, latency_tables, lists, task_distance
from nastk.reproduce import latency_items as of_latency
from nastk.reproduce.items import Cell, Item, Outcome, Row, Setting, Size
from nastk.reproduce.latency_items import LatencyRun, Runs
from nastk.reproduce.search_encodings import EncodingSearch

PAPER = "Multi-Predict"

KS = (10, 20)
"""Measurements of the target that most of its tables and figures have."""
TABLE = ("multi-predict", "multi-predict-vec+zcp", "multi-predict-vec+hwl")
DEVICES = ("multi-predict", "multi-predict-index", "multi-predict-sample")
SCRATCH = tuple(f"multi-predict-{name}-scratch" for name in ("vec", "zcp", "hwl", "vec+hwl"))
MORE = (10, 20, 40, 80)
CURVE = (5, 10, 20, 40)
"""Of the pictures by measurements of the target (Figures 5 and 11)."""
FEW = (2, 4, 5, 10, 20, 40)
BETWEEN = ("multi-predict-hwl", "multi-predict-hwl-scratch", "multi-predict-vec-scratch")


def _both(command: str) -> dict[Size, str]:
    return {"quick": command, "full": command}


def _seeds(quick: int, full: int = 10) -> dict[Size, int]:
    return {"quick": quick, "full": full}


# ---- latency: runs that several items share

# --quick keeps the paper's settings for the learned table, and takes fewer source architectures or shorter trainings
# for what is beside it; such cells say so and have no verdict.

_ND: Runs = {
    "quick": [
        LatencyRun(("ND",), TABLE[:1], KS, 4),
        LatencyRun(("ND",), (*TABLE[1:], *DEVICES[1:]), KS, 4, (100,)),
        LatencyRun(("ND",), ("help-short",), (20,), 4),
        LatencyRun(("ND",), ("flops", "few-shot-gp"), KS, 2),
        LatencyRun(("ND",), ("brp-nas-short",), (100,), 4),
    ],
    "full": [
        LatencyRun(("ND",), (*TABLE, *DEVICES[1:]), KS, 10),
        LatencyRun(("ND",), ("help",), (20,), 10),
        LatencyRun(("ND",), ("flops", "few-shot-gp"), KS, 10),
        LatencyRun(("ND",), ("brp-nas",), (900, 3200), 4),
    ],
}
_FD: Runs = {
    "quick": [
        LatencyRun(("FD",), DEVICES[:1], KS, 4),
        LatencyRun(("FD",), DEVICES[1:], KS, 4, (500,)),
        LatencyRun(("FD",), ("help-short",), (20,), 4),
        LatencyRun(("FD",), ("few-shot-gp",), KS, 2),
    ],
    "full": [
        LatencyRun(("FD",), DEVICES, KS, 10),
        LatencyRun(("FD",), ("help",), (20,), 10),
        LatencyRun(("FD",), ("few-shot-gp",), KS, 10),
    ],
}
_FA: Runs = {
    "quick": [
        LatencyRun(("FA",), TABLE[:1], CURVE, 4),
        LatencyRun(("FA",), TABLE[1:], CURVE, 4, (500,)),
        LatencyRun(("FA",), ("help-short",), (20, 40), 4),
        LatencyRun(("FA",), ("few-shot-gp",), CURVE, 2),
    ],
    "full": [
        LatencyRun(("FA",), TABLE, CURVE, 10),
        LatencyRun(("FA",), ("help",), (20, 40, 80), 10),
        LatencyRun(("FA",), ("few-shot-gp",), CURVE, 10),
    ],
}
_NA: Runs = {
    "quick": [
        LatencyRun(("NA",), TABLE, CURVE, 4, (100,)),
        LatencyRun(("NA",), ("help-short",), (20, 40), 4),
    ],
    "full": [LatencyRun(("NA",), TABLE, CURVE, 10), LatencyRun(("NA",), ("help",), (20, 40, 80), 10)],
}
_FEWER: Runs = {
    "quick": [
        LatencyRun(("FD",), ("multi-predict",), KS, 4, (1000,)),
        LatencyRun(("ND",), ("multi-predict",), KS, 4, (50,)),
        LatencyRun(("FD",), ("help-short",), (20,), 4, (1000,)),
        LatencyRun(("ND",), ("help-short",), (20,), 4, (50,)),
    ],
    "full": [
        *(LatencyRun((task,), ("multi-predict",), KS, 10, sizes) for task, sizes in (("FD", (1000,)), ("ND", (50,)))),
        *(LatencyRun((task,), ("help",), (20,), 10, sizes) for task, sizes in (("FD", (1000,)), ("ND", (50,)))),
    ],
}
_SOURCES: Runs = {
    size: [
        *(
            r
            for r in (*_FD[size], *_ND[size])
            if not r.source_samples and {*TABLE[:1], "help", "help-short"} & {*r.methods}
        ),
        *_FEWER[size],
    ]
    for size in ("quick", "full")
}
_SETS: Runs = {
    "quick": [
        LatencyRun((), DEVICES, KS, 4, (500,), space="fbnet", random_sets=3),
        LatencyRun(("FA", "FD"), DEVICES, KS, 4, (500,)),
    ],
    "full": [
        LatencyRun((), DEVICES, KS, 10, space="fbnet", random_sets=3),
        LatencyRun(("FA", "FD"), DEVICES, KS, 10),
    ],
}
_FROM_SCRATCH: Runs = {
    "quick": [LatencyRun(("ND",), SCRATCH, MORE[::2], 3)],
    "full": [LatencyRun(("ND",), SCRATCH, MORE, 10), LatencyRun(("ND",), ("brp-nas",), (*MORE, 900), 4)],
}
_APART: Runs = {
    "quick": [LatencyRun(("ND",), SCRATCH, MORE[::2], 3, most=0.7, least=0.5)],
    "full": [
        LatencyRun(("ND",), SCRATCH, MORE, 10, most=0.7, least=0.5),
        LatencyRun(("ND",), ("brp-nas",), (*MORE, 900), 4, most=0.7, least=0.5),
        LatencyRun(("ND",), ("help",), (20, 40, 80), 4, most=0.7, least=0.5),
    ],
}


def _between(task: str) -> Runs:
    transfer, _, vec = BETWEEN
    few = (2, 5, 20)
    return {
        "quick": [
            LatencyRun((task,), BETWEEN[:2], few, 1, (100,)),
            LatencyRun((task,), (vec,), few[1:2], 1, (100,)),
            LatencyRun((task,), (transfer,), few, 1, share=0.15),
        ],
        "full": [LatencyRun((task,), BETWEEN, FEW, 10, (100,)), LatencyRun((task,), (transfer,), FEW, 10, share=0.15)],
    }


_BETWEEN: Runs = {
    size: [run for task in ("FBNet-NB201", "NB201-FBNet") for run in _between(task)[size]] for size in ("quick", "full")
}


def _table(name: str, what: str, runs: Runs, reason: str = "", note: str = "") -> Item:
    def run(setting: Setting) -> Outcome:
        return of_latency.compared(f"{PAPER}, {name}", runs, setting, note)

    return Item(PAPER, name, what, run, of_latency.commands(runs), reason)


def _curves(
    name: str, what: str, runs: Runs, kinds: Sequence[str] = ("samples",), reason: str = "", lacking: str = ""
) -> Item:
    """An item of pictures.

    Args:
        kinds: names of `latency_tables.MEASURED`.
        lacking: methods that only --full has.
    """

    def run(setting: Setting) -> Outcome:
        rows = of_latency.all_rows(runs, setting)
        drawn = of_latency.pictures(setting, rows, name.lower().replace(" ", "-"), kinds)
        notes = [f"Without {lacking}, which are {of_latency.IN_FULL}."] if lacking and setting.quick else []
        return Outcome(tables=[("means over devices", latency_tables.means(rows))], pictures=drawn, notes=notes)

    return Item(PAPER, name, what, run, of_latency.commands(runs), reason)


# ---- latency: single items


def _figure_4(setting: Setting) -> Outcome:
    rows = of_latency.all_rows(_SETS, setting)
    means = [r for r in rows if r["metric"] == "spearman" and r["device"] == "*"]
    tasks = list(dict.fromkeys(r["task"] for r in means))
    lines: list[Row] = []
    bars: dict[tuple[str, str], Bar] = {}
    for method in DEVICES:
        found = {(r["task"], r["samples"]): r for r in means if r["method"] == method}
        label = of_latency.LABELS[method]
        for k in KS:
            values = [found[task, k]["mean"] for task in tasks]
            line: Row = {"method": label, "samples": k, **dict(zip(tasks, values, strict=True))}
            line[_GEOMETRIC] = math.exp(float(np.mean(np.log(values)))) if min(values) > 0 else None
            lines.append(line)
        bars |= {(t, method): Bar(f"{t}, {label}", found[t, KS[-1]]["mean"], found[t, KS[-1]]["ci95"]) for t in tasks}
        bars[_GEOMETRIC, method] = Bar(f"{_GEOMETRIC}, {label}", lines[-1][_GEOMETRIC] or 0.0, math.nan)
    ordered = [bars[task, method] for task in (*tasks, _GEOMETRIC) for method in DEVICES]
    write_bars(ordered, setting.folder / "figures" / "figure-4.png", f"Spearman, {KS[-1]} measurements")
    drawn = [
        {"set": name, "sources": ", ".join(devices.sources), "targets": ", ".join(devices.targets)}
        for name, devices in random_sets("fbnet", 3).items()
    ]
    return Outcome(
        tables=[
            ("mean Spearman over the targets of each set, and geometric mean over the sets", lines),
            ("random sets", drawn),
        ],
        pictures=[("figure-4.png", "three representations of a device on five device sets of FBNet")],
        notes=["The paper does not name the devices of R1 to R3: those here are drawn anew, with a fixed seed."],
    )


_GEOMETRIC = "geometric mean"


def _between_spaces(name: str, tasks: Sequence[str], runs: Runs, what: str, devices: bool) -> Item:
    def run(setting: Setting) -> Outcome:
        rows = of_latency.all_rows(runs, setting)
        for row in rows:  # one curve for each number of source architectures
            if row["method"] == BETWEEN[0]:
                row["method"] = f"HWL transfer, {row['source_samples']} source architectures"
        file = f"{name.lower().replace(' ', '-')}.png"
        means = [r for r in rows if r["device"] == "*"]
        panels = (
            [panel for task in tasks for panel in latency_tables.devices(rows, task)]
            if devices
            else latency_tables.curves([{**r, "source_samples": 0} for r in means])
        )
        write_curves(panels, setting.folder / "figures" / file, "measurements of the target device", "Spearman")
        lines = [
            {"task": r["task"], "method": r["method"], "samples": r["samples"], "spearman": r["mean"],
             "± 95 %": r["ci95"], "seeds": r["seeds"], "measurements": r["measurements"],
             "of training": r["training_measurements"]}
            for r in means
        ]  # fmt: skip
        notes = [
            '"of training": of the architectures that are learned from, on the target and on the 16 devices of the '
            'encoding. The paper\'s "under 85 measurements" fit five samples by this count (5 x 17), without the '
            "source space; all that a user would have to measure, what is predicted included, is under measurements."
        ]
        return Outcome(tables=[("mean over 21 devices", lines)], pictures=[(file, what)], notes=notes)

    return Item(PAPER, name, what, run, of_latency.commands(runs))


# ---- how far devices are


def _ranking(name: str, task: str) -> Item:
    """Tables 9 and 10: how training and test devices rank alike."""
    command = f"nastk reproduce correlations --space {TASKS[task].space}"
    what = f"Spearman correlation of the training and test devices of {task}"
    return Item(PAPER, name, what, lambda setting: task_distance.ranking(task), _both(command))


def _correlation_map(name: str, kind: str, what: str, three: bool = False) -> Item:
    command = "nastk reproduce correlations --space nasbench201 --figures figures"
    file = f"{name.lower().replace(' ', '-')}.png"

    def run(setting: Setting) -> Outcome:
        return task_distance.correlation_map(kind, what, setting.folder / "figures" / file, three)

    return Item(PAPER, name, what, run, _both(command))


# ---- accuracy

_ENCODED = ("transfer-mlp@vec", "transfer-mlp@zcp", "mlp@hwl", "mlp@vec+zcp", "brp-nas")
_ACCURACY_SEEDS = _seeds(3)
_ACCURACY_SAMPLES: dict[Size, tuple[int, ...]] = {"quick": (10, 50, 100), "full": (5, 10, 25, 50, 100, 200, 400)}


def _accuracy_command(size: Size) -> str:
    samples = ",".join(map(str, _ACCURACY_SAMPLES[size]))
    seeds = _ACCURACY_SEEDS[size]
    return f"nastk reproduce accuracy --methods {','.join(_ENCODED)} --samples {samples} --seeds {seeds}"


def _accuracy_rows(setting: Setting) -> list[Row]:
    return accuracy.run(
        "nasbench201", _ENCODED, _ACCURACY_SAMPLES[setting.size], _ACCURACY_SEEDS[setting.size],
        workers=setting.workers, progress=setting.progress, journal=setting.folder / "accuracy.jsonl",
    )  # fmt: skip


def _figure_8(setting: Setting) -> Outcome:
    rows = [row for row in _accuracy_rows(setting) if row["dataset"] == "cifar10" and row["metric"] == "spearman"]
    panel = Panel("NAS-Bench-201, CIFAR-10", accuracy_figures.curves(rows))
    write_curves([panel], setting.folder / "figures" / "figure-8.png", "accuracies seen", "Spearman")
    lines = [
        {
            "method": r["method"],
            "samples": r["samples"],
            "spearman": r["mean"],
            "± 95 %": r["ci95"],
            "seeds": r["seeds"],
        }
        for r in rows
    ]
    mean = {(r["method"], r["samples"]): r["mean"] for r in rows}
    half, whole = 50, 100
    note = (
        f"The paper: ZCP matches BRP-NAS with less than half the samples. Here ZCP @{half} is at "
        f"{mean['transfer-mlp@zcp', half]:.3f}, BRP-NAS @{whole} at {mean['brp-nas', whole]:.3f}."
    )
    said = "Spearman over all networks not seen, by accuracies seen and encoding"
    notes = [note, "Test accuracies after the whole training, where the paper has validation accuracies."]
    return Outcome(tables=[("CIFAR-10", lines)], pictures=[("figure-8.png", said)], notes=notes)


def _figure_17(setting: Setting) -> Outcome:
    rows = of_latency.all_rows(_FROM_SCRATCH, setting) + of_latency.all_rows(_ND, setting)
    drawn = []
    for what, against in (("all", "measurements"), ("training", "training_measurements")):
        file = f"figure-17-{what}.png"
        panels = latency_tables.devices(rows, "ND", against)
        write_curves(panels, setting.folder / "figures" / file, f"{against.replace('_', ' ')}", "Spearman", log=True)
        drawn.append((file, f"latency of each device of ND against {against.replace('_', ' ')}"))
    accuracies = [row for row in _accuracy_rows(setting) if row["dataset"] == "cifar10" and row["metric"] == "spearman"]
    panel = Panel("NAS-Bench-201, CIFAR-10", accuracy_figures.curves(accuracies))
    write_curves([panel], setting.folder / "figures" / "figure-17-accuracy.png", "trained networks", "Spearman")
    drawn.append(("figure-17-accuracy.png", "accuracy against trained networks"))
    return Outcome(tables=[("means over devices", latency_tables.means(rows))], pictures=drawn)


Pairs = tuple[Sequence[str] | None, Sequence[str] | None]
"""Tasks or spaces that are learned before, and those that are transferred to; None for all 28."""


def _transfer(name: str, what: str, groups: Mapping[str, Pairs], quick: int, claim: bool, note: str = "") -> Item:
    """An item with transfer on ZCP beside Vec from scratch.

    Args:
        groups: by what is added to the names of the pictures.
        claim: whether the paper says of the first group how often transfer gains.
    """
    seeds = _seeds(quick, 10 if claim else 3)

    def line(pairs: Pairs, count: int) -> str:
        given = [
            f" --{which} {','.join(names)}" for which, names in zip(("sources", "targets"), pairs, strict=True) if names
        ]
        return f"nastk reproduce accuracy --experiment transfer --methods transfer-mlp{''.join(given)} --seeds {count}"

    command: dict[Size, str] = {
        size: "\n".join(line(pairs, seeds[size]) for pairs in groups.values()) for size in ("quick", "full")
    }

    def run(setting: Setting) -> Outcome:
        cells: list[Cell] = []
        tables, drawn = [], []
        for added, pairs in groups.items():
            rows = accuracy_transfer.run(
                ["transfer-mlp"], *pairs, 10, seeds[setting.size], setting.workers, setting.progress,
                journal=setting.folder / "transfer.jsonl",
            )  # fmt: skip
            gains = {(r["source"], r["task"]): r["mean"] for r in rows if r["metric"] == "improvement"}
            better = {pair: float(gain > 0) for pair, gain in gains.items()}
            for kind, values, said in (
                ("gain", gains, "gain in Spearman"),
                ("better", better, "1 where the mean gain is above 0"),
            ):
                file = f"{name.lower().replace(' ', '-')}{added}-{kind}.png"
                title = f"transfer on ZCP over from scratch on Vec: {said}"
                write_heatmap(values, setting.folder / "figures" / file, "learned before", "target task", title, said)
                drawn.append((file, title))
            tables += accuracy_figures.tables(rows)
            if claim and not cells:
                (won,) = (r for r in rows if r["metric"] == "pairs_won_a_draw")
                said = f"fraction of {len(gains)} pairs that gain, in a single draw (printed: over 85 %)"
                cells = [Cell(said, 0.85, won["mean"], won["ci95"], won["seeds"], at_least=True)]
        return Outcome(cells, tables, drawn, [note] if note else [])

    return Item(PAPER, name, what, run, command)


def _figure_15(setting: Setting) -> Outcome:
    rows = accuracy_transfer.run_in_order(
        seeds=_seeds(3)[setting.size], workers=setting.workers, progress=setting.progress,
        journal=setting.folder / "transfer.jsonl",
    )  # fmt: skip
    drawn = accuracy_figures.draw(rows, setting.folder / "figures")
    return Outcome(
        tables=accuracy_figures.tables(rows), pictures=[(n, "Spearman as proxies are removed") for n in drawn]
    )


# ---- search

_SEARCHES: dict[Size, tuple[EncodingSearch, ...]] = {
    "quick": (EncodingSearch("nasbench201", 100, 3), EncodingSearch("nasbench101", 100, 3)),
    "full": (EncodingSearch("nasbench201", 150, 10), EncodingSearch("nasbench101", 140, 10)),
}


def _figure_10(setting: Setting) -> Outcome:
    found = [search.run(setting) for search in _SEARCHES[setting.size]]
    panels = [search.panel(rows) for search, rows in zip(_SEARCHES[setting.size], found, strict=True)]
    write_curves(panels, setting.folder / "figures" / "figure-10.png", "trained networks", "regret, %", top=None)
    lines = [line for search, rows in zip(_SEARCHES[setting.size], found, strict=True) for line in search.lines(rows)]
    note = (
        "The paper: on NAS-Bench-101 ZCP finds a near-optimal network in 40 samples and Vec in over 100, and on "
        "NAS-Bench-201 similarly. Ours are medians over few seeds, and of a small part of NAS-Bench-101."
    )
    return Outcome(
        notes=[note],
        tables=[("until the best", lines)],
        pictures=[("figure-10.png", "regret by networks trained, Vec and ZCP")],
    )


# ---- lists and settings


def _list(name: str, of: str, what: str) -> Item:
    command = f"nastk reproduce lists {of}"

    def run(setting: Setting) -> Outcome:
        title, rows = lists.LISTS[of]
        return Outcome(tables=[(title, rows())])

    return Item(PAPER, name, what, run, _both(command))


def _settings(name: str, what: str, printed: dict[str, tuple[Any, str]], made: Callable[[], Any]) -> Item:
    """A table of settings beside the defaults of our implementation."""

    def run(setting: Setting) -> Outcome:
        ours = {k: p.default for k, p in inspect.signature(made()).parameters.items()}
        rows = [
            {"setting": what, "published": str(value), "ours": str(ours[option]) if option in ours else option}
            for what, (value, option) in printed.items()
        ]
        return Outcome(tables=[("published and our defaults", rows)])

    return Item(PAPER, name, what, run)


def _transfer_mlp() -> Any:
    from nastk.predictors.transfer_mlp import TransferMLP

    return TransferMLP


def _multi_predict() -> Any:
    from nastk.predictors.multi_predict import MultiPredict

    return MultiPredict


_TABLE_14: dict[str, tuple[Any, str]] = {
    "layer size": (128, "width"),
    "depth": (4, "depth"),
    "optimizer": ("AdamW", "AdamW"),
    "learning rate before": (0.004, "source_rate"),
    "epochs before": (250, "source_epochs"),
    "transfer epochs": (50, "fine_epochs"),
    "transfer learning rate": (0.0004, "fine_rate"),
    "learning rate from scratch": ("-", "learning_rate"),
    "epochs from scratch": ("-", "epochs"),
    "scheduler": ("cosine", "cosine"),
}
_TABLE_15: dict[str, tuple[Any, str]] = {
    "source samples": ("900 (NB201) / 4000 (FBNet)", "the same in the comparison"),
    "batch size": (128, "batch_size"),
    "source epochs": (250, "epochs"),
    "target epochs": (50, "transfer_epochs"),
    "device embedding size": (8, "device_width"),
    "GCN layer size": (200, "graph_width"),
    "GCN depth": ("3 (4 in the authors' code)", "graph_layers"),
    "GCN dense layer size": (200, "200"),
    "GCN dense depth": (3, "hidden_layers and the embedding: 3"),
    "MLP layer size (FBNet)": (100, "100"),
    "MLP depth": (3, "hidden_layers and the embedding: 3"),
    "architecture embedding": (30, "embedding_width"),
    "interaction size": (1000, "head"),
    "interaction depth": (2, "head and the output: 2"),
    "optimizer": ("AdamW", "AdamW"),
    "source learning rate": (0.0004, "learning_rate"),
    "target learning rate": (0.001, "transfer_learning_rate"),
    "weight decay": (0.0005, "weight_decay"),
    "first row of a new device (Eq. 1)": ("measured latencies", "measured in the comparison; by default predicted"),
}

_EAGLE = (
    "EAGLE's devices are in no file that can be fetched by name: NA runs on eyeriss alone, one of its three targets. "
    "With the files: nastk data import eagle PATH, and the same command."
)
_MICRO = ("transbench101-micro",)
_CELLS = (*(f"nasbench201/{data}" for data in ("cifar10", "cifar100", "ImageNet16-120")),
          *(f"nasbench301/{data}" for data in ("cifar10", "svhn")))  # fmt: skip
"""The right half of Figure 9."""

ITEMS: tuple[Item, ...] = (
    Item(PAPER, "Figure 1", "Summary of the other figures in bars: measurements and trained networks saved.",
         reason="It has no figures of its own; see Figures 6, 8, 16 and 17."),
    Item(PAPER, "Figure 2", "Drawing of the method.", reason="A drawing, without data."),
    Item(PAPER, "Figure 3", "Drawing of the method.", reason="A drawing, without data."),
    _table("Table 1", "Latency of each device of ND (NAS-Bench-201), by method.", _ND),
    _table("Table 2", "Adversarial device sets: mean Spearman from 20 measurements.",
           {size: [*_NA[size], *_FA[size]] for size in ("quick", "full")}, _EAGLE),
    _table("Table 3", "Latency of each device of FD (FBNet), by representation of a device.", _FD,
           note="HELP's line is HELP's own; two columns of the paper's Table 3 are swapped."),
    _table("Table 4", "Fewer measurements of the source devices.", _SOURCES),
    _list("Table 5", "spaces", "Search spaces and what is known of each."),
    _list("Table 6", "proxies", "Zero-cost proxies."),
    _list("Table 7", "devices", "Devices, and in which space each was measured."),
    _list("Table 8", "tasks", "Tasks with accuracies."),
    _ranking("Table 9", "FD"),
    _ranking("Table 10", "ND"),
    Item(PAPER, "Table 11", "Caption of Tables 9 and 10: training and test devices rank alike.",
         lambda setting: Outcome(tables=correlations.tables(correlations.run("nasbench201"))[1:]),
         _both("nastk reproduce correlations --space nasbench201")),
    Item(PAPER, "Table 12", "How fast methods fall as sources that rank like the target are taken away (FBNet).",
         task_distance.table_12, of_latency.commands(task_distance.FAR)),
    _list("Table 13", "sets", "Adversarial device sets."),
    _settings("Table 14", "Settings of accuracy transfer.", _TABLE_14, _transfer_mlp),
    _settings("Table 15", "Settings of latency transfer.", _TABLE_15, _multi_predict),
    Item(PAPER, "Figure 4", "Representations of a device on five sets of FBNet, and their geometric mean.", _figure_4,
         of_latency.commands(_SETS)),
    _curves("Figure 5", "NA by measurements of the target.", _NA, reason=_EAGLE),
    _curves("Figure 6", "ND by all measurements: from scratch on each encoding, and transferred.",
            {size: [*_FROM_SCRATCH[size], *_ND[size]] for size in ("quick", "full")}, ("measurements", "training")),
    _between_spaces("Figure 7", ("FBNet-NB201", "NB201-FBNet"), _BETWEEN, "Latency between spaces, mean over devices.",
                    False),
    Item(PAPER, "Figure 8", "Accuracy of NAS-Bench-201 by number of trained networks and encoding.", _figure_8,
         {size: _accuracy_command(size) for size in ("quick", "full")}),
    _transfer("Figure 9", "Accuracy predictors from TransNAS-Bench-101 micro to micro and macro, and between "
              "NAS-Bench-201 and 301.",
              {"": (_MICRO, (*_MICRO, "transbench101-macro")), "-right": (_CELLS, _CELLS)}, 3, True,
              "The paper does not say which two data sets of NAS-Bench-301 it took."),
    Item(PAPER, "Figure 10", "Search on NAS-Bench-101 and 201: Vec against ZCP.", _figure_10,
         {size: "\n".join(c for s in some for c in s.commands) for size, some in _SEARCHES.items()},
         "Proxies of all 423,624 cells of NAS-Bench-101 are not public: its search is over the 292 different ones of "
         "the 500 that have them."),
    _curves("Figure 11", "FA by measurements of the target.", _FA),
    _correlation_map("Figure 12", "proxies", "How alike zero-cost proxies rank NAS-Bench-201."),
    _correlation_map("Figure 13", "proxies-devices", "How proxies rank NAS-Bench-201 beside latencies."),
    _correlation_map("Figure 14", "devices", "Devices of NAS-Bench-201: above .7, above .5, below.", True),
    Item(PAPER, "Figure 15", "Proxies removed one after another, the best or the worst first.", _figure_15,
         {size: f"nastk reproduce accuracy --experiment proxies-in-order --seeds {_seeds(3)[size]} --figures figures"
          for size in ("quick", "full")}),
    _curves("Figure 16", "ND with sources that correlate .5 to .7 with the target, by all measurements.", _APART,
            ("measurements", "training"), lacking="HELP and BRP-NAS"),
    Item(PAPER, "Figure 17", "All curves of latency and accuracy by what was measured and trained.", _figure_17,
         {size: "\n".join([*(run.command for run in (*_FROM_SCRATCH[size], *_ND[size])), _accuracy_command(size)])
          for size in ("quick", "full")}),
    _transfer("Figure 18", "All pairs of 28 tasks: where transfer gains.", {"": (None, None)}, 1, False),
    _transfer("Figure 19", "All pairs of 28 tasks: how much transfer gains.", {"": (None, None)}, 1, False),
    _between_spaces("Figure 20", ("FBNet-NB201",), _between("FBNet-NB201"), "FBNet to NAS-Bench-201 by device.", True),
    _between_spaces("Figure 21", ("NB201-FBNet",), _between("NB201-FBNet"), "NAS-Bench-201 to FBNet by device.", True),
)  # fmt: skip
"""All of the paper."""
