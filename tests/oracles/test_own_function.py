"""A user's own function of an architecture or of its network."""

from __future__ import annotations

from pathlib import Path

import pytest
from failing import Failing

from nastk.oracles.own_function import accuracy_function

OWN = """
import torch

def accuracy(network):
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    return float(sum(p.numel() for group in optimiser.param_groups for p in group["params"]))
"""


def test_lazy_networks_have_their_weights_when_the_function_gets_them(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    oracle = accuracy_function(Failing(), f"{file}:accuracy", (), 0)
    stem, second, head = 8 * 27 + 8 + 16, 6 * 72 + 6 + 12, 96 * 10 + 10
    assert oracle.evaluate(["lazy"]).value[0] == stem + second + head
    with pytest.raises(ValueError, match="divisible by groups"):
        oracle.evaluate(["groups"])
