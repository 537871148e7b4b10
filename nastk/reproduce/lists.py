"""The lists of Multi-Predict (Tables 5 to 8 and 13): which of it the fetched tables have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nastk.bench.latency import missing, open_table
from nastk.bench.latency_tasks import TASKS
from nastk.data import suite_zero
from nastk.errors import NastkError
from nastk.oracles.table import benchmark

Row = dict[str, Any]

SPACES = {
    "nasbench101": 10_000,
    "nasbench201": 15_625,
    "nasbench301": 11_221,
    "transbench101-micro": 3_256,
    "transbench101-macro": 4_096,
    "fbnet": 5_000,
}
"""Architectures of each space as in Table 5, which has micro's and macro's the other way round than the benchmark."""

PROXIES = {
    "fisher": "fisher",
    "flops": "flops",
    "grad-norm": "grad_norm",
    "grasp": "grasp",
    "l2-norm": "l2_norm",
    "jacov": "jacov",
    "nwot": "nwot",
    "params": "params",
    "plain": "plain",
    "snip": "snip",
    "synflow": "synflow",
    "zen-score": "zen",
}
"""Table 6: the paper's names of zero-cost proxies, and ours."""

GPUS = "1080ti 2080ti titan_rtx titanx titanxp"
BATCHES = {"nasbench201": (1, 32, 256), "fbnet": (1, 32, 64)}
"""Batch sizes of HELP's GPUs in each space."""
KINDS = {
    "CPU": "gold_6226 gold_6240 silver_4114 silver_4210r",
    "Mobile": "samsung_a50 pixel3 samsung_s7 essential_ph_1 pixel2",
    "FPGA": "fpga",
    "RasPi": "raspi4",
    "ASIC": "eyeriss",
}
"""Table 7: devices of HELP and HW-NAS-Bench other than GPUs."""
EAGLE = {
    "Desktop CPU": "core_i7_7820x_fp32",
    "Mobile CPU": "snapdragon_675_kryo_460_int8 snapdragon_855_kryo_485_int8 snapdragon_450_cortex_a53_int8",
    "Embedded TPU": "edge_tpu_int8",
    "Desktop GPU": "gtx_1080ti_fp32",
    "Embedded GPU": "jetson_nano_fp16 jetson_nano_fp32",
    "Mobile GPU": "snapdragon_855_adreno_640_int8 snapdragon_450_adreno_506_int8 snapdragon_675_adreno_612_int8",
    "Mobile DSP": "snapdragon_675_hexagon_685_int8 snapdragon_855_hexagon_690_int8",
}
"""Table 7: devices of EAGLE by kind; the tables' names begin with the kind."""
EAGLE_CURE = "files downloaded by hand: nastk data import eagle PATH"


def spaces() -> list[Row]:
    """Table 5: each space with what its fetched table has."""
    rows = []
    for name, published in SPACES.items():
        row: Row = {"space": name, "architectures, published": published, "architectures here": None}
        try:
            table = benchmark(name).table
        except NastkError as error:
            rows.append(row | {"note": str(error)})
            continue
        metrics = table.metrics()
        known = [proxy for proxy in PROXIES.values() if proxy in metrics]
        row |= {
            "architectures here": len(table),
            "devices with latencies": len(table.devices(metric="latency")) if "latency" in metrics else 0,
            "zero-cost proxies": len(known),
            "note": "",
        }
        if name == "nasbench101":
            row["note"] = "292 different cells of 500 records; nastk data import reads the official file of 423,624"
        elif name == "nasbench301":
            row["note"] = "those with published proxies; its surrogate of accuracies is not read"
        rows.append(row)
    return rows


def proxies() -> list[Row]:
    """Table 6: each zero-cost proxy, how many of the 28 tasks have it, and whether it is computed live."""
    from nastk.registry import PROXIES as LIVE

    recorded = suite_zero.read()
    rows = []
    for published, name in PROXIES.items():
        count = sum(name in task.proxies.names for task in recorded.values())
        live = {name.replace("-", "_") for name in LIVE.names()}
        rows.append({"proxy": published, "here": name, "tasks that have it": count, "computed live": name in live})
    return rows


def devices() -> list[Row]:
    """Table 7: each device of the paper, in which tables it is."""
    listed: list[tuple[str, str, str, tuple[str, ...]]] = []
    for gpu in GPUS.split():
        for batch in sorted({b for batches in BATCHES.values() for b in batches}):
            listed.append((f"{gpu}_{batch}", "GPU", "HELP", tuple(s for s, bs in BATCHES.items() if batch in bs)))
    for kind, names in KINDS.items():
        listed += [(name, kind, "HELP, HW-NAS-Bench", tuple(BATCHES)) for name in names.split()]
    for kind, names in EAGLE.items():
        before = kind.lower().replace(" ", "_")
        listed += [(f"{before}_{name}", kind, "EAGLE", ("nasbench201",)) for name in names.split()]
    known = {space: set(open_table(space).devices()) for space in BATCHES}
    rows = []
    for name, kind, source, wanted in listed:
        row: Row = {"device": name, "type": kind, "measured by": source}
        row |= {space: "here" if name in known[space] else "-" for space in BATCHES}
        lacking = [space for space in wanted if name not in known[space]]
        row["note"] = "" if not lacking else EAGLE_CURE if source == "EAGLE" else f"not in {', '.join(lacking)}"
        rows.append(row)
    return rows


def tasks() -> list[Row]:
    """Table 8: the tasks with accuracies and proxies."""
    return [
        {
            "task": name,
            "architectures": len(task.archs),
            "zero-cost proxies": len(task.proxies.names),
        }
        for name, task in suite_zero.read().items()
    ]


def sets() -> list[Row]:
    """Table 13 and the literature's other device sets: their devices, and which of them are lacking here."""
    rows: list[Row] = []
    for name, devices in TASKS.items():
        try:
            cannot, lacking = missing(devices)
        except NastkError as error:
            rows.append({"set": name, "space": devices.space, "runs": "no", "lacking": str(error)})
            continue
        rows.append(
            {
                "set": name,
                "space": devices.space,
                "runs": "no" if cannot else "in part" if lacking else "whole",
                "lacking": ", ".join(lacking),
                "train": ", ".join(devices.sources),
                "test": ", ".join(devices.targets),
            }
        )
    return rows


LISTS: dict[str, tuple[str, Callable[[], list[Row]]]] = {
    "spaces": ("Multi-Predict, Table 5: search spaces", spaces),
    "proxies": ("Multi-Predict, Table 6: zero-cost proxies", proxies),
    "devices": ("Multi-Predict, Table 7: devices", devices),
    "tasks": ("Multi-Predict, Table 8: tasks with accuracies", tasks),
    "sets": ("Multi-Predict, Table 13, and the literature's other device sets", sets),
}
"""By name: title and rows."""
