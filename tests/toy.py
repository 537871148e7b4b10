"""A toy space and a pair of conflicting objectives, for tests of searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nastk.oracles.base import Direction, FunctionOracle
from nastk.spaces.base import Archs, Choice, SearchSpace


class Toy(SearchSpace):
    """Four choices of three options; the second choice does not matter where the first is "a"."""

    name = "toy"
    choices = tuple(Choice(f"choice{i}", ("a", "b", "c")) for i in range(4))

    def canonical(self, archs: Archs) -> Archs:
        archs = np.array(archs)
        archs[archs[:, 0] == 0, 1] = 0
        return archs

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


def latency(archs: Archs) -> Any:
    """ms: large options are slow."""
    return 1.0 + Toy().canonical(archs) @ np.array([1.0, 2.0, 3.0, 5.0])


def accuracy(archs: Archs) -> Any:
    """%: large options are good, with diminishing returns."""
    return 60.0 + 10.0 * np.sqrt(Toy().canonical(archs) @ np.array([3.0, 1.0, 2.0, 1.0]))


def oracle(
    name: str, function: Callable[[Archs], Any] | None = None, direction: Direction | None = None, paid: bool = True
) -> FunctionOracle:
    """`latency` or `accuracy`, or another function of the toy's architectures, as an oracle."""
    function = function or {"latency": latency, "accuracy": accuracy}[name]
    direction = direction or ("max" if name == "accuracy" else "min")
    return FunctionOracle(Toy(), function, name, "ms" if name == "latency" else "%", direction, paid)


def objectives() -> list[FunctionOracle]:
    """Accuracy (to maximise) and latency (to minimise), both paid."""
    return [oracle("accuracy"), oracle("latency")]
