"""Records of NAS-Bench-201's own files: several trainings per architecture, with the accuracies after every epoch.

An architecture has a record for each training schedule: ``{"arch_index", "arch_str", "all_results": {(data set, seed):
trial}}``. Of a trial, ``eval_acc1es`` maps ``"split@epoch"``, epochs counted from 0, to top-1 accuracy (%);
``train_times`` maps the epoch to seconds; ``latency`` lists seconds of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.official import Measurements
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench201 import NASBench201

SPLITS = {
    ("cifar10", "val_accuracy"): ("cifar10-valid", "x-valid"),
    ("cifar10", "test_accuracy"): ("cifar10", "ori-test"),
    ("cifar100", "val_accuracy"): ("cifar100", "x-valid"),
    ("cifar100", "test_accuracy"): ("cifar100", "x-test"),
    ("ImageNet16-120", "val_accuracy"): ("ImageNet16-120", "x-valid"),
    ("ImageNet16-120", "test_accuracy"): ("ImageNet16-120", "x-test"),
}
"""Data set and metric of a column, and the training set and split that it is read from."""
HALF = "trained on the official half of the training images, unlike the test accuracy"
"""Note of accuracies of trainings on half of the images."""
DEVICE = "gpu_256"
"""The GPU that the trainings ran on, with batches of 256."""


def shrink(content: dict[Any, Any]) -> None:
    """Reduce a trial to what the table needs: accuracies after its last epoch, total seconds, latency.

    Dictionaries are reduced in place; this is idempotent, as trials may share them.
    """
    if "eval_acc1es" not in content or "epochs" not in content:
        return
    accuracies, times, epochs = content["eval_acc1es"], content.get("train_times"), content["epochs"]
    if type(accuracies) is dict:
        last = f"@{epochs - 1}"
        kept = {k: v for k, v in accuracies.items() if str(k).endswith(last)}
        accuracies.clear()
        accuracies.update(kept)
    if type(times) is dict and "total" not in times:
        total = sum(times.values())
        times.clear()
        times["total"] = total
    for key, value in content.items():
        if type(value) is dict and key not in ("eval_acc1es", "train_times", "arch_config"):
            value.clear()
    for key in [k for k in content if k not in ("eval_acc1es", "train_times", "epochs", "latency")]:
        del content[key]


def measurements(records: Mapping[int, Mapping[str, Any]], official: list[str], name: str) -> Measurements:
    """The columns of the records: means over trials, after the last epoch.

    Args:
        records: by architecture number and schedule; trials shrunk.
        official: arch strings by number.
        name: of the file, for messages.

    Raises:
        DataError: the records have another layout, or invalid values.
    """
    space = NASBench201()
    cells: dict[tuple[str, str, str | None, int], dict[int, float]] = {}
    try:
        numbers = sorted(records)
        archs = np.array([space.parse(official[number]) for number in numbers], dtype=np.int64).reshape(-1, space.d)
        for row, number in enumerate(numbers):
            for record in records[number].values():
                if record["arch_str"] != official[number]:
                    raise DataError(f"{name}: architecture {number} is {record['arch_str']!r} in its record")
                for cell, value in _cells(record["all_results"]).items():
                    cells.setdefault(cell, {})[row] = value
    except InvalidArchitecture as error:
        raise DataError(f"{name} is not of NAS-Bench-201's cells: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise DataError(f"{name} has another layout than NAS-Bench-201's files: {error!r}") from error
    if not cells:
        raise DataError(f"{name} holds no results of any architecture")
    columns = []
    for (metric, dataset, device, epochs), found in sorted(cells.items(), key=lambda item: str(item[0])):
        values: NDArray[np.float64] = np.full(len(numbers), np.nan)
        values[list(found)] = list(found.values())
        columns.append((_column(metric, dataset, device, epochs), values))
    return Measurements("nasbench201", archs, columns)


def _cells(trials: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[tuple[str, str, str | None, int], float]:
    """Means over the trials of one architecture, by metric, data set, device and epochs."""
    found: dict[tuple[str, str, str | None, int], list[float]] = {}
    for (trained_on, _), trial in trials.items():
        epochs = int(trial["epochs"])
        for (dataset, metric), (training, split) in SPLITS.items():
            value = trial["eval_acc1es"].get(f"{split}@{epochs - 1}") if training == trained_on else None
            if value is not None:
                found.setdefault((metric, dataset, None, epochs), []).append(_number(value, 0, 100))
        if trained_on == "cifar10-valid":
            continue
        if trial.get("train_times"):
            seconds = _number(trial["train_times"]["total"], 0, np.inf)
            found.setdefault(("train_seconds", trained_on, None, epochs), []).append(seconds)
        latencies = [_number(v, -1, np.inf) for v in trial.get("latency") or []]
        if latencies and min(latencies) > 0:
            found.setdefault(("latency", trained_on, DEVICE, 0), []).append(1000 * float(np.mean(latencies)))
    return {cell: float(np.mean(values)) for cell, values in found.items()}


def _number(value: Any, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high or value == np.inf:
        raise ValueError(f"{value!r} is not a number from {low} to {high}")
    return float(value)


def _column(metric: str, dataset: str, device: str | None, epochs: int) -> Column:
    if metric == "latency":
        note = "of a batch of 256 on the GPU of the trainings, as the file has it"
        return Column(metric, "latency", "ms", "min", dataset=dataset, device=device, note=note)
    if metric == "train_seconds":
        return Column(metric, "seconds", "s", "min", dataset=dataset, fidelity=epochs, note="of all epochs")
    note = "mean over seeds"
    if (metric, dataset) == ("val_accuracy", "cifar10"):
        note += f"; {HALF}"
    return Column(metric, "accuracy", "%", dataset=dataset, fidelity=epochs, note=note)
