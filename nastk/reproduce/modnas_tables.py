"""The comparison of MODNAS on one table: every value is looked up, and the true front is the table's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.bench.problems import Problem, scores
from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.generators import Cost
from nastk.oracles.base import Oracle
from nastk.oracles.goals import Goal
from nastk.oracles.table import benchmark
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.reproduce.modnas_cases import Case, Setting
from nastk.search.defaults import gp_bma_with_prior
from nastk.spaces.base import Archs

Array = NDArray[np.float64]


class TableSetting(Setting):
    """All values of one table; see :class:`Setting`."""

    def open(self) -> list[Goal]:
        return list(_open(self.space, self.goals))

    def problem(self, device: str) -> Problem:
        """The problem on one device."""
        placed = self.open()
        return Problem(
            self.space, self.dataset, tuple(replace(g, device=device) if g in placed else g for g in self.goals)
        )

    def problems(self) -> dict[str, Problem]:
        """Problems by device; a single one, of the named devices, if no objective depends on the device in turn."""
        return dict(_problems(self))

    def devices(self) -> list[str]:
        return list(self.problems())

    def check(self) -> None:
        table = benchmark(self.space, dataset=self.dataset)
        for problem in self.problems().values():
            for goal in problem.goals:
                goal.oracle(table)
        if [g for g in self.open() if g.metric != "latency"]:
            raise InvalidValue(
                "only latency can be taken on each device in turn; name the device of others (energy:fpga)"
            )
        size = len(scores(next(iter(self.problems().values()))).table.table)
        if max(self.labels, *self.evaluations, self.rays) > size:
            raise InvalidValue(f"{self.space} has only {size} architectures")

    def needs_labels(self) -> bool:
        return _needs_labels(self)

    def case(self, seed: int) -> TableCase:
        return TableCase(self, seed)


@lru_cache(maxsize=64)
def _open(space: str, goals: tuple[Goal, ...]) -> tuple[Goal, ...]:
    table = benchmark(space).table
    known = table.metrics()
    return tuple(g for g in goals if g.device is None and g.metric in known and table.devices(metric=g.metric))


@lru_cache(maxsize=64)
def _problems(setting: TableSetting) -> dict[str, Problem]:
    if not setting.open():
        problem = Problem(setting.space, setting.dataset, setting.goals)
        return {problem.device or "-": problem}
    return {device: setting.problem(device) for device in (*setting.train, *setting.unseen)}


@lru_cache(maxsize=64)
def _needs_labels(setting: TableSetting) -> bool:
    table = benchmark(setting.space, dataset=setting.dataset)
    return any(goal.oracle(table).expensive for goal in setting.goals if goal not in setting.open())


class TableCase(Case):
    """Costs of one seed: those of the table, and their predictions."""

    setting: TableSetting

    def __init__(self, setting: TableSetting, seed: int):
        super().__init__(setting, seed)
        self.scores = {device: scores(problem) for device, problem in setting.problems().items()}
        self.table = next(iter(self.scores.values())).table
        self.space = self.table.space
        self.archs = self.space.enumerate()
        self.whole = self.space.whole
        self._labelled: Archs | None = None

    def oracle(self, goal: Goal, device: str) -> Oracle:
        """The table's column of an objective on a device."""
        return self.placed(goal, device).oracle(self.table)

    def random(self, n: int, device: str) -> Archs:
        return self.space.sample(n, self.draw(f"random {device}"), unique=True)

    def points(self, archs: Archs, device: str) -> Array:
        rows = np.unique(self.table.table.rows(archs))
        scored = self.scores[device]
        points = np.full((len(rows), len(self.goals)), np.nan)
        points[scored.kept[rows]] = scored.normalise(rows)
        return points

    def front(self, device: str) -> Array:
        return self.scores[device].true_front

    def enumerated(self, costs: Sequence[Cost]) -> Archs:
        return self.archs

    # ---- predictors

    def can_measure(self) -> Archs | None:
        return None if self.whole is self.space else self.archs

    def source_tasks(self, goal: Goal) -> list[Task]:
        size = min(self.setting.source_samples, len(self.archs))
        rows = self.draw("sources").choice(len(self.archs), size, replace=False)
        tasks = []
        for device in self.setting.train:
            values = self.oracle(goal, device)(self.archs[rows])
            known = np.isfinite(values)
            tasks.append(Task(self.whole, self.archs[rows][known], values[known], goal.metric, device=device))
        return tasks

    def measured(self, goal: Goal, device: str) -> Array:
        return self.oracle(goal, device)(self.references())

    def learned(self, goal: Goal) -> Any:
        oracle = self.oracle(goal, "")
        if not oracle.expensive:
            return oracle
        context = Context(proxies=self.table.nearest_proxies(), dataset=oracle.dataset)
        model = gp_bma_with_prior(self.space, oracle.direction)
        if self._labelled is None:
            self._labelled = model.choose(
                self.setting.labels,
                self.space,
                candidates=self.can_measure(),
                seed=int(self.draw("labels").integers(2**31)),
                context=context,
            )
        task = Task.measure(oracle, self._labelled, context=context)
        return model.adapt(replace(task, space=self.space))

    def source_costs(self, few: FewShotGP) -> Mapping[str, Any]:
        assert few.sources_ is not None
        return dict(zip(few.devices, few.sources_(self.archs).T, strict=True))


_NB201_TRAIN = (
    *("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3"),
    *("essential_ph_1", "samsung_s7", "titanx_1", "titanx_32", "titanx_256", "gold_6240"),
)
"""Training devices of the paper."""
_NB201_UNSEEN = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
"""Test devices of the paper."""

NASBENCH201 = TableSetting("nasbench201", "cifar10", ("test_accuracy", "latency"), _NB201_TRAIN, _NB201_UNSEEN)
"""The devices of the paper."""
GPT = TableSetting(
    "gpt",
    "openwebtext",
    ("perplexity", "latency"),
    ("P100", "a6000", "rtx2080", "rtx3080"),
    ("a100", "a40", "h100", "v100"),
)
"""HW-GPT-Bench with four GPUs to train on and four unseen ones, as in the paper's code."""
FBNET = TableSetting(
    "fbnet",
    None,
    ("max:params", "max:nwot", "latency"),
    (
        *("1080ti_1", "1080ti_32", "1080ti_64", "silver_4114", "silver_4210r", "samsung_a50", "pixel3"),
        *("essential_ph_1", "samsung_s7"),
    ),
    ("fpga", "raspi4", "eyeriss"),
)
"""FBNet, which has no accuracies: parameters and the zero-cost proxy nwot represent capacity. Not a space of the
paper."""
