"""PyTorch in eager mode: memory and time."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from nastk.runtimes._peak_memory import PeakMemory
from nastk.runtimes.torch import Torch, _repeat_until_steady


def test_memory_that_is_freed_does_not_add_up() -> None:
    x = torch.zeros(1000)
    with PeakMemory() as tracker:
        for _ in range(10):
            y = x + 1
            y = y * 2
    assert tracker.peak <= 3 * 4000


def test_counting_memory_does_not_import_pytorchs_compiler() -> None:
    code = (
        "import sys, torch\nfrom nastk.runtimes.torch import Torch\n"
        "with torch.inference_mode(): print(Torch().peak_memory(torch.nn.Linear(1000, 10), torch.zeros(1, 1000)))\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str((10_010 + 1000 + 10) * 4 / 1e6), "[]"]


def test_cuda_is_timed_between_two_events_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    happened = []

    class Event:
        def __init__(self, enable_timing: bool):
            assert enable_timing

        def record(self) -> None:
            happened.append("record")

        def synchronize(self) -> None:
            happened.append("synchronize")

        def elapsed_time(self, end: Any) -> float:
            return 3.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    runtime = Torch()
    runtime.device = torch.device("cuda")
    timed = runtime.timer(lambda: happened.append("run"))
    assert [timed(), timed()] == [3.5, 3.5]
    assert happened == ["record", "run", "record", "synchronize"] * 2


def test_an_apple_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    happened = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: happened.append("synchronize"))
    runtime = Torch()
    runtime.device = torch.device("mps")
    assert runtime.timer(lambda: happened.append("run"))() > 0
    assert happened == ["run", "synchronize"]


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_a_lower_precision_runs_a_copy(precision: str, dtype: torch.dtype) -> None:
    seen = []

    class Network(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((x.dtype, self.weight.dtype))
            return super().forward(x)

    network = Network(4, 3)
    made = Torch(precision=precision)
    with torch.inference_mode():
        found = made.output(made.prepare(network, torch.ones(2, 4))())
    assert seen == [(dtype, dtype)]
    assert found.dtype == torch.float32
    assert network.weight.dtype == torch.float32


def test_tokens_stay_integers_in_a_lower_precision() -> None:
    made = Torch(precision="bf16")
    network = torch.nn.Embedding(5, 3)
    assert made.output(made.prepare(network, torch.arange(5))()).shape == (5, 3)


def test_a_device_is_busy_until_its_times_are_steady_or_time_is_up() -> None:
    times = iter([9.0, 7.0, 5.0, 4.0, *[3.0] * 20])
    _repeat_until_steady(lambda: next(times), latest=8, seconds=60.0)
    assert len(list(times)) == 12
    calls = []
    _repeat_until_steady(lambda: calls.append(1) or float(len(calls)), seconds=0.01)
    assert len(calls) > 1


def test_only_a_cuda_device_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    monkeypatch.setattr("nastk.runtimes.torch._repeat_until_steady", lambda timed: happened.append("settled"))
    made = Torch()
    made.settle()
    assert happened == []
    zeros = torch.zeros
    monkeypatch.setattr(made, "timer", lambda run: run)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: zeros(*shape))
    made.device = torch.device("cuda")
    made.settle()
    assert happened == ["settled"]
