"""Predictors by name, fresh or with the weights that ship with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nastk.errors import DataError, InvalidValue, UnknownName
from nastk.oracles.base import Direction
from nastk.predictors.base import Predictor
from nastk.registry import PREDICTORS
from nastk.spaces.base import SearchSpace

WEIGHTS = Path(__file__).parent.parent / "weights"


def predictor(name: str | Predictor, pretrained: str | None = None, **options: Any) -> Any:
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
        from nastk.predictors._storage import load

        if options:
            raise InvalidValue(f"pretrained weights bring their own options; leave out {', '.join(options)}")
        PREDICTORS.get(name)
        stem = WEIGHTS / f"{name}-{pretrained}"
        if not stem.with_name(f"{stem.name}.json").exists():
            if not Path(str(pretrained)).with_suffix(".json").exists():
                shipped = [w.removeprefix(f"{name}-") for w in weights() if w.startswith(f"{name}-")]
                raise UnknownName(f"pretrained weights of {name}", str(pretrained), shipped)
            stem = Path(pretrained)
        return load(stem)
    made = PREDICTORS.get(name)
    if not isinstance(made, Predictor):
        made = PREDICTORS.create(name, **options)
    if not isinstance(made, Predictor):
        raise InvalidValue(f"{name!r} is a {type(made).__name__}, not a predictor")
    return made


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
