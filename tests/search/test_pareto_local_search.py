"""Pareto local search."""

from __future__ import annotations

import numpy as np
import pytest
from effort import calls
from toy import Toy, accuracy, latency, objectives, oracle

from nastk.evaluation import Record
from nastk.search.pareto_local_search import ParetoLocalSearch
from nastk.spaces.base import Archs
from nastk.study import Study

SPACE = Toy()


def records(arch: Archs) -> list[Record]:
    row = tuple(int(v) for v in arch)
    return [
        Record(row, "accuracy", float(accuracy(arch[None])[0])),
        Record(row, "latency", float(latency(arch[None])[0])),
    ]


def test_after_the_start_it_proposes_neighbours_of_the_archive() -> None:
    search = ParetoLocalSearch(SPACE, objectives(), start=3)
    for i in range(25):
        archive = search.archive()
        left = sum(len(search.unseen(SPACE.neighbours(a))) for a in archive)
        (proposal,) = search.ask(1)
        if i >= 3 and left:
            assert ((archive != proposal.arch).sum(axis=1) == 1).any()
        search.tell(records(proposal.arch))


def test_the_archive_is_the_non_dominated_set() -> None:
    search = ParetoLocalSearch(SPACE, objectives())
    for arch in SPACE.sample(60, 0, unique=True):
        search.tell(records(arch))
        assert np.array_equal(search.archive(), search.recommend())


def test_one_objective_descends_to_the_best() -> None:
    search = ParetoLocalSearch(SPACE, [oracle("latency")], start=1, budget={"latency": 40})
    history = Study(search, 40).run().history
    values = [r.value for r in history.records()]
    assert min(values[:20]) == 1.0  # the least of the space, by 8 one-step neighbours at a time


def test_until_something_is_feasible_it_follows_the_least_violating() -> None:
    search = ParetoLocalSearch(SPACE, objectives(), constraints=["latency<=2"], start=1)
    search.tell(records(np.array([2, 2, 2, 2])))
    search.tell(records(np.array([2, 2, 2, 1])))
    assert search.archive().tolist() == [[2, 2, 2, 1]]
    search.tell(records(np.array([1, 0, 0, 0])))
    assert search.archive().tolist() == [[1, 0, 0, 0]]


def test_when_all_neighbours_are_known_it_restarts() -> None:
    search = ParetoLocalSearch(SPACE, [oracle("latency")], start=1)
    best = np.array([0, 0, 0, 0])
    for arch in [best, *SPACE.neighbours(best)]:
        search.tell(records(arch))
    (proposal,) = search.ask(1)
    assert len(search.unseen(proposal.arch[None])) == 1


def test_choosing_costs_little() -> None:
    search = ParetoLocalSearch(SPACE, objectives(), start=5)
    everything = [records(a) for a in SPACE.enumerate()]
    search.ask(1)
    spent = []
    for told in everything[:50]:
        search.tell(told)
        spent.append(calls(lambda: search.ask(1)))
    assert np.mean(spent) < 2000, "calls of functions; .2 ms where nothing else runs"


@pytest.mark.data
@pytest.mark.slow
def test_on_real_tables_it_is_better_than_random_search(nastk_home: object) -> None:
    import nastk
    from nastk.metrics import ModnasProtocol

    table = nastk.benchmark("nasbench201", dataset="cifar10")
    found = []
    for device in ("pixel3", "titan_rtx_256", "fpga"):
        goals = [table.oracle("test_accuracy"), table.oracle("latency", device=device)]
        protocol = ModnasProtocol(100.0 - table.values("test_accuracy"), table.values("latency", device=device))
        for seed in range(5):
            history = nastk.search(table.space, goals, searcher="pareto-local-search", budget=100, seed=seed).history
            archs = np.array(list(dict.fromkeys(r.arch for r in history.records())))
            found.append(protocol.hypervolume(table.space.index(archs)) / protocol.front_hypervolume())
    # random search after 100 evaluations: .9553/.9840, .9093/.9663 and .9136/.9742 of the true hypervolume
    assert np.mean(found) > np.mean([0.9553 / 0.9840, 0.9093 / 0.9663, 0.9136 / 0.9742]) + 0.01
