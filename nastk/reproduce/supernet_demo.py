"""MODNAS with a supernet, on images and this machine, against random search and NSGA-II with equally many trainings.

A random seed determines the split of the images; one supernet and one hypernetwork serve all settings. The proposals of
each method for a setting are trained from scratch; the front is selected by validation error and latency, and scored by
test error and latency.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.devices import torch_device
from nastk.errors import InvalidValue, UnknownName
from nastk.files import writable_folder
from nastk.metrics import hypervolume, igd_plus, mean_ci, nondominated, spearman
from nastk.oracles.base import FunctionOracle
from nastk.oracles.training import Training
from nastk.parallel import each
from nastk.predictors.ridge import Ridge
from nastk.relaxation.device_gradients import COMBINATIONS
from nastk.reproduce.supernet_devices import REFERENCES, Setting, additive, blend, embed, measure, settings
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

    Images = tuple[Tensor, Tensor]

Array = NDArray[np.float64]
Row = dict[str, Any]

# Names of the methods.
SUPERNET = "supernet"
RANDOM = "random"
NSGA2 = "pymoo:nsga2"
RAYS = 24
"""Preferences to propose for (the paper's evaluation)."""
DRAWS = 8
"""Architectures sampled for each ray besides the most probable one: candidates from which the supernet selects."""
WORST = 0.9
"""The hypervolume's reference error: this quantile of the random architectures' errors."""


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Args:
        images: an .npz file of images and labels, or None for scikit-learn's handwritten digits.
        training, validation: number of images of each part; of the rest, at most 2,000 are for the test.
        epochs: of the supernet.
        trainings: stand-alone trainings of each method on each setting.
        measurements: latencies per training setting, for the predictors of the search.
        scored: latencies per setting, for the predictors that score all methods.
        channels, cells: of the networks.
        combination: of the settings' gradients.
        devices: the training settings.
        held_out: the setting of which the search knows ten latencies.
        device: of the trainings.
        folder: cache of trainings and latencies.
    """

    images: str | None = None
    training: int = 100
    validation: int = 100
    epochs: int = 100
    trainings: int = 12
    measurements: int = 20
    scored: int = 20
    channels: int = 8
    cells: int = 1
    combination: str = "mean"
    devices: tuple[Setting, ...] = ()
    held_out: Setting | None = None
    device: str = "cpu"
    folder: str | None = None


@dataclass(frozen=True)
class Found:
    """Results of a run.

    Args:
        rows: tidy rows.
        supernet_seconds, training_seconds: mean CPU seconds of the training of a supernet and of one architecture.
        likeliest: mean number of distinct most probable architectures on the rays of a setting.
        spread: least, 10 %, median, 90 % and greatest test error of the random architectures, over all seeds.
        agreement: Spearman's correlation of cross-entropy through the supernet and stand-alone validation error, of the
            random architectures, mean over seeds.
        predicted: Spearman's correlation of the search's latency predictors and the measurements for scoring, by
            setting.
        differences: the supernet's hypervolume minus that of each other method, paired by seed, with its 95 % interval;
            mean over the training settings ("train"), and on the held-out one ("unseen").
        in_all: distinct architectures that a method trained over all settings, mean over seeds.
        fronts: for each setting and method of the first seed, latencies and test errors of its front.
    """

    rows: list[Row]
    supernet_seconds: float
    training_seconds: float
    likeliest: float
    spread: Array
    agreement: float
    predicted: dict[str, float]
    differences: dict[str, dict[str, str]]
    in_all: dict[str, float]
    fronts: dict[str, dict[str, Array]] = field(default_factory=dict)


# ---- images


def load_images(path: str | os.PathLike[str] | None) -> tuple[Array, NDArray[np.int64]]:
    """Pictures ``(n, channels, size, size)`` and labels ``(n,)`` from 0 on, of a file or of scikit-learn's digits.

    Raises:
        InvalidValue: the file cannot be read, or has other content.
    """
    if path is None:
        from nastk.data._image_sources import digits

        pictures, labels = digits()
        return pictures[:, None].astype(np.float64), labels
    from nastk.oracles.zerocost._batch import read_batch

    pictures, labels = (part.numpy() for part in read_batch(Path(path)))
    if pictures.ndim == 3:
        pictures = pictures[:, None]
    if pictures.ndim != 4 or labels.shape != (len(pictures),) or pictures.shape[2] != pictures.shape[3]:
        raise InvalidValue(
            f"{path}: needs images (n, channels, size, size) and labels (n,); "
            f"got {tuple(pictures.shape)} and {tuple(labels.shape)}"
        )
    if pictures.shape[2] < 4 or not np.isfinite(pictures).all():
        raise InvalidValue(f"{path}: images must be finite and at least 4 pixels wide")
    classes, numbered = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InvalidValue(f"{path}: needs images of at least two classes")
    return pictures.astype(np.float64), numbered.astype(np.int64)


def split_images(
    pictures: Array, labels: NDArray[np.int64], training: int, validation: int, seed: int
) -> tuple[Images, Images, Images]:
    """Training, validation and test images, a random split (not stratified), scaled by the training images' spread.

    Raises:
        InvalidValue: too few images.
    """
    import torch

    if min(training, validation) < 2 or training + validation + 2 > len(pictures):
        raise InvalidValue(
            f"{training} training and {validation} validation images: each needs 2 or more, and of the "
            f"{len(pictures)} images 2 or more must be left for the test"
        )
    order = np.random.default_rng([seed, 0]).permutation(len(pictures))
    centre, spread = pictures[order[:training]].mean(), pictures[order[:training]].std()
    x = torch.as_tensor((pictures - centre) / max(spread, 1e-12), dtype=torch.float32)
    y = torch.as_tensor(labels)
    ends = (0, training, training + validation, training + validation + 2000)
    first, second, third = (torch.as_tensor(order[a:b]) for a, b in pairwise(ends))
    return (x[first], y[first]), (x[second], y[second]), (x[third], y[third])


# ---- the run


def run(
    plan: Plan,
    seeds: int = 1,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Found:
    """Search with every method and seed, train the proposals, and score them.

    Args:
        plan: settings of the run.
        seeds: number of random seeds, from 0, each with its own images, supernet, searches and trainings.
        workers: number of processes, by default one per core.
        progress: called with (what, done, total).

    Raises:
        InvalidValue: an invalid setting; raised before anything is run.
    """
    plan = _complete(plan)
    _loaded.cache_clear()
    pictures, labels = _loaded(plan.images)
    split_images(pictures, labels, plan.training, plan.validation, 0)
    if plan.folder is None:
        with tempfile.TemporaryDirectory() as folder:
            return _run(replace(plan, folder=folder), seeds, workers, progress)
    writable_folder(plan.folder)
    return _run(plan, seeds, workers, progress)


def _complete(plan: Plan) -> Plan:
    if min(plan.trainings, plan.epochs, plan.channels, plan.cells) < 1 or min(plan.measurements, plan.scored) < 6:
        raise InvalidValue("needs at least one epoch, training, channel and cell, and 6 measurements of each kind")
    training, held_out = settings()
    plan = replace(plan, devices=plan.devices or tuple(training), held_out=plan.held_out or held_out)
    if plan.held_out in plan.devices or len(set(plan.devices)) < len(plan.devices):
        raise InvalidValue("settings must be different, the held-out one included")
    torch_device(plan.device)
    if plan.combination not in COMBINATIONS:
        raise UnknownName("combination of gradients", plan.combination, COMBINATIONS)
    return plan


def _run(plan: Plan, seeds: int, workers: int | None, progress: Callable[[str, int, int], None] | None) -> Found:
    world = World(plan, progress)

    def follow(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total)

    proposals: dict[int, Proposals] = {}
    jobs = [(plan, world.targets, seed) for seed in range(seeds)]
    for (_, _, seed), found in each(_supernet_job, jobs, workers, follow("supernets")):
        proposals[seed] = found
    nsga2 = [(plan, world.scoring[name], name, seed) for seed in range(seeds) for name in world.names]
    evolved = {(seed, name): archs for (_, _, name, seed), archs in each(_nsga2_job, nsga2, workers, follow("NSGA-II"))}
    wanted = [(plan, seed, arch) for seed in range(seeds) for arch in _everything(plan, seed, proposals[seed])]
    for _ in each(_training_job, _chunks(wanted, 8), workers, follow("trainings")):
        pass
    return _score(plan, world, proposals, evolved, seeds)


class World:
    """Shared by all seeds: latencies, and predictors fitted to them.

    Attributes:
        names: of the settings, the held-out one last.
        targets: for each, its embedding and the search's latency predictors.
        scoring: for each, ms of every architecture of the space, in the order of `enumerate`.
        predicted: Spearman's correlation of the search's predictor and the measurements for scoring.
    """

    def __init__(self, plan: Plan, progress: Callable[[str, int, int], None] | None = None):
        assert plan.held_out is not None
        space, options = _space(), _options(plan)
        folder = None if plan.folder is None else Path(plan.folder)
        references = np.concatenate([space.from_index(i).reshape(1, -1) for i in REFERENCES])
        sample = space.sample(plan.measurements + plan.scored, np.random.default_rng(20), unique=True)
        learned, scored = sample[: plan.measurements], sample[plan.measurements :]
        self.names = [str(setting) for setting in (*plan.devices, plan.held_out)]
        self.targets: dict[str, tuple[Array, list[Ridge], Array]] = {}
        self.scoring: dict[str, Array] = {}
        self.predicted: dict[str, float] = {}
        models: list[Ridge] = []
        for setting in (*plan.devices, plan.held_out):
            name, unseen = str(setting), setting == plan.held_out
            archs = np.concatenate([references, scored] if unseen else [references, learned, scored])

            def follow(done: int, total: int, name: str = name) -> None:
                if progress is not None:
                    progress(f"latencies {name}", done, total)

            ms = measure(space, setting, archs, options, folder, follow)
            described, judged = ms[: len(references)], ms[-len(scored) :]
            self.scoring[name] = additive(space, scored, judged).predict(space.enumerate()).mean
            if unseen:
                weights = blend(described, [model.predict(references).mean for model in models])
                target = (embed(described), models, weights)
            else:
                known = slice(0, len(references) + len(learned))
                model = additive(space, archs[known], ms[known])
                models = [*models, model]
                target = (embed(described), [model], np.array([1.0, 0.0]))
            self.targets[name] = target
            self.predicted[name] = spearman(_predict(target, scored), judged)


Targets = Mapping[str, tuple[Array, list[Ridge], Array]]


def _predict(target: tuple[Array, list[Ridge], Array], archs: Archs) -> Array:
    """Predicted ms ``(n,)`` of the search."""
    _, models, weights = target
    return np.asarray(sum(w * m.predict(archs).mean for w, m in zip(weights, models, strict=False)) + weights[-1])


@dataclass(frozen=True)
class Proposals:
    """Proposals of one supernet.

    Args:
        archs: architectures to train for each setting, ``(trainings, d)``.
        likeliest: for each setting, number of distinct most probable architectures on the rays.
        cross_entropy: of the random architectures, through the supernet on the validation images.
        seconds: CPU seconds to train both networks.
    """

    archs: dict[str, Archs]
    likeliest: dict[str, int]
    cross_entropy: Array
    seconds: float


def _supernet_job(job: tuple[Plan, Targets, int]) -> Proposals:
    from nastk.generators import SupernetGenerator, Target
    from nastk.relaxation.preferences import rays

    plan, targets, seed = job
    training, validation, _ = _images(plan, seed)
    assert plan.held_out is not None
    devices = [
        Target(name, embedding, models[0].predict_relaxed)
        for name, (embedding, models, _) in targets.items()
        if name != str(plan.held_out)
    ]
    search = SupernetGenerator(
        _space(),
        epochs=plan.epochs,
        combination=plan.combination,
        device=plan.device,
        seed=seed,
        **_TUNED,
        **_options(plan),
    )
    begun = time.process_time()
    search.fit(training, validation, devices)
    seconds = time.process_time() - begun
    preferences = rays(RAYS)
    chosen: dict[str, Archs] = {}
    likeliest: dict[str, int] = {}
    anything = _random(plan, seed)
    random_errors = search.cross_entropies(anything, validation)
    for name, target in targets.items():
        likely = np.unique(search.propose(target[0], preferences), axis=0)
        pool = np.unique(np.concatenate([likely, search.sample(target[0], preferences, DRAWS, seed)]), axis=0)
        likeliest[name] = len(likely)
        costs = np.column_stack([search.cross_entropies(pool, validation), _predict(target, pool)])
        frame = np.column_stack([random_errors, _predict(target, anything)])[: _more(plan)]
        chosen[name] = pool[_layers(costs, frame, plan.trainings)]
    return Proposals(chosen, likeliest, random_errors, seconds)


_TUNED: dict[str, Any] = {
    "batch": 50,
    "warmup": 0.5,
    "learning_rate": 0.05,
    "network_options": {"anchors": 11},
}
"""Fewer anchors and a higher rate than for all of CIFAR-10, as there are only a few hundred steps."""


def _layers(costs: Array, frame: Array, n: int) -> NDArray[np.int64]:
    """Up to `n` rows in layers: those with the largest joint hypervolume, then the same of the rest, and so on."""
    from nastk.generators.decoding import greedy

    low, high = np.minimum(costs.min(axis=0), frame.min(axis=0)), np.quantile(frame, WORST, axis=0)
    scaled = (costs - low) / np.maximum(high - low, 1e-12)
    left = np.arange(len(costs))
    chosen: list[int] = []
    while len(chosen) < n and len(left):
        more = left[greedy(scaled[None, left], n - len(chosen))]
        if not len(more):  # beyond the reference point: least sum of costs
            more = left[np.argsort(scaled[left].sum(axis=1), kind="stable")][: n - len(chosen)]
        chosen += more.tolist()
        left = np.setdiff1d(left, more)
    return np.array(chosen, dtype=np.int64)


def _nsga2_job(job: tuple[Plan, Array, str, int]) -> Archs:
    """Architectures that NSGA-II trains on one setting, in order; it knows the latencies."""
    from nastk.search.pymoo import PymooSearch
    from nastk.study import Study

    plan, ms, _, seed = job
    space, budget = _space(), _more(plan)
    latency = FunctionOracle(space, lambda archs: ms[space.index(archs)], "latency", "ms", expensive=False)
    searcher = PymooSearch(
        "nsga2", space, [_training(plan, seed), latency], seed=seed, budget={"error": budget},
        population=max(plan.trainings // 2, 4),
    )  # fmt: skip
    history = Study(searcher, batch=1).run().history
    return np.array([record.arch for record in history.records("search")], dtype=np.int64)


def _training_job(job: tuple[tuple[Plan, int, Archs], ...]) -> None:
    oracles: dict[int, Training] = {}
    for plan, seed, arch in job:
        oracles.setdefault(seed, _training(plan, seed)).train(arch)


def _everything(plan: Plan, seed: int, proposals: Proposals) -> Archs:
    """All architectures to train with one seed, except NSGA-II's."""
    parts = [*proposals.archs.values(), _random(plan, seed)]
    return np.unique(np.concatenate(parts), axis=0)


def _chunks(jobs: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    return [tuple(jobs[i : i + size]) for i in range(0, len(jobs), size)]


# ---- scores


def _score(
    plan: Plan, world: World, proposals: Mapping[int, Proposals], evolved: Mapping[tuple[int, str], Archs], seeds: int
) -> Found:
    space, k = _space(), plan.trainings
    agreement: list[float] = []
    spread: list[float] = []
    fronts: dict[tuple[str, str], list[Array]] = {}
    trained: dict[tuple[str, str], list[int]] = {}
    distinct: dict[str, set[tuple[int, bytes]]] = {}
    seconds: list[float] = []
    for seed in range(seeds):
        oracle, anything = _training(plan, seed), _random(plan, seed)
        errors = np.array([oracle.train(arch).validation for arch in anything])
        agreement.append(spearman(proposals[seed].cross_entropy, errors))
        spread += [oracle.train(arch).test for arch in anything]
        for name in world.names:
            methods = {
                SUPERNET: proposals[seed].archs[name],
                RANDOM: anything[:k],
                NSGA2: evolved[seed, name][:k],
                f"{RANDOM}, more": anything[: _more(plan)],
                f"{RANDOM}, in all": anything,
                f"{NSGA2}, more": evolved[seed, name],
            }
            for method, archs in methods.items():
                known = [oracle.train(arch) for arch in archs]
                ms = world.scoring[name][space.index(archs)]
                chosen = nondominated(np.column_stack([[t.validation for t in known], ms]))
                front = np.column_stack([[t.test for t in known], ms])[chosen]
                fronts.setdefault((name, method), []).append(front[np.argsort(front[:, 1])])
                trained.setdefault((name, method), []).append(len(archs))
                distinct.setdefault(method, set()).update((seed, arch.tobytes()) for arch in archs)
                seconds += [t.seconds for t in known]
    values = _outcomes(fronts, world, float(np.quantile(spread, WORST)))
    rows = _rows(values, trained, world.names)
    return Found(
        rows,
        float(np.mean([found.seconds for found in proposals.values()])),
        float(np.mean(seconds)),
        float(np.mean([count for found in proposals.values() for count in found.likeliest.values()])),
        np.quantile(spread, [0.0, 0.1, 0.5, 0.9, 1.0]),
        float(np.mean(agreement)),
        world.predicted,
        _differences(values, world.names),
        {method: len(known) / seeds for method, known in distinct.items()},
        {name: {m: found[0] for (n, m), found in fronts.items() if n == name} for name in world.names},
    )


def _outcomes(
    fronts: Mapping[tuple[str, str], Sequence[Array]], world: World, worst: float
) -> dict[tuple[str, str], Array]:
    """Hypervolume and IGD+ of each setting and method, ``(seeds, 2)``.

    One scale for all seeds: errors from the smallest on any front to `worst`, latencies from the fastest to the slowest
    architecture of the space. IGD+ is relative to the joint front of all methods with that seed.
    """
    least = min(front[:, 0].min() for found in fronts.values() for front in found)
    values: dict[tuple[str, str], Array] = {}
    for name in world.names:
        low = np.array([least, world.scoring[name].min()])
        width = np.maximum(np.array([worst, world.scoring[name].max()]) - low, 1e-12)
        scaled = {method: [(f - low) / width for f in found] for (n, method), found in fronts.items() if n == name}
        for method, found in scaled.items():
            rows = []
            for seed, front in enumerate(found):
                everyone = np.concatenate([other[seed] for other in scaled.values()])
                best = everyone[nondominated(everyone)]
                rows.append((hypervolume(front, (1.0, 1.0)), igd_plus(front, best)))
            values[name, method] = np.array(rows)
    return values


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    return {**{name: [name] for name in names}, "train": list(names[:-1]), "unseen": [names[-1]]}


def _differences(values: Mapping[tuple[str, str], Array], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The supernet's hypervolume minus each other method's, paired by seed, with its 95 % interval."""
    others = [method for name, method in values if name == names[0] and method != SUPERNET]
    return {
        group: {
            other: _with_interval(
                *mean_ci(np.mean([values[n, SUPERNET][:, 0] - values[n, other][:, 0] for n in members], axis=0)), "+"
            )
            for other in others
        }
        for group, members in _groups(names).items()
        if group in ("train", "unseen")
    }


def _rows(
    values: Mapping[tuple[str, str], Array], trained: Mapping[tuple[str, str], Sequence[int]], names: Sequence[str]
) -> list[Row]:
    rows = []
    for device, members in _groups(names).items():
        for method in dict.fromkeys(method for _, method in values):
            mean = np.mean([values[name, method] for name in members], axis=0)
            samples = float(np.mean([trained[name, method] for name in members]))
            for j, metric in enumerate(("hypervolume", "igd_plus")):
                average, half = mean_ci(mean[:, j])
                rows.append(
                    {
                        "experiment": "supernet", "space": "nasbench201", "device": device, "method": method,
                        "samples": samples, "metric": metric, "mean": average, "ci95": half, "seeds": len(mean),
                        "reference": None, "reference_source": None,
                    }
                )  # fmt: skip
    return rows


# ---- display


def tables(found: Found) -> list[tuple[str, list[Row]]]:
    """Titles and rows: means, and the hypervolume in each setting."""
    lines: dict[str, Row] = {}
    settings_: dict[str, Row] = {}
    for row in found.rows:
        value = _with_interval(row["mean"], row["ci95"])
        if row["device"] in ("train", "unseen"):
            line = lines.setdefault(row["method"], {"method": row["method"], "trainings a setting": row["samples"]})
            line["in all"] = found.in_all[row["method"]]
            metric = {"hypervolume": "hypervolume", "igd_plus": "IGD+"}[row["metric"]]
            line[f"{metric}, {row['device']}"] = value
        elif row["metric"] == "hypervolume":
            settings_.setdefault(row["method"], {"method": row["method"]})[row["device"]] = value
    return [
        ("Fronts by test error and latency, means with 95 % intervals", list(lines.values())),
        ("Hypervolume in each setting, the last one held out", list(settings_.values())),
    ]


def _with_interval(mean: float, half: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")


def notes(found: Found) -> list[str]:
    """Further results, one line each."""
    worth = found.supernet_seconds / max(found.training_seconds, 1e-9)
    believed = ", ".join(f"{name} {value:.2f}" for name, value in found.predicted.items())
    low, *middle, high = found.spread
    return [
        f"random architectures trained alone: test error {middle[0]:.1f}, {middle[1]:.1f} and {middle[2]:.1f} % "
        f"(10, 50 and 90 % quantile), from {low:.1f} to {high:.1f} %",
        f"the supernet's training took {found.supernet_seconds:.1f} CPU s, as much as {worth:.0f} "
        f"stand-alone trainings of {found.training_seconds:.2f} s, once for all settings",
        f"cross-entropy through the supernet and stand-alone validation error: Spearman {found.agreement:.2f}",
        f"the search's latency predictors and other measurements: Spearman {believed}",
        f"most probable architectures on {RAYS} rays: {found.likeliest:.1f} distinct per setting",
        *(
            f"the supernet's hypervolume, {group}, minus that of "
            + ", ".join(f"{method}: {value}" for method, value in others.items())
            for group, others in found.differences.items()
        ),
    ]


def draw(found: Found, folder: Path) -> str:
    """Draw the fronts of the first seed, one panel per setting; returns the file name."""
    from nastk.report.curves import Curve, Panel, write_curves

    panels = [
        Panel(
            name,
            [
                Curve(method, points[:, 1].tolist(), points[:, 0].tolist(), [0.0] * len(points), steps=True)
                for method, points in methods.items()
                if "," not in method
            ],
        )
        for name, methods in found.fronts.items()
    ]
    write_curves(panels, folder / "supernet-fronts.png", "latency (ms)", "test error (%)", log=True, top=None)
    return "supernet-fronts.png"


# ---- shared by the jobs


def _space() -> SearchSpace:
    from nastk.spaces.nasbench201 import NASBench201

    return NASBench201()


_loaded = lru_cache(maxsize=1)(load_images)
"""Cached, as all jobs of a process use the same images."""


def _options(plan: Plan) -> dict[str, Any]:
    pictures, labels = _loaded(plan.images)
    return {
        "input_size": int(pictures.shape[-1]),
        "in_channels": int(pictures.shape[1]),
        "num_classes": int(labels.max()) + 1,
        "channels": plan.channels,
        "cells_per_stage": plan.cells,
    }


def _images(plan: Plan, seed: int) -> tuple[Images, Images, Images]:
    return split_images(*_loaded(plan.images), plan.training, plan.validation, seed)


def _training(plan: Plan, seed: int) -> Training:
    assert plan.folder is not None
    folder = Path(plan.folder) / "trainings"
    return Training(
        _space(), *_images(plan, seed), batch=50, seed=seed, device=plan.device, folder=folder, **_options(plan)
    )


def _more(plan: Plan) -> int:
    """Trainings of the baselines with 50 % more, to compensate for the supernet's own training."""
    return plan.trainings + -(-plan.trainings // 2)


def _random(plan: Plan, seed: int) -> Archs:
    """Random architectures, as many as the supernet may train over all settings."""
    space, count = _space(), max(_more(plan), plan.trainings * (len(plan.devices) + 1))
    first = space.sample(_more(plan), np.random.default_rng([seed, 11]), unique=True)
    others = space.sample(count, np.random.default_rng([seed, 12]), unique=True)
    known = {arch.tobytes() for arch in first}
    return np.concatenate([first, others[[arch.tobytes() not in known for arch in others]]])[:count]
