"""Workers on a virtual clock: evaluations of a table that end in the order in which trainings of some length would."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future

import numpy as np

from nastk.workers.base import Answers, Call, Workers

SPREAD = 0.5
"""Standard deviation of the logarithm of an evaluation's length: one in twenty takes 2.7 times the median, or more."""


class VirtualWorkers(Workers):
    """Evaluate at once, and answer in the order of lengths that are drawn; nothing waits for a real clock.

    Args:
        count: evaluations in flight at a time.
        seed: of the lengths.
    """

    here = False

    def __init__(self, count: int, seed: int):
        self._count, self._rng, self._now = count, np.random.default_rng([seed, count]), 0.0
        self._ends: dict[Future[Answers], tuple[float, Answers]] = {}

    @property
    def count(self) -> int:
        return self._count

    def submit(self, call: Call) -> Future[Answers]:
        answer: Future[Answers] = Future()
        self._ends[answer] = self._now + self._rng.lognormal(0.0, SPREAD), call.here()
        return answer

    def wait(self, running: Collection[Future[Answers]], patience: float = 0.0) -> set[Future[Answers]]:
        first = min(running, key=lambda answer: self._ends[answer][0])
        self._now, answers = self._ends.pop(first)
        first.set_result(answers)
        return {first}
