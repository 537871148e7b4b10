"""What was measured at the end of a search, in sentences: what was asked and got, and how far it is to be trusted."""

from __future__ import annotations

from nastk.report.tables import number
from nastk.result import Result
from nastk.search.base import Objective
from nastk.search.retrained import Retrained


def promise_notes(result: Result) -> list[str]:
    """Sentences on the final measurement; none where nothing was measured again."""
    promise, found = result.promise, result.measurement
    if promise is None or found is None:
        return []
    notes = list(promise.missed)
    for name, conditions in found["objectives"].items():
        notes.append(
            f"{name}: {_measured(name, found)}; {conditions.get('said') or 'nothing is known of the machine'}."
        )
    for name, moved in promise.moved.items():
        if abs(moved) >= 0.03:
            slower = "slower" if moved > 0 else "faster"
            notes.append(f"{name}: measured {abs(moved):.0%} {slower} than by the search, of the same networks.")
    if result.constraints and promise.broken:
        limits = ", ".join(map(str, result.constraints))
        others = f"{promise.repairs} others were measured for them" if promise.repairs else "no other was measured"
        notes.append(f"{len(promise.broken)} of the proposal did not keep {limits} with 95 % confidence; {others}.")
    if promise.left_out:
        notes.append(
            f"{len(promise.left_out)} of the proposal were not measured again and are predicted too near a limit: they "
            "are left out. A larger --verify measures them."
        )
    return notes


def seed_notes(result: Result) -> list[str]:
    """How far values of trainings are to be believed of which a search chose the best; none where nothing is trained
    with a seed."""
    notes = []
    for o in result.objectives:
        if not (o.expensive and o.oracle.kind == "measured" and o.oracle.seeded):
            continue
        found, count = result.retrained.get(o.name), result.history.counts().get(o.name, 0)
        if found is not None:
            notes.append(_retrained(o, found, result.seeds))
        elif count > 1:
            notes.append(
                f"{o.name}: one training each, and the best of {count}: such values are too good on average. By how "
                "much, other seeds tell: --verify-seeds 2."
            )
    return notes


def _retrained(objective: Objective, found: Retrained, seeds: int) -> str:
    unit = {"%": " points", "": ""}.get(objective.unit, f" {objective.unit}")
    side = "good" if found.too_good >= 0 else "bad"
    said = f"the search's values were on average {number(abs(found.too_good))}{unit} too {side}"
    if found.interval is not None:
        said += f" (95 % interval: {number(found.interval)} to either side)"
    if found.spread is not None:
        said += f"; one training varies by {number(found.spread)}{unit} (standard deviation)"
    return f"{objective.name}: the front trained again with {seeds} other seed{'s' * (seeds > 1)}: {said}."


def _measured(name: str, found: dict[str, object]) -> str:
    """Such as "12 networks measured again; of the front p50 3.1 to 8.2 ms and p90 3.3 to 8.9 ms by the wall clock"."""
    rows = [row[name] for row in found["front"]]  # type: ignore[attr-defined]
    seen = []
    for percentile in ("p50", "p90"):
        values = [row[percentile] for row in rows if percentile in row]
        if values:
            seen.append(f"{percentile} {number(min(values))} to {number(max(values))}")
    clock = f", of the front {' and '.join(seen)} by the wall clock" if seen else ""
    again = sum(row["source"] == "measured" for row in rows)
    return f"{again} of the {len(rows)} of the front measured again, together{clock}"
