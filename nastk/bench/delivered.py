"""Whether what a search delivers keeps its limit: measured again at once, and again minutes later.

Searches with a limit on a latency that is measured here, over several seeds and limits. What each delivers is measured
by fresh builds at its end. When all have ended and a time has passed, everything that any of them delivered, measured
near the front or thought promising is measured together. The best feasible front is that of this set, by these last
values, so that a search cannot keep its limit by delivering one tiny network: each search is compared with what all of
them together found, and beside that with the best of what it measured itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk import run
from nastk.errors import DataError, InvalidValue
from nastk.files import write_text
from nastk.metrics import hypervolume, mean_ci, nondominated
from nastk.oracles.latency import Latency
from nastk.result import Result
from nastk.search.base import Objective
from nastk.search.delivery import Delivery
from nastk.spaces.base import Archs, SearchSpace

Values = NDArray[np.float64]
Progress = Callable[[int, int, str], None]

TOLERANCE = 0.03
"""Share above the limit that still counts as kept: two measurements of one network differ by as much on a quiet
machine."""

BAR = 0.95
"""Least share of deliveries within the limit, and of the best feasible front's hypervolume."""

METHODS = ("repaired", "as proposed")
"""What a search delivers now, and what it delivers without measuring again, confidence and repair: predicted values of
the proposed front are measured, and each value counts as it is."""

NEAR_FRONT = 0.1
"""Networks that are dominated by less than this share of the latency are in the reference set too: at another moment
they may be on the front."""

PROMISING = 10
"""Networks for the reference set that no search measured, by each search's last predictions."""


@dataclass(frozen=True)
class Setting:
    """A benchmark; one that is resumed has to be the same.

    Args:
        space: its name, or ``file.py:Class``.
        objective: the other objective, free to evaluate, such as "accuracy" (shipped estimates) or "max:params".
        seeds: number of random seeds, from 0.
        quantiles: limits, as quantiles of the latencies of random networks.
        sample: how many random networks tell them.
        measurements, verify: of each search.
        seconds: processor time of each network's measurement.
        runtime, precision, threads: how networks are run.
    """

    space: str
    objective: str = "accuracy"
    seeds: int = 10
    quantiles: tuple[float, ...] = (0.2, 0.4, 0.6)
    sample: int = 24
    measurements: int = 10
    verify: int = 12
    seconds: float = 0.6
    runtime: str = "torch"
    precision: str = "fp32"
    threads: int = 1

    def describe(self, limit: float, seed: int) -> run.SearchDescription:
        """The search for a limit (ms)."""
        described = run.describe(
            space=self.space, objectives=[self.objective, "latency"], constraints=[f"latency<={limit:g}"],
            measurements=self.measurements, verify=self.verify, seed=seed, runtime=self.runtime,
            precision=self.precision, threads=self.threads,
        )  # fmt: skip
        first, latency = described.objectives
        return replace(
            described,
            objectives=(first, {**latency, "oracle": {**latency["oracle"], "max_seconds": self.seconds}}),
        )

    def oracle(self, space: SearchSpace, together: int) -> Latency:
        """Another measurement of the same, with builds of its own."""
        return Latency(
            space, runtime=self.runtime, precision=self.precision, threads=self.threads, max_seconds=self.seconds,
            together=together,
        )  # fmt: skip


@dataclass(frozen=True)
class Searched:
    """One search. Architectures as text, latencies in ms.

    Args:
        seed, limit: of the search.
        delivered: by method, what it delivers; empty where it says that nothing keeps the limit.
        again: latency of each of them, measured again when the search had ended.
        measured: latency of each network that it measured, the last where it did so twice.
        promising: what it thought the best of the rest.
        repairs: how many were measured in place of what broke the limit.
        said: under what the front was measured.
        ended: seconds since 1970.
    """

    seed: int
    limit: float
    delivered: dict[str, list[str]]
    again: dict[str, float]
    measured: dict[str, float]
    promising: list[str]
    repairs: int
    said: str
    ended: float


def compare(
    setting: Setting,
    again: float = 600.0,
    out: Path | None = None,
    progress: Progress | None = None,
    wait: Callable[[float], None] | None = time.sleep,
) -> list[dict[str, Any]]:
    """Search, measure what was delivered, and again at the end.

    Args:
        setting: of the benchmark.
        again: seconds after the end of the last search before everything is measured again.
        out: folder of finished searches, which are not repeated, and of the last measurement.
        progress: called with (done, total, what).
        wait: waits some seconds; None to leave the last measurement to a later call, where its time has not come.

    Returns:
        Tidy rows: for each method the shares within the limit, hypervolumes, deliveries. None at all where the last
        measurement is left to a later call.

    Raises:
        InvalidValue: the folder holds another benchmark, or the objective is not free.
        DataError: a file in the folder cannot be read.
    """
    folder = _Folder(out, setting)
    total = setting.seeds * len(setting.quantiles) + 2
    say = progress or (lambda done, total, what: None)
    composed = run.compose(setting.describe(1e9, 0))
    space, first = composed.searcher.space, composed.searcher.objectives[0]
    if first.expensive:
        raise InvalidValue(f"{first.name} is not free to evaluate; take --objective max:params and the like")
    limits = folder.kept("limits.json", lambda: _limits(setting, space))
    say(1, total, "limits")
    found = []
    for seed in range(setting.seeds):
        for quantile, limit in zip(setting.quantiles, limits, strict=True):
            name = f"search-{seed}-{quantile:g}.json"
            content = folder.kept(name, partial(_search_content, setting, limit, seed))
            found.append(Searched(**content))
            say(1 + len(found), total, f"seed {seed}, limit {limit:g} ms")

    left = max(s.ended for s in found) + again - time.time()
    if wait is None and left > 0 and not folder.has("last.json"):
        return []

    def measure_last() -> dict[str, float]:
        nonlocal left
        while left > 0 and wait is not None:
            say(total - 1, total, f"waiting {left:.0f} s")
            wait(min(left, 5.0))
            left -= 5.0
        return _measure(setting, space, _reference(space, first, found))

    last = folder.kept("last.json", measure_last)
    say(total, total, "measured together")
    return _rows(setting, space, first, found, last)


class _Folder:
    """Finished parts of a benchmark, in files or for this run alone."""

    def __init__(self, path: Path | None, setting: Setting):
        self.path = path
        said = json.loads(json.dumps(asdict(setting)))
        if self.kept("setting.json", lambda: said) != said:
            raise InvalidValue(f"{path} holds another benchmark (see its setting.json); take another folder")

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self.path is not None and (self.path / name).exists()

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """The content of a file, or what is made and written to it."""
        file = None if self.path is None else self.path / name
        if file is not None and file.exists():
            try:
                return json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise DataError(f"cannot read {file}: {error}") from error
        content = make()
        if file is not None:
            write_text(file, json.dumps(content, indent=1) + "\n")
        return content


def _limits(setting: Setting, space: SearchSpace) -> list[float]:
    """Quantiles of the latencies of random networks, ms, to three digits."""
    texts = space.format_all(space.sample(setting.sample, np.random.default_rng(0), unique=True))
    return [float(f"{q:.3g}") for q in np.quantile(list(_measure(setting, space, texts).values()), setting.quantiles)]


def _measure(setting: Setting, space: SearchSpace, texts: Sequence[str]) -> dict[str, float]:
    """Latencies of networks measured together, ms; those that fail are left out."""
    if not texts:
        return {}
    values = setting.oracle(space, len(texts)).evaluate(list(texts)).value
    return {text: float(ms) for text, ms in zip(texts, values, strict=True) if np.isfinite(ms)}


def _search_content(setting: Setting, limit: float, seed: int) -> dict[str, Any]:
    return asdict(_search(setting, limit, seed))


def _search(setting: Setting, limit: float, seed: int) -> Searched:
    """One search, and its delivery measured again at once."""
    composed = run.compose(setting.describe(limit, seed))
    try:
        composed.search()
        result = composed.verify()
    finally:
        composed.close()
    space, promise, delivery = result.space, result.promise, result.delivery
    assert promise is not None
    assert delivery is not None
    delivered = {
        METHODS[0]: space.format_all(result.front_archs) if promise.kept else [],
        METHODS[1]: space.format_all(_as_proposed(result)),
    }
    texts = list(dict.fromkeys(text for each in delivered.values() for text in each))
    told = [r for r in result.history.records() if r.objective == "latency" and r.status == "ok"]
    measured = {space.format(np.array(r.arch)): r.value for r in sorted(told, key=lambda r: r.time)}
    rows = _promising(delivery)
    ended = time.time()
    conditions = (result.measurement or {})["objectives"].get("latency", {})
    return Searched(
        seed, limit, delivered, _measure(setting, space, texts), measured,
        space.format_all(delivery.archs[rows]) if len(rows) else [], promise.repairs, str(conditions.get("said", "")),
        ended,
    )  # fmt: skip


def _promising(delivery: Delivery) -> NDArray[np.int64]:
    """Rows of networks that were not measured and are expected on the feasible front, the nearest to the limit first.

    By predictions as they are after the last measurements; those that are as likely as not to keep the limit count.
    """
    values, likely = delivery.expected()
    rows = np.flatnonzero((likely >= 0.5) & np.isfinite(values).all(axis=1))
    rows = rows[nondominated(values[rows] * delivery.searcher.signs)]
    rows = rows[~delivery.tried[rows]]
    return rows[np.argsort(likely[rows], kind="stable")][:PROMISING]


def _as_proposed(result: Result) -> Archs:
    """What the search would deliver where its own measurements and those of predicted values count as they are."""
    assert result.proposed is not None
    archs, searcher = result.proposed, result.searcher
    values = np.array(searcher.values_of(archs))
    believed = searcher.estimate(archs)
    for j, o in enumerate(result.objectives):
        if not o.expensive:
            values[:, j] = o.oracle(archs)
            continue
        for i, record in enumerate(result.find(archs, o, "verify")):
            if np.isnan(values[i, j]):
                values[i, j] = believed[o.name].mean[i] if record is None else record.value
    fine = np.flatnonzero(np.isfinite(values).all(axis=1))
    fine = fine[searcher.violation(values[fine]) <= 0]
    return archs[fine[nondominated(values[fine] * searcher.signs)]]


def _reference(space: SearchSpace, objective: Objective, found: Sequence[Searched]) -> list[str]:
    """What is measured together at the end: all that was delivered or is promising, and what is near to the front of
    all that was measured."""
    texts = [t for s in found for each in s.delivered.values() for t in each] + [t for s in found for t in s.promising]
    known = {text: ms for s in found for text, ms in s.measured.items()}
    costs = dict(zip(known, objective.sign * np.asarray(objective.oracle(list(known))), strict=True))
    for text, ms in known.items():
        better = [other for rival, other in known.items() if costs[rival] < costs[text]]
        if not better or ms <= (1 + NEAR_FRONT) * min(better):
            texts.append(text)
    return list(dict.fromkeys(texts))


def _rows(
    setting: Setting, space: SearchSpace, objective: Objective, found: Sequence[Searched], last: dict[str, float]
) -> list[dict[str, Any]]:
    """Means over all deliveries, and over searches for hypervolumes."""
    common = {
        "experiment": "delivered", "space": setting.space, "objective": setting.objective, "runtime": setting.runtime,
        "precision": setting.precision, "searches": len(found), "measurements": setting.measurements,
        "verification": setting.verify,
    }  # fmt: skip
    rows = []
    for method in METHODS:
        shares: dict[str, list[float]] = {}
        for s in found:
            for when, latencies in (("at_once", s.again), ("later", last)):
                ms = np.array([latencies.get(text, np.inf) for text in s.delivered[method]])
                shares.setdefault(f"within_limit_{when}", []).extend(ms <= s.limit)
                shares.setdefault(f"within_3_percent_{when}", []).extend(ms <= (1 + TOLERANCE) * s.limit)
        singles = {
            "hypervolume_of_best_feasible": [_volume_share(objective, s, s.delivered[method], last) for s in found],
            "hypervolume_of_best_of_its_own": [
                _volume_share(objective, s, s.delivered[method], _own(s, last)) for s in found
            ],
            "delivered_nothing": [float(not s.delivered[method]) for s in found],
            "networks_delivered": [float(len(s.delivered[method])) for s in found],
        }
        if method == METHODS[0]:
            singles["repairs_measured"] = [float(s.repairs) for s in found]
        for name, values in (shares | singles).items():
            known = [float(v) for v in values if np.isfinite(v)]
            mean, half = mean_ci(known) if known else (float("nan"), float("nan"))
            bar = {"reference": BAR} if name.startswith("within_3") or name == "hypervolume_of_best_feasible" else {}
            row = {"method": method, "metric": name, "mean": mean, "ci95": half, "least": min(known, default=None)}
            rows.append({**common, **row, "n": len(known), **bar})
    return rows


def _own(searched: Searched, last: dict[str, float]) -> dict[str, float]:
    """The last measurements of what one search measured or delivered itself."""
    mine = {*searched.measured, *(text for each in searched.delivered.values() for text in each)}
    return {text: ms for text, ms in last.items() if text in mine}


def _volume_share(objective: Objective, searched: Searched, texts: Sequence[str], last: dict[str, float]) -> float:
    """Hypervolume of a delivery over that of the best feasible front of what was measured last, up to the limit in
    latency and the worst value of the other objective on that front. NaN where nothing is feasible."""
    everything = list(last)
    if not everything:
        return float("nan")
    costs = dict(zip(everything, objective.sign * np.asarray(objective.oracle(everything)), strict=True))
    feasible = np.array([(costs[t], last[t]) for t in everything if last[t] <= searched.limit]).reshape(-1, 2)
    front = feasible[nondominated(feasible)]
    if not len(front):
        return float("nan")
    reference = np.array([front[:, 0].max(), searched.limit])
    best = hypervolume(front, reference)
    mine = [(costs[t], last[t]) for t in texts if t in last]
    return hypervolume(np.array(mine).reshape(-1, 2), reference) / best if best > 0 else float("nan")
