"""The content of a front's picture, apart from how it is drawn: the PNG and the HTML draw the same chart.

Every value says what it is: a measurement, a value of a table, or an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from nastk.errors import DataError
from nastk.evaluation import Kind
from nastk.report.course import Failed, Graph, Growth, Limit, Spent

KINDS: dict[str, str] = {
    "measured": "measured",
    "table": "table value",
    "estimate": "estimate",
    "computed": "computed exactly",
}
"""Kinds of values as pictures and tables call them."""

LEAST_VIOLATING = "least violating"
"""What is shown in place of a front where nothing that keeps the constraints was found."""

INTERVALS = {"prediction": "95 % interval of the prediction", "measurement": "spread of the measurement (± 1.96 s.d.)"}
"""What the interval of a value is: of an estimate, and of what was measured, here or by a table's authors."""


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
        low, high: ends of its interval: of an estimate, those that hold a new value with 95 %; of what was measured,
            1.96 standard deviations to each side (of a table's repeats; of the median of a timing here).
    """

    value: float
    kind: Kind
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of its interval; None where it has none."""
        ends = (self.low, self.high)
        if ends[0] is None or ends[1] is None or not all(map(math.isfinite, (ends[0], ends[1]))):
            return None
        return ends[0], ends[1]


@dataclass(frozen=True)
class Point:
    """One architecture: of the front, or another that was evaluated.

    Args:
        arch: its text form.
        shown: the best known value of each objective, by name.
        predicted: predictions made before the values were measured, by name, where both are known.
        choices: of the front, the label of each choice that makes a difference, by name.
        graph: of the front, the network as it is drawn.
    """

    arch: str
    shown: dict[str, Value]
    predicted: dict[str, Value] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    graph: Graph | None = None

    def at(self, x: str, y: str) -> tuple[float, float] | None:
        """Its place in two objectives; None where one of its values is unknown."""
        values = [self.shown[name].value if name in self.shown else math.nan for name in (x, y)]
        return (values[0], values[1]) if all(map(math.isfinite, values)) else None

    def estimated(self, name: str) -> bool:
        """Whether its value of an objective is an estimate."""
        return self.shown[name].kind == "estimate"


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
        feasible: whether the front keeps the constraints; one that does not is called :data:`LEAST_VIOLATING`.
        limits: the constraints.
        spent: how many evaluations of each objective there were.
        failed: those that failed, by reason.
        growth: what was attained by number of architectures evaluated.
    """

    title: str
    axes: list[Axis]
    front: list[Point]
    evaluated: list[Point] = field(default_factory=list)
    cloud: Cloud = field(default_factory=Cloud)
    true_front: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    feasible: bool = True
    limits: list[Limit] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    growth: Growth | None = None

    @property
    def front_name(self) -> str:
        """What the front is called in legends."""
        return "front" if self.feasible else LEAST_VIOLATING

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
            chart = cls(
                title=str(content["title"]),
                axes=[Axis(**a) for a in content["axes"]],
                front=_points(content["front"]),
                evaluated=_points(content["evaluated"] if "evaluated" in content else content["paid"]),  # old files
                cloud=_cloud(content["cloud"]),
                true_front={str(n): _numbers(values) for n, values in content["true_front"].items()},
                notes=[str(n) for n in content["notes"]],
                feasible=content.get("feasible", True),  # old files do not say it
                **_course(content),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not a chart: {type(error).__name__}: {error}") from error
        if problem := chart._problem():
            raise DataError(f"not a chart: {problem}")
        return chart

    def _problem(self) -> str:
        """What of a chart that was read cannot be drawn; empty where all can."""
        names = [a.name for a in self.axes]
        points = [*self.front, *self.evaluated]
        values = [v for p in points for v in (*p.shown.values(), *p.predicted.values())]
        kinds = [*(v.kind for v in values), *self.cloud.kinds.values()]
        if not isinstance(self.feasible, bool):
            return f"feasible is {self.feasible!r}, must be true or false"
        if not names or len(set(names)) < len(names):
            return "it needs axes of different names"
        if odd := [a for a in self.axes if not all(isinstance(v, str) for v in asdict(a).values())]:
            return f"the axis {odd[0].name!r} has a part that is no text"
        if odd := [a for a in self.axes if a.direction not in ("min", "max")]:
            return f"the axis {odd[0].name!r} has the direction {odd[0].direction!r}, must be min or max"
        if unknown := [k for k in kinds if not (isinstance(k, str) and k in KINDS)]:
            return f"a value of the kind {unknown[0]!r}; there are {', '.join(KINDS)}"
        if not all(isinstance(arch, str) for arch in (*self.cloud.archs, *(p.arch for p in points))):
            return "an architecture that is no text"
        if any(len(v) != len(self.cloud.archs) for v in self.cloud.values.values()):
            return "other numbers of architectures and of values in its cloud"
        if len({len(v) for v in self.true_front.values()}) > 1:
            return "other numbers of values of its true front's objectives"
        return ""


def _course(content: dict[str, Any]) -> dict[str, Any]:
    """Limits, evaluations, failures and growth; files of before 0.1 have none."""
    growth = content.get("growth")
    return {
        "limits": [Limit(str(c["objective"]), _relation(c), _number(c["bound"])) for c in content.get("limits", [])],
        "spent": [_spent(s) for s in content.get("spent", [])],
        "failed": [Failed(str(f["objective"]), str(f["reason"]), int(f["count"])) for f in content.get("failed", [])],
        "growth": growth and Growth(str(growth["label"]), _numbers(growth["x"]), _numbers(growth["y"])),
    }


def _spent(row: dict[str, Any]) -> Spent:
    evaluated, again, failed = (int(row[name]) for name in ("evaluated", "again", "failed"))
    budget = None if row["budget"] is None else _number(row["budget"])
    return Spent(str(row["objective"]), evaluated, again, failed, _number(row["seconds"]), budget)


def _relation(limit: dict[str, Any]) -> str:
    if limit["relation"] not in ("<=", ">="):
        raise ValueError(f"a limit of the relation {limit['relation']!r}")
    return str(limit["relation"])


def _points(rows: Sequence[dict[str, Any]]) -> list[Point]:
    return [
        Point(row["arch"], _values(row["shown"]), _values(row["predicted"]), _texts(row), _graph(row)) for row in rows
    ]


def _graph(row: dict[str, Any]) -> Graph | None:
    """The network of a point, where it is drawn; ValueError if its parts do not fit together."""
    found = row.get("graph")
    if found is None:
        return None
    labels = [str(label) for label in found["labels"]]
    edges = [[int(a), int(b)] for a, b in found["edges"]]
    columns, rows = _numbers(found["columns"]), _numbers(found["rows"])
    if len({len(labels), len(columns), len(rows)}) > 1 or any(not 0 <= i < len(labels) for e in edges for i in e):
        raise ValueError("a network whose edges or places are not those of its nodes")
    return Graph(labels, columns, rows, edges)


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """The choices of a point; files written before 0.1 have none."""
    return {str(name): str(label) for name, label in row.get("choices", {}).items()}


def _values(content: dict[str, Any]) -> dict[str, Value]:
    """Values by name; in files written before 0.1 the kind "computed" is called "exact"."""
    values = {}
    for name, parts in content.items():
        ends = {end: None if parts.get(end) is None else _number(parts[end]) for end in ("low", "high")}
        kind: Any = "computed" if parts["kind"] == "exact" else parts["kind"]
        values[name] = Value(_number(parts["value"]), kind, ends["low"], ends["high"])
    return values


def _cloud(content: dict[str, Any]) -> Cloud:
    values = {name: _numbers(column) for name, column in content["values"].items()}
    return Cloud(list(content["archs"]), values, dict(content.get("kinds", {})))


def _numbers(values: Sequence[Any]) -> list[float]:
    return [_number(v) for v in values]


def _number(value: Any) -> float:
    """A number as JSON has it, null for NaN."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def staircase(points: Sequence[tuple[float, float]], across: Axis, upward: Axis) -> list[tuple[float, float]]:
    """The border of what a front attains: its points in two objectives, joined by steps.

    Between two neighbours the best that can be had is the worse one, until the better one is reached. A straight line
    would promise architectures that nobody has found. Points that others dominate in the two objectives are left out.

    Args:
        points: ``(x, y)`` of the front.
        across, upward: their objectives.
    """
    import numpy as np

    from nastk.metrics import nondominated

    if not points:
        return []
    signs = [1.0 if axis.direction == "min" else -1.0 for axis in (across, upward)]
    best = sorted(points[int(i)] for i in np.flatnonzero(nondominated(np.asarray(points, dtype=float) * signs)))
    steps = best[:1]
    for before, after in pairwise(best):
        corner = (after[0], before[1]) if across.direction == "min" else (before[0], after[1])
        steps += [corner, after]
    return steps
