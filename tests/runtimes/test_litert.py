"""LiteRT: fp32 and int8 beside PyTorch, and why a network cannot be converted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nastk
from nastk.oracles import Latency
from nastk.runtimes._agreement import agreement
from nastk.runtimes.litert import Litert
from nastk.testing import check_runtime

for module in ("ai_edge_litert", "ai_edge_quantizer", "litert_torch"):
    pytest.importorskip(module, reason=f"{module} is of the extra litert, which needs an environment of its own")

SPACE = nastk.space("nasbench201")
TINY = {"channels": 4, "cells_per_stage": 1, "input_size": 8}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    ).eval()


def test_it_keeps_the_contract() -> None:
    check_runtime("litert")


@pytest.mark.parametrize("calibrated", ["on random inputs", "on given inputs"])
def test_int8_is_int8_throughout_and_near_to_pytorch(calibrated: str, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    x = torch.randn(2, 3, 8, 8)
    given = torch.randn(16, 3, 8, 8) if calibrated == "on given inputs" else None
    runtime, file = Litert(precision="int8", calibration=given), tmp_path / "network.tflite"
    model = network()
    with torch.inference_mode():
        run = runtime.prepare(model, x, file)
        found = agreement(model(x), runtime.output(run()))
    assert found.cosine > 0.99
    assert found.difference > 1e-4  # a float network would be nearer
    operators = Interpreter(str(file))._get_ops_details()
    kinds = {d["dtype"].__name__ for d in Interpreter(str(file)).get_tensor_details()}
    assert kinds == {"int8", "int32"}
    assert "CONV_2D" in {operator["op_name"] for operator in operators}


def test_int8_ranges_are_those_of_the_given_inputs(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    scales = []
    for i, width in enumerate((1.0, 10.0)):
        given = width * torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8).repeat(4, 1, 1, 1)
        Litert(precision="int8", calibration=given).prepare(network(), given[:2], tmp_path / f"{i}.tflite")
        scales.append(Interpreter(str(tmp_path / f"{i}.tflite")).get_input_details()[0]["quantization"][0])
    assert scales[0] == pytest.approx(2 / 255, rel=0.02)
    assert scales[1] == pytest.approx(20 / 255, rel=0.02)


def test_tokens_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(50, (1, 6))
    model = nn.Sequential(nn.Embedding(50, 8), nn.LayerNorm(8), nn.Linear(8, 50)).eval()
    runtime = Litert()
    with torch.inference_mode():
        run = runtime.prepare(model, tokens, tmp_path / "network.tflite")
        assert agreement(model(tokens), runtime.output(run())).difference < 1e-3


def test_latency_is_measured_with_it() -> None:
    oracle = Latency(SPACE, runtime="litert", rounds=2, warmup=0.0, max_seconds=0.02, **TINY)
    (found,) = oracle.measure_many(SPACE.sample(1, 0))
    assert found.median > 0
    assert ", litert " in oracle.source


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise TypeError("an error of its own")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Bessel(), RuntimeError, "^cannot be converted to LiteRT: Lowering not found: aten.special_bessel_j0.default$"),
        (Depends(), RuntimeError, "^cannot be converted to LiteRT: .*data-dependent expression[^\\n]*$"),
        (Fails(), TypeError, "an error of its own"),
    ],
)
def test_the_reason_is_the_cause_and_nothing_else_is_printed(
    model: nn.Module, error: type[Exception], message: str, tmp_path: Path, capfd: Any
) -> None:
    before = logging.root.manager.disable
    with torch.inference_mode(), pytest.raises(error, match=message):
        Litert().prepare(model, torch.ones(2, 4), tmp_path / "network.tflite")
    assert not list(tmp_path.iterdir())
    assert logging.root.manager.disable == before
    said = capfd.readouterr()
    assert said.out == said.err == ""
