"""How well latency measurements repeat: the same networks measured in several processes, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, NastkError
from nastk.metrics import interval_score, spearman

Values = NDArray[np.float64]

METHODS = ("nastk", "wall median")
"""What is compared: the measurement, and the plain median of the same runs by the wall clock with its interval."""


LEAST = 3
"""Networks that a rank correlation needs."""


class Repeat(NamedTuple):
    """One measurement of all networks, ms, each of shape ``(networks,)``, by method."""

    value: dict[str, Values]
    low: dict[str, Values]
    high: dict[str, Values]
    conditions: list[str]
    reasons: dict[str, str]


def measure_once(space: str, texts: Sequence[str], options: Mapping[str, Any]) -> Repeat:
    """Measure architectures in this process.

    Args:
        space: its name.
        texts: the architectures.
        options: of `nastk.oracles.Latency`.
    """
    import nastk
    from nastk.oracles.latency import Latency
    from nastk.spaces.precisions import in_precisions

    searched = in_precisions(nastk.space(space), options.get("precision", "fp32"))
    oracle = Latency(searched, **{"together": len(texts), **options})
    found = oracle.measure_many(list(texts))

    def values(name: str) -> Values:
        return np.array([getattr(m, name) for m in found])

    return Repeat(
        dict(zip(METHODS, (values("median"), values("wall")), strict=True)),
        dict(zip(METHODS, (values("low"), values("wall_low")), strict=True)),
        dict(zip(METHODS, (values("high"), values("wall_high")), strict=True)),
        [c.describe() for c in oracle.conditions],
        dict(oracle.reasons),
    )


def repeat(space: str, texts: Sequence[str], options: Mapping[str, Any], times: int) -> Iterator[Repeat]:
    """Measure architectures `times` times, each time in a fresh process: memory is laid out anew, nothing is warm.

    Raises:
        InvalidValue: fewer than three different networks.
        NastkError: a process ended without an answer, or fewer than three networks could be measured.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    if len(set(texts)) < LEAST:
        raise InvalidValue(f"comparing runs needs at least {LEAST} different networks; got {len(set(texts))}")
    for number in range(times):
        # a pool for each run, whose process ends with it
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            try:
                found = pool.submit(measure_once, space, list(dict.fromkeys(texts)), dict(options)).result()
            except KeyboardInterrupt:
                for process in list(pool._processes.values()):  # its answer is not waited for
                    process.terminate()
                raise
            except BrokenProcessPool:
                raise NastkError(
                    f"run {number + 1} ended without an answer: a network, or what runs it, ended its process"
                ) from None
        if measured_in_all([found]).sum() < LEAST:
            why = next(iter(found.reasons.values()), "no reason is known")
            raise NastkError(f"fewer than {LEAST} networks could be measured; the first: {why}")
        yield found


def measured_in_all(found: Sequence[Repeat]) -> NDArray[np.bool_]:
    """Which networks have a value in every repeat, ``(networks,)``."""
    return np.all([np.isfinite(f.value[METHODS[0]]) for f in found], axis=0)


def repeatability_rows(found: Sequence[Repeat]) -> list[dict[str, Any]]:
    """One row a method: how far two runs agree, on average and at worst over all pairs of runs.

    ``covered`` is the share of a run's medians inside of another run's 95 % intervals; ``score`` the interval score
    (Gneiting & Raftery, JASA 2007) of these intervals, as a share of the median: lower is better, and neither wide
    intervals nor missed values make it low.
    """
    known = measured_in_all(found)
    rows = []
    for method in METHODS:
        value = [f.value[method][known] for f in found]
        low, high = [f.low[method][known] for f in found], [f.high[method][known] for f in found]
        pairs = list(combinations(range(len(found)), 2))
        ranks = [spearman(value[a], value[b]) for a, b in pairs]
        shifts = [abs(float(np.median(np.log(value[a] / value[b])))) for a, b in pairs]
        both = list(permutations(range(len(found)), 2))
        inside = [np.mean((low[a] <= value[b]) & (value[b] <= high[a])) for a, b in both]
        score = [np.mean(interval_score(low[a] / value[a], high[a] / value[a], value[b] / value[a])) for a, b in both]
        width = [np.mean((h - lo) / v) for lo, h, v in zip(low, high, value, strict=True)]
        rows.append(
            {
                "method": method, "networks": int(known.sum()), "runs": len(found), "spearman": float(np.mean(ranks)),
                "least": float(min(ranks)), "covered %": 100 * float(np.mean(inside)),
                "interval score %": 100 * float(np.mean(score)), "width %": 100 * float(np.mean(width)),
                "shift %": 100 * float(np.mean(np.expm1(shifts))),
            }
        )  # fmt: skip
    return rows
