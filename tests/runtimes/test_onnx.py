"""ONNX Runtime: why a network cannot be exported."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from nastk.runtimes.onnx import Onnx


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
    ("network", "error", "message"),
    [
        (Bessel(), RuntimeError, "cannot be exported to ONNX: .*No ONNX function found for .*bessel_j0"),
        (Depends(), RuntimeError, "cannot be exported to ONNX: .*data-dependent expression"),
        (Fails(), TypeError, "an error of its own"),
        (nn.Linear(5, 3), RuntimeError, "shapes cannot be multiplied"),
    ],
)
def test_the_reason_is_the_cause_and_nothing_else_is_printed(
    network: nn.Module,
    error: type[Exception],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = logging.root.manager.disable
    with torch.inference_mode(), pytest.raises(error, match=message):
        Onnx().prepare(network, torch.ones(2, 4), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())
    assert logging.root.manager.disable == before
    said = capfd.readouterr()
    assert said.out == said.err == ""
