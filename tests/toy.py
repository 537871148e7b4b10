"""A toy space and a pair of conflicting objectives, for tests of searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.history import History
from nastk.oracles.base import Direction, Evaluation, FunctionOracle, Oracle, exact
from nastk.search.base import Objective, Proposal
from nastk.spaces.base import Archs, Choice, SearchSpace

TINY_SPACE = """
import nastk

class Tiny(nastk.SearchSpace):
    name = "tiny"
    choices = tuple(nastk.Choice(n, ("1", "2", "4")) for n in ("depth", "width", "kernel"))

    def build(self, arch, **options):
        raise NotImplementedError

    def statics(self, archs, **options):
        return {"params": 10.0 * (archs + 1).prod(axis=1), "flops": (archs**2).sum(axis=1) + 1.0}
"""
"""A user's file with a space of 27 networks; tests of the command line write functions of their own behind it."""


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
    name: str,
    function: Callable[[Archs], Any] | None = None,
    direction: Direction | None = None,
    expensive: bool = True,
) -> FunctionOracle:
    """`latency` or `accuracy`, or another function of the toy's architectures, as an oracle."""
    function = function or {"latency": latency, "accuracy": accuracy}[name]
    direction = direction or ("max" if name == "accuracy" else "min")
    return FunctionOracle(Toy(), function, name, "ms" if name == "latency" else "%", direction, expensive)


def objectives() -> list[FunctionOracle]:
    """Accuracy (to maximise) and latency (to minimise), both expensive."""
    return [oracle("accuracy"), oracle("latency")]


class Epochs(Oracle):
    """The toy's accuracy: after f of 9 epochs, it has 9 - f points less and is a little out of order."""

    space, name, unit, direction, source = Toy(), "accuracy", "%", "max", "toy"
    fidelities = (1.0, 3.0, 9.0)

    def __init__(self) -> None:
        self.asked: list[float | None] = []
        self.interrupt_after = 10**9

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity not in (None, *self.fidelities):
            raise InvalidValue(f"accuracy has fidelities 1, 3, 9; got {fidelity}")
        self.asked += [fidelity] * len(archs)
        if len(self.asked) == self.interrupt_after:
            raise KeyboardInterrupt
        epochs = fidelity or 9.0
        return exact(accuracy(archs) - (9.0 - epochs) * (1.0 + 0.1 * archs[:, 2]))


def low(arch: Any, value: float, fidelity: float | None = 1.0, objective: str = "accuracy") -> Record:
    """A result, of the lowest fidelity if nothing else is said."""
    return Record(tuple(int(v) for v in arch), objective, value, fidelity=fidelity)


def answers(proposals: list[Proposal], value: Any = None) -> list[Record]:
    """What a study would tell, the accuracy by `value` where that is given."""
    truth = {"accuracy": Epochs(), "latency": oracle("latency")}
    records = []
    for p in proposals:
        for name in p.objectives:
            fidelity = Objective.of(truth[name]).at(p.fidelity)
            found = truth[name].evaluate(p.arch, fidelity).value[0]
            found = value(p.arch) if value is not None and name == "accuracy" else found
            records.append(low(p.arch, float(found), fidelity, name))
    return records


def evaluated(history: History) -> list[tuple[tuple[int, ...], str, float | None]]:
    """Every evaluation, in order: architecture, objective, fidelity."""
    return [(r.arch, r.objective, r.fidelity) for r in history.records()]
