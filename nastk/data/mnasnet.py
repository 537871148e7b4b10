"""Accel-NASBench (Ahmad et al., DAC 2024): MnasNet networks with ImageNet accuracies and six accelerators.

5,138 files describe 5,125 networks: 13 were trained and measured twice, in files that the source numbers apart. These
have the mean of both, and their standard deviation as spread.

Accuracies are top-1 and top-5 on ImageNet after a proxy training, one seed each: a shortened schedule that the source
chose to keep the order of full trainings. They are 43 to 67 %, far below those of full trainings, and rank networks
rather than say how good they are. The deviation of the two trainings of a network is .06 points at the median, .9 at
most. ``train_seconds`` is how long a training took, the longest 15 times the median; the source does not say why.

Throughput is of the whole accelerator in images a second, its spread the source's standard deviation over repeated
runs; latency, of the two FPGAs only, is of one image, without a spread. What could not be measured is unknown (NaN).

``params`` are those of the built network. ``macs`` count multiply-adds without biases, four for each element that is
normalised, and pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.data.repeats import Repeats, same_rows
from nastk.data.tables import Column, Draft, spread_of
from nastk.errors import DataError
from nastk.spaces.base import Archs
from nastk.spaces.mnasnet import BLOCKS, EXPANSIONS, KERNELS, LAYERS

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

ARCHIVE = "accel-nasbench/anb_dataset_jsons.tar.gz"
"""One JSON file a training."""
FILES = (ARCHIVE,)
"""Source files of the table."""
MEMBERS = "anb_dataset_jsons/result_*.json"
"""Names of the files within."""
RUNS = 5138
"""Trainings."""
N = 5125
"""Networks."""

SOURCE_DEVICES = ("vck190",)
"""Device that latency predictors learn from in benchmarks."""
TARGET_DEVICES = ("zcu102",)
"""Device that benchmarks search for."""
ACCELERATORS = {"a100": "a100", "rtx3090": "3090", **{d: d for d in ("tpuv2", "tpuv3", "zcu102", "vck190")}}
"""Devices with throughput, and what the source calls them."""
FPGAS = ("zcu102", "vck190")
"""Devices with latency."""

PROXY = "proxy training of one seed"


@dataclass(frozen=True)
class _Read:
    """A column, where its values stand in a file, and where their spread does if the source has one."""

    column: Column
    path: tuple[str, ...]
    spread: tuple[str, ...] = ()
    high: float = 1e9
    scale: float = 1.0


def _columns() -> list[_Read]:
    top1 = Column("val_accuracy", "accuracy", "%", dataset="ImageNet", note=PROXY)
    top5 = Column("val_top5_accuracy", "accuracy", "%", dataset="ImageNet", note=PROXY)
    seconds = Column("train_seconds", "other", "s", "min", dataset="ImageNet", note=f"of the {PROXY}")
    macs = Column("macs", "count", "", "min", note="with normalisation and pooling, without biases")
    found = [
        _Read(top1, ("metrics", "val_top1"), high=100),
        _Read(top5, ("metrics", "val_top5"), high=100),
        _Read(seconds, ("metrics", "train_time")),
        _Read(Column("params", "count", "", "min"), ("model_info", "params"), scale=1e6),
        _Read(macs, ("model_info", "macs"), scale=1e6),
    ]
    for device, name in ACCELERATORS.items():
        column = Column("throughput", "other", "images/s", "max", device=device, note="of the whole accelerator")
        place = ("platform_perf", f"throughput_{name}")
        spread = () if device in FPGAS else (*place, "throughput_std")
        found.append(_Read(column, (*place, "throughput_mean"), spread))
    for device in FPGAS:
        column = Column("latency", "latency", "ms", "min", device=device, note="of one image")
        found.append(_Read(column, ("platform_perf", f"latency_{device}", "latency_mean")))
    return found


def draft(path: Callable[[str], Path]) -> Draft:
    """Read the archive.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: the file is not what it should be.
    """
    members = readers.read_tar(path(ARCHIVE), MEMBERS)
    if len(members) != RUNS:
        raise DataError(f"{ARCHIVE} holds {len(members):,} trainings, expected {RUNS:,}")
    names = sorted(members, key=lambda name: (len(name), name))  # by their numbers
    runs = [readers.parse_json(members[name], f"{ARCHIVE}, {name}") for name in names]
    archs = _architectures(runs, names)
    repeats = same_rows(archs)
    if len(repeats.first) != N:
        raise DataError(f"{ARCHIVE} holds {len(repeats.first):,} networks, expected {N:,}")
    table = Draft(archs[repeats.first].astype(np.int8))
    for read in _columns():
        _add(table, read, runs, repeats)
    return table


def _architectures(runs: Sequence[Any], names: Sequence[str]) -> Archs:
    """The row of each training, ``(n, 28)``."""
    options: tuple[tuple[Any, ...], ...] = (EXPANSIONS, KERNELS, (), (False, True))
    archs = []
    for run, name in zip(runs, names, strict=True):
        try:
            described = run["architecture"]
            wanted = [f"block{b}_{what}" for b in range(BLOCKS) for what in ("e", "k", "l", "se")]
            if set(described) != set(wanted):
                raise ValueError(f"the architecture has other keys than {', '.join(wanted[:4])} ...")
            archs.append(
                [
                    (options[i % 4] or tuple(range(1, LAYERS[i // 4] + 1))).index(described[key])
                    for i, key in enumerate(wanted)
                ]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{ARCHIVE}, {name} describes no architecture of mnasnet: {readers.cut(error)}") from error
    return np.array(archs, dtype=np.int64)


def _values(runs: Sequence[Any], path: tuple[str, ...]) -> NDArray[np.float64]:
    """What stands in each file at a path, NaN where nothing does (null)."""

    def at(run: Any) -> Any:
        for key in path:
            run = run[key]
        return np.nan if run is None else run

    where = f"{ARCHIVE}, {'/'.join(path)}"
    try:
        return readers.numbers([at(run) for run in runs], where)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{where} is missing from a file: {error!r}") from error


def _add(table: Draft, read: _Read, runs: Sequence[Any], repeats: Repeats) -> None:
    """Add a column, one value a network, and its spread."""
    values = _values(runs, read.path)
    if read.scale != 1:
        values = np.round(values * read.scale)  # the source has millions with six digits: whole numbers
    wrong = ~(np.isnan(values) | ((values > 0) & (values <= read.high)))
    if wrong.any():  # before the two of a network hide it in their mean
        raise DataError(f"{ARCHIVE}: {read.column.label} is {values[wrong][0]:g}, expected 0 to {read.high:g}")
    mean, between, count = repeats.merge(values)
    known = np.flatnonzero(count > 0)
    table.add(ARCHIVE, read.column, mean[known], known)
    if read.scale != 1:
        if (between[count > 1] > 0).any():
            raise DataError(f"{ARCHIVE} counts {read.column.metric} of one network in two ways")
        return
    std = between
    if read.spread:
        spreads = _values(runs, read.spread)
        if not np.array_equal(np.isnan(spreads), np.isnan(values)):
            raise DataError(f"{ARCHIVE} has {read.column.label} without its standard deviation, or that alone")
        _, std = repeats.pooled(values, spreads)
    some = np.flatnonzero(np.isfinite(std))
    table.add(ARCHIVE, spread_of(read.column), std[some], some, low=0)
