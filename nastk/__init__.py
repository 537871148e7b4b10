"""nastk: hardware-aware neural architecture search with very few trainings and very few latency measurements.

The public names load on first use, so that ``import nastk`` is instant.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "benchmark": "nastk.oracles.table",
    "Constraint": "nastk.search.base",
    "Context": "nastk.encodings.base",
    "Encoding": "nastk.encodings.base",
    "encoding": "nastk.encodings.base",
    "export": "nastk.deploy.write",
    "Evaluation": "nastk.oracles.base",
    "FewShotPredictor": "nastk.predictors.base",
    "front": "nastk.run",
    "FunctionOracle": "nastk.oracles.base",
    "History": "nastk.history",
    "local_sources": "nastk.predictors._local_sources",
    "NastkError": "nastk.errors",
    "Objective": "nastk.search.base",
    "Oracle": "nastk.oracles.base",
    "Pool": "nastk.spaces._pool",
    "pool_of": "nastk.data.pool_file",
    "Prediction": "nastk.predictors.base",
    "Predictor": "nastk.predictors.base",
    "predictor": "nastk.predictors.factory",
    "Proposal": "nastk.search.base",
    "Record": "nastk.evaluation",
    "Result": "nastk.result",
    "Sampler": "nastk.samplers.base",
    "sampler": "nastk.samplers.base",
    "search": "nastk.run",
    "Searcher": "nastk.search.base",
    "SearchSpace": "nastk.spaces.base",
    "Choice": "nastk.spaces.base",
    "choice": "nastk.spaces._choices",
    "space": "nastk.spaces.factory",
    "space_of": "nastk.spaces._placeholders",
    "Study": "nastk.study",
    "Task": "nastk.predictors.base",
    "train": "nastk.full_training",
    "zcp": "nastk.oracles.zerocost",
}
__all__ = [
    "Choice",
    "Constraint",
    "Context",
    "Encoding",
    "Evaluation",
    "FewShotPredictor",
    "FunctionOracle",
    "History",
    "NastkError",
    "Objective",
    "Oracle",
    "Pool",
    "Prediction",
    "Predictor",
    "Proposal",
    "Record",
    "Result",
    "Sampler",
    "SearchSpace",
    "Searcher",
    "Study",
    "Task",
    "__version__",
    "benchmark",
    "choice",
    "data",
    "encoding",
    "encodings",
    "errors",
    "export",
    "front",
    "generators",
    "local_sources",
    "metrics",
    "oracles",
    "pool_of",
    "predictor",
    "predictors",
    "problems",
    "report",
    "sampler",
    "samplers",
    "search",
    "space",
    "space_of",
    "spaces",
    "testing",
    "train",
    "zcp",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # a type checker shall refuse a name that does not exist

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            value = getattr(import_module(_PUBLIC[name]), name)
            globals()[name] = value
            return value
        if name in __all__:
            return import_module(f"nastk.{name}")
        raise AttributeError(f"module 'nastk' has no attribute {name!r}")


class _Package(ModuleType):
    """Keeps ``nastk.search`` the function that searches: importing the package of that name would replace it."""

    @property
    def search(self) -> Any:
        """The function that runs a search; the searchers are imported: ``from nastk.search.base import Searcher``."""
        return import_module(_PUBLIC["search"]).search

    @search.setter
    def search(self, value: Any) -> None:
        if value is not sys.modules.get("nastk.search"):  # the import system binds a package's submodules to it
            raise AttributeError("nastk.search cannot be replaced")


sys.modules[__name__].__class__ = _Package

if TYPE_CHECKING:
    from nastk import (
        data,
        encodings,
        errors,
        generators,
        metrics,
        oracles,
        predictors,
        problems,
        report,
        samplers,
        spaces,
        testing,
    )
    from nastk.data.pool_file import pool_of
    from nastk.deploy.write import export
    from nastk.encodings.base import Context, Encoding, encoding
    from nastk.errors import NastkError
    from nastk.evaluation import Record
    from nastk.full_training import train
    from nastk.history import History
    from nastk.oracles.base import Evaluation, FunctionOracle, Oracle
    from nastk.oracles.table import benchmark
    from nastk.oracles.zerocost import zcp
    from nastk.predictors._local_sources import local_sources
    from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
    from nastk.predictors.factory import predictor
    from nastk.result import Result
    from nastk.run import front, search
    from nastk.samplers.base import Sampler, sampler
    from nastk.search.base import Constraint, Objective, Proposal, Searcher
    from nastk.spaces._choices import choice
    from nastk.spaces._placeholders import space_of
    from nastk.spaces._pool import Pool
    from nastk.spaces.base import Choice, SearchSpace
    from nastk.spaces.factory import space
    from nastk.study import Study
