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
SEARCH_AMPLITUDES = (0.9, 0.3, 2.0)
"""Signal variances of gp-bma in a search, relative to that of the samples, which are alike because they are good."""
FRONT_NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Noise variances of gp-bma in a search of a front, whose samples differ far more from each other than the most
accurate of them do."""
SEARCH_WARP = "distance"
"""In a search the differences near the best matter, also where a few bad samples dominate the variance."""


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
    if not isinstance(made, Predictor):  # module:object may name a predictor that is ready to use
        made = PREDICTORS.create(name, **options)
    if not isinstance(made, Predictor):
        raise InvalidValue(f"{name!r} is a {type(made).__name__}, not a predictor")
    return made


def default_predictor(space: SearchSpace, direction: Direction, alone: bool) -> Predictor:
    """What learns an expensive objective where none is named.

    gp-bma (see :func:`gp_bma_for_search`) for one that is searched alone, or for which a prior ships; else gp, whose
    fronts are better on HW-GPT-Bench.
    """
    if alone or shipped_prior(space, direction) is not None:
        return gp_bma_for_search(space, direction, alone)
    return predictor("gp")


def gp_bma_for_search(space: SearchSpace, direction: Direction, alone: bool) -> Predictor:
    """gp-bma for samples that a search of this objective `alone`, or of a front, chooses; with the shipped prior."""
    from nastk.predictors.gp_bma import GPBMA

    found = predictor("gp-bma", pretrained=shipped_prior(space, direction))
    assert isinstance(found, GPBMA)
    found.amplitudes, found.warp = SEARCH_AMPLITUDES, SEARCH_WARP
    if not alone:
        found.noises = FRONT_NOISES
    return found


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
