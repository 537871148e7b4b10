"""The comparison of MODNAS where no table has all objectives of the same networks: surrogates of all measurements.

Results are judged by a predictor of every value that is known of an objective on a device, whose error is estimated by
cross-validation and said in every output (a surrogate benchmark, as NAS-Bench-301 is one: Zela et al., ICLR 2022). The
methods see none of these predictors but by their answers: they learn from measurements, as elsewhere, and an unseen
device's are the ten of the reference architectures.

Such spaces are too large to be enumerated. In place of that, the best networks by given costs are looked for among a
sample and what evolves from it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, UnknownName
from nastk.generators import Cost
from nastk.metrics import nondominated, spearman
from nastk.oracles.base import Direction, Evaluation, Oracle, exact
from nastk.oracles.goals import Goal
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.predictors.factory import predictor
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.reproduce.modnas_cases import Case, Setting
from nastk.spaces.base import Archs, SearchSpace, Seed

Array = NDArray[np.float64]
Predict = Callable[[Archs], Array]
"""Values ``(n,)`` of architectures ``(n, d)``."""

SAMPLE = 3000
"""Random architectures that a search by given costs begins with, and that objectives are scaled by."""
POOL, GENERATIONS = 500, 20
"""Children of a generation, and generations of its evolution."""
FRONT_POOL, FRONT_GENERATIONS = 800, 40
"""The same of the best front by the surrogates, which is found once."""
FOLDS = 5
"""Of the cross-validation."""


@dataclass(frozen=True)
class Surrogate:
    """A model of one metric, on one device.

    Args:
        predict: its values.
        unit, direction: of the metric.
        rank: Spearman correlation of cross-validated predictions and values; NaN if it is no model but exact.
        error: their median absolute error; NaN if exact.
        measured: number of values that it was fitted to.
        expensive: whether a value costs a training or a measurement.
    """

    predict: Predict
    unit: str
    direction: Direction
    rank: float = np.nan
    error: float = np.nan
    measured: int = 0
    expensive: bool = True

    @classmethod
    def fit(
        cls, learn: Callable[[Archs, Array], Predict], archs: Archs, values: Array, unit: str, direction: Direction
    ) -> Surrogate:
        """Fit to all known values, and estimate the error by cross-validation.

        Args:
            learn: fits a model to architectures ``(n, d)`` and values ``(n,)``.
        """
        known = np.isfinite(values)
        archs, values = archs[known], values[known]
        predicted = np.empty(len(values))
        for rows in np.array_split(np.random.default_rng(0).permutation(len(values)), FOLDS):
            rest = np.setdiff1d(np.arange(len(values)), rows)
            predicted[rows] = learn(archs[rest], values[rest])(archs[rows])
        error = float(np.median(np.abs(predicted - values)))
        rank = spearman(predicted, values)
        return cls(learn(archs, values), unit, direction, rank, error, len(values))


class SurrogateOracle(Oracle):
    """The values of a surrogate.

    Args:
        space: of the search.
        surrogate: of the values.
        name: of the metric.
        device: of the values, if any.
        place: the architectures that the surrogate knows, in place of those of the space.
    """

    few_shot = False

    def __init__(
        self, space: SearchSpace, surrogate: Surrogate, name: str, device: str | None, place: Callable[[Archs], Archs]
    ):
        self.space, self.surrogate, self.place = space, surrogate, place
        self.name, self.unit, self.direction, self.device = name, surrogate.unit, surrogate.direction, device
        self.expensive = surrogate.expensive
        self.source = " ".join(["surrogate", name, device or ""]).strip()

    kind = "estimate"

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        return exact(self.surrogate.predict(self.place(archs)), np.nan if self.expensive else 0.0)


class Placed(Predictor):
    """A fitted predictor that is asked for the architectures that it knows, in place of those of the search."""

    def __init__(self, model: Predictor, place: Callable[[Archs], Archs]):
        self.model, self.place = model, place
        self.task_ = model.task_

    def fit(self, task: Task) -> Predictor:
        return Placed(self.model.adapt(task), self.place)

    def predict(self, archs: Any) -> Prediction:
        return self.model.predict(self.place(archs))

    def sample(self, archs: Any, n: int, seed: Seed = None) -> Array:
        return self.model.sample(self.place(archs), n, seed)


@dataclass
class World:
    """Surrogates of a space, and what they were fitted to.

    Args:
        space: of generator and searches.
        whole: of the measurements, with the same choices.
        place: the architectures of `whole` that stand for those of `space`.
        latencies: by device.
        others: of metrics that do not depend on the device.
        labelled: architectures of the measurements of such a metric, and their values.
        measured: the same of a device's latencies.
    """

    space: SearchSpace
    whole: SearchSpace
    place: Callable[[Archs], Archs]
    latencies: Mapping[str, Surrogate]
    others: Mapping[str, Surrogate]
    labelled: Mapping[str, tuple[Archs, Array]]
    measured: Mapping[str, tuple[Archs, Array]]
    _fronts: dict[Any, tuple[Array, Array, Array]] = field(default_factory=dict)
    _sample: Archs | None = None

    def surrogate(self, goal: Goal) -> Surrogate:
        """The surrogate of an objective; see :meth:`SurrogateSetting.check`."""
        return self.latencies[str(goal.device)] if goal.metric == "latency" else self.others[goal.metric]

    def oracle(self, goal: Goal) -> SurrogateOracle:
        """An objective, on its device."""
        found = SurrogateOracle(self.space, self.surrogate(goal), goal.metric, goal.device, self.place)
        if goal.direction is not None:
            found.direction = goal.direction
        return found

    @property
    def sample(self) -> Archs:
        """Random architectures, always the same."""
        if self._sample is None:
            self._sample = self.space.sample(SAMPLE, 0, unique=True)
        return self._sample

    def scaled(self, goals: Sequence[Goal]) -> tuple[Array, Array, Array]:
        """Least costs, ranges and the best front that is found, scaled by them; the same for all seeds and methods.

        The least value of each objective is the best of a search, the greatest that of the random sample, so that no
        network that is worse than all of these counts.
        """
        key = tuple(goals)
        if key not in self._fronts:
            costs = [Cost(self.space, self.oracle(goal)) for goal in goals]
            archs = best_by(self.space, costs, self.sample, FRONT_POOL, FRONT_GENERATIONS)
            values = np.stack([cost(archs) for cost in costs], axis=1)
            low = values.min(axis=0)
            width = np.stack([cost(self.sample) for cost in costs], axis=1).max(axis=0) - low
            points = (values - low) / width
            self._fronts[key] = low, width, points[nondominated(points)]
        return self._fronts[key]

    def errors(self, goals: Sequence[Goal], devices: Sequence[str]) -> str:
        """What is said of the surrogates of objectives."""
        said = []
        for goal in goals:
            if goal.metric != "latency":
                one = self.others[goal.metric]
                if np.isfinite(one.rank):
                    said.append(
                        f"{goal.metric} of {one.measured:,} values, Spearman {one.rank:.3f}, "
                        f"median error {one.error:.3g} {one.unit}".rstrip()
                    )
                continue
            ranks = [self.latencies[d].rank for d in devices]
            count = min(self.latencies[d].measured for d in devices)
            said.append(f"latency of {count:,} a device, Spearman {min(ranks):.3f} to {max(ranks):.3f}")
        return "; ".join(said)


def best_by(space: SearchSpace, costs: Sequence[Cost], start: Archs, pool: int, generations: int) -> Archs:
    """A sample and the front by these costs that evolves from it, ``(n, d)``, canonical.

    In each generation the front so far has `pool` children, of crossover and mutation or mutation alone.
    """

    def judged(archs: Archs) -> Array:
        return np.stack([cost(archs) for cost in costs], axis=1)

    rng = np.random.default_rng(0)
    archs = space.canonical(start)
    values = judged(archs)
    for _ in range(generations):
        front = nondominated(values)
        archs, values = _thinned(archs[front], values[front], pool)
        pick = rng.integers(0, len(archs), (3, pool // 2))
        crossed = space.mutate(space.crossover(archs[pick[0]], archs[pick[1]], rng), rng)
        children = space.canonical(np.concatenate([crossed, space.mutate(archs[pick[2]], rng)]))
        archs = np.concatenate([archs, children])
        values = np.concatenate([values, judged(children)])
    return np.unique(np.concatenate([space.canonical(start), archs]), axis=0)


def _thinned(archs: Archs, values: Array, most: int) -> tuple[Archs, Array]:
    """Different values of a front, and evenly spaced ones in the order of the last objective if there are more."""
    _, first = np.unique(values, axis=0, return_index=True)
    order = first[np.argsort(values[first, -1], kind="stable")]
    if len(order) > most:
        order = order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]
    return archs[order], values[order]


class SurrogateSetting(Setting):
    """Objectives judged by surrogates; see :class:`Setting`."""

    @abstractmethod
    def world(self) -> World:
        """The surrogates; the same object for equal data."""

    @property
    def scaled_over(self) -> str:
        return "random networks"

    @property
    def note(self) -> str:
        surrogates = self.world().errors(self.goals, self.devices())
        return "; ".join(part for part in (self.mixed, f"judged by surrogates: {surrogates}") if part)

    @property
    def best(self) -> str:
        return "best found by the surrogates"

    def called(self, method: str) -> str:
        return method.replace("true front", "surrogate front").replace("true costs", "surrogate costs")

    def open(self) -> list[Goal]:
        return [g for g in self.goals if g.metric == "latency" and g.device is None]

    def devices(self) -> list[str]:
        return [*self.train, *self.unseen]

    def check(self) -> None:
        world = self.world()
        for device in self.devices():
            if device not in world.latencies:
                raise UnknownName(f"device of {self.space}", device, world.latencies)
        for goal in self.goals:
            if goal.metric != "latency" and goal.metric not in world.others:
                raise UnknownName(f"objective of {self.space}", goal.metric, ["latency", *world.others])
            if goal.device is not None or goal.epochs is not None:
                raise InvalidValue(f"{self.space} takes metrics without devices or epochs; got {goal}")
        if not self.open():
            raise InvalidValue(f"one objective of {self.space} is latency, on each device in turn")
        if not self.train:
            raise InvalidValue("the generator needs a device to train on")

    def needs_labels(self) -> bool:
        others = self.world().others
        return any(others[g.metric].expensive for g in self.goals if g.metric != "latency")

    def case(self, seed: int) -> Case:
        return SurrogateCase(self, seed)


class SurrogateCase(Case):
    """What one seed measures and predicts, where results are judged by surrogates."""

    setting: SurrogateSetting

    def __init__(self, setting: SurrogateSetting, seed: int):
        super().__init__(setting, seed)
        self.world = setting.world()
        self.space, self.whole = self.world.space, self.world.whole

    def oracle(self, goal: Goal, device: str) -> Oracle:
        return self.world.oracle(self.placed(goal, device))

    def random(self, n: int, device: str) -> Archs:
        return self.space.sample(n, self.draw(f"random {device}"), unique=True)

    def points(self, archs: Archs, device: str) -> Array:
        goals = [self.placed(goal, device) for goal in self.goals]
        low, width, _ = self.world.scaled(goals)
        archs = np.unique(self.space.canonical(archs), axis=0)
        costs = np.stack([Cost(self.space, self.world.oracle(goal))(archs) for goal in goals], axis=1)
        return np.asarray((costs - low) / width)

    def front(self, device: str) -> Array:
        return self.world.scaled([self.placed(goal, device) for goal in self.goals])[2]

    def enumerated(self, costs: Sequence[Cost]) -> Archs:
        start = self.space.sample(SAMPLE, self.draw("enumeration"), unique=True)
        return best_by(self.space, costs, start, POOL, GENERATIONS)

    # ---- predictors

    def can_measure(self) -> Archs | None:
        """What was measured on every unseen device."""
        archs = self.world.measured[(self.setting.unseen or self.setting.train)[0]][0]
        for device in self.setting.unseen[1:]:
            if not np.array_equal(self.world.measured[device][0], archs):
                raise InvalidValue(
                    f"{self.setting.space} has no networks that several devices measured; name one --unseen"
                )
        return archs

    def source_tasks(self, goal: Goal) -> list[Task]:
        tasks, rng = [], self.draw("sources")
        drawn: dict[int, NDArray[np.int64]] = {}  # devices with the same networks share the rows
        for device in self.setting.train:
            archs, values = self.world.measured[device]
            if len(archs) not in drawn:
                drawn[len(archs)] = rng.choice(len(archs), min(self.setting.source_samples, len(archs)), replace=False)
            rows = drawn[len(archs)]
            tasks.append(Task(self.whole, archs[rows], values[rows], goal.metric, "ms", device=device))
        return tasks

    def measured(self, goal: Goal, device: str) -> Array:
        """Measurements; of a device that did not measure these networks, what is predicted from its own."""
        archs, values = self.world.measured[device]
        place = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(archs))}
        rows = [place.get(row.tobytes(), -1) for row in np.ascontiguousarray(self.references())]
        if min(rows) >= 0:
            return values[rows]
        few = self.few_shot(goal)
        assert few.sources_ is not None
        return np.asarray(few.sources_(self.references())[:, few.devices.index(device)])

    def adapted(self, goal: Goal, values: Array, device: str) -> Any:
        return Placed(super().adapted(goal, values, device), self.world.place)

    def learned(self, goal: Goal) -> Any:
        oracle = self.oracle(goal, "")
        if not oracle.expensive:
            return oracle
        archs, values = self.world.labelled[goal.metric]
        model = predictor("gp")
        seed = int(self.draw("labels").integers(2**31))
        chosen = model.choose(self.setting.labels, self.whole, candidates=archs, seed=seed)
        place = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(archs))}
        rows = [place[row.tobytes()] for row in np.ascontiguousarray(chosen)]
        task = Task(self.whole, chosen, values[rows], goal.metric, oracle.unit, oracle.direction)
        return Placed(model.adapt(task), self.world.place)

    def source_costs(self, few: FewShotGP) -> Mapping[str, Any]:
        sources = few.sources_
        assert sources is not None
        last: dict[bytes, Array] = {}  # of the architectures asked for last: one answer has all devices

        def of(column: int) -> Callable[[Archs], Array]:
            def cost(archs: Archs) -> Array:
                key = np.ascontiguousarray(archs).tobytes()
                if key not in last:
                    last.clear()
                    last[key] = sources(self.world.place(archs))
                return np.asarray(last[key][:, column])

            return cost

        return {device: of(i) for i, device in enumerate(few.devices)}
