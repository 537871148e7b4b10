"""Whether a supernet pays in a search: fronts at equal total cost, with its training and its answers counted in
trainings.

Every network of a pool is trained once, on few images so that networks differ; that is the table in which searchers
look accuracies up. They see those on validation images, and are judged by those of the same networks on test images,
against parameters. A searcher with a supernet has its budget less what its training, and the networks that it judged,
took in units of the pool's mean training.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nastk.bench._journal import Journal
from nastk.data.images import ImageData, Part
from nastk.errors import InvalidValue
from nastk.metrics import hypervolume, mean_ci, nondominated, paired, spearman
from nastk.oracles._trainer import Job, Recipe, fingerprint, train
from nastk.oracles.base import Evaluation, Oracle, lower_values
from nastk.oracles.counts import Count
from nastk.parallel import one_thread
from nastk.spaces._choices import choice
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs
from nastk.spaces.factory import space_of
from nastk.supernets.factory import supernet as make_supernet

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]

TRAINING, VALIDATION = 100, 500
"""Images of the splits; the rest of the digits is the test part. Few to train on, so that networks differ."""

EPOCHS, BRIEF = 100, 20
"""Epochs of a training, and of a short one for multi-fidelity searchers."""

POOL = 200
"""Networks that are trained for the table."""

REPEATED = 30
"""Networks that are trained with a second seed, which says how well the table ranks."""

FILE, SEARCHES = "trainings.jsonl", "searches.jsonl"
"""Files of the finished trainings and searches, in the folder of the benchmark."""


class DigitsNet(nn.Module):
    """One to four convolutions of four widths and two kernels: 4,680 networks for images of 8 x 8."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        channels, layers = 1, []
        for i in range(choice("depth", [1, 2, 3, 4])):
            width = choice(f"width {i}", [4, 8, 16, 32])
            kernel = choice(f"kernel {i}", [3, 5])
            layers += [nn.Conv2d(channels, width, kernel, padding="same"), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body(x))
        return found


def few_digits(training: int = TRAINING, validation: int = VALIDATION) -> ImageData:
    """Scikit-learn's digits with few images to train on, and many to judge by."""
    from sklearn.datasets import load_digits

    pixels, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    images, labels = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)[order], torch.tensor(numbers)[order]
    images = (images - images[:training].mean()) / images[:training].std()
    ends = np.cumsum([0, training, validation, len(images) - training - validation])
    first, second, third = (Part.of(images[a:b], labels[a:b]) for a, b in pairwise(ends.tolist()))
    known_as = fingerprint("digits", training, validation)
    return ImageData(f"{training} digits", first, second, third, tuple("0123456789"), (1, 8, 8), known_as)


@dataclass(frozen=True)
class Trained:
    """One training of one network.

    Args:
        validation: accuracy after some epochs, %, by epoch.
        test: accuracy in the end, %.
        seconds: processor time.
    """

    validation: dict[int, float]
    test: float
    seconds: float


class Trainings:
    """Trainings that are kept in a file as they end.

    Args:
        folder: of the file.
        data, epochs, brief: of the trainings.

    Raises:
        StorageError: the file cannot be used.
    """

    def __init__(self, folder: Path, data: ImageData, epochs: int = EPOCHS, brief: int = BRIEF):
        self.file, self.data, self.epochs, self.brief = folder / FILE, data, epochs, brief
        self.space = space_of(DigitsNet)
        self.known_as = fingerprint(self.space.identity(), data.identity, epochs, brief)
        self._kept = Journal(self.file, vars, _read_training)

    def get(self, arch: Archs, seed: int) -> Trained:
        """The training of an architecture ``(d,)``, which begins unless it is known."""
        settings = {"of": self.known_as, "arch": self.space.format(arch), "seed": seed}
        if settings not in self._kept:
            recipe = Recipe(self.epochs)
            evaluated = {"validation": self.data.validation, "test": self.data.test}
            at = (self.brief, self.epochs)
            job = Job(self.space, arch, {}, self.data.training, evaluated, 10, recipe, seed, "cpu", at)
            done = train(job)
            validation = {epoch: 100.0 - found["validation"] for epoch, found in done.errors.items()}
            test = 100.0 - done.errors[self.epochs]["test"]
            self._kept.add(settings, Trained(validation, test, done.seconds))
        return self._kept[settings]

    def pool(self, count: int) -> Archs:
        """The first `count` networks of a random order of the space, ``(count, d)``, all different."""
        drawn = self.space.sample(4 * count, np.random.default_rng(0))
        found = drawn[self.space.distinct(drawn)]
        if len(found) < count:
            raise InvalidValue(f"{self.space.name} has no {count} different networks among {len(drawn)} random ones")
        return found[:count]


def _read_training(entry: Mapping[str, Any]) -> Trained:
    validation = {int(epoch): float(value) for epoch, value in entry["validation"].items()}
    return Trained(validation, float(entry["test"]), float(entry["seconds"]))


class Looked(Oracle):
    """Accuracies of a pool's trainings, looked up, at two fidelities.

    Args:
        space: the pool.
        told: of its members, in their order.
        epochs, brief: of full and short trainings.
    """

    name, unit, direction, kind = "accuracy", "%", "max", "table"

    def __init__(self, space: Pool, told: Sequence[Trained], epochs: int = EPOCHS, brief: int = BRIEF):
        self.space, self.fidelities = space, (float(brief), float(epochs))
        self._values = {f: np.array([t.validation[int(f)] for t in told]) for f in self.fidelities}
        self._places = {row.tobytes(): i for i, row in enumerate(space.members)}
        self.source = f"looked up among {len(told)} trainings"

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        at = self.fidelities[-1] if fidelity is None else fidelity
        rows = [self._places[row.tobytes()] for row in np.ascontiguousarray(archs, dtype=np.int64)]
        value = self._values[at][rows]
        lower = {}
        if at == self.fidelities[-1]:
            brief = self._values[self.fidelities[0]][rows]
            lower = lower_values(self.fidelities, at, [{self.fidelities[0]: float(v)} for v in brief])
        return Evaluation(value, np.full(len(rows), np.nan), np.ones(len(rows)), lower=lower)


class Table:
    """The pool, what is known of it, and the hypervolume of what a search finds in it.

    Args:
        trainings: of its networks.
        count: of its networks.
        progress: called with (done, total, what).
    """

    def __init__(self, trainings: Trainings, count: int = POOL, progress: Progress | None = None):
        self.trainings, self.space = trainings, Pool(trainings.space, trainings.pool(count))
        self._progress = progress
        self.told = self._train(self.space.members, 0)
        self.params = Count(trainings.space, "params")(self.space.members)
        self.accuracy = Looked(self.space, self.told, trainings.epochs, trainings.brief)

    def _train(self, archs: Archs, seed: int) -> list[Trained]:
        found = []
        for arch in archs:
            found.append(self.trainings.get(arch, seed))
            if self._progress is not None:
                self._progress(len(found), len(archs), f"trainings of seed {seed}")
        return found

    @property
    def seconds(self) -> float:
        """Mean processor time of a training."""
        return float(np.mean([t.seconds for t in self.told]))

    def quality(self) -> dict[str, float]:
        """How well the table ranks: rank correlation of accuracies from seed to seed, of parameters with them, and
        their spread; trains some networks with a second seed."""
        test = np.array([t.test for t in self.told])
        again = [t.test for t in self._train(self.space.members[:REPEATED], 1)]
        return {
            "seed_to_seed": spearman(again, test[: len(again)]), "params": spearman(self.params, test),
            "lowest": float(test.min()), "median": float(np.median(test)), "highest": float(test.max()),
        }  # fmt: skip

    @cached_property
    def _costs(self) -> Array:
        """Test error and logarithm of parameters of all, each from 0 to 1, ``(n, 2)``."""
        costs = np.stack([[100.0 - t.test for t in self.told], np.log(self.params)], axis=1)
        return np.asarray((costs - costs.min(axis=0)) / np.ptp(costs, axis=0))

    def hypervolume(self, trained: Archs) -> float:
        """Of those that searchers choose among the architectures ``(n, d)`` that were trained, by validation accuracy
        and parameters; by test accuracy, relative to the whole table."""
        if not len(trained):
            return 0.0
        rows = self.space.index(trained)
        seen = np.stack([[-self.told[i].validation[self.trainings.epochs] for i in rows], self.params[rows]], axis=1)
        chosen = rows[nondominated(seen)]
        reference = np.ones(2)
        return hypervolume(self._costs[chosen], reference) / hypervolume(self._costs, reference)


SEARCHERS_COMPARED = ("random", "pymoo:nsga2", "predictor", "multi-fidelity")
"""Searchers that are compared; those of them that can use a supernet are also compared with one."""


@dataclass(frozen=True)
class Spent:
    """One search.

    Args:
        method, seed, total: what searched, and its budget in trainings, of everything.
        supernet: what of it the supernet took.
        trainings: what the rest paid for.
        hypervolume: of what was found; 0 where nothing was left to train.
        spearman: rank correlation of the supernet's losses with test accuracies; NaN without one.
    """

    method: str
    seed: int
    total: int
    supernet: float
    trainings: int
    hypervolume: float
    spearman: float


def compare(
    folder: str | os.PathLike[str],
    budgets: Sequence[int] = (20, 60),
    seeds: int = 5,
    supernet: str = "sandwich",
    steps: int | None = None,
    searchers: Sequence[str] = SEARCHERS_COMPARED,
    count: int = POOL,
    trainings: Trainings | None = None,
    progress: Progress | None = None,
    first: int = 0,
) -> tuple[Table, list[Spent]]:
    """Search the table with and without a supernet, at equal total cost.

    Args:
        folder: that keeps the trainings of the table.
        budgets: total costs, in trainings.
        seeds: of searches; each with a supernet has its own, of the same seed.
        supernet, steps: its method and the steps of its training.
        searchers: names.
        count: networks of the table.
        trainings: by default those of :class:`DigitsNet` on :func:`few_digits`.
        progress: called with (done, total, what).
        first: of the seeds.
    """
    from nastk.search.base import searcher_class

    for name in searchers:
        searcher_class(name)
    make_supernet(supernet, **({} if steps is None else {"steps": steps}))  # refuses what it cannot take
    with one_thread():
        table = Table(trainings or Trainings(Path(folder), few_digits()), count, progress)
        journal = Journal(Path(folder) / SEARCHES, _written, _read)
        known_as = fingerprint(table.trainings.known_as, count, supernet, steps)
        ways = [(name, shared) for name in searchers for shared in (False, True)]
        ways = [(name, shared) for name, shared in ways if not shared or searcher_class(name).uses_lower]
        found = []
        for seed in range(first, first + seeds):
            for name, shared in ways:
                for total in budgets:
                    asked = _asked(supernet, steps) if shared else None
                    settings = {"of": known_as, "searcher": name, "supernet": asked, "seed": seed, "total": total}
                    if settings not in journal:
                        journal.add(settings, _search(table, name, seed, total, asked))
                    found.append(journal[settings])
                    if progress is not None:
                        progress(len(found), seeds * len(ways) * len(budgets), "searches")
    return table, found


def _written(found: Spent) -> dict[str, Any]:
    return vars(found) | {"spearman": None if math.isnan(found.spearman) else found.spearman}


def _read(entry: Mapping[str, Any]) -> Spent:
    facts = {name: value for name, value in entry.items() if name != "run"}
    return Spent(**facts | {"spearman": math.nan if facts["spearman"] is None else float(facts["spearman"])})


def _asked(supernet: str, steps: int | None) -> dict[str, Any]:
    return {"method": supernet} | ({} if steps is None else {"steps": steps})


def _search(table: Table, name: str, seed: int, total: int, supernet: dict[str, Any] | None) -> Spent:
    """One search of the table with a total budget in trainings."""
    import nastk
    from nastk.run.supernet import JUDGED, kept_supernet, supernet_facts

    took, rank, method = 0.0, math.nan, name
    options: dict[str, Any] = {}
    if supernet is not None:
        images = table.trainings.data
        facts, _ = supernet_facts(table.space, supernet, images, None, seed)
        kept = kept_supernet(table.space, facts, images)
        sample = kept.judge_some(JUDGED)
        took = (kept.seconds + sample.seconds) / table.seconds
        rows = table.space.index(sample.archs)
        rank = spearman(-sample.loss, np.array([table.told[i].test for i in rows]))
        options = {"supernet": supernet, "data": images}
        method = f"{name} with {supernet['method']}"
    left = int(total - took)
    if left < 2:
        return Spent(method, seed, total, took, 0, 0.0, rank)
    params = nastk.FunctionOracle(
        table.space, lambda archs: table.params[table.space.index(archs)], "params", expensive=False
    )
    found = nastk.search(
        table.space, [table.accuracy, params], searcher=name, budget=left, seed=seed, verify=0, **options
    )
    full = [r.arch for r in found.history.records("search") if r.objective == "accuracy" and _is_full(r, table)]
    return Spent(method, seed, total, took, left, table.hypervolume(np.array(full, dtype=np.int64)), rank)


def _is_full(record: Any, table: Table) -> bool:
    return record.status == "ok" and record.fidelity in (None, table.accuracy.fidelities[-1])


def rows(table: Table, found: Sequence[Spent]) -> list[dict[str, Any]]:
    """Tidy rows: mean hypervolumes with 95 % intervals, their differences from the same searcher without a supernet
    (paired by seed), what supernets cost and how they rank, and how well the table does."""
    common = {
        "experiment": "supernet-search",
        "space": table.trainings.space.name,
        "dataset": table.trainings.data.name,
    }
    tidy: list[dict[str, Any]] = []

    def add(method: str, samples: int | None, metric: str, values: Sequence[float]) -> None:
        mean, half = mean_ci(values)
        row = {**common, "method": method, "samples": samples, "metric": metric, "mean": mean, "ci95": half}
        tidy.append({**row, "seeds": len(values)})

    by = {(f.method, f.seed, f.total): f for f in found}
    for method, total in dict.fromkeys((f.method, f.total) for f in found):
        mine = [f for f in found if (f.method, f.total) == (method, total)]
        add(method, total, "hypervolume", [f.hypervolume for f in mine])
        add(method, total, "trainings", [float(f.trainings) for f in mine])
        plain, shared, _ = method.partition(" with ")
        if shared and (plain, mine[0].seed, total) in by:
            change, half, _ = paired([f.hypervolume - by[plain, f.seed, total].hypervolume for f in mine])
            row = {**common, "method": method, "samples": total, "metric": f"hypervolume_above_{plain}"}
            tidy.append({**row, "mean": change, "ci95": half, "seeds": len(mine)})
    supernets = {(f.seed, f.method.partition(" with ")[2]): f for f in found if f.supernet}
    if supernets:
        add("supernet", None, "trainings_it_took", [f.supernet for f in supernets.values()])
        add("supernet", None, "spearman", [f.spearman for f in supernets.values()])
    tidy += [
        {
            **common,
            "method": "table",
            "samples": len(table.told),
            "metric": name,
            "mean": value,
            "ci95": None,
            "seeds": 1,
        }
        for name, value in {**table.quality(), "seconds_per_training": table.seconds}.items()
    ]
    return tidy
