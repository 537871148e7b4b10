"""Operators of a network: counted by kind, however the network is written, and in agreement with the other counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nastk
from nastk.oracles.operators import KINDS, QUANTITIES, operators
from nastk.spaces.base import Archs, Choice, SearchSpace


class Small(SearchSpace):
    """One network of every kind of operator, as modules, as functions, or with a branch that depends on values."""

    name = "small"
    choices = (Choice("written", ("modules", "functions", "values", "broken")),)

    def input_shape(self, **_: Any) -> tuple[int, ...]:
        return (3, 8, 8)

    def build(self, arch: Archs, **_: Any) -> nn.Module:
        return _Network(self.choices[0].options[int(arch[0])])


class _Network(nn.Module):
    def __init__(self, written: str) -> None:
        super().__init__()
        self.written = written
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.pointwise = nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 4, 1, bias=False)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.written == "broken":
            raise RuntimeError("no such network")
        if self.written == "functions":
            x = F.relu(F.batch_norm(F.conv2d(x, self.first.weight, padding=1), *self._statistics(), training=False))
            x = F.conv2d(F.conv2d(x, self.depthwise.weight, groups=8), self.pointwise.weight)
        else:
            x = self.pointwise(self.depthwise(torch.relu(self.norm(self.first(x)))))
        if self.written == "values" and float(x.abs().sum()) < 0:
            raise AssertionError
        x = torch.cat([x, x], dim=1)
        return self.head(self.pool(x).flatten(1))

    def _statistics(self) -> tuple[Any, ...]:
        return self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias


def _of(written: int) -> dict[str, dict[str, float]]:
    counts = operators(Small(), np.array([written]))
    return {kind: dict(zip(QUANTITIES, map(float, row), strict=True)) for kind, row in zip(KINDS, counts, strict=True)}


def test_kernels_multiply_adds_and_bytes_are_those_of_the_shapes() -> None:
    found = _of(0)
    assert found["convolution"] == {
        "kernels": 1, "multiply-adds": 8 * 64 * 27, "bytes": 4 * (3 * 64 + 8 * 27 + 8 * 64)
    }  # fmt: skip
    assert found["grouped convolution"] == {
        "kernels": 1, "multiply-adds": 8 * 36 * 9, "bytes": 4 * (8 * 64 + 8 * 9 + 8 * 36)
    }  # fmt: skip
    assert found["pointwise convolution"]["multiply-adds"] == 4 * 36 * 8
    assert found["matrix product"]["multiply-adds"] == 80
    assert found["normalisation"]["kernels"] == found["copy"]["kernels"] == 1
    assert found["copy"]["bytes"] == 4 * 4 * (4 * 36)
    assert found["element-wise"] == {"kernels": 1, "multiply-adds": 0, "bytes": 2 * 4 * 8 * 64}


def test_functions_count_as_modules_do() -> None:
    assert _of(1) == _of(0)


def test_a_network_that_depends_on_values_is_run() -> None:
    found = _of(2)
    assert found["convolution"] == _of(0)["convolution"]
    assert found["normalisation"] == _of(0)["normalisation"]


def test_a_networks_error_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match="no such network"):
        operators(Small(), np.array([3]))


@pytest.mark.parametrize(
    "name", ["nasbench201", "fbnet", "mobilenetv3", "mnasnet", "edgetpu", "gpt", "nasbench101", "nasbench-macro"]
)
def test_multiply_adds_are_the_closed_forms_but_biases(name: str) -> None:
    space = nastk.space(name)
    arch = space.sample(1, 3)
    counts = operators(space, arch[0])
    assert counts[:, 1].sum() == pytest.approx(space.statics(arch)["flops"][0], rel=2e-3)
    assert counts[:, 0].min() >= 0
    assert (counts[:, 2] > 0).tolist() == (counts[:, 0] > 0).tolist()
