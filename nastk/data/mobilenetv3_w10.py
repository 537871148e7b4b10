"""Once-for-all MobileNetV3 of width 1.0: ImageNet accuracies that DyNAS-T's searches met (Cummings et al., 2022).

Five searches evaluated sub-networks of the once-for-all network ``ofa_mbv3_d234_e346_k357_w1.0`` (Cai et al., ICLR
2020), with its weights and at 224 pixels: 2,373 evaluations of 2,162 different sub-networks. What several evaluations
have in common is the network: one value, the mean, with their standard deviation (.011 points at the median).

The sub-networks are no random sample: evolution looked for accurate ones, four of five searches for small ones as
well. They are biased upwards (71.0 to 77.5 %, median 75.9 %), and what is learned from them holds near them.

Parameters are those of the built networks; `macs` leave out the biases, and are otherwise their multiply-adds. HELP's
latencies (table ``mobilenetv3``) are of networks of width 1.2, so of none of these.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data import csv_file, readers
from nastk.data.repeats import same_rows
from nastk.data.tables import Column, Draft, spread_of
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.base import Archs
from nastk.spaces.mobilenetv3_w10 import MobileNetV3W10

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

SEARCHES = {
    "evoga_acc": 364,
    "evonsga2_acc_macs": 540,
    "evounsga3_acc_macs_params": 554,
    "linasga_acc": 361,
    "linasnsga2_acc_macs": 554,
}
"""Searches, by their algorithm and objectives, and their evaluations."""
FILES = tuple(f"dynas/mbnv3w10_{search}.csv" for search in SEARCHES)
"""Source files of the table."""
N = 2162
"""Sub-networks."""
RESOLUTION = 224
"""Side of all images, in pixels."""

_ARCH, _ACCURACY, _PARAMS, _MACS = COLUMNS = ("Sub-network", "Top-1 Acc (%)", "Model Parameters", "MACs")
"""Columns that are read; that of latencies is empty."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read every source.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    space = MobileNetV3W10()
    archs, values = [], []
    for file, rows in zip(FILES, SEARCHES.values(), strict=True):
        read = csv_file.read(path(file), COLUMNS, rows)
        archs.append(np.stack([_architecture(space, text, file) for text in read[_ARCH]]))
        values.append([readers.numbers(read[name], f"{file}, {name}") for name in COLUMNS[1:]])
    everything, (accuracy, params, macs) = np.concatenate(archs), np.concatenate(values, axis=1)
    repeats = same_rows(everything)
    if len(repeats.first) != N:
        raise DataError(f"{FILES[0]} and the others hold {len(repeats.first):,} sub-networks, expected {N:,}")
    if not ((accuracy > 0) & (accuracy <= 100)).all():
        raise DataError(f"{FILES[0]} and the others hold accuracies that are not in 0 to 100 %")
    table = Draft(everything[repeats.first].astype(np.int8))
    mean, std, _ = repeats.merge(accuracy)
    note = "width 1.0, 224 pixels, weights of the once-for-all network; found by searches, so biased upwards"
    column = Column("val_accuracy", "accuracy", "%", dataset="ImageNet", note=note)
    table.add(FILES[0], column, mean, more=FILES[1:])
    repeated = np.flatnonzero(np.isfinite(std))
    table.add(FILES[0], spread_of(column), std[repeated], repeated, low=0, more=FILES[1:])
    for name, counts, about in (("params", params, ""), ("macs", macs, "without biases")):
        count, differs, _ = repeats.merge(counts)
        if np.nanmax(differs, initial=0) > 0:
            raise DataError(f"{FILES[0]} and the others have {name} of one sub-network that differ")
        table.add(FILES[0], Column(name, "count", "", "min", note=about), count, low=1, more=FILES[1:])
    return table


def _architecture(space: MobileNetV3W10, text: str, file: str) -> Archs:
    """The canonical row of a sub-network, written as a Python dictionary."""
    try:
        subnet = ast.literal_eval(text)
        row: NDArray[np.int64] = space.from_ofa(subnet)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, InvalidArchitecture) as error:
        raise DataError(f"{file} holds something that is no sub-network: {readers.cut(error)}") from error
    if subnet.get("wid") is not None or np.ravel(subnet["r"]).tolist() != [RESOLUTION]:
        raise DataError(f"{file} holds a sub-network of another width or resolution: {text[:60]!r}")
    return row
