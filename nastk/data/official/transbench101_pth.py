"""TransNAS-Bench-101's own file, transnas-bench_v10141024.pth: validation and test scores of all seven tasks.

A torch file of nested dictionaries (Duan et al., CVPR 2021): under ``data`` the search spaces micro and macro; of each
architecture, by its text, the tasks; of each task ``metrics``, lists by epoch (``valid_top1``, ``test_ssim`` ...),
beside ``model_info`` and ``total_epochs``. Scores are those after the last epoch; higher is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data import _pickles, readers
from nastk.data._transbench101 import PERCENT
from nastk.data.official import Measurements, one_file
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces._transbench101_heads import SEVEN
from nastk.spaces.base import SearchSpace
from nastk.spaces.transbench101_macro import TransBench101Macro
from nastk.spaces.transbench101_micro import TransBench101Micro

SPACE = None
"""The file has both spaces."""

LIMIT = 2**32
"""Most bytes of a file, so that a wrong file cannot exhaust the memory."""
METRICS = {
    "class_scene": {"accuracy": "top1"},
    "class_object": {"accuracy": "top1"},
    "jigsaw": {"accuracy": "top1"},
    "room_layout": {"accuracy": "neg_loss"},
    "segmentsemantic": {"accuracy": "acc", "miou": "mIoU"},
    "normal": {"accuracy": "ssim"},
    "autoencoder": {"accuracy": "ssim"},
}
"""Scores of each task: their name in the table and in the file. As in the fetched table, the accuracy of
segmentsemantic is that of pixels."""
SPLITS = {"valid": "val", "test": "test"}
"""Prefixes of the file's metrics, and of the table's."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """Validation and test scores of each task after its last epoch, of both search spaces.

    Raises:
        InvalidValue: not one file.
        DataError: not a plain torch file of this form.
    """
    path = one_file(paths, "TransNAS-Bench-101's file")
    content = _pickles.load_torch(path, LIMIT, _shrink, "a torch file of TransNAS-Bench-101")
    data = content.get("data") if isinstance(content, Mapping) else None
    if not isinstance(data, Mapping) or not {"micro", "macro"} & set(data):
        raise DataError(f"{path} has another layout than expected: no search spaces micro and macro under 'data'")
    spaces: dict[str, SearchSpace] = {"micro": TransBench101Micro(), "macro": TransBench101Macro()}
    try:
        return [_measurements(spaces[name], data[name]) for name in spaces if data.get(name)]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, InvalidArchitecture) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{path} has another layout than expected: {reason}") from error


def _shrink(content: dict[Any, Any]) -> None:
    """Reduce each series of scores to its last value."""
    for series in content.values():
        if type(series) is list and len(series) > 1 and type(series[-1]) in (int, float):
            del series[:-1]


def _measurements(space: SearchSpace, networks: Mapping[str, Any]) -> Measurements:
    archs = space.as_archs(list(networks))
    columns = []
    for task, split, (score, official) in ((t, s, m) for t in SEVEN for s in SPLITS for m in METRICS[t].items()):
        name = f"{split}_{official}"
        values = np.array([_last(tasks, task, name) for tasks in networks.values()])
        if np.isnan(values).all():
            continue
        metric, unit = f"{SPLITS[split]}_{score}", "%" if task in PERCENT else ""
        note = f"{name} after the last epoch"
        columns.append((Column(metric, "accuracy", unit, dataset=task, variant="official", note=note), values))
    if not columns:
        raise ValueError("no scores of the seven tasks")
    return Measurements(space.name, archs, columns)


def _last(tasks: Mapping[str, Any], task: str, name: str) -> float:
    """A score after the last epoch, NaN if the network has no record of the task or no such score."""
    if task not in tasks:
        return np.nan
    scores = tasks[task]["metrics"].get(name)
    return readers.as_number(scores[-1]) if scores else np.nan
