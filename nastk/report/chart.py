"""What a front's picture shows, apart from how it is drawn: the PNG and the HTML draw the same chart.

Every value says what it is: a measurement, a value of a table, or an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nastk.errors import DataError
from nastk.evaluation import Kind

KINDS: dict[str, str] = {
    "measured": "measured",
    "table": "table value",
    "estimate": "estimate",
    "computed": "computed exactly",
}


@dataclass(frozen=True)
class Axis:
    """One objective.

    Args:
        name, unit, direction: of the objective.
        source: where its values come from, for the reader.
    """

    name: str
    unit: str = ""
    direction: Literal["min", "max"] = "min"
    source: str = ""

    @property
    def label(self) -> str:
        """Name and unit, as an axis shows them."""
        words = self.name.replace("_", " ")
        return f"{words} ({self.unit})" if self.unit else words


@dataclass(frozen=True)
class Value:
    """One value of one objective.

    Args:
        value: in the objective's unit.
        kind: what sort of value it is.
        low, high: ends of its interval (estimates: 95 % of the predictive distribution; measurements: their spread).
    """

    value: float
    kind: Kind
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Point:
    """One architecture of the front, or evaluated on the way.

    Args:
        arch: its text form.
        shown: the best value known of each objective, by name.
        predicted: what had been predicted before it was measured, by name, where both are known.
    """

    arch: str
    shown: dict[str, Value]
    predicted: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Cloud:
    """The architectures that were not evaluated: texts and estimates, ``values[name][i]`` of ``archs[i]``."""

    archs: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A front and what surrounds it.

    Args:
        title: what was searched.
        axes: the objectives; the first two are drawn, the HTML lets the reader choose.
        front: best first objective first.
        evaluated: what was evaluated and is not in the front.
        cloud: estimates of the rest.
        true_front: the table's own front, where it is known: values by name.
        notes: sentences below the title: sources, how far prediction and measurement lie apart.
    """

    title: str
    axes: list[Axis]
    front: list[Point]
    evaluated: list[Point] = field(default_factory=list)
    cloud: Cloud = field(default_factory=Cloud)
    true_front: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def xy(self) -> tuple[Axis, Axis]:
        """The axes to draw: what is minimised across, what is maximised upwards, where there is one of each."""
        if len(self.axes) < 2:
            return self.axes[0], self.axes[0]
        upward = next((a for a in self.axes if a.direction == "max"), self.axes[-1])
        across = next(a for a in self.axes if a is not upward)
        return across, upward

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Chart:
        """The inverse of :meth:`to_dict`.

        Raises:
            DataError: not what :meth:`to_dict` wrote.
        """
        try:
            return cls(
                title=str(content["title"]),
                axes=[Axis(**a) for a in content["axes"]],
                front=_points(content["front"]),
                evaluated=_points(content["evaluated"] if "evaluated" in content else content["paid"]),
                cloud=Cloud(**content["cloud"]),
                true_front=dict(content["true_front"]),
                notes=[str(n) for n in content["notes"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a chart: {type(error).__name__}: {error}") from error


def _points(rows: Sequence[dict[str, Any]]) -> list[Point]:
    return [Point(row["arch"], _values(row["shown"]), _values(row["predicted"])) for row in rows]


def _values(content: dict[str, Any]) -> dict[str, Value]:
    """Values by name; files of before 0.1 call what is computed exact."""
    return {n: Value(**{**v, "kind": "computed" if v["kind"] == "exact" else v["kind"]}) for n, v in content.items()}
