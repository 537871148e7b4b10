"""Predictors by name, fresh or with the weights that ship with the package, and from the files that a user saved."""

from __future__ import annotations

import json
import os
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nastk.encodings.base import Context
from nastk.errors import DataError, InvalidValue, NastkError, UnknownName
from nastk.oracles.base import Direction
from nastk.predictors._storage import FORMAT
from nastk.predictors.base import Predictor, Task
from nastk.registry import PREDICTORS
from nastk.spaces.base import SearchSpace
from nastk.spaces.factory import space as named_space

WEIGHTS = Path(__file__).parent.parent / "weights"


def predictor(name: str | Predictor, pretrained: str | None = None, **options: Any) -> Predictor:
    """The predictor called `name`.

    Args:
        name: a registered name, ``sklearn:<Regressor>``, or a user's own as ``module:Class`` or ``file.py:Class``.
        pretrained: shipped weights ("nasbench201", "nasbench201-cifar10"), or the path of a saved predictor.
        options: of the constructor.

    Raises:
        UnknownName: no such predictor, or no such weights.
        InvalidValue: options together with pretrained weights, or not a predictor.
    """
    if isinstance(name, Predictor):
        return name
    if pretrained is not None:
        if options:
            raise InvalidValue(f"pretrained weights bring their own options; leave out {', '.join(options)}")
        PREDICTORS.get(name)
        stem = WEIGHTS / f"{name}-{pretrained}"
        if not stem.with_name(f"{stem.name}.json").exists():
            if not Path(str(pretrained)).with_suffix(".json").exists():
                shipped = [w.removeprefix(f"{name}-") for w in weights() if w.startswith(f"{name}-")]
                raise UnknownName(f"pretrained weights of {name}", str(pretrained), shipped)
            return load(pretrained)
        return copy(_shipped(str(stem)))
    made = PREDICTORS.get(name)
    if not isinstance(made, Predictor):  # module:object may name a predictor that is ready to use
        made = PREDICTORS.create(name, **options)
    if not isinstance(made, Predictor):
        raise InvalidValue(f"{name!r} is a {type(made).__name__}, not a predictor")
    return made


@lru_cache(maxsize=8)
def _shipped(stem: str) -> Predictor:
    """Shipped weights, read once a process. Its copies share what it caches: features of a whole space take seconds."""
    return load(stem)


def load(path: str | os.PathLike[str], space: SearchSpace | None = None, context: Context | None = None) -> Predictor:
    """Read what :meth:`Predictor.save` wrote; predictions are the same as before saving.

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
    except (ValueError, RecursionError, SafetensorError) as error:
        raise DataError(f"{stem} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{stem}.json is not a predictor of format {FORMAT}")
    try:
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in document["options"].items()}
        made: Predictor = PREDICTORS.create(document["predictor"], **options)
        task = None
        if "task" in document:
            task = _task(document["task"], arrays, space, context)
        if document["learned"] is None:
            assert task is not None
            return made.fit(task)
        if space is None and task is None and "space" in document["learned"]:
            space = named_space(document["learned"]["space"])
        return made.restore(document["learned"], arrays, task, space)
    except NastkError:
        raise
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise DataError(f"{stem} is damaged: {type(error).__name__}: {error}") from error


def _task(facts: dict[str, Any], arrays: dict[str, Any], space: SearchSpace | None, context: Context | None) -> Task:
    space = space or named_space(facts["space"])
    context = context or Context(build_options=facts["build_options"])
    archs = arrays.get("task.archs", np.empty((0, space.d), dtype=np.int64))
    values = arrays.get("task.values", np.empty(0))
    return Task(
        space, archs, values, facts["metric"], facts["unit"], facts["direction"], facts["dataset"], facts["device"],
        context=context,
    )  # fmt: skip


def shipped_prior(space: SearchSpace, direction: Direction) -> str | None:
    """The shipped prior of gp-bma for a space, where the objective is maximised, and so may be an accuracy."""
    whole = space.whole
    return whole.name if direction == "max" and (WEIGHTS / f"gp-bma-{whole.name}.json").exists() else None


def weights() -> dict[str, dict[str, Any]]:
    """The shipped weights: name to the notes stored beside them (what they were made from, held-out quality)."""
    found = {}
    for path in sorted(WEIGHTS.glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))["notes"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"shipped weights {path.name} are damaged: {error}") from error
    return found
