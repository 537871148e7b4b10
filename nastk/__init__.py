"""nastk: hardware-aware neural architecture search with very few trainings and very few latency measurements.

The public names load on first use, so that ``import nastk`` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "benchmark": "nastk.oracles.table",
    "Constraint": "nastk.search.base",
    "Context": "nastk.encodings.base",
    "Encoding": "nastk.encodings.base",
    "encoding": "nastk.encodings.base",
    "Evaluation": "nastk.oracles.base",
    "FewShotPredictor": "nastk.predictors.base",
    "FunctionOracle": "nastk.oracles.base",
    "History": "nastk.history",
    "NastkError": "nastk.errors",
    "Objective": "nastk.search.base",
    "Oracle": "nastk.oracles.base",
    "Pool": "nastk.spaces._pool",
    "Prediction": "nastk.predictors.base",
    "Predictor": "nastk.predictors.base",
    "predictor": "nastk.predictors.factory",
    "Proposal": "nastk.search.base",
    "Record": "nastk.evaluation",
    "Result": "nastk.result",
    "Sampler": "nastk.samplers.base",
    "sampler": "nastk.samplers.base",
    "Searcher": "nastk.search.base",
    "SearchSpace": "nastk.spaces.base",
    "Choice": "nastk.spaces.base",
    "choice": "nastk.spaces._placeholders",
    "space": "nastk.spaces.factory",
    "space_of": "nastk.spaces._placeholders",
    "Study": "nastk.study",
    "Task": "nastk.predictors.base",
    "zcp": "nastk.oracles.zerocost",
}
_MODULES = (
    "data",
    "encodings",
    "errors",
    "generators",
    "metrics",
    "oracles",
    "predictors",
    "report",
    "samplers",
    "search",
    "spaces",
    "testing",
)

__all__ = [*_PUBLIC, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module(f"nastk.{name}")
    raise AttributeError(f"module 'nastk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from nastk import (
        data,
        encodings,
        errors,
        generators,
        metrics,
        oracles,
        predictors,
        report,
        samplers,
        search,
        spaces,
        testing,
    )
    from nastk.encodings.base import Context, Encoding, encoding
    from nastk.errors import NastkError
    from nastk.evaluation import Record
    from nastk.history import History
    from nastk.oracles.base import Evaluation, FunctionOracle, Oracle
    from nastk.oracles.table import benchmark
    from nastk.oracles.zerocost import zcp
    from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
    from nastk.predictors.factory import predictor
    from nastk.result import Result
    from nastk.samplers.base import Sampler, sampler
    from nastk.search.base import Constraint, Objective, Proposal, Searcher
    from nastk.spaces._placeholders import choice, space_of
    from nastk.spaces._pool import Pool
    from nastk.spaces.base import Choice, SearchSpace
    from nastk.spaces.factory import space
    from nastk.study import Study
