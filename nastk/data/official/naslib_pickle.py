"""NASLib's NAS-Bench-201 pickles, such as nb201_cifar10_full_training.pickle: accuracies after the last epoch.

A file is ``{arch string: {data set: {"train_acc1es": [...], "eval_acc1es": [...], ...}}}`` with top-1 accuracies (%) of
every epoch; in ``nb201_all.pickle`` they are single numbers. NASLib returns ``eval_acc1es`` as both validation and test
accuracy, and the file does not name the images (what NASLib publishes as CIFAR-10's validation accuracy is the official
test record of seed 888). It is imported as ``eval_accuracy``: never select on it and report test.
Pickles of other spaces are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data import _pickles
from nastk.data.official import Measurements, one_file
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench201 import NASBench201

SPACE = "nasbench201"
"""Space of the file's architectures."""
LIMIT = 4 << 30
"""Most bytes of a file, so that a wrong file cannot exhaust the memory."""
METRICS = {"train_acc1es": "train_accuracy", "eval_acc1es": "eval_accuracy"}
"""NASLib's metrics, and the table's names of them."""
NOTE = "NASLib takes it for validation and for test accuracy alike; never select on it and report test"
"""Note of the columns."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """Training and evaluation accuracy of every architecture of the file; ``cifar10-valid`` stays its own data set.

    Raises:
        InvalidValue: not exactly one file.
        DataError: not a NASLib pickle of NAS-Bench-201.
    """
    path = one_file(paths, "NASLib's pickle")
    content = _pickles.load(path, LIMIT, _shrink, "a NASLib pickle of NAS-Bench-201")
    space = NASBench201()
    cells: dict[tuple[str, str, int | None], dict[int, float]] = {}
    try:
        archs = np.array([space.parse(text) for text in content], dtype=np.int64).reshape(-1, space.d)
        for row, results in enumerate(content.values()):
            for dataset, result in results.items():
                for name, metric in METRICS.items():
                    epochs, value = result[name]
                    cells.setdefault((metric, str(dataset), epochs), {})[row] = _accuracy(value)
    except InvalidArchitecture as error:
        raise DataError(f"{path} is not of NAS-Bench-201: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path} has another layout than NASLib's pickles of NAS-Bench-201: {error!r}") from error
    if not cells:
        raise DataError(f"{path} holds no results of any architecture")
    columns = []
    for (metric, dataset, epochs), found in cells.items():
        values = np.full(len(archs), np.nan)
        values[list(found)] = list(found.values())
        note = NOTE if metric == "eval_accuracy" else ""
        columns.append((Column(metric, "accuracy", "%", dataset=dataset, fidelity=epochs, note=note), values))
    return [Measurements(SPACE, archs, columns)]


def _shrink(content: dict[Any, Any]) -> None:
    """Reduce each series of a result to its length and last value."""
    if "eval_acc1es" not in content:
        return
    for name in [key for key in content if key not in METRICS]:
        del content[name]
    for name, series in content.items():
        if type(series) is list:
            content[name] = (len(series), series[-1] if series else None)
            series.clear()
        elif type(series) is not tuple:
            content[name] = (None, series)


def _accuracy(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 100:
        raise ValueError(f"{value!r} is not an accuracy in %")
    return float(value)
