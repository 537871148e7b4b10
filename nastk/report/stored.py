"""What a study's database shows of it, while it runs or later: its front so far, and where it stands.

Only what was evaluated or computed is shown: predictions are the searcher's, which this does not run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nastk.evaluation import Kind
from nastk.metrics import nondominated
from nastk.registry import SPACES
from nastk.report.chart import Axis, Chart, Point, Value
from nastk.report.course import Limit, drawn, failures_of, growth_of, spent_of
from nastk.search.base import Constraint
from nastk.spaces.base import SearchSpace
from nastk.spaces.precisions import MARK, in_precisions
from nastk.studies import Goal, StoredStudy

REASONS = 5
"""Name at most this many reasons of failures."""


def chart_of_stored(found: StoredStudy, notes: list[str] | None = None) -> Chart:
    """The chart of a stored study: its front so far, and the other architectures that were evaluated.

    In the front are those of which every objective is known; where none keeps the constraints, the one that violates
    them least.
    """
    names = [goal.name for goal in found.goals]
    bounds = list(map(Constraint.parse, found.constraints))
    best, feasible = front_of_stored(found, found.goals, bounds)
    space = space_of(found.facts.identity)
    kinds = {(r.arch, r.objective): r.kind for r in found.records}
    text = text_of(found.facts.identity)

    def point(arch: tuple[int, ...]) -> Point:
        shown = {}
        for goal in found.goals:
            value = found.values(arch).get(goal.name)
            if value is not None:
                kind: Kind = kinds.get((arch, goal.name), goal.kind)
                shown[goal.name] = Value(value, kind)
        graph = drawn(space.graph(np.array(arch))) if space is not None and arch in members else None
        return Point(text(arch), shown, graph=graph)

    members = set(best)
    front = sorted(map(point, best), key=lambda p: p.shown[names[0]].value)
    others = [p for p in (point(arch) for arch in found.archs if arch not in members) if p.shown]
    axes = [Axis(goal.name, goal.unit, goal.direction, goal.source) for goal in found.goals]
    limits = [Limit(c.objective, c.relation, c.bound) for c in bounds]
    order = list(dict.fromkeys(text(r.arch) for r in found.records if r.purpose == "search"))
    return Chart(
        title=f"{found.facts.name}: {', '.join(name.replace('_', ' ') for name in names)} of "
        f"{found.facts.identity.get('space', 'a space')}",
        axes=axes,
        front=front,
        evaluated=others,
        notes=[*standing(found), *(notes or [])],
        feasible=feasible or not found.constraints,
        limits=limits,
        spent=spent_of(found.records, names, found.budget),
        failed=failures_of(found.facts.failures),
        growth=growth_of([*front, *others], order, axes, limits),
    )


def front_of_stored(
    found: StoredStudy, goals: Sequence[Goal], constraints: Sequence[Constraint]
) -> tuple[list[tuple[int, ...]], bool]:
    """The non-dominated architectures, in some objectives, of those that keep some constraints, and whether any does;
    where none does, the one that violates them least.

    Architectures of which one of these objectives is unknown are left out. Of equal networks, the first one stands for
    all where the space is one of nastk's.
    """
    names = [goal.name for goal in goals]
    needed = list(dict.fromkeys([*names, *(c.objective for c in constraints)]))
    archs = [arch for arch in found.archs if set(needed) <= found.values(arch).keys()]
    space = space_of(found.facts.identity)
    if space is not None and archs:
        archs = [archs[i] for i in space.distinct(np.array(archs, dtype=np.int64))]
    values = np.array([[found.values(arch)[name] for name in needed] for arch in archs]).reshape(-1, len(needed))
    violation = np.zeros(len(archs))
    for c in constraints:
        violation += c.violation(values[:, needed.index(c.objective)]) / max(abs(c.bound), 1e-12)
    feasible = np.flatnonzero(violation <= 0)
    if not len(feasible):
        return ([archs[int(np.argmin(violation))]] if archs else []), False
    signs = np.array([1.0 if goal.direction == "min" else -1.0 for goal in goals])
    return [archs[i] for i in feasible[nondominated(values[feasible][:, : len(names)] * signs)]], True


def standing(found: StoredStudy, now: float | None = None) -> list[str]:
    """Where a study stands, a sentence each: progress, who runs it, the last evaluation, failures.

    Args:
        now: the time, seconds since 1970; by default that of this machine.
    """
    facts, now = found.facts, time.time() if now is None else now
    said = []
    if facts.evaluations or found.budget:
        names = dict.fromkeys([*found.budget, *facts.evaluations])
        of = {name: f" of {found.budget[name]}" if name in found.budget else "" for name in names}
        counts = ", ".join(f"{facts.evaluations.get(name, 0)}{of[name]} of {name}" for name in names)
        said.append(f"Evaluations: {counts}.")
    said.append(f"Run by {facts.holder}." if facts.holder is not None else "No process runs it now.")
    if facts.last is None:
        said.append("Nothing has been evaluated yet.")
    else:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts.last))
        said.append(f"The last evaluation came at {when}, {duration(now - facts.last)} ago.")
    if found.running and facts.holder is not None:
        text = text_of(facts.identity)
        running = [f"{name} of {text(arch)}" for arch, name, *_ in found.running[:REASONS]]
        more = f" and {len(found.running) - REASONS} more" if len(found.running) > REASONS else ""
        said.append(f"Evaluating: {', '.join(running)}{more}.")
    reasons: Counter[str] = Counter()
    for (name, reason), count in facts.failures.items():
        reasons[f"{name}: {reason}"] += count
    if reasons:
        named = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(REASONS))
        said.append(f"Failed: {sum(reasons.values())} ({named}{'; ...' if len(reasons) > REASONS else ''}).")
    return said


def duration(seconds: float) -> str:
    """A time span as people say it: ``8 s``, ``12 min``, ``3.5 h``, ``2 d``."""
    seconds = max(seconds, 0.0)
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if unit == "h" else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def text_of(identity: dict[str, Any]) -> Callable[[tuple[int, ...]], str]:
    """How architectures of a study's space are written: as the space does where it is one of nastk's, else their
    options. The code of a user's own space, which a database only names, is not run."""
    space, choices = space_of(identity), choices_of_identity(identity)
    if space is not None:
        return space.format  # type: ignore[return-value]

    def text(arch: tuple[int, ...]) -> str:
        if len(choices) != len(arch):
            return ",".join(map(str, arch))
        labels = [options[1 + value] for options, value in zip(choices, arch, strict=True)]
        return f"{'_'.join(labels[:-1])}{MARK}{labels[-1]}" if identity.get("precisions") else "_".join(labels)

    return text


def space_of(identity: dict[str, Any]) -> SearchSpace | None:
    """The space of a study where it is one of nastk's, with the same choices; else None."""
    name = str(identity.get("space", ""))
    if name not in SPACES.names():
        return None
    space: SearchSpace = SPACES.create(name)
    if space.identity() != {key: identity.get(key) for key in space.identity()}:
        return None
    return in_precisions(space, ",".join(identity.get("precisions", [])))


def choices_of_identity(identity: dict[str, Any]) -> list[list[str]]:
    """Name and options of each choice of a study's architectures; the precision, where it was chosen, is last."""
    precisions = identity.get("precisions")
    return [*identity.get("choices", []), *([["precision", *precisions]] if precisions else [])]
