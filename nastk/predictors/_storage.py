"""Predictors on disk: arrays in safetensors, everything else in JSON beside them; nothing is pickled.

A predictor that can give its learned arrays (`Predictor.learned`) is restored from them; any other is stored as its
constructor's arguments and its training data, and fitted again.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from nastk.encodings.base import Context
from nastk.errors import DataError, InvalidValue, NastkError, Unsupported
from nastk.files import atomic_path, write_text
from nastk.predictors.base import Predictor, Task
from nastk.registry import PREDICTORS
from nastk.spaces.base import SearchSpace

FORMAT = 1


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


def load(path: str | os.PathLike[str], space: SearchSpace | None = None, context: Context | None = None) -> Predictor:
    """Read what :func:`save` wrote; predictions are the same as before saving.

    Args:
        path: with or without suffix.
        space: needed where the space is a user's own.
        context: needed where an encoding looks things up (zcp).

    Raises:
        DataError: missing, truncated or not a predictor's files.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    stem = str(path).removesuffix(".json").removesuffix(".safetensors")
    try:
        document = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
        arrays = load_file(f"{stem}.safetensors")
    except OSError as error:
        raise DataError(f"cannot read predictor {stem}: {error.strerror or error}") from error
    except (ValueError, SafetensorError) as error:
        raise DataError(f"{stem} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{stem}.json is not a predictor of format {FORMAT}")
    try:
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in document["options"].items()}
        predictor: Predictor = PREDICTORS.create(document["predictor"], **options)
        task = None
        if "task" in document:
            task = _task(document["task"], arrays, space, context)
        if document["learned"] is None:
            assert task is not None
            return predictor.fit(task)
        if space is None and task is None and "space" in document["learned"]:
            from nastk.spaces.factory import space as named

            space = named(document["learned"]["space"])
        return predictor.restore(document["learned"], arrays, task, space)
    except NastkError:
        raise
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise DataError(f"{stem} is damaged: {type(error).__name__}: {error}") from error


def _task(facts: dict[str, Any], arrays: dict[str, Any], space: SearchSpace | None, context: Context | None) -> Task:
    from nastk.spaces.factory import space as named

    space = space or named(facts["space"])
    context = context or Context(build_options=facts["build_options"])
    archs = arrays.get("task.archs", np.empty((0, space.d), dtype=np.int64))
    values = arrays.get("task.values", np.empty(0))
    return Task(
        space, archs, values, facts["metric"], facts["unit"], facts["direction"], facts["dataset"], facts["device"],
        context=context,
    )  # fmt: skip
