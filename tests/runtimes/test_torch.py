"""PyTorch in eager mode: memory and time."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from nastk.runtimes._peak_memory import PeakMemory
from nastk.runtimes.torch import Torch


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
