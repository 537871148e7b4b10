"""What a search is, in JSON-able values, and the objects that such a description cannot create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nastk.data.images import ImageData
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.predictors._local_sources import SECONDS
from nastk.predictors.base import Predictor
from nastk.spaces.base import SearchSpace

MEASURED: dict[str, Any] = {"runtime": "torch", "threads": 1, "batch": 1, "precision": "fp32", "calibration": None}
"""How networks are run here, to be measured, where nothing else is asked for."""

MEASURED_HERE = ("latency", "energy", "peak_memory")
"""Metrics of networks that a runtime runs on a device of this machine: the names of their oracles too."""


BUDGET, WITH_SUPERNET, SHIPPED = 50, 12, 100
"""Evaluations where nothing else is asked for: trainings; trainings of what leads by a supernet; networks with the
supernet's weights, which cost hardly anything."""


def usual_budget(supernet: bool, ships: bool) -> int:
    """Evaluations of a search where nothing else is asked for.

    Args:
        supernet: whether one is trained.
        ships: whether its accuracies are those of the search.
    """
    return SHIPPED if ships else WITH_SUPERNET if supernet else BUDGET


@dataclass(frozen=True)
class SearchDescription:
    """One search, described in JSON-able values.

    Args:
        space: its name, or ``file.py:Class``.
        objectives: each ``{"name", "fidelity", "oracle"}``: the name in constraints and columns, the fidelity to
            evaluate or None for the highest, and what :meth:`nastk.Oracle.describe` says.
        constraints: such as ``latency<=10``.
        searcher: its name.
        predictors: names by expensive objective; an objective that is left out gets the default.
        options: further arguments of the searcher.
        budget: evaluations of each expensive objective, in all or by name; full trainings where the searcher also
            trains briefly. Where no objective is expensive, a number of architectures.
        measurements: evaluations of an objective that a few-shot predictor learns, unless `budget` names it; in each
            precision, where the search chooses one. None: no objective is learned so by default.
        batch: proposals to ask for at a time; by default 1 for one objective, and up to :data:`LARGEST_BATCH` for
            several.
        verify: number of front members whose predicted values are evaluated in the end, beyond the budget; measured
            ones are measured again, and as many others at most where a limit is broken (`nastk.Result.settle`).
        seed: random seed.
        retries: how often an evaluation that failed for a transient reason is tried again.
        count_failures: whether failed evaluations count against the budget.
        local_sources: networks to measure on this machine, in several settings, as source devices of few-shot-gp
            (:func:`nastk.local_sources`); 0 for none. None: as many as `nastk.predictors._local_sources.NETWORKS` where
            a device that is not this machine is learned and no latency weights ship for the space, else none.
        local_sources_time: time limit of these measurements, seconds.
        verify_seeds: how often the networks of the front are trained again in the end, each time with another seed
            (`seed` + 1, `seed` + 2 ...), beyond the budget.
        supernet: that is trained first, as a lower fidelity of the accuracies: ``method``, ``options`` of its class,
            ``build`` (options of `SearchSpace.build`), ``seed``, and ``data``, ``image_size`` and ``hash`` of its
            images; None for none.
    """

    space: str
    objectives: tuple[Mapping[str, Any], ...]
    constraints: tuple[str, ...] = ()
    searcher: str = "predictor"
    predictors: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: int | Mapping[str, int] = 50
    measurements: int | None = 10
    batch: int | None = None
    verify: int = 12
    seed: int = 0
    retries: int = 1
    count_failures: bool = False
    local_sources: int | None = None
    local_sources_time: float = SECONDS
    verify_seeds: int = 0
    supernet: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SearchDescription:
        """The inverse of :meth:`to_dict`.

        Raises:
            InvalidValue: it lacks the space or the objectives.
            UnknownName: it has something else.
        """
        known = [f.name for f in fields(cls)]
        for name in content:
            if name not in known:
                raise UnknownName("field of a search's description", name, known)
        if missing := [name for name in ("space", "objectives") if name not in content]:
            raise InvalidValue(f"the description of a search lacks its {' and '.join(missing)}")
        lists = {name: tuple(content[name]) for name in ("objectives", "constraints") if name in content}
        return cls(**{**content, **lists})


@dataclass(frozen=True)
class Objects:
    """Objects that a description names but cannot create: a user's own space, oracles and predictors.

    Args:
        space: the space.
        oracles: by the name of their objective.
        predictors: by the name of the objective that they learn.
        contexts: of features, by objective; where given they replace what the oracles' tables have.
        options: of the searcher, such as objects that JSON cannot hold.
        images: that the supernet is trained on.
    """

    space: SearchSpace | None = None
    oracles: Mapping[str, Oracle] = field(default_factory=dict)
    predictors: Mapping[str, Predictor] = field(default_factory=dict)
    contexts: Mapping[str, Context] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    images: ImageData | None = None
