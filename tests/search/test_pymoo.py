"""pymoo's algorithms as searchers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy import Toy, accuracy, latency, objectives, oracle

from nastk.errors import InvalidValue, UnknownName
from nastk.evaluation import Record
from nastk.metrics import hypervolume
from nastk.registry import SEARCHERS
from nastk.search.pymoo import ALGORITHMS, PymooSearch
from nastk.search.random import RandomSearch
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, Choice, SearchSpace
from nastk.study import Study

SPACE = Toy()


class Wide(SearchSpace):
    """4^10 architectures, on which a search has something to gain."""

    name = "wide"
    choices = tuple(Choice(f"choice{i}", ("a", "b", "c", "d")) for i in range(10))

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


WIDE = Wide()


def size(archs: Archs) -> Any:
    return archs.sum(axis=1).astype(float)


def error(archs: Archs) -> Any:
    """Zero where all choices are "d"; the order of the choices matters."""
    return ((3.0 - archs) ** 2 @ np.arange(1.0, 11.0)) ** 0.5


def wide_goals() -> list[Any]:
    from nastk.oracles.base import FunctionOracle

    return [FunctionOracle(WIDE, error, "error"), FunctionOracle(WIDE, size, "size")]


def records(arch: Archs, failed: bool = False) -> list[Record]:
    row = tuple(int(v) for v in arch)
    values = {"accuracy": float(accuracy(arch[None])[0]), "latency": float(latency(arch[None])[0])}
    return [
        Record(row, n, float("nan") if failed else v, status="failed" if failed else "ok") for n, v in values.items()
    ]


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a not in ("ga", "age-moea2")])
def test_evolution_gains_on_random_search(algorithm: str) -> None:
    def volume(make: Any, seed: int) -> float:
        searcher = make(WIDE, wide_goals(), seed=seed)
        Study(searcher, 200).run()
        return hypervolume(searcher.values_, [25.0, 31.0])

    evolved = [volume(lambda *a, **k: PymooSearch(algorithm, *a, **k), s) for s in range(8)]
    drawn = [volume(RandomSearch, s) for s in range(8)]
    assert np.mean(evolved) > np.mean(drawn)


def test_ga_descends_on_one_objective() -> None:
    best = {}
    for name in ("pymoo:ga", "random"):
        searcher = SEARCHERS.create(name, WIDE, wide_goals()[:1], seed=1)
        Study(searcher, 200).run()
        best[name] = searcher.values_.min()
    assert best["pymoo:ga"] < best["random"]


def test_a_generation_is_the_same_in_any_batch_size() -> None:
    rows = []
    for batch in (1, 3, 8):
        search = PymooSearch("nsga2", SPACE, objectives(), population=8)
        seen: list[list[int]] = []
        while len(seen) < 8:
            proposals = search.ask(min(batch, 8 - len(seen)))
            seen += [p.arch.tolist() for p in proposals]
            for p in proposals:
                search.tell(records(p.arch))
        rows.append(seen)
    assert rows[0] == rows[1] == rows[2]


def test_an_ask_is_never_padded_beyond_the_generation() -> None:
    search = PymooSearch("nsga2", SPACE, objectives(), population=8)
    first = search.ask(50)
    assert len(first) == 8
    assert search.ask(50, first) == []
    for p in first[1:]:
        search.tell(records(p.arch))
    assert search.ask(50, first[:1]) == []
    search.tell(records(first[0].arch))
    assert len(search.ask(50)) > 0


def test_failures_are_replaced_before_the_first_generation() -> None:
    search = PymooSearch("nsga2", SPACE, objectives(), population=8)
    for i, p in enumerate(search.ask(8)):
        search.tell(records(p.arch, failed=i < 3))
    assert len(search.ask(8)) == 3


def test_failures_never_enter_the_population() -> None:
    search = PymooSearch("nsga2", SPACE, objectives(), population=6)
    failed = set()
    for i in range(50):
        (proposal,) = search.ask(1)
        if i % 4 == 0:
            failed.add(tuple(proposal.arch.tolist()))
        search.tell(records(proposal.arch, failed=i % 4 == 0))
    parents = {tuple(a) for a in search.state()["parents"]}
    assert len(parents) == 6
    assert not parents & failed


def test_records_told_unasked_are_the_first_population() -> None:
    search = PymooSearch("nsga2", SPACE, objectives(), population=10)
    archs = SPACE.sample(30, 2, unique=True)
    for arch in archs:
        search.tell(records(arch))
    search.ask(1)
    parents = np.array(search.state()["parents"])
    assert len(parents) == 10
    best = search.recommend()
    kept = {a.tobytes() for a in parents}
    assert sum(a.tobytes() in kept for a in best) == min(len(best), 10)  # the non-dominated survive


def test_the_feasible_survive() -> None:
    search = PymooSearch("nsga2", SPACE, objectives(), constraints=["latency<=8"], population=10)
    for arch in SPACE.sample(50, 2, unique=True):
        search.tell(records(arch))
    search.ask(1)
    parents = np.array(search.state()["parents"])
    told = search.archs_
    assert (latency(parents) <= 8).sum() == min((latency(told) <= 8).sum(), 10)


def test_offspring_stay_in_a_pool() -> None:
    pool = Pool(SPACE, SPACE.sample(30, 5, unique=True))
    search = PymooSearch("nsga2", pool, objectives(), population=5)
    met = 0
    while proposals := search.ask(3):
        for p in proposals:
            assert pool.is_valid(p.arch[None])[0]
            search.tell(records(p.arch))
            met += 1
    assert met == len(set(pool.keys(pool.enumerate())))


def test_the_population_follows_the_budget() -> None:
    sizes = {n: PymooSearch("nsga2", SPACE, objectives(), budget={"accuracy": n}).population for n in (10, 300, 1000)}
    assert sizes == {10: 10, 300: 15, 1000: 20}


def test_arguments_that_cannot_be_used() -> None:
    with pytest.raises(UnknownName, match="did you mean 'nsga3' or 'nsga2'"):
        PymooSearch("nsga", SPACE, objectives())
    with pytest.raises(InvalidValue, match="pymoo:nsga2"):
        PymooSearch("ga", SPACE, objectives())
    with pytest.raises(InvalidValue, match="pymoo:ga"):
        PymooSearch("nsga2", SPACE, [oracle("latency")])
    with pytest.raises(InvalidValue, match="at least 2"):
        PymooSearch("nsga2", SPACE, objectives(), population=1)


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr,index]  # noqa: NPY002
    Study(PymooSearch("nsga2", SPACE, objectives(), population=5), 20).run()
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002
