"""The searcher modnas: proposes by a generator, evaluates, refits; the contract is tested in test_base."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy import Toy, objectives, oracle

from nastk.errors import InvalidValue
from nastk.metrics import hypervolume
from nastk.oracles.base import FunctionOracle
from nastk.search.modnas import Modnas
from nastk.study import Study

SPACE = Toy()
QUICK: dict[str, Any] = {"predictor": "ridge", "steps": 60, "rays": 12, "every": 6, "start": 6}


def _run(goals: list[FunctionOracle], budget: int, seed: int = 0, **options: Any) -> Modnas:
    searcher = Modnas(
        SPACE,
        goals,
        seed=seed,
        budget=dict.fromkeys([g.name for g in goals if g.expensive], budget),
        **{**QUICK, **options},
    )
    Study(searcher, budget, batch=options.pop("batch", 3)).run()
    return searcher


def _volume(searcher: Any) -> float:
    _, costs, _ = searcher.complete()
    return hypervolume((costs - [-100.0, 0.0]) / [40.0, 24.0], (1.0, 1.0))


def test_it_beats_random_search() -> None:
    from nastk.search.random import RandomSearch

    mine, random = [], []
    for seed in range(3):
        mine.append(_volume(_run(objectives(), 18, seed)))
        other = RandomSearch(SPACE, objectives(), seed=seed)
        Study(other, 18).run()
        random.append(_volume(other))
    assert np.mean(mine) > np.mean(random)


@pytest.mark.parametrize("count", [1, 3])
def test_it_takes_one_objective_or_more(count: int) -> None:
    goals = [oracle("accuracy"), oracle("latency"), oracle("size", lambda a: a.sum(1) + 1.0, expensive=False)][:count]
    searcher = _run(goals, 15)
    archs, costs, _ = searcher.complete()
    assert len(archs) == 15
    assert costs.shape == (15, count)
    assert costs[6:, 0].min() < np.median(-oracle("accuracy")(SPACE.enumerate()))


def test_it_retrains_every_few_results() -> None:
    searcher = Modnas(SPACE, objectives(), budget={"accuracy": 20, "latency": 20}, **QUICK)
    study = Study(searcher, 20)
    seen = []
    learned = searcher._learning_count

    def spy() -> int:
        seen.append(learned())
        return seen[-1]

    searcher._learning_count = spy  # type: ignore[method-assign]
    study.run()
    assert set(seen) == {6, 12, 18}


def test_constraints_are_mostly_kept() -> None:
    goals = objectives()
    searcher = Modnas(SPACE, goals, ["latency<=8"], budget={"accuracy": 18, "latency": 18}, **QUICK)
    Study(searcher, 18).run()
    values = searcher.values_[6:, 1]
    assert (values <= 8).mean() > 0.6  # of the whole space 28 % keep it


def test_arguments_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one result"):
        Modnas(SPACE, objectives(), every=0)
