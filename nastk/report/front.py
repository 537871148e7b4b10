"""The chart of a search: its front, what it paid for, and what its predictors believe of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.oracles.base import Oracle
from nastk.oracles.predicted import Predicted
from nastk.oracles.table import CountingOracle, TableOracle
from nastk.predictors.base import Prediction
from nastk.report.chart import Axis, Chart, Cloud, Kind, Point, Value
from nastk.search.base import Objective, Searcher
from nastk.spaces.base import Archs, SearchSpace

CLOUD = 5_000
"""At most so many architectures are drawn in grey."""

Z95 = 1.96


def kind_of(oracle: Oracle) -> Kind:
    """What sort of values an oracle answers."""
    while isinstance(oracle, CountingOracle):
        oracle = oracle.oracle
    if isinstance(oracle, Predicted):
        return "estimate"
    if isinstance(oracle, TableOracle):
        return "table"
    return "measured" if oracle.paid else "exact"


def front_chart(
    searcher: Searcher,
    front: Archs,
    verified: Mapping[str, Mapping[bytes, tuple[float, float]]],
    title: str,
    notes: Sequence[str] = (),
    true_front: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
) -> Chart:
    """The chart of what a searcher found.

    Args:
        searcher: told everything that was paid for.
        front: the architectures that it proposes, ``(m, d)``.
        verified: by objective, value and standard deviation of architectures (``arch.tobytes()``) that were evaluated
            after the search to check its predictions.
        title, notes, true_front: see :class:`Chart`.
        seed: fixes which architectures stand for the rest where there are too many to draw.
    """
    told = _told(searcher)
    cloud = _sample(searcher.space, seed)
    paid = searcher.archs_
    in_front = {a.tobytes() for a in front}
    paid = paid[[a.tobytes() not in in_front for a in paid]] if len(paid) else paid
    return Chart(
        title=title,
        axes=[Axis(o.name, o.unit, o.direction, o.oracle.source) for o in searcher.objectives],
        front=_points(searcher, front, told, verified),
        paid=_points(searcher, paid, told, {}),
        cloud=_cloud(searcher, cloud),
        true_front={name: [float(v) for v in values] for name, values in (true_front or {}).items()},
        notes=list(notes),
    )


def _told(searcher: Searcher) -> dict[str, dict[bytes, tuple[float, float]]]:
    archs, values = searcher.archs_, searcher.values_
    return {
        o.name: {a.tobytes(): (float(v), np.nan) for a, v in zip(archs, values[:, j], strict=True) if np.isfinite(v)}
        for j, o in enumerate(searcher.objectives)
        if o.paid
    }


def _sample(space: SearchSpace, seed: int) -> Archs:
    if not space.enumerable:
        return space.sample(CLOUD, seed)
    everything = space.enumerate()
    if len(everything) <= CLOUD:
        return everything
    rows = np.random.default_rng(seed).choice(len(everything), CLOUD, replace=False)
    return everything[np.sort(rows)]


def _beliefs(searcher: Searcher, archs: Archs) -> dict[str, Prediction]:
    """What is computed or believed of architectures, by objective, without paying."""
    if not len(archs):
        return {}
    beliefs = dict(searcher.estimate(archs))
    for objective in searcher.objectives:
        if not objective.paid:
            answer = objective.oracle.evaluate(archs)
            beliefs[objective.name] = Prediction(answer.value, answer.std)
    return beliefs


def _cloud(searcher: Searcher, archs: Archs) -> Cloud:
    beliefs = _beliefs(searcher, archs)
    if {o.name for o in searcher.objectives} - set(beliefs):
        return Cloud()
    values = {name: [float(f"{v:.5g}") for v in beliefs[name].mean] for name in beliefs}
    return Cloud(searcher.space.format_all(archs), values)


Known = Mapping[str, Mapping[bytes, tuple[float, float]]]


def _points(searcher: Searcher, archs: Archs, told: Known, verified: Known) -> list[Point]:
    """What is known of each architecture; a prediction is shown beside a value that came after it only."""
    beliefs = _beliefs(searcher, archs)
    points = []
    for i, arch in enumerate(archs):
        key = arch.tobytes()
        shown: dict[str, Value] = {}
        predicted: dict[str, Value] = {}
        for objective in searcher.objectives:
            name, kind = objective.name, kind_of(objective.oracle)
            belief = _believed(objective, beliefs[name], i) if name in beliefs else None
            if key in told.get(name, {}):
                shown[name] = _value(*told[name][key], kind)
            elif key in verified.get(name, {}):
                shown[name] = _value(*verified[name][key], kind)
                if belief is not None:
                    predicted[name] = belief
            elif belief is not None:
                shown[name] = belief
        points.append(Point(searcher.space.format(arch), shown, predicted))
    return sorted(points, key=lambda p: next(iter(p.shown.values())).value if p.shown else 0.0)


def _believed(objective: Objective, belief: Prediction, i: int) -> Value:
    kind = "estimate" if objective.paid else kind_of(objective.oracle)
    return _value(float(belief.mean[i]), float(belief.std[i]), kind)


def _value(value: float, std: float, kind: Kind) -> Value:
    if not std > 0:
        return Value(value, kind)
    return Value(value, kind, value - Z95 * std, value + Z95 * std)


def agreement(chart: Chart, name: str) -> dict[str, Any] | None:
    """How far prediction and what was paid for lie apart on the front, for one objective.

    Returns:
        How many architectures have both (``n``), Spearman's correlation, the median error in %, and the share of values
        inside the 95 % interval; None where fewer than three have both.
    """
    from scipy.stats import spearmanr

    pairs = [(p.predicted[name], p.shown[name].value) for p in chart.front if name in p.predicted]
    if len(pairs) < 3:
        return None
    guess: NDArray[np.float64] = np.array([v.value for v, _ in pairs])
    true: NDArray[np.float64] = np.array([v for _, v in pairs])
    inside = [v.low <= t <= v.high for v, t in pairs if v.low is not None and v.high is not None]
    return {
        "n": len(pairs),
        "spearman": float(spearmanr(guess, true).statistic),
        "median_error_percent": float(100 * np.median(np.abs(guess / true - 1.0))),
        "inside_interval": float(np.mean(inside)) if inside else float("nan"),
    }
