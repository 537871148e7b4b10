"""How well a few measurements predict the rest of a space on a device of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nastk.errors import InvalidValue, NastkError
from nastk.metrics import spearman
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.predictors.base import Predictor, Task
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision

LEAST_TESTED = 3
"""Networks that a rank correlation needs."""


def check_predictor(
    few: Predictor,
    oracle: Oracle,
    adapt: int,
    test: int,
    runs: int,
    seed: int,
    say_failures: Callable[[dict[str, str]], None] = lambda reasons: None,
) -> Iterator[list[dict[str, Any]]]:
    """Adapt a latency predictor to `adapt` measurements and test it on `test` others, `runs` times.

    The architectures to adapt to are chosen before any measurement; those to test on are random ones of the rest. All
    are interleaved in one measurement, so that changes of the machine's speed do not count as errors of the predictor.

    Where the space chooses the precision, each precision is a device of its own, measured on the same networks, and a
    row ``choice`` says how often the precision that is predicted to be faster is, among the test networks whose
    latencies differ by more than their 95 % intervals.

    Args:
        few: few-shot predictor of the networks' space.
        oracle: the device.
        adapt, test, runs: see above.
        seed: random seed of the choice and of the test networks.
        say_failures: told of the networks that failed.

    Yields:
        The rows of each run, one a precision; :func:`means` sums them up.

    Raises:
        NastkError: too few networks could be measured.
        InvalidValue: the space is too small.
    """
    for run in range(runs):
        rows: list[dict[str, Any]] = []
        chosen, fresh = _draw(
            few, _networks(oracle.space), adapt, test, np.random.default_rng([seed, run]), (seed, run)
        )
        parts = _measure(oracle, np.concatenate([chosen, fresh]))
        reasons: dict[str, str] = getattr(oracle, "reasons", {})
        say_failures({text: reasons.pop(text) for text in list(reasons)})
        _need_enough(parts, adapt)
        predicted = []
        for name, part in parts.items():
            mean = _predict(few, oracle, chosen, part.value[:adapt], fresh)
            predicted.append(mean)
            known = np.isfinite(part.value[adapt:])
            truth, answer = part.value[adapt:][known], mean[known]
            error = float(np.median(np.abs(answer / truth - 1.0)) * 100)
            which = {"precision": name} if len(parts) > 1 else {}
            rows.append({"run": str(run + 1), **which, "spearman": spearman(answer, truth), "median error %": error})
        if len(parts) > 1:
            rows.append({"run": str(run + 1), "precision": "choice", **_choice(list(parts.values()), predicted, adapt)})
        yield rows


def _networks(space: SearchSpace) -> SearchSpace:
    return space.networks if isinstance(space, WithPrecision) else space


def _draw(
    few: Predictor, space: SearchSpace, adapt: int, test: int, rng: np.random.Generator, seeds: tuple[int, int]
) -> tuple[Archs, Archs]:
    """The networks to adapt to, and random others to test on."""
    chosen = few.choose(adapt, seed=rng, space=space)
    taken = set(space.keys(chosen))
    enough = min(test + 20 * adapt, space.size)
    drawn = space.sample(enough, np.random.default_rng([*seeds, 1]), unique=True)
    fresh = drawn[[k not in taken for k in space.keys(drawn)]][:test]
    if len(fresh) < LEAST_TESTED:
        raise InvalidValue(f"{space.name} has too few networks to adapt to {adapt} and test on others")
    return chosen, fresh


def _measure(oracle: Oracle, networks: Archs) -> dict[str, Evaluation]:
    """The networks in each precision, all in one measurement."""
    space = oracle.space
    precisions = space.precisions if isinstance(space, WithPrecision) else ("",)
    rows = networks
    if isinstance(space, WithPrecision):
        rows = np.concatenate([space.join(networks, i) for i in range(len(precisions))])
    oracle.together = len(rows)
    found = oracle.evaluate(rows)
    parts = [np.split(values, len(precisions)) for values in (found.value, found.std, found.cost)]
    return {name: Evaluation(*of) for name, of in zip(precisions, zip(*parts, strict=True), strict=True)}


def _need_enough(parts: dict[str, Evaluation], adapt: int) -> None:
    for name, part in parts.items():
        known = np.isfinite(part.value)
        to, on = int(known[:adapt].sum()), int(known[adapt:].sum())
        if to < 2 or on < LEAST_TESTED:
            where = f" in {name}" if name else ""
            raise NastkError(
                f"only {to} networks to adapt to and {on} to test on could be measured{where}; at least 2 and "
                f"{LEAST_TESTED} are needed"
            )


def _predict(few: Predictor, oracle: Oracle, chosen: Archs, values: Values, fresh: Archs) -> Values:
    known = np.isfinite(values)
    task = Task(
        _networks(oracle.space), chosen[known], values[known], oracle.name, oracle.unit, "min", device=oracle.device
    )
    return few.adapt(task).predict(fresh).mean


def _choice(parts: list[Evaluation], predicted: list[Values], adapt: int) -> dict[str, Any]:
    """How often the precision that is predicted to be the fastest is, where measurements tell which one is."""
    values = np.stack([part.value[adapt:] for part in parts])
    half = 1.96 * np.sqrt(2.0) * np.stack([part.std[adapt:] for part in parts])
    order = np.argsort(values, axis=0)
    first, second = (np.take_along_axis(values, order[k : k + 1], 0)[0] for k in (0, 1))
    reach = sum(np.take_along_axis(half, order[k : k + 1], 0)[0] for k in (0, 1))
    tell = np.isfinite(values).all(axis=0) & (second - first > reach)
    right = np.argmin(np.stack(predicted), axis=0) == order[0]
    share = float(100 * right[tell].mean()) if tell.any() else float("nan")
    return {"told apart": int(tell.sum()), "faster chosen %": share}


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean over runs, of each precision."""
    found = []
    for name in dict.fromkeys(row.get("precision") for row in rows):
        mine = [row for row in rows if row.get("precision") == name]
        numbers = [key for key in mine[0] if key not in ("run", "precision")]
        which = {} if name is None else {"precision": name}
        found.append({"run": "mean", **which, **{key: float(np.mean([row[key] for row in mine])) for key in numbers}})
    return found
