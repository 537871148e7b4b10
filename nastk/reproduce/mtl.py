"""MTL-NAS on handwritten digits with two labels each, against trained subsets of the paths between two backbones.

A seed draws the split, the weights and the batches. The subsets are the same for all seeds. What is searched for is
chosen on the training part alone; test losses judge it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.bench._journal import Journal, each_once
from nastk.data.digit_tasks import digit_tasks
from nastk.data.images import ImageData
from nastk.errors import InvalidValue
from nastk.metrics import mean_ci, paired
from nastk.report.text import with_half
from nastk.spaces.mtl_fusion import NO_PATHS, MTLFusion

Row = dict[str, Any]

NONE, ALL, SUBSET = "no paths", "all paths", "subset"
"""Methods that train one architecture each."""
FOUND, ALONE, NO_ENTROPY = "mtl-nas", "mtl-nas, trained alone", "mtl-nas without entropy"
"""What the search found with the weights that it was searched with, trained alone, and searched without the entropy."""
SEARCHES = 3
"""Searches with other initial weights, gates and batches, of which the best is taken, too."""
BEST_FOUND = f"mtl-nas, best of {SEARCHES} searches, trained alone"
"""What the best of them found, by validation loss when trained alone."""
LOOK_AHEAD, EXPECTED = "look-ahead", "look-ahead, expected best"
"""The best of the candidates of a :class:`nastk.generators.MTLLookAhead`, and the first of them, which opens the paths
whose gradient says that they lower the loss."""
IN_ROUNDS = "rounds of trainings"
"""The best of the candidates of a :class:`nastk.generators.MTLRounds`."""
ROUNDS = (7, 6, 6)
"""Subsets in each of its rounds: as many trainings as a look-ahead costs."""
LONGER = 2
"""Steps of the weights in a search, in those of a training: the gates learn little in each."""
GENERATOR = "generator"
"""A :class:`nastk.generators.SupernetGenerator` with the entropy and without."""
ENTROPIES = (0.0, 10.0)
"""Weights of the entropy in a :class:`nastk.generators.SupernetGenerator`."""
PREFERENCES = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.0, 1.0]])
"""Of loss and multiply-adds, for which it proposes."""
DRAWS = 5
"""Architectures that it draws for each."""
APART = 1000
"""Between the random seeds of two trainings of one subset, and of two searches."""
TRIED = (3, 9, sum(ROUNDS))
"""Random subsets whose trainings cost about as much as a search, or :data:`SEARCHES`, and training what was found; and
as a look-ahead."""
OF_RANDOM = {n: f"best of {n} random subsets by validation" for n in TRIED}
"""Their names."""
WIDTHS = (4, 4, 8, 8)
"""Channels of the stages: so few that it matters for which task a backbone works."""


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Args:
        seed: random seed.
        method: what is trained; all subsets are one run.
        archs: what the searches found, which is trained alone beside the subsets.
        search: which of a seed's searches.
        count: subsets.
        second: the second label, see :func:`nastk.data.digit_tasks.digit_tasks`.
        weight: of its loss.
        training, validation: images of these parts.
        epochs, batch: of each training; a search takes :data:`LONGER` times as many steps of the weights.
        repeats: trainings of each subset, from other initial weights and with other batches, whose mean is its loss:
            luck with those is as large as what subsets differ by.
        rate: learning rate of AdamW.
        entropy: greatest weight of the entropy in a search.
    """

    seed: int
    method: str
    archs: tuple[str, ...] = ()
    search: int = 0
    count: int = 50
    second: str = "width"
    weight: float = 4.0
    training: int = 500
    validation: int = 400
    epochs: int = 9
    batch: int = 32
    repeats: int = 2
    rate: float = 1e-2
    entropy: float = 0.5

    @property
    def space(self) -> MTLFusion:
        """The backbones and their paths."""
        return MTLFusion((10, 1 if self.second == "width" else 2), WIDTHS)

    @property
    def steps(self) -> int:
        """Steps of the weights in a search."""
        return LONGER * self.epochs * max(round(self.training / self.batch), 1)

    def data(self) -> ImageData:
        return digit_tasks(self.second, self.training, self.validation, self.seed, self.weight)

    def settings(self) -> Row:
        return asdict(self) | {"archs": list(self.archs)}


@dataclass(frozen=True)
class Found:
    """What a comparison found.

    Args:
        networks: tidy, one for each architecture and way to train it: seed, method, search, architecture, open paths,
            losses (the weighted sum of both tasks) and errors of each task on validation and test data, seconds of
            processor time. Of what is trained alone they are means over the repeats.
    """

    networks: list[Row] = field(default_factory=list)

    def of(self, **wanted: Any) -> list[Row]:
        return [row for row in self.networks if all(row.get(name) == value for name, value in wanted.items())]

    @property
    def seeds(self) -> list[int]:
        """Those whose runs are all there."""
        each = {row["seed"] for row in self.networks}
        most = max((len(self.of(seed=seed)) for seed in each), default=0)
        return sorted(seed for seed in each if len(self.of(seed=seed)) == most)


def subsets(count: int) -> list[str]:
    """Subsets of the paths, as text: the same for all seeds, without none and all."""
    space = MTLFusion()
    drawn = space.sample(count + 2, seed=0, unique=True)
    open_paths = drawn.sum(axis=1)
    return space.format_all(drawn[(open_paths > 0) & (open_paths < space.d)][:count])


def run(
    seeds: int = 5,
    count: int = 50,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    first_seed: int = 0,
    **settings: Any,
) -> Found:
    """Run the comparison; finished runs of the folder `out` are not repeated.

    Args:
        seeds: random seeds.
        first_seed: the first of them.
        count: subsets that are trained.
        settings: of :class:`Plan`.

    Raises:
        InvalidValue: settings that cannot be used.
    """
    space = MTLFusion()
    if not max(TRIED) <= count <= space.size - 2:
        raise InvalidValue(f"{max(TRIED)} to {space.size - 2} subsets can be trained; got {count}")
    Plan(0, NONE, **settings).data()
    file = None if out is None else Path(out) / "runs.jsonl"
    journal: Journal[list[Row]] = Journal(file, lambda rows: {"networks": rows}, lambda kept: kept["networks"])
    found, each = Found(), range(first_seed, first_seed + seeds)
    others = (NO_ENTROPY, GENERATOR, LOOK_AHEAD, IN_ROUNDS)
    runs = [*((FOUND, search) for search in range(SEARCHES)), *((method, 0) for method in others)]
    total = seeds * (len(runs) + 1)

    def take(plans: Sequence[Plan], before: int) -> None:
        def follow(done: int, _: int) -> None:
            if progress:
                progress(before + done, total)

        for _, rows in each_once(networks_of, plans, journal, Plan.settings, workers, follow):
            found.networks.extend(rows)

    plans = [Plan(seed, method, search=search, **settings) for seed in each for method, search in runs]
    take(plans, 0)
    alone = {seed: [found.of(seed=seed, method=FOUND, search=i)[0]["arch"] for i in range(SEARCHES)] for seed in each}
    take([Plan(seed, SUBSET, tuple(archs), count=count, **settings) for seed, archs in alone.items()], len(plans))
    return found


def networks_of(plan: Plan) -> list[Row]:
    """The networks of a run."""
    data = plan.data()
    if plan.method in (FOUND, NO_ENTROPY):
        return [_searched(plan, data)]
    if plan.method == GENERATOR:
        return [_generated(plan, data, entropy) for entropy in ENTROPIES]
    if plan.method == LOOK_AHEAD:
        return _looked_ahead(plan, data)
    if plan.method == IN_ROUNDS:
        return [_in_rounds(plan, data)]
    return _trained(plan, data)


def _trained(plan: Plan, data: ImageData) -> list[Row]:
    """The subsets, none, all and what the searches found, each trained alone."""
    space = plan.space
    texts = [NO_PATHS, space.format(np.ones(space.d, dtype=np.int64)), *plan.archs, *subsets(plan.count)]
    methods = [NONE, ALL, *[ALONE] * len(plan.archs), *[SUBSET] * plan.count]
    searches = [0, 0, *range(len(plan.archs)), *[0] * plan.count]
    return [
        row | {"method": method, "search": search}
        for row, method, search in zip(_alone(plan, data, texts), methods, searches, strict=True)
    ]


def _alone(plan: Plan, data: ImageData, texts: Sequence[str]) -> list[Row]:
    """Architectures trained alone, each as often as the plan says: means over the repeats."""
    from nastk.generators._mtl_together import train_together

    space = plan.space
    repeats: list[list[Row]] = []
    for i in range(plan.repeats):
        started, seed = time.process_time(), plan.seed + APART * i
        networks = train_together(space, space.as_archs(texts), data, plan.epochs, plan.batch, plan.rate, 1e-2, seed)
        seconds = (time.process_time() - started) / len(networks)
        each = zip(texts, networks, strict=True)
        repeats.append([_row(plan, plan.method, text, network, data, seconds) for text, network in each])
    return [_mean(rows) for rows in zip(*repeats, strict=True)]


def _mean(rows: Sequence[Row]) -> Row:
    """An architecture's rows as one: the means of what differs."""
    return {
        name: value if all(row[name] == value for row in rows) else float(np.mean([row[name] for row in rows]))
        for name, value in rows[0].items()
    }


def _searched(plan: Plan, data: ImageData) -> Row:
    """A search: its network with the weights as they are."""
    from nastk.generators import MTLNAS

    space = plan.space
    started = time.process_time()
    search = MTLNAS(
        space, plan.steps, batch=plan.batch, rate=plan.rate, seed=plan.seed + APART * plan.search,
        entropy=0.0 if plan.method == NO_ENTROPY else plan.entropy,
    ).fit(data)  # fmt: skip
    seconds, arch = time.process_time() - started, space.format(search.arch)
    searched, left = search.gap(data.test)
    row = _row(plan, plan.method, arch, search.network(), data, seconds, plan.search)
    return row | {"searched_loss": searched, "left_loss": left, "curve": search.curve_.round(4).tolist()}


def _looked_ahead(plan: Plan, data: ImageData) -> list[Row]:
    """The best candidate of a look-ahead, and the first."""
    from nastk.generators import MTLLookAhead

    started = time.process_time()
    search = MTLLookAhead(
        plan.space, plan.epochs, plan.batch, plan.rate, repeats=plan.repeats, seed=plan.seed
    ).fit(data)  # fmt: skip
    seconds, rows = time.process_time() - started, []
    for method, place in ((LOOK_AHEAD, search.best), (EXPECTED, 0)):
        text = plan.space.format(search.candidates_[place])
        rows.append(_mean([_row(plan, method, text, network, data, seconds) for network in search.networks(place)]))
    rows[0] |= {"effects": search.effects.tolist(), "at_fixed_weights": search.at_fixed_weights_.mean(axis=0).tolist()}
    return rows


def _in_rounds(plan: Plan, data: ImageData) -> Row:
    """The best candidate of rounds of trainings."""
    from nastk.generators import MTLRounds

    started = time.process_time()
    search = MTLRounds(
        plan.space, plan.epochs, plan.batch, plan.rate, rounds=ROUNDS, repeats=plan.repeats, seed=plan.seed
    ).fit(data)  # fmt: skip
    seconds, text = time.process_time() - started, plan.space.format(search.arch)
    return _mean([_row(plan, plan.method, text, network, data, seconds) for network in search.networks()])


def _row(plan: Plan, method: str, arch: str, network: Any, data: ImageData, seconds: float, search: int = 0) -> Row:
    paths = int(plan.space.parse(arch).sum())
    judged = {
        f"{name}_{figure}": value
        for name, part in (("validation", data.validation), ("test", data.test))
        for figure, value in judge(network, part, data.problem).items()
    }
    about = {"seed": plan.seed, "method": method, "search": search, "arch": arch, "paths": paths}
    return {**about, **judged, "params": sum(p.numel() for p in network.parameters()), "seconds": seconds}


def judge(network: Any, part: Any, problem: Any) -> dict[str, float]:
    """The loss of a network in evaluation mode on a part of the data, and the error of each of its tasks."""
    import torch

    totals: dict[str, float] = {}
    with torch.inference_mode():
        for x, y in part.batches(500):
            outputs = problem.read(network(x))
            totals["loss"] = totals.get("loss", 0.0) + float(problem.total(outputs, y))
            for name, task, found, wanted in problem.columns(outputs, y):
                totals[name] = totals.get(name, 0.0) + float(task.scores(found, wanted).double().sum())
    count = len(part)
    errors = {f"{name}_error": task.badness(totals[name] / count) for name, task in problem.tasks.items()}
    return {"loss": totals["loss"] / count, **errors}


def _generated(plan: Plan, data: ImageData, entropy: float) -> Row:
    """What the entropy does to a hypernetwork that proposes paths by loss and multiply-adds."""
    import torch

    from nastk.generators import SupernetGenerator, Target

    space = plan.space
    base = space.statics(np.zeros((1, space.d), dtype=np.int64))["flops"][0]
    added = space.statics(np.eye(space.d, dtype=np.int64))["flops"] - base
    costs = torch.as_tensor(np.stack([np.zeros(space.d), added], axis=1).ravel(), dtype=torch.float32)
    target = Target("multiply-adds", np.ones(1), lambda one_hots: one_hots @ costs)
    search = SupernetGenerator(
        space, "smooth", epochs=plan.epochs, batch=64, references=24, weight_rate=0.05, entropy=entropy, seed=plan.seed,
        problem=data.problem,
    )  # fmt: skip
    search.fit(data.training.tensors(), data.validation.tensors(), [target])
    test = data.test.tensors()
    proposed = search.propose(target.embedding, PREFERENCES)
    drawn = search.sample(target.embedding, PREFERENCES, DRAWS)
    losses, of_draws = search.cross_entropies(proposed, test), search.cross_entropies(drawn, test)
    entropies = search.entropies(target.embedding, PREFERENCES)
    same = (drawn == np.repeat(proposed, DRAWS, axis=0)).mean()
    return {
        "seed": plan.seed, "method": GENERATOR, "entropy": entropy, "proposed_loss": float(losses.mean()),
        "drawn_loss": float(of_draws.mean()), "entropies": float(entropies.mean()),
        "same_choices": 100.0 * float(same), "first_loss": float(losses[0]), "first_paths": int(proposed[0].sum()),
        "last_paths": int(proposed[-1].sum()),
    }  # fmt: skip


# ---- figures


def best_of(validation: Sequence[float], test: Sequence[float], tried: int) -> float:
    """Mean test loss of the best by validation loss, of `tried` that are drawn at random, over all draws."""
    order = np.argsort(validation, kind="stable")
    n = len(order)
    chances = np.array([math.comb(n - place - 1, tried - 1) for place in range(n)]) / math.comb(n, tried)
    return float(chances @ np.asarray(test)[order])


def losses(found: Found) -> dict[str, NDArray[np.float64]]:
    """Test losses by method, ``(seeds,)`` each."""
    each: dict[str, list[float]] = {}
    by_subset = {
        arch: np.mean([row["test_loss"] for row in found.of(method=SUBSET, arch=arch) if row["seed"] in found.seeds])
        for arch in {row["arch"] for row in found.of(method=SUBSET)}
    }
    steady = min(sorted(by_subset), key=by_subset.__getitem__)
    for seed in found.seeds:
        for method in (LOOK_AHEAD, EXPECTED, IN_ROUNDS, FOUND, ALONE, NO_ENTROPY, NONE, ALL):
            each.setdefault(method, []).append(found.of(seed=seed, method=method, search=0)[0]["test_loss"])
        some = found.of(seed=seed, method=SUBSET)
        validation, test = ([row[f"{part}_loss"] for row in some] for part in ("validation", "test"))
        alone = min(found.of(seed=seed, method=ALONE), key=lambda row: row["validation_loss"])
        each.setdefault(BEST_FOUND, []).append(alone["test_loss"])
        each.setdefault("best subset by validation", []).append(test[int(np.argmin(validation))])
        each.setdefault("best subset by its mean over seeds", []).append(
            next(row["test_loss"] for row in some if row["arch"] == steady)
        )
        each.setdefault("best subset by the test itself", []).append(min(test))
        for tried, name in OF_RANDOM.items():
            each.setdefault(name, []).append(best_of(validation, test, tried))
        each.setdefault("mean subset", []).append(float(np.mean(test)))
    return {name: np.array(values) for name, values in each.items()}


def spread(found: Found) -> dict[str, float]:
    """The deviation of the subsets' mean losses over the seeds, and what it would be by the noise of their trainings
    alone: what is left of each loss without its seed's mean and its subset's, over the root of the seeds."""
    archs = sorted({row["arch"] for row in found.of(method=SUBSET)})
    seeds = found.seeds
    table = np.array([[found.of(seed=s, method=SUBSET, arch=arch)[0]["test_loss"] for s in seeds] for arch in archs])
    if len(seeds) < 2:
        return {}
    means = table.mean(axis=1, keepdims=True)
    left = table - means - table.mean(axis=0) + table.mean()
    noise = (left**2).sum() / ((len(archs) - 1) * (len(seeds) - 1))
    return {"deviation_of_means": float(means.std(ddof=1)), "deviation_by_noise": float(np.sqrt(noise / len(seeds)))}


def effects(found: Found) -> NDArray[np.float64]:
    """What each path adds to the test loss of a subset, by least squares over the subsets of each seed, ``(seeds,
    d)``."""
    fitted = []
    for seed in found.seeds:
        some = found.of(seed=seed, method=SUBSET)
        opened = MTLFusion().as_archs([row["arch"] for row in some])
        columns = np.column_stack([np.ones(len(some)), opened])
        fitted.append(np.linalg.lstsq(columns, [row["test_loss"] for row in some], rcond=None)[0][1:])
    return np.array(fitted)


GRADIENTS = {"effects": "through the training", "at_fixed_weights": "at fixed weights"}
"""Gradients of a look-ahead that are compared with the effects, and their names."""


def agreement(found: Found) -> dict[str, list[float]]:
    """Pearson's correlation over the paths of each gradient with the effects, by seed."""
    measured = effects(found)
    rows = [found.of(seed=seed, method=LOOK_AHEAD)[0] for seed in found.seeds]
    return {
        f"correlation of gradients {name} with effects": [
            float(np.corrcoef(row[key], each)[0, 1]) for row, each in zip(rows, measured, strict=True)
        ]
        for key, name in GRADIENTS.items()
    }


BEST = ("best subset by validation", "best subset by its mean over seeds", "best subset by the test itself")
"""Meanings of the best of the subsets, from what can be known to what cannot."""


def rows_of(found: Found) -> list[Row]:
    """Tidy rows: test losses and errors by method, and by how much they exceed others'."""
    rows: list[Row] = []

    def add(method: str, metric: str, values: Sequence[float] | NDArray[np.float64], **more: Any) -> None:
        mean, half = mean_ci(values)
        about = {"experiment": "mtl", "space": "mtl-fusion", "dataset": "digits", "method": method, "metric": metric}
        rows.append({**about, "mean": mean, "ci95": half, "seeds": len(values), **more})

    by_method = losses(found)
    for method, values in by_method.items():
        add(method, "test_loss", values)
    for method in (LOOK_AHEAD, EXPECTED, IN_ROUNDS, FOUND, ALONE, BEST_FOUND):
        for other in (*BEST, *OF_RANDOM.values(), NONE, ALL, *([IN_ROUNDS] if method == LOOK_AHEAD else [])):
            above = 100.0 * (by_method[method] / by_method[other] - 1.0)
            p = paired(by_method[method] - by_method[other])[2] if len(above) > 1 else math.nan
            add(f"{method} against {other}", "percent_above", above, p=p)
    for metric, value in spread(found).items():
        add(SUBSET, metric, [value])
    errors = [name for name in found.of(method=NONE)[0] if name.startswith("test_") and name.endswith("_error")]
    for metric, agreements in agreement(found).items():
        add(LOOK_AHEAD, metric, agreements)
    for method in (LOOK_AHEAD, EXPECTED, IN_ROUNDS, FOUND, ALONE, NO_ENTROPY, NONE, ALL):
        for metric in (*errors, "paths", "seconds"):
            add(method, metric, [found.of(seed=seed, method=method, search=0)[0][metric] for seed in found.seeds])
    for method in (FOUND, NO_ENTROPY):
        some = [found.of(seed=seed, method=method, search=0)[0] for seed in found.seeds]
        add(method, "loss_as_the_search_ends", [row["searched_loss"] for row in some])
        add(method, "gap", [row["left_loss"] - row["searched_loss"] for row in some])
        add(method, "probability", [np.abs(np.array(row["curve"][-1]) - 0.5).mean() + 0.5 for row in some])
    for entropy in ENTROPIES:
        some = [row for row in found.of(method=GENERATOR, entropy=entropy) if row["seed"] in found.seeds]
        for metric in ("entropies", "same_choices", "proposed_loss", "drawn_loss", "first_paths", "last_paths"):
            add(f"supernet generator, entropy {entropy:g}", metric, [row[metric] for row in some])
    return rows


def tables(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The figures with their intervals, by what they are of."""
    titles = {"test_loss": "Test loss of both tasks", "percent_above": "Per cent of a loss above another's"}
    titled: dict[str, list[Row]] = {}
    for row in rows:
        line = {"method": row["method"], "mean": with_half(row["mean"], row["ci95"], 4, 2)}
        if "p" in row:
            line["p"] = "" if np.isnan(row["p"]) else f"{row['p']:.2g}"
        title = titles.get(row["metric"])
        if title is None:
            title = "Supernet generator" if row["method"].startswith("supernet") else "Searches and networks"
            line = {"method": row["method"], "figure": row["metric"].replace("_", " "), "mean": line["mean"]}
        titled.setdefault(title, []).append(line)
    return list(titled.items())
