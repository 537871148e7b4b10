"""TransNAS-Bench-101's own file, transnas-bench_v10141024.pth (Duan et al., CVPR 2021).

A torch file of nested dictionaries: under ``data`` the search spaces micro and macro, of each architecture by its
text the tasks, of each task the scores by epoch (``valid_top1``, ``test_ssim`` ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data import readers
from nastk.data._transbench101 import PERCENT
from nastk.data.official import Measurements
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces._transbench101_heads import SEVEN
from nastk.spaces.base import SearchSpace
from nastk.spaces.transbench101_macro import TransBench101Macro
from nastk.spaces.transbench101_micro import TransBench101Micro

SPACE = "transbench101-micro"

LIMIT = 2**32
"""Bytes; the official file has some hundred million."""
METRICS = {
    "class_scene": "top1",
    "class_object": "top1",
    "jigsaw": "top1",
    "room_layout": "neg_loss",
    "segmentsemantic": "mIoU",
    "normal": "ssim",
    "autoencoder": "ssim",
}
"""The main score of each task; the more the better."""


def read(paths: Sequence[str | Path]) -> list[Measurements]:
    """Validation and test scores of each task after its last epoch, of both search spaces.

    Raises:
        DataError: not a plain torch file of this form.
    """
    if len(paths) != 1:
        raise DataError(f"TransNAS-Bench-101 is one file; got {len(paths)}")
    content = readers.read_torch(paths[0], LIMIT)
    data = content.get("data", content) if isinstance(content, Mapping) else None
    if not isinstance(data, Mapping) or not {"micro", "macro"} & set(data):
        raise DataError(f"{paths[0]} has another layout than expected: no search spaces micro and macro")
    spaces: dict[str, SearchSpace] = {"micro": TransBench101Micro(), "macro": TransBench101Macro()}
    try:
        return [_measurements(spaces[name], data[name]) for name in spaces if data.get(name)]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, InvalidArchitecture) as error:
        raise DataError(f"{paths[0]} has another layout than expected: {error}") from error


def _measurements(space: SearchSpace, networks: Mapping[str, Any]) -> Measurements:
    archs = space.as_archs(list(networks))
    columns = []
    for task in SEVEN:
        for split, name in (("valid", "val_accuracy"), ("test", "test_accuracy")):
            values = np.full(len(archs), np.nan)
            for i, tasks in enumerate(networks.values()):
                scores = tasks.get(task, {}).get(f"{split}_{METRICS[task]}")
                if scores is not None:
                    values[i] = float(scores[-1] if isinstance(scores, (list, tuple)) else scores)
            if np.isfinite(values).any():
                unit = "%" if task in PERCENT else ""
                column = Column(name, "accuracy", unit, dataset=task, variant="official", note=METRICS[task])
                columns.append((column, values))
    if not columns:
        raise ValueError("no scores of the seven tasks")
    return Measurements(space.name, archs, columns)
