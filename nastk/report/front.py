"""The chart of a result: its front, the evaluated architectures, and predictions of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.evaluation import Kind, Purpose
from nastk.oracles.counts import Count
from nastk.predictors.base import Prediction
from nastk.report.chart import Axis, Chart, Cloud, Point, Value
from nastk.report.course import Limit, drawn, failures_of, growth_of, spent_of
from nastk.search.base import Objective, Searcher
from nastk.search.candidates import other_networks
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from nastk.result import Result

CLOUD = 5_000
"""Draw at most this many predicted architectures in grey; more make the page slow and show nothing else."""

BUILT = 300
"""Draw at most this many where each network is built to count something of it, at some ten milliseconds each."""

PURPOSES: tuple[Purpose, Purpose] = ("search", "verify")
"""Where a value is looked for; a later measurement says more."""

Ends = tuple[float, float]
"""Both ends of an interval."""

Z95 = 1.96
"""Standard normal quantile at 97.5 %: half the width of a 95 % interval in standard deviations."""


def chart_of(
    result: Result,
    proposed: Archs | None = None,
    title: str | None = None,
    notes: Sequence[str] = (),
    true_front: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
) -> Chart:
    """The chart of a result.

    Args:
        result: finished or interrupted.
        proposed: the front as the searcher proposed it, where verification left some of it out.
        title: by default the space and its objectives.
        notes: further sentences for the reader.
        true_front: of the table, where it is known: values by objective.
        seed: random seed of the sample that is drawn where there are too many other architectures.
    """
    searcher = result.searcher
    front = result.front_archs
    others = searcher.archs_ if proposed is None else np.concatenate([searcher.archs_, proposed])
    others = other_networks(searcher.space, np.unique(searcher.one_of_each(others), axis=0), front)
    rest = searcher.one_of_each(_sample(searcher.space, seed))
    rest = other_networks(searcher.space, rest, np.concatenate([front, others]))
    chart = Chart(
        title=title or _title(searcher),
        axes=[Axis(o.name, o.unit, o.direction, o.oracle.source) for o in searcher.objectives],
        front=_points(result, front, named=True),
        evaluated=_points(result, others),
        cloud=_cloud(searcher, rest),
        true_front={name: [float(v) for v in values] for name, values in (true_front or {}).items()},
        feasible=not searcher.constraints or result.feasible,
    )
    chart = replace(chart, **_course(result, chart))
    said = [_source_note(o, chart) for o in searcher.objectives]
    agreements = [n for o in searcher.objectives if (n := agreement_note(chart, o.name))]
    return replace(chart, notes=[*said, *agreements, *notes])


def _course(result: Result, chart: Chart) -> dict[str, Any]:
    """What the page tells of how the front came about."""
    records = result.history.records()
    names = [o.name for o in result.objectives]
    limits = [Limit(c.objective, c.relation, c.bound) for c in result.constraints]
    budget = (result.description or {}).get("budget")
    failed: Counter[tuple[str, str]] = Counter()
    for f in result.failures:
        failed[f["objective"], f["reason"]] += f["count"]
    order = dict.fromkeys(r.arch for r in records if r.purpose == "search")
    archs = np.array(list(order), dtype=np.int64).reshape(-1, result.space.d)
    texts = list(dict.fromkeys(result.space.format_all(archs))) if len(archs) else []
    return {
        "limits": limits,
        "spent": spent_of(records, names, budget if isinstance(budget, dict) else None),
        "failed": failures_of(failed),
        "growth": growth_of([*chart.front, *chart.evaluated], texts, chart.axes, limits),
    }


def _title(searcher: Searcher) -> str:
    first, *rest = [o.name.replace("_", " ") for o in searcher.objectives]
    bounds = f", {', '.join(map(str, searcher.constraints))}" if searcher.constraints else ""
    return f"{searcher.space.whole.name}: {first}" + (f" against {', '.join(rest)}" if rest else "") + bounds


def _source_note(objective: Objective, chart: Chart) -> str:
    """Where the values of one objective come from, and how many of the front's are estimates."""
    label = Axis(objective.name, objective.unit).label
    if not objective.expensive:
        return f"{label}: {objective.oracle.source}."
    front = chart.front
    estimates = sum(p.shown[objective.name].kind == "estimate" for p in front if objective.name in p.shown)
    if not estimates:
        return f"{label}: {objective.oracle.source}."
    of = "of the front" if chart.feasible else chart.front_name
    return f"{label}: {objective.oracle.source}; estimates for {estimates} of the {len(front)} {of}."


def _sample(space: SearchSpace, seed: int) -> Archs:
    if not space.enumerable:
        return space.sample(CLOUD, seed)
    everything = space.enumerate()
    if len(everything) <= CLOUD:
        return everything
    rows = np.random.default_rng(seed).choice(len(everything), CLOUD, replace=False)
    return everything[np.sort(rows)]


def _predict(searcher: Searcher, archs: Archs) -> dict[str, Prediction]:
    """What is computed or predicted of architectures, by objective, without an evaluation."""
    if not len(archs):
        return {}
    predictions = dict(searcher.estimate(archs))
    for objective in searcher.objectives:
        if not objective.expensive:
            answer = objective.oracle.evaluate(archs)
            predictions[objective.name] = Prediction(answer.value, answer.std)
    return predictions


def predicted_ends(searcher: Searcher, archs: Archs) -> dict[str, list[Ends | None]]:
    """95 % intervals of what a search's predictors say of architectures, by expensive objective.

    Those that hold (:meth:`nastk.predictors.Predictor.interval`), not so many of the deviations by which a search
    compares architectures; None where a predictor cannot tell any. What is computed may vary too, but its oracle says
    by how much: see :func:`interval`.
    """
    learned = searcher.intervals(archs) if len(archs) else {}
    believed = searcher.estimate(archs) if learned else {}
    found: dict[str, list[Ends | None]] = {name: [None] * len(archs) for name in searcher.expensive}
    for name, (low, high) in learned.items():
        found[name] = list(map(_ends, believed[name].mean.tolist(), low.tolist(), high.tolist()))
    return found


def _cloud(searcher: Searcher, archs: Archs) -> Cloud:
    learned = set(searcher.estimate(archs[:1])) if len(archs) else set()
    if set(searcher.expensive) - learned:
        return Cloud()
    if len(archs) > BUILT and any(isinstance(o.oracle, Count) and o.oracle.builds for o in searcher.objectives):
        archs = archs[np.linspace(0, len(archs) - 1, BUILT).astype(int)]
    predictions = _predict(searcher, archs)
    if {o.name for o in searcher.objectives} - set(predictions):
        return Cloud()
    values = {name: [float(f"{v:.5g}") for v in predictions[name].mean] for name in predictions}
    return Cloud(searcher.space.format_all(archs), values, {o.name: _predicted_kind(o) for o in searcher.objectives})


def _points(result: Result, archs: Archs, named: bool = False) -> list[Point]:
    """Known values of each architecture, in the order of the first objective; a prediction is shown beside a value only
    if that was evaluated after it. `named`: with the labels of its choices."""
    searcher = result.searcher
    choices = choices_of(searcher.space, archs) if named else [{} for _ in archs]
    predictions, ends = _predict(searcher, archs), predicted_ends(searcher, archs)
    told, verified = (
        {o.name: _evaluated(result, archs, o, purpose) for o in searcher.objectives} for purpose in PURPOSES
    )
    points = []
    for i, arch in enumerate(archs):
        shown: dict[str, Value] = {}
        predicted: dict[str, Value] = {}
        for objective in searcher.objectives:
            name = objective.name
            prediction = None
            if name in predictions:
                prediction = _prediction_of(objective, predictions[name], ends.get(name), i)
            before = told[name][i]
            if (value := verified[name][i]) is not None:
                shown[name] = value
                if prediction is not None and before is None:
                    predicted[name] = prediction
            elif before is not None:
                shown[name] = before
            elif prediction is not None:
                shown[name] = prediction
        graph = drawn(searcher.space.graph(arch)) if named else None
        points.append(Point(searcher.space.format(arch), shown, predicted, choices[i], graph))
    first = searcher.objectives[0].name
    return sorted(points, key=lambda p: p.shown[first].value if first in p.shown else np.inf)


def options_of(space: SearchSpace, archs: Archs) -> list[list[str]]:
    """For each architecture the labels of its choices; empty where a choice makes no difference."""
    return [
        [c.options[v] if active else "" for c, v, active in zip(space.choices, row, used, strict=True)]
        for row, used in zip(archs.tolist(), space.active(archs).tolist(), strict=True)
    ]


def choices_of(space: SearchSpace, archs: Archs) -> list[dict[str, str]]:
    """For each architecture the label of each choice that makes a difference, by name."""
    names = [c.name for c in space.choices]
    return [{n: label for n, label in zip(names, row, strict=True) if label} for row in options_of(space, archs)]


def _evaluated(result: Result, archs: Archs, objective: Objective, purpose: Purpose) -> list[Value | None]:
    if not objective.expensive:
        return [None] * len(archs)
    kind = objective.oracle.kind
    records = result.find(archs, objective, purpose)
    return [None if r is None or r.status != "ok" else _value(r.value, interval(r.value, r.std), kind) for r in records]


def _prediction_of(objective: Objective, prediction: Prediction, ends: list[Ends | None] | None, i: int) -> Value:
    """`ends` of what is learned; None of what is computed."""
    value, kind = float(prediction.mean[i]), _predicted_kind(objective)
    told = interval(value, float(prediction.std[i])) if ends is None else ends[i]
    return _value(value, told, kind)


def _predicted_kind(objective: Objective) -> Kind:
    """Kind of a value that was not evaluated: an estimate of what is expensive, else what the oracle says."""
    return "estimate" if objective.expensive else objective.oracle.kind


def _value(value: float, ends: Ends | None, kind: Kind) -> Value:
    return Value(value, kind) if ends is None else Value(value, kind, *ends)


def interval(value: float, std: float) -> Ends | None:
    """Both ends of the 95 % interval of what was measured, from its standard deviation; None where that is unknown or
    0."""
    return _ends(value, value - Z95 * std, value + Z95 * std) if std > 0 else None


def _ends(value: float, low: float, high: float) -> Ends | None:
    """Both ends of an interval, where there is one. What is not negative stays so."""
    if not low < high:
        return None
    return max(low, 0.0) if value >= 0 else low, high


def agreement(chart: Chart, name: str) -> dict[str, Any] | None:
    """Agreement of predictions with later evaluations of one objective.

    Over the architectures proposed as the front whose values were evaluated after they had been predicted.

    Returns:
        How many architectures have both (``n``), Spearman's correlation (NaN for fewer than three, or where all are
        equal), the median error in %, and the share of values inside the 95 % interval; None where none has both.
    """
    from scipy.stats import spearmanr

    points = [*chart.front, *chart.evaluated]
    pairs = [(p.predicted[name], p.shown[name].value) for p in points if name in p.predicted]
    if not pairs:
        return None
    predicted: NDArray[np.float64] = np.array([v.value for v, _ in pairs])
    true: NDArray[np.float64] = np.array([v for _, v in pairs])
    inside = [v.low <= t <= v.high for v, t in pairs if v.low is not None and v.high is not None]
    ranked = len(pairs) >= 3 and np.ptp(predicted) > 0 and np.ptp(true) > 0
    return {
        "n": len(pairs),
        "spearman": float(spearmanr(predicted, true).statistic) if ranked else float("nan"),
        "median_error_percent": float(100 * np.median(np.abs(predicted / true - 1.0))),
        "inside_interval": float(np.mean(inside)) if inside else float("nan"),
    }


def agreement_note(chart: Chart, name: str) -> str:
    """:func:`agreement` as a sentence; empty where there is nothing to compare."""
    found = agreement(chart, name)
    if found is None:
        return ""
    axis = next(a for a in chart.axes if a.name == name)
    share, few = found["inside_interval"], found["n"] == 1
    inside = "" if np.isnan(share) else f"; {100 * share:.0f} % of them in their 95 % interval"
    if few and inside:
        inside = f"; {'inside' if share else 'outside of'} its 95 % interval"
    spearman = "" if np.isnan(found["spearman"]) else f"Spearman {found['spearman']:.3f}, "
    return (
        f"Prediction against truth of {axis.name.replace('_', ' ')} on {found['n']} proposed "
        f"architecture{'' if few else 's'}: {spearman}{'' if few else 'median '}error "
        f"{found['median_error_percent']:.1f} %{inside}."
    )
