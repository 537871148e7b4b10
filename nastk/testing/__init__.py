"""Conformance kits: the tests of every registered component, for users' own components."""

from __future__ import annotations

from nastk.testing.encodings import check_encoding
from nastk.testing.oracles import check_oracle
from nastk.testing.predictors import check_predictor, example_task
from nastk.testing.runtimes import check_runtime
from nastk.testing.samplers import check_sampler
from nastk.testing.searchers import check_searcher
from nastk.testing.spaces import check_space

__all__ = [
    "check_encoding",
    "check_oracle",
    "check_predictor",
    "check_runtime",
    "check_sampler",
    "check_searcher",
    "check_space",
    "example_task",
]
