"""Peak memory of a forward pass as an objective."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk import run
from nastk.errors import InvalidValue, Unsupported
from nastk.oracles import Latency, PeakMemory
from nastk.runtimes.base import Runtime
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")
TINY = {"channels": 4, "cells_per_stage": 1, "input_size": 8}


def test_it_keeps_the_contract_of_oracles() -> None:
    check_oracle(PeakMemory(SPACE, **TINY), SPACE.sample(4, 0))


def test_it_is_what_a_measurement_of_latency_counts() -> None:
    archs = SPACE.sample(2, 0)
    latency = Latency(SPACE, rounds=1, warmup=0.0, max_seconds=0.01, **TINY)
    assert PeakMemory(SPACE, **TINY)(archs).tolist() == [m.peak_memory for m in latency.measure_many(archs)]


def test_it_is_the_weights_the_input_and_the_largest_two_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Any, arch: Any, **options: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 1000), nn.Linear(1000, 50), nn.Linear(50, 10))

    monkeypatch.setattr(type(SPACE), "build", build)
    weights = 193 * 1000 + 1001 * 50 + 51 * 10
    floats = weights + 2 * 192 + 2 * (1000 + 50)
    oracle = PeakMemory(SPACE, batch=2, **TINY)
    assert oracle(SPACE.sample(1, 0)).tolist() == [floats * 4 / 1e6]
    assert (oracle.unit, oracle.kind, oracle.expensive) == ("MB", "computed", True)
    assert oracle.source.startswith("peak of one forward pass on ")
    assert pickle.loads(pickle.dumps(oracle)).source == oracle.source


def test_a_network_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(SPACE), "build", lambda self, arch, **options: nn.Linear(3, 5))
    oracle, arch = PeakMemory(SPACE, **TINY), SPACE.sample(1, 0)
    found = oracle.evaluate(arch)
    assert np.isnan(found.value).all()
    assert found.cost[0] > 0
    assert "shapes cannot be multiplied" in oracle.reasons[SPACE.format(arch[0])]


def test_a_runtime_that_does_not_tell_is_refused() -> None:
    class Silent(Runtime):
        name = "silent"

        def describe(self) -> str:
            return "silent 1"

        def _prepare(self, source: Any, inputs: torch.Tensor) -> Any:
            return lambda: source(inputs)

    with pytest.raises(Unsupported, match=r"the silent runtime does not tell how much memory .*; torch does"):
        PeakMemory(SPACE, runtime=Silent, **TINY)
    with pytest.raises(InvalidValue, match="of one precision, such as fp32; got fp32,int8"):
        PeakMemory(SPACE, precision="fp32,int8")
    with pytest.raises(InvalidValue, match="batch is 0"):
        PeakMemory(SPACE, batch=0)


def test_a_search_has_it_as_objective_and_limit() -> None:
    facts = {"oracle": "peak_memory", "device": "this", "runtime": "torch", "threads": 1, "batch": 1}
    by_name = run.describe(objectives=["accuracy", "peak_memory"], constraints=["peak_memory<=2"], budget=6, verify=0)
    assert by_name.objectives[1] == {"name": "peak_memory", "fidelity": None, "oracle": facts}
    flops = nastk.oracles.Flops(SPACE)
    result = nastk.search(
        SPACE, [flops, PeakMemory(SPACE, **TINY)], "random", constraints=["peak_memory<=0.05"], budget=6, verify=0
    )  # fmt: skip
    assert len(result.front)
    assert result.front["peak_memory"].max() <= 0.05
    assert {record.kind for record in result.history.records() if record.objective == "peak_memory"} == {"computed"}


@pytest.mark.parametrize("objective", ["max:peak_memory", "peak_memory@5"])
def test_what_it_does_not_have_is_refused(objective: str) -> None:
    with pytest.raises(InvalidValue, match="peak_memory"):
        run.describe(objectives=["accuracy", objective])
