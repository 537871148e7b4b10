"""PIT on time series, against random search and ``predictor`` with equally many trainings.

The seed network is the largest of the space ``tcn``. Networks are chosen by validation data, and scored by the test
part that came with the data. A seed draws the split, the weights, the batches and the searches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nastk.bench._journal import Journal, each_once
from nastk.data.images import ImageData, read_images
from nastk.errors import InvalidValue
from nastk.generators.pit_front import Phases, PITFront
from nastk.metrics import hypervolume, mean_ci, nondominated, paired
from nastk.report.text import with_half
from nastk.spaces.tcn import TCN

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
PIT, LIMITED, RANDOM, PREDICTOR = "pit", "limits", "random", "predictor"
"""Names of the methods."""
TENTH = "a tenth"
"""PIT under a limit of :data:`SMALLER` times fewer parameters than the seed's, and no other."""
SEARCHERS = (RANDOM, PREDICTOR)
METHODS = (PIT, *SEARCHERS, LIMITED)


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Args:
        data: a data set of time series (see :func:`nastk.data.images.read_images`), and the steps that its series are
            resampled to.
        seed: random seed.
        method: PIT, with limits or without, or a searcher.
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
        limits = [{"params": 1.0 / SMALLER}, *LIMITS] if self.method == LIMITED else list(LIMITS)
        return {**asdict(self), "data": list(self.data), "strengths": list(STRENGTHS), "limits": limits}


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
    **phases: int,
) -> Found:
    """Run the comparison; finished runs of the folder `out` are not repeated.

    Raises:
        MissingExtra: sktime is not installed.
        InvalidValue: a data set cannot be used.
    """
    for name, steps in data:
        _read(name, steps, 0)
    plans = [Plan(each, seed, method, **phases) for seed in range(seeds) for each in data for method in METHODS]
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
    made = {PIT: _pruned, LIMITED: _limited}.get(plan.method, _searched)
    return [{**about, **row} for row in made(plan, data, options)]


def _front(plan: Plan, data: ImageData, options: Mapping[str, int], phases: Phases) -> PITFront:
    import torch

    space = TCN()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = space.build(space.seed, **options)
    return PITFront(network, data, phases, seed=plan.seed)


def _pruned(plan: Plan, data: ImageData, options: Mapping[str, int]) -> list[Row]:
    """The seed, PIT's networks, and the seed trained for as long as one of them."""
    front = _front(plan, data, options, Phases(plan.warmup, plan.search, plan.finetune, batch_of(data)))
    rows = []
    for made in front.run(STRENGTHS):
        test = front.metric(made.network, data.test)
        rows.append(_row(PIT, made.validation, test, made.costs) | {"strength": made.strength})
    steps = plan.warmup + plan.search + plan.finetune
    longer = _front(plan, data, options, Phases(steps, plan.search, plan.finetune, batch_of(data)))
    trained = longer.warm_up()
    validation, test = (longer.metric(trained, part) for part in (data.validation, data.test))
    return [*rows, _row("seed", validation, test, rows[0])]


def _limited(plan: Plan, data: ImageData, options: Mapping[str, int]) -> list[Row]:
    """Networks within two limits at once, and one with a tenth of the parameters."""
    front = _front(plan, data, options, Phases(plan.warmup, plan.search, plan.finetune, batch_of(data)))
    seed = {name: float(values[0]) for name, values in TCN().statics(TCN().seed[None], **options).items()}
    rows = []
    for method, shares in [(TENTH, {"params": 1.0 / SMALLER}), *((LIMITED, shares) for shares in LIMITS)]:
        limits = {name: share * seed[name] for name, share in shares.items()}
        made = front.within(limits)
        test = front.metric(made.network, data.test)
        over = {f"over_{name}": made.costs[name] / limit for name, limit in limits.items()}
        rows.append(_row(method, made.validation, test, made.costs) | over | {"shares": shares, "forced": made.forced})
    return rows


def batch_of(data: ImageData) -> int:
    """Series of a step: two steps or more an epoch, and at most 32."""
    return min(32, max(len(data.training) // 2, 2))


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
    """Tidy rows: what is lost with ten times fewer parameters, hypervolumes, their differences, and limits met."""
    rows: list[Row] = []

    def add(name: str, method: str, metric: str, values: Sequence[float], **more: Any) -> None:
        mean, half = mean_ci(values)
        about = {"experiment": "tcn", "space": "tcn", "dataset": name, "method": method, "metric": metric}
        rows.append({**about, "mean": mean, "ci95": half, "seeds": len(values), **more})

    for name, steps in data:
        error = guess_error((name, steps))
        done = [s for s in sorted({row["seed"] for row in found.of(data=name)}) if _whole(found, name, s)]
        lost, shrunk, volumes = [], [], {method: [] for method in (PIT, *SEARCHERS)}  # type: ignore[var-annotated]
        tenths = [found.of(data=name, seed=seed, method=TENTH)[0] for seed in done]
        accuracies = []
        for seed in done:
            reference = found.of(data=name, seed=seed, method="seed")[0]
            accuracies.append(reference["test"])
            small = smaller(found.of(data=name, seed=seed, method=PIT), reference)
            if small is not None:
                lost.append(reference["test"] - small["test"])
                shrunk.append(reference["params"] / small["params"])
            for method in volumes:
                volumes[method].append(volume(found.of(data=name, seed=seed, method=method), reference, error))
        if not done:
            continue
        add(name, "seed", "test_accuracy", accuracies)
        add(name, TENTH, "points_lost", [a - row["test"] for a, row in zip(accuracies, tenths, strict=True)])
        if lost:
            add(name, PIT, "points_lost", lost)
            add(name, PIT, "times_smaller", shrunk)
        for method, values in volumes.items():
            add(name, method, "hypervolume", values)
        for method in SEARCHERS:
            differences = np.subtract(volumes[PIT], volumes[method])
            p = paired(differences)[2] if len(done) > 1 else float("nan")
            add(name, f"{PIT} - {method}", "hypervolume", differences.tolist(), p=p)
        limited = [row for seed in done for row in found.of(data=name, seed=seed, method=LIMITED)]
        add(name, LIMITED, "limits_met", [100.0 * is_met(row) for row in limited])
        add(name, LIMITED, "met_by_the_search_alone", [100.0 * (row["forced"] == 0) for row in limited])
        add(name, LIMITED, "largest_share_of_a_limit", [max(_overs(row)) for row in limited])
    return rows


def _whole(found: Found, name: str, seed: int) -> bool:
    return all(found.of(data=name, seed=seed, method=method) for method in ("seed", TENTH, *METHODS))


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
