"""Predictors on disk: arrays in safetensors, everything else in JSON beside them; nothing is pickled.

A predictor that can give its learned arrays (`Predictor.learned`) is restored from them; any other is stored as its
constructor's arguments and its training data, and fitted again. :func:`nastk.predictors.load` reads what is written.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.errors import InvalidValue, Unsupported
from nastk.files import atomic_path, write_text
from nastk.registry import PREDICTORS

if TYPE_CHECKING:
    from nastk.predictors.base import Predictor

FORMAT = 1
"""Version of the layout of the files."""


def registered_name(predictor: Predictor) -> str:
    """The name under which the registry gives this predictor's class."""
    cls = type(predictor)
    for entry in PREDICTORS.entries.values():
        if entry.target == cls.__module__ and not entry.family:
            return entry.name
        if entry.target == cls.__module__:
            first = next(iter(inspect.signature(cls).parameters))
            return f"{entry.name.partition(':')[0]}:{getattr(predictor, first)}"
    return f"{cls.__module__}:{cls.__qualname__}"


def constructor_options(predictor: Predictor) -> dict[str, Any]:
    """The arguments a predictor was made with, read back from its attributes."""
    options: dict[str, Any] = {}
    parameters = list(inspect.signature(type(predictor)).parameters.values())
    if ":" in registered_name(predictor) and type(predictor).__module__.startswith("nastk."):
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            options.update(getattr(predictor, parameter.name))
        else:
            options[parameter.name] = getattr(predictor, parameter.name)
    return options


def save(predictor: Predictor, path: str | os.PathLike[str], notes: dict[str, Any] | None = None) -> tuple[Path, Path]:
    """Write ``<path>.safetensors`` and ``<path>.json``.

    Args:
        notes: stored beside: how it was made, how good it is.

    Raises:
        Unsupported: the predictor, its space or its encoding cannot be written down.
    """
    from safetensors.numpy import save_file

    stem = Path(str(path).removesuffix(".json").removesuffix(".safetensors"))
    learned = predictor.learned()
    if learned is None:
        if not hasattr(predictor, "task_"):
            raise InvalidValue("an unfitted predictor has nothing to save; call fit(task) first")
        info: dict[str, Any] = {}
        arrays: dict[str, Any] = {}
    else:
        info, arrays = learned
    document: dict[str, Any] = {
        "format": FORMAT,
        "predictor": registered_name(predictor.template),
        "options": constructor_options(predictor.template),
        "learned": info if learned is not None else None,
        "notes": notes or {},
    }
    if hasattr(predictor, "task_"):
        task = predictor.task_
        if task.lower is not None:
            raise Unsupported("a predictor that learned from a lower fidelity too cannot be written down")
        document["task"] = {
            "space": task.space.whole.name,
            "metric": task.metric,
            "unit": task.unit,
            "direction": task.direction,
            "dataset": task.dataset,
            "device": task.device,
            "build_options": task.context.build_options,
        }
        if learned is None:
            arrays = {"task.archs": task.archs.astype(np.int64), "task.values": task.values}
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Unsupported(f"{document['predictor']} has an argument that cannot be written as JSON: {error}") from error
    data, note = Path(f"{stem}.safetensors"), Path(f"{stem}.json")
    with atomic_path(data) as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)
    write_text(note, text + "\n")
    return data, note
