"""Stands in for an Optuna trial (Akiba et al., KDD 2019) while a network is built: suggestions become choices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from nastk.errors import InvalidValue
from nastk.spaces._choices import choice


class Trial:
    """The suggestions of `optuna.trial.Trial`, over finite sets of values."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the values."""
        return choice(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """One of low, low + step ... up to high; with `log` (which has no step) the same values."""
        if step < 1 or high < low:
            raise InvalidValue(f"suggest_int({name!r}): needs low <= high and a step of at least 1")
        return int(choice(name, list(range(low, high + 1, step))))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """One of low, low + step ... up to high.

        Raises:
            InvalidValue: no step.
        """
        if step is None or step <= 0 or high < low:
            raise InvalidValue(
                f"suggest_float({name!r}): an architecture has finitely many options; give a step, and low <= high"
            )
        first, last, each = (Decimal(str(v)) for v in (low, high, step))  # 0.3, not 0.30000000000000004
        return float(choice(name, [float(first + i * each) for i in range(int((last - first) // each) + 1)]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise InvalidValue(
            f"trial.{name} is not available while a network is built; use suggest_categorical, suggest_int and "
            "suggest_float"
        )
