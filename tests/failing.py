"""A space of which some networks cannot be built or run, each in a way of its own."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

import nastk

REASONS = {
    "groups": "ValueError: in_channels must be divisible by groups",
    "type": "TypeError: a width of '8' in a second line",
    "key": "KeyError: 'no such thing'",
    "exit": "SystemExit: bye",
    "shape": "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
}
"""How the reasons begin of those that fail; all others work."""


class Several(nn.Module):
    """Returns features and logits."""

    def __init__(self, features: nn.Module, head: nn.Module):
        super().__init__()
        self.features, self.head = features, head

    def forward(self, x: torch.Tensor) -> Any:
        features = self.features(x)
        return features, self.head(features)


class Failing(nastk.SearchSpace):
    """``dies`` ends its process where the environment variable NASTK_TEST_DIES is set."""

    name = "failing"
    choices = (nastk.Choice("what", ("plain", "several", "lazy", *REASONS, "dies")),)

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        return (3, 8, 8)

    def build(self, arch: Any, **options: Any) -> nn.Module:
        what = self.choices[0].options[int(np.ravel(arch)[0])]
        if what == "groups":
            return nn.Conv2d(3, 8, 3, groups=2)
        if what == "type":
            raise TypeError("a width of '8'\nin a second line")
        if what == "key":
            raise KeyError("no such thing")
        if what == "exit":
            sys.exit("bye")
        if what == "dies" and os.environ.get("NASTK_TEST_DIES"):
            os._exit(137)
        body = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
        if what == "lazy":
            return nn.Sequential(*body, nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10))
        if what == "shape":
            return nn.Sequential(*body, nn.Flatten(), nn.Linear(5, 10))
        pooling = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        if what == "several":
            return Several(nn.Sequential(*body, *pooling), nn.Linear(8, 10))
        return nn.Sequential(*body, *pooling, nn.Linear(8, 10))


class OnlyFailing(nastk.SearchSpace):
    """Networks of which none can be built."""

    name = "only_failing"
    choices = (nastk.Choice("groups", ("2", "4", "5")),)

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        return (3, 8, 8)

    def build(self, arch: Any, **options: Any) -> nn.Module:
        return nn.Conv2d(3, 8, 3, groups=int(self.choices[0].options[int(np.ravel(arch)[0])]))


def accuracy(arch: Any) -> float:
    """More, the further an option stands in the list."""
    return 50.0 + float(arch[0])
