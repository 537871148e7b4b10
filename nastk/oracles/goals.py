"""Objectives as texts: ``[max:|min:]METRIC[:DEVICE][@EPOCHS]``, such as ``latency:pixel3`` or ``val_accuracy@12``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nastk.errors import InvalidValue
from nastk.oracles.base import Direction, Oracle
from nastk.oracles.counts import COUNTED, Count
from nastk.oracles.table import Benchmark

_GOAL = re.compile(r"(?:(max|min):)?([\w-]+)(?::([\w.-]+(?::\d+)?))?(?:@(\d+(?:\.\d+)?))?")
"""Direction, metric, device (``cuda:1`` has a colon of its own), epochs."""

VALIDATION_LOSS = "validation_loss"
"""The metric of translators on sentence pairs, which "accuracy" stands for with them."""


@dataclass(frozen=True)
class Goal:
    """One objective by names.

    Args:
        metric: of a table, "params" or "flops" of the space, or "accuracy", "latency", "energy" and "peak_memory" as
            `nastk.run` finds them.
        device: of a latency or energy.
        epochs: the fidelity; by default the highest.
        direction: "min" or "max"; by default the metric's own.
    """

    metric: str
    device: str | None = None
    epochs: float | None = None
    direction: Direction | None = None

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Read ``[max:|min:]METRIC[:DEVICE][@EPOCHS]``.

        Raises:
            InvalidValue: not of that form.
        """
        match = _GOAL.fullmatch(text.strip())
        if not match:
            raise InvalidValue(f"objective {text!r}: write METRIC, METRIC:DEVICE or METRIC@EPOCHS, such as latency:pi5")
        return cls(match[2], match[3], float(match[4]) if match[4] else None, match[1])  # type: ignore[arg-type]

    def __str__(self) -> str:
        device = f":{self.device}" if self.device else ""
        epochs = f"@{self.epochs:g}" if self.epochs is not None else ""
        return f"{self.direction}:" * (self.direction is not None) + self.metric + device + epochs

    def oracle(self, table: Benchmark) -> Oracle:
        """Its oracle: a column of the table, or a count that the table does not have.

        Raises:
            UnknownName, InvalidValue: the table has no such column; a device or epochs of a count.
        """
        found: Oracle
        if self.metric in COUNTED and self.metric not in table.table.metrics():
            self.needs_none()
            found = Count(table.space, self.metric)
        else:
            found = table.oracle(self.metric, device=self.device, fidelity=self.epochs)
        if self.direction is not None:
            found.direction = self.direction
        return found

    def needs_none(self, direction: Direction | None = None) -> None:
        """Refuse what the metric does not depend on.

        Args:
            direction: the only one that the metric has; None if either will do.

        Raises:
            InvalidValue: it names a device, epochs or the other direction.
        """
        if self.device is not None:
            raise InvalidValue(f"objective {self}: {self.metric} does not depend on a device; leave out :{self.device}")
        self.needs_no_epochs(direction)

    def needs_no_epochs(self, direction: Direction | None = None) -> None:
        """Refuse epochs, and the other direction; see :meth:`needs_none`."""
        if self.epochs is not None:
            raise InvalidValue(f"objective {self}: {self.metric} has no epochs here; leave out @{self.epochs:g}")
        if direction is not None and self.direction not in (None, direction):
            raise InvalidValue(f"objective {self}: {self.metric} is always {direction}imised")


def objective_names(goals: Sequence[Goal]) -> list[str]:
    """What columns and constraints call objectives: their metrics, with device or epochs where two are of one metric.

    Example::

        >>> objective_names([Goal("test_accuracy"), Goal("latency", "pi5"), Goal("latency", "pixel3")])
        ['test_accuracy', 'latency-pi5', 'latency-pixel3']
    """
    metrics = [goal.metric for goal in goals]
    places = [g.device or f"{g.epochs or 0:g}" for g in goals]
    return [m if metrics.count(m) == 1 else f"{m}-{place}" for m, place in zip(metrics, places, strict=True)]
