"""How a front came about, for its page: limits, what was spent, what failed, and how it grew with the evaluations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.evaluation import Record
from nastk.metrics import hypervolume, nondominated

if TYPE_CHECKING:
    import networkx as nx

    from nastk.report.chart import Axis, Point

STEPS = 60
"""Most places at which the growth of a front is computed: hypervolume of many objectives takes time."""

NODES = 120
"""Most nodes of a network that is drawn; of more, nobody sees anything."""

SWEEPS = 4
"""How often nodes of a column are put in the order of their neighbours', in turn from both ends."""


@dataclass(frozen=True)
class Limit:
    """A constraint of the search: what `objective` may be at most (``"<="``) or must be at least (``">="``)."""

    objective: str
    relation: str
    bound: float

    def kept(self, value: float) -> bool:
        """Whether a value keeps it; an unknown one does not."""
        return value <= self.bound if self.relation == "<=" else value >= self.bound


@dataclass(frozen=True)
class Spent:
    """Evaluations of one objective.

    Args:
        objective: its name.
        evaluated: in the search, failures included.
        again: at the end, to check the front.
        failed: of both.
        seconds: that they took in all; NaN where that is not known.
        budget: for those of the search; None where it is not known.
    """

    objective: str
    evaluated: int
    again: int
    failed: int
    seconds: float = math.nan
    budget: float | None = None


@dataclass(frozen=True)
class Failed:
    """Evaluations that failed for one reason."""

    objective: str
    reason: str
    count: int


@dataclass(frozen=True)
class Growth:
    """What was attained by number of architectures evaluated.

    Args:
        label: of the values: the hypervolume in % of the last one, or of a single objective its best value.
        x: numbers of architectures.
        y: values.
    """

    label: str
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Graph:
    """A network as it is drawn.

    Args:
        labels: of the nodes.
        columns, rows: their places: longest path from the input, and a place in that column around 0.
        edges: pairs of nodes.
    """

    labels: list[str] = field(default_factory=list)
    columns: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    edges: list[list[int]] = field(default_factory=list)


def spent_of(records: Sequence[Record], names: Sequence[str], budget: Mapping[str, float] | None = None) -> list[Spent]:
    """What the evaluations of each objective were, where there are some; those known from another study do not count,
    nor do trainings with further seeds."""
    found = []
    for name in names:
        mine = [r for r in records if r.objective == name and not r.study and r.purpose in ("search", "verify")]
        if not mine:
            continue
        seconds = [r.cost for r in mine if math.isfinite(r.cost)]
        again = sum(r.purpose == "verify" for r in mine)
        failed = sum(r.status == "failed" for r in mine)
        known = float(sum(seconds)) if seconds else math.nan
        found.append(Spent(name, len(mine) - again, again, failed, known, (budget or {}).get(name)))
    return found


def failures_of(failures: Mapping[tuple[str, str], int]) -> list[Failed]:
    """Failures by objective and reason, the most frequent first."""
    return [Failed(name, reason, count) for (name, reason), count in Counter(failures).most_common()]


def growth_of(
    points: Sequence[Point], order: Sequence[str], axes: Sequence[Axis], limits: Sequence[Limit] = ()
) -> Growth | None:
    """How the front grew, by what is known in the end of the architectures in the order in which they were evaluated.

    Hypervolume is up to the worst value of each objective of any of them. What breaks a limit, or has an unknown value,
    does not count.

    Args:
        points: with values.
        order: texts of the architectures, in the order of their first evaluation.
        axes: the objectives.
        limits: of the search.

    Returns:
        None where fewer than two architectures count.
    """
    names = [axis.name for axis in axes]
    signs = np.array([1.0 if axis.direction == "min" else -1.0 for axis in axes])
    by_arch = {p.arch: p for p in points}
    places, costs = [], []
    for place, arch in enumerate(order, start=1):
        point = by_arch.get(arch)
        if point is None or any(n not in point.shown for n in names):
            continue
        values = [point.shown[n].value for n in names]
        bounded = [limit for limit in limits if limit.objective in point.shown]
        if all(map(math.isfinite, values)) and all(c.kept(point.shown[c.objective].value) for c in bounded):
            places.append(place)
            costs.append(values * signs)
    if len(places) < 2:
        return None
    array = np.array(costs)
    if len(axes) == 1:
        best = np.minimum.accumulate(array[:, 0]) * signs[0]
        return Growth(
            f"best {axes[0].label}", [*map(float, places), float(len(order))], [*best.tolist(), float(best[-1])]
        )
    low, high = array.min(axis=0), array.max(axis=0)
    scaled = (array - low) / np.where(high > low, high - low, 1.0)
    at = sorted({int(k) for k in np.linspace(1, len(scaled), min(STEPS, len(scaled))).round()})
    volumes = np.array([hypervolume(_best(scaled[:k]), np.ones(len(axes))) for k in at])
    if volumes[-1] <= 0:
        return None
    share = (100.0 * volumes / volumes[-1]).tolist()
    return Growth(
        "hypervolume, % of the last", [*(float(places[k - 1]) for k in at), float(len(order))], [*share, 100.0]
    )


def _best(costs: Any) -> Any:
    return costs[nondominated(costs)]


def drawn(graph: nx.DiGraph) -> Graph | None:
    """Places of a network's nodes: columns by the longest path from the input, rows so that few edges cross. None where
    it cannot be drawn: more than :data:`NODES` nodes, or a cycle."""
    import networkx as nx

    if len(graph) > NODES or not nx.is_directed_acyclic_graph(graph):
        return None
    columns = [sorted(layer, key=list(graph).index) for layer in nx.topological_generations(graph)]
    for sweep in range(SWEEPS):
        near = graph.predecessors if sweep % 2 == 0 else graph.successors
        row = {node: k - (len(column) - 1) / 2 for column in columns for k, node in enumerate(column)}
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            column.sort(key=lambda node: float(np.mean([row[n] for n in near(node)] or [row[node]])))
            row |= {node: k - (len(column) - 1) / 2 for k, node in enumerate(column)}
    nodes = [node for column in columns for node in column]
    place = {node: i for i, node in enumerate(nodes)}
    return Graph(
        [str(graph.nodes[node].get("op", node)) for node in nodes],
        [float(c) for c, column in enumerate(columns) for _ in column],
        [k - (len(column) - 1) / 2 for column in columns for k in range(len(column))],
        [[place[a], place[b]] for a, b in graph.edges],
    )
