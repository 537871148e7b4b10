"""PIT on time series, against random search and ``predictor`` with equally many trainings.

The seed network is the largest of the space ``tcn``. Networks are chosen by validation data, and scored by the test
part that came with the data. A seed draws the split, the weights, the batches and the searches.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.bench._journal import Journal, each_once
from nastk.data.images import ImageData, read_images
from nastk.errors import InvalidValue, UnknownName
from nastk.generators.pit_front import Phases, PITFront, Pruned
from nastk.metrics import hypervolume, mean_ci, nondominated, paired
from nastk.report.text import with_half
from nastk.spaces.tcn import TCN

if TYPE_CHECKING:
    from torch import nn

Row = dict[str, Any]

DATA = "basic-motions:50,japanese-vowels,acsf1:73"
"""Data sets, and the steps that their series are resampled to: half, all and a twentieth of what they have."""
STRENGTHS = (0.5, 1.5, 4.0, 10.0)
"""Strengths of the cost, from accurate to small."""
LIMITS = ({"params": 0.1, "flops": 0.15}, {"params": 0.05, "flops": 0.05})
"""Two limits at once, as shares of the seed network's."""
SMALLER = 10.0
"""How many times fewer parameters a network has that is compared with the seed."""
MET = 1.02
"""A limit counts as met up to this multiple."""
TENTH, PIT, LIMITED, RANDOM, PREDICTOR = "tenth", "pit", "limits", "random", "predictor"
"""Names of the methods. "tenth" is PIT under a limit of :data:`SMALLER` times fewer parameters than the seed's, and no
other."""
SEED, SCRATCH = "seed", "tenth, from scratch"
"""What a tenth is compared with: the seed network, and the network that PIT left with new initial weights, each trained
for as many steps as PIT takes for it."""
SEARCHERS = (RANDOM, PREDICTOR)
METHODS = (TENTH, PIT, *SEARCHERS, LIMITED)


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Args:
        data: a data set of time series (see :func:`nastk.data.images.read_images`), and the steps that its series are
            resampled to.
        seed: random seed.
        method: of :data:`METHODS`.
        warmup, search, finetune: steps of PIT's phases; the searchers' networks are trained for as many as a seed and
            a search of PIT's, divided by the networks that these give.
    """

    data: tuple[str, int | None]
    seed: int
    method: str
    warmup: int = 150
    search: int = 200
    finetune: int = 80

    @property
    def trainings(self) -> int:
        """Trainings of each method: the seed, and a search for each strength."""
        return 1 + len(STRENGTHS)

    @property
    def steps(self) -> int:
        """Steps of each training of a searcher: together PIT's."""
        return round((self.warmup + len(STRENGTHS) * (self.search + self.finetune)) / self.trainings)

    def settings(self) -> Row:
        limits = {TENTH: [{"params": 1.0 / SMALLER}], LIMITED: list(LIMITS)}.get(self.method, [])
        strengths = [] if limits else list(STRENGTHS)
        return {**asdict(self), "data": list(self.data), "strengths": strengths, "limits": limits}


@dataclass(frozen=True)
class Found:
    """What a comparison found.

    Args:
        networks: tidy, one for each trained network: data set, seed, method, validation and test accuracy (%),
            parameters and multiply-adds.
    """

    networks: list[Row] = field(default_factory=list)

    def of(self, **wanted: Any) -> list[Row]:
        return [row for row in self.networks if all(row[name] == value for name, value in wanted.items())]


def parse_data(text: str) -> tuple[str, int | None]:
    """``name`` or ``name:steps``.

    Raises:
        InvalidValue: the steps are no number.
    """
    name, colon, steps = text.rpartition(":")
    if not colon or not steps.isdigit():
        return text, None
    if int(steps) < 2:
        raise InvalidValue(f"{text}: series have 2 steps or more")
    return name, int(steps)


def run(
    data: Sequence[tuple[str, int | None]],
    seeds: int = 5,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    methods: Sequence[str] = METHODS,
    first_seed: int = 0,
    **phases: int,
) -> Found:
    """Run the comparison; finished runs of the folder `out` are not repeated.

    Args:
        methods: of :data:`METHODS`.
        first_seed: of as many as `seeds`.

    Raises:
        MissingExtra: sktime is not installed.
        UnknownName: no such method.
        InvalidValue: a data set cannot be used.
    """
    for method in methods:
        if method not in METHODS:
            raise UnknownName("method", method, METHODS)
    for name, steps in data:
        _read(name, steps, 0)
    plans = [
        Plan(each, first_seed + seed, method, **phases) for seed in range(seeds) for each in data for method in methods
    ]
    file = None if out is None else Path(out) / "runs.jsonl"
    journal: Journal[list[Row]] = Journal(file, lambda rows: {"networks": rows}, lambda kept: kept["networks"])
    found = Found()
    for _, rows in each_once(networks_of, plans, journal, Plan.settings, workers, progress):
        found.networks.extend(rows)
    return found


def _read(name: str, steps: int | None, seed: int) -> ImageData:
    data = read_images(name, steps, seed)
    if data.kind != "series":
        raise InvalidValue(f"{name} holds images; the networks take series")
    return data


def networks_of(plan: Plan) -> list[Row]:
    """The networks that a method trains."""
    data = _read(*plan.data, plan.seed)
    channels, steps = data.shape
    options = {"num_classes": len(data.classes), "input_size": steps, "in_channels": channels}
    about: Row = {"data": plan.data[0], "seed": plan.seed}
    made = {TENTH: _tenth, PIT: _pruned, LIMITED: _limited}.get(plan.method, _searched)
    return [{**about, **row} for row in made(plan, data, options)]


def _front(plan: Plan, data: ImageData, options: Mapping[str, int], phases: Phases) -> PITFront:
    import torch

    space = TCN()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = space.build(space.seed, **options)
    return PITFront(network, data, phases, seed=plan.seed)


def _tenth(plan: Plan, data: ImageData, options: Mapping[str, int]) -> list[Row]:
    """The seed trained for as long as PIT takes, PIT's network with a tenth of its parameters, and that network trained
    from new initial weights for as long."""
    steps = plan.warmup + plan.search + plan.finetune
    alone = Phases(steps, plan.search, plan.finetune, batch_of(data))
    front, costs = _front(plan, data, options, alone), _costs_of_seed(options)
    rows = [_judged(SEED, front, front.warm_up(), data, costs)]
    front = _front(plan, data, options, Phases(plan.warmup, plan.search, plan.finetune, batch_of(data)))
    limits = {"params": costs["params"] / SMALLER}
    made = front.within(limits)
    rows.append(_judged(TENTH, front, made.network, data, made.costs) | _over(made, limits))
    front = PITFront(untrained(made.network, plan.seed), data, alone, seed=plan.seed)
    return [*rows, _judged(SCRATCH, front, front.warm_up(), data, made.costs)]


def _pruned(plan: Plan, data: ImageData, options: Mapping[str, int]) -> list[Row]:
    """The seed, and PIT's networks."""
    front = _front(plan, data, options, Phases(plan.warmup, plan.search, plan.finetune, batch_of(data)))
    return [
        _judged(PIT, front, made.network, data, made.costs) | {"strength": made.strength}
        for made in front.run(STRENGTHS)
    ]


def _limited(plan: Plan, data: ImageData, options: Mapping[str, int]) -> list[Row]:
    """Networks within two limits at once."""
    front = _front(plan, data, options, Phases(plan.warmup, plan.search, plan.finetune, batch_of(data)))
    costs, rows = _costs_of_seed(options), []
    for shares in LIMITS:
        limits = {name: share * costs[name] for name, share in shares.items()}
        made = front.within(limits)
        row = _judged(LIMITED, front, made.network, data, made.costs)
        rows.append(row | _over(made, limits) | {"shares": shares})
    return rows


def _costs_of_seed(options: Mapping[str, int]) -> dict[str, float]:
    space = TCN()
    return {name: float(values[0]) for name, values in space.statics(space.seed[None], **options).items()}


def _over(made: Pruned, limits: Mapping[str, float]) -> Row:
    over = {f"over_{name}": made.costs[name] / limit for name, limit in limits.items()}
    return {**over, "forced": made.forced}


def untrained(network: nn.Module, seed: int) -> nn.Module:
    """A copy of a network with new initial weights."""
    import torch

    made = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in made.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
    return made


def batch_of(data: ImageData) -> int:
    """Series of a step: two steps or more an epoch, and at most 32."""
    return min(32, max(len(data.training) // 2, 2))


def _judged(method: str, front: PITFront, network: nn.Module, data: ImageData, costs: Mapping[str, float]) -> Row:
    return _row(method, front.metric(network, data.validation), front.metric(network, data.test), costs)


def _row(method: str, validation: float, test: float, costs: Mapping[str, float]) -> Row:
    judged = {"method": method, "validation": validation, "test": test}
    return judged | {name: costs[name] for name in ("params", "flops")}


def _searched(plan: Plan, data: ImageData, options: Mapping[str, int]) -> list[Row]:
    """The networks that a searcher trains, by validation error and parameters."""
    import nastk
    from nastk.oracles import Params, Recipe, Training

    space, batch = TCN(), batch_of(data)
    in_epoch = max(round(len(data.training) / batch), 1)
    recipe = Recipe(max(round(plan.steps / in_epoch), 1), batch, "adamw", 2e-3, decay=1e-3)
    fitted, judged, tested = (part.tensors() for part in (data.training, data.validation, data.test))
    oracle = Training(space, fitted, judged, tested, recipe=recipe, seed=plan.seed, **dict[str, Any](options))
    params = Params(space, **options)
    result = nastk.search(
        space, objectives=[oracle, params], searcher=plan.method, budget=plan.trainings, seed=plan.seed
    )
    records = result.history.records("search")
    archs = np.unique(space.as_archs([r.arch for r in records if r.objective == oracle.name]), axis=0)
    counts = space.statics(archs, **options)
    rows = []
    for i, arch in enumerate(archs):
        trained = oracle.train(arch)
        costs = {name: float(counts[name][i]) for name in ("params", "flops")}
        rows.append(_row(plan.method, 100.0 - trained.validation, 100.0 - trained.test, costs))
    return rows


# ---- figures


def smaller(networks: Sequence[Row], seed: Row) -> Row | None:
    """Of the networks with :data:`SMALLER` times fewer parameters than the seed, the most accurate on validation data,
    the largest of several; None where there is none."""
    small = [row for row in networks if row["params"] * SMALLER <= seed["params"]]
    return max(small, key=lambda row: (row["validation"], row["params"])) if small else None


def volume(networks: Sequence[Row], seed: Row, classes_error: float) -> float:
    """Hypervolume of the front by validation error and parameters, scored by test error, from 0 to 1.

    Parameters are on a logarithmic scale from 100 to the seed's; errors go up to that of a guess.
    """
    size = np.log([row["params"] for row in networks]) - np.log(100.0)
    size = (size / (np.log(seed["params"]) - np.log(100.0))).clip(min=0.0)
    validation, test = (np.array([100.0 - row[part] for row in networks]) for part in ("validation", "test"))
    kept = nondominated(np.stack([validation, size], axis=1))
    return hypervolume(np.stack([test[kept] / classes_error, size[kept]], axis=1), np.ones(2))


def guess_error(data: tuple[str, int | None]) -> float:
    """Error of the most frequent class of the test part, %."""
    labels = _read(*data, 0).test.labels
    return 100.0 * (1.0 - float(labels.bincount().max()) / len(labels))


def rows_of(found: Found, data: Sequence[tuple[str, int | None]]) -> list[Row]:
    """Tidy rows: what is lost with ten times fewer parameters, hypervolumes, their differences, and limits met; of the
    methods that were run."""
    rows: list[Row] = []
    for name, steps in data:
        for method, metric, values, more in _figures(found, name, steps):
            mean, half = mean_ci(values)
            about = {"experiment": "tcn", "space": "tcn", "dataset": name, "method": method, "metric": metric}
            rows.append({**about, "mean": mean, "ci95": half, "seeds": len(values), **more})
    return rows


Figure = tuple[str, str, Sequence[float], Row]
"""Method, metric, a value for each seed or run, and what more there is to say."""


def _figures(found: Found, name: str, steps: int | None) -> Iterator[Figure]:
    def of(method: str, seed: int) -> list[Row]:
        return found.of(data=name, seed=seed, method=method)

    def tested(method: str, seeds: Sequence[int]) -> NDArray[np.float64]:
        return np.array([of(method, seed)[0]["test"] for seed in seeds])

    if done := _seeds(found, name, TENTH):
        reference = tested(SEED, done)
        yield SEED, "test_accuracy", reference.tolist(), {}
        for method in (TENTH, SCRATCH):
            yield method, "points_lost", (reference - tested(method, done)).round(6).tolist(), {}
        yield TENTH, "times_smaller", [of(SEED, seed)[0]["params"] / of(TENTH, seed)[0]["params"] for seed in done], {}
        difference = (tested(SCRATCH, done) - tested(TENTH, done)).round(6)  # 1e-15 is no difference
        yield f"{SCRATCH} - {TENTH}", "test_accuracy", difference.tolist(), {"p": _p(difference)}
    if done := _seeds(found, name, TENTH, PIT):
        pairs = [(of(SEED, seed)[0], smaller(of(PIT, seed), of(SEED, seed)[0])) for seed in done]
        small = [(seed, row) for seed, row in pairs if row is not None]
        if small:
            yield PIT, "points_lost", [seed["test"] - row["test"] for seed, row in small], {}
            yield PIT, "times_smaller", [seed["params"] / row["params"] for seed, row in small], {}
    volumes: dict[str, list[float]] = {}
    if done := _seeds(found, name, PIT, *SEARCHERS):
        error = guess_error((name, steps))
        for method in (PIT, *SEARCHERS):
            volumes[method] = [volume(of(method, seed), of(PIT, seed)[0], error) for seed in done]
            yield method, "hypervolume", volumes[method], {}
        for method in SEARCHERS:
            difference = np.subtract(volumes[PIT], volumes[method])
            yield f"{PIT} - {method}", "hypervolume", difference.tolist(), {"p": _p(difference)}
    if limited := [row for seed in _seeds(found, name, LIMITED) for row in of(LIMITED, seed)]:
        yield LIMITED, "limits_met", [100.0 * is_met(row) for row in limited], {}
        yield LIMITED, "met_by_the_search_alone", [100.0 * (row["forced"] == 0) for row in limited], {}
        yield LIMITED, "largest_share_of_a_limit", [max(_overs(row)) for row in limited], {}


def _p(differences: NDArray[np.float64]) -> float:
    return paired(differences)[2] if len(differences) > 1 else float("nan")


def _seeds(found: Found, name: str, *methods: str) -> list[int]:
    """Those that have all of these methods."""
    every = sorted({row["seed"] for row in found.of(data=name)})
    return [seed for seed in every if all(found.of(data=name, seed=seed, method=method) for method in methods)]


def _overs(row: Row) -> list[float]:
    return [value for name, value in row.items() if name.startswith("over_")]


def is_met(row: Row) -> bool:
    """Whether a network within limits has all of them, up to :data:`MET`."""
    return max(_overs(row)) <= MET


def tables(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """For each data set a table of the figures, with their intervals."""
    titled: dict[str, list[Row]] = {}
    for row in rows:
        line = {
            "method": row["method"],
            "figure": row["metric"].replace("_", " "),
            "mean": with_half(row["mean"], row["ci95"], 3, 3),
        }
        titled.setdefault(row["dataset"], []).append({**line, "runs": row["seeds"]})
    return list(titled.items())
