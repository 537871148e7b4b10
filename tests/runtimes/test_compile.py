"""PyTorch's compiler: compiled once, never in eager mode; what it needs, and what it cannot capture."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nastk.errors import NastkError
from nastk.oracles import Latency
from nastk.runtimes.compile import Compile, _compiler
from nastk.spaces.base import Choice, SearchSpace

needs_compiler = pytest.mark.skipif(_compiler() is None, reason="needs a C++ compiler (g++)")


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not Compile.available()
    with pytest.raises(NastkError, match=r"needs a C\+\+ compiler; install g\+\+ or clang\+\+"):
        Compile()


@needs_compiler
def test_what_is_no_single_graph_fails_and_does_not_run_in_eager_mode(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"^cannot be compiled: .*data-dependent"):
        Compile().prepare(Depends(), torch.ones(2, 4), tmp_path / "network.pt2")
    assert not list(tmp_path.iterdir())
    said = capfd.readouterr()
    assert said.out == said.err == ""


@needs_compiler
@pytest.mark.slow
def test_a_network_is_compiled_once_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    export = Compile.export

    def counted(self: Compile, network: nn.Module, inputs: Tensor, file: Path) -> None:
        compiled.append(file.name)
        export(self, network, inputs, file)

    monkeypatch.setattr(Compile, "export", counted)

    class Tiny(SearchSpace):
        name = "tiny"
        choices = (Choice("width", ("2", "3")),)

        def build(self, arch: object, **_: object) -> nn.Module:
            return nn.Linear(4, 3)

        def input_shape(self, **_: object) -> tuple[int, ...]:
            return (4,)

    found = Latency(Tiny(), runtime="compile", rounds=3, warmup=0.0, max_seconds=0.05).measure([0])
    assert found.median > 0
    assert len(compiled) == 1
