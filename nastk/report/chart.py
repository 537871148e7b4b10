"""The content of a front's picture, apart from how it is drawn: the PNG and the HTML draw the same chart.

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
"""Kinds of values as pictures and tables call them."""


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
        kind: measured, of a table, estimated or computed.
        low, high: ends of its interval (estimates: 95 % of the predictive distribution; measurements: their spread).
    """

    value: float
    kind: Kind
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Point:
    """One architecture: of the front, or another that was evaluated.

    Args:
        arch: its text form.
        shown: the best known value of each objective, by name.
        predicted: predictions made before the values were measured, by name, where both are known.
    """

    arch: str
    shown: dict[str, Value]
    predicted: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Cloud:
    """Architectures that are neither evaluated nor in the front.

    Args:
        archs: their texts.
        values: ``values[name][i]`` of ``archs[i]``.
        kinds: of the values by objective; an estimate where it is not said.
    """

    archs: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A front and what surrounds it.

    Args:
        title: what was searched.
        axes: the objectives; the first two are drawn, the HTML lets the reader choose.
        front: sorted by the first objective.
        evaluated: evaluated architectures outside the front.
        cloud: estimates of architectures that were not evaluated.
        true_front: the table's own front, where it is known: values by name.
        notes: sentences below the title: sources of values, errors of predictions.
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
        """The axes to draw, x then y: a minimised and a maximised objective, where there is one of each."""
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
                evaluated=_points(content["evaluated"] if "evaluated" in content else content["paid"]),  # old files
                cloud=Cloud(**content["cloud"]),
                true_front=dict(content["true_front"]),
                notes=[str(n) for n in content["notes"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a chart: {type(error).__name__}: {error}") from error


def _points(rows: Sequence[dict[str, Any]]) -> list[Point]:
    return [Point(row["arch"], _values(row["shown"]), _values(row["predicted"])) for row in rows]


def _values(content: dict[str, Any]) -> dict[str, Value]:
    """Values by name; in files written before 0.1 the kind "computed" is called "exact"."""
    return {n: Value(**{**v, "kind": "computed" if v["kind"] == "exact" else v["kind"]}) for n, v in content.items()}
