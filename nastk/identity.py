"""Identities: which study a search resumes, and which evaluations of other studies are as good as its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nastk.code import code_of
from nastk.evaluation import Identity
from nastk.search.base import Objective, Searcher

if TYPE_CHECKING:
    from nastk.run import SearchDescription


def study_identity(description: SearchDescription, searcher: Searcher) -> dict[str, Any]:
    """Identity of a study, JSON-able: a study is resumed only with the same one. The budget is no part of it."""
    return {
        **searcher.space.identity(),
        "objectives": [
            {"name": o.name, "direction": o.direction, **_fidelities(o), **o.oracle.identity()}
            for o in searcher.objectives
        ],
        **_asked(description, searcher),
    }


def _asked(description: SearchDescription, searcher: Searcher) -> dict[str, Any]:
    """What is asked for beside the space and the objectives."""
    return {
        "constraints": [str(c) for c in searcher.constraints],
        "searcher": description.searcher,
        "predictors": dict(description.predictors),
        "options": dict(description.options),
        "seed": description.seed,
        **({"local_sources": description.local_sources} if description.local_sources else {}),
        **({"supernet": _apart_from_places(description.supernet)} if description.supernet else {}),
    }


def _apart_from_places(supernet: Mapping[str, Any]) -> dict[str, Any]:
    """What a supernet is; its images by their hash, wherever they are."""
    return {name: value for name, value in supernet.items() if name != "data"}


def _fidelities(objective: Objective) -> dict[str, Any]:
    """At what an objective is evaluated; nothing where its oracle has no fidelities."""
    every = [float(f) for f in objective.oracle.fidelities]
    return {"fidelity": objective.target, "fidelities": every} if every else {}


def earlier_identity(description: SearchDescription, searcher: Searcher) -> dict[str, Any]:
    """The identity that databases hold which were written before identities had the space's choices."""
    return {
        "space": searcher.space.name,
        "objectives": [[o.name, o.direction, o.fidelity, o.oracle.source] for o in searcher.objectives],
        **_asked(description, searcher),
    }


def evaluation_identity(objective: Objective) -> Identity:
    """Identity of an objective's evaluations."""
    oracle = objective.oracle
    whole = oracle.space.whole
    text = json.dumps([whole.identity(), oracle.identity()], sort_keys=True, default=repr)
    codes = [c for c in (code_of(whole.source_code()), code_of(oracle.source_code())) if c is not None]
    return Identity(
        hashlib.sha256(text.encode()).hexdigest(),
        objective.target,
        objective.fidelity,
        tuple(oracle.fidelities),
        tuple(int(size) for size in whole.sizes),
        {c.digest: str(c) for c in codes},
    )


def files_identity(objective: Objective) -> str:
    """Name of the folder in which an objective's oracle keeps files of networks: a hash of space and oracle."""
    text = json.dumps(
        [objective.oracle.space.whole.identity(), objective.oracle.files_identity()], sort_keys=True, default=repr
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
