"""Counting digits on canvases: the scale pyramid pooling loss against the squared error alone, and searched networks
against random ones with equally many trainings.

A seed draws the scenes, the weights, the batches and the searches. Sizes of the pyramid and networks are chosen by
validation data, and scored by the test part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.bench._journal import Journal, each_once
from nastk.data.digit_scenes import digit_scenes
from nastk.data.images import ImageData
from nastk.errors import InvalidValue
from nastk.metrics import mean_ci, paired
from nastk.problems import Density
from nastk.report.text import with_half
from nastk.spaces.counting import Counting

Row = dict[str, Any]

PYRAMIDS: tuple[tuple[int, ...], ...] = ((4,), (6,), (2, 4), (3, 6))
"""Sides of the squares among which those of the pyramid are searched for, pixels of a map of 12 x 12."""
LOSSES, RANDOM, PREDICTOR = "losses", "random", "predictor"
"""Parts of a run: the usual network with each loss; networks by each searcher."""
SEARCHERS = (RANDOM, PREDICTOR)
START = 6
"""Trainings of `predictor` before it predicts: it has a few tens of networks in all."""
USUAL, MEAN = "usual network", "mean random network"
"""Of the methods that are compared with a searched network."""


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Args:
        seed: random seed.
        part: what is trained.
        pyramid: of the loss, for searches.
        trainings: of each searcher.
        off: how far from the digits' centres they are marked, see :func:`nastk.data.digit_scenes.digit_scenes`.
        weight: of the pyramid, see :class:`nastk.problems.Density`.
        training, validation, test: scenes of these parts.
        epochs, batch: of each training.
        rate: learning rate of AdamW.
    """

    seed: int
    part: str
    pyramid: tuple[int, ...] = ()
    trainings: int = 16
    off: float = 0.25
    weight: float = 30.0
    training: int = 100
    validation: int = 400
    test: int = 400
    epochs: int = 20
    batch: int = 20
    rate: float = 1e-2

    def data(self) -> ImageData:
        return digit_scenes(self.training, self.validation, self.test, seed=self.seed, off=self.off)

    def problem(self, pyramid: Sequence[int]) -> Density:
        return Density(pyramid, self.weight)

    def settings(self) -> Row:
        found = asdict(self) | {"pyramid": list(self.pyramid)}
        return found | {"pyramids": [list(each) for each in PYRAMIDS]} if self.part == LOSSES else found


@dataclass(frozen=True)
class Found:
    """What a comparison found.

    Args:
        networks: tidy, one for each trained network: seed, part, sides of the pyramid, architecture, mean absolute
            errors of the number of digits on validation and test data, parameters, seconds of processor time.
    """

    networks: list[Row] = field(default_factory=list)

    def of(self, **wanted: Any) -> list[Row]:
        return [row for row in self.networks if all(row[name] == value for name, value in wanted.items())]

    def seeds(self, *parts: str) -> list[int]:
        """Those that have all of these parts."""
        each = sorted({row["seed"] for row in self.networks})
        return [seed for seed in each if all(self.of(seed=seed, part=part) for part in parts)]


def run(
    seeds: int = 5,
    searched: int | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    first_seed: int = 0,
    **settings: Any,
) -> Found:
    """Run the comparison; finished runs of the folder `out` are not repeated.

    Args:
        seeds: random seeds of the losses.
        first_seed: the first of them.
        searched: how many of them networks are searched for with, too; by default all.
        settings: of :class:`Plan`.

    Raises:
        InvalidValue: settings that cannot be used.
    """
    if settings.get("trainings", Plan.trainings) < 2:
        raise InvalidValue(f"a searcher needs 2 trainings or more; got {settings['trainings']}")
    replace(Plan(0, LOSSES, **settings), training=1, validation=1, test=1).data()
    file = None if out is None else Path(out) / "runs.jsonl"
    journal: Journal[list[Row]] = Journal(file, lambda rows: {"networks": rows}, lambda kept: kept["networks"])
    searched = seeds if searched is None else min(searched, seeds)
    found, total = Found(), seeds + searched * len(SEARCHERS)

    def follow(before: int) -> Callable[[int, int], None]:
        return lambda done, _: progress(before + done, total) if progress else None

    plans = [Plan(seed, LOSSES, **settings) for seed in range(first_seed, first_seed + seeds)]
    for _, rows in each_once(networks_of, plans, journal, Plan.settings, workers, follow(0)):
        found.networks.extend(rows)
    searches = [
        replace(plan, part=part, pyramid=tuple(chosen(found.of(seed=plan.seed, part=LOSSES))["pyramid"]))
        for plan in plans[:searched]
        for part in SEARCHERS
    ]
    for _, rows in each_once(networks_of, searches, journal, Plan.settings, workers, follow(seeds)):
        found.networks.extend(rows)
    return found


def chosen(rows: Sequence[Row]) -> Row:
    """The best pyramid by validation data; the error alone is none."""
    return min((row for row in rows if row["pyramid"]), key=lambda row: row["validation"])


def networks_of(plan: Plan) -> list[Row]:
    """The networks of a run."""
    import nastk
    from nastk.oracles import Recipe, Training

    space, data = Counting(), plan.data()
    fitted, judged, tested = (part.tensors() for part in (data.training, data.validation, data.test))
    recipe = Recipe(plan.epochs, plan.batch, "adamw", plan.rate, decay=1e-3)

    def oracle(pyramid: Sequence[int]) -> Training:
        return Training(space, fitted, judged, tested, recipe=recipe, seed=plan.seed, problem=plan.problem(pyramid))

    if plan.part == LOSSES:
        return [_row(plan, oracle(sides), sides, space.usual) for sides in ((), *PYRAMIDS)]
    trained = oracle(plan.pyramid)
    options: dict[str, Any] = {"start": START} if plan.part == PREDICTOR else {}
    result = nastk.search(
        space, objectives=[trained], searcher=plan.part, budget=plan.trainings, seed=plan.seed, **options
    )
    records = result.history.records("search")
    archs = np.unique(space.as_archs([record.arch for record in records]), axis=0)
    return [_row(plan, trained, plan.pyramid, arch) for arch in archs]


def _row(plan: Plan, oracle: Any, pyramid: Sequence[int], arch: NDArray[np.int64]) -> Row:
    space, made = Counting(), oracle.train(arch)
    return {
        "seed": plan.seed, "part": plan.part, "pyramid": list(pyramid), "arch": space.format(arch),
        "validation": made.validation, "test": made.test, "seconds": made.seconds,
        "params": int(space.statics(arch[None])["params"][0]),
    }  # fmt: skip


# ---- figures


def rows_of(found: Found) -> list[Row]:
    """Tidy rows: mean absolute errors by loss and by searcher, and their differences."""
    rows: list[Row] = []
    of_losses, of_searches = found.seeds(LOSSES), found.seeds(LOSSES, *SEARCHERS)

    def add(method: str, metric: str, values: Any, **more: Any) -> None:
        mean, half = mean_ci(values)
        about = {"experiment": "counting", "space": "counting", "dataset": "digit scenes", "method": method}
        rows.append({**about, "metric": metric, "mean": mean, "ci95": half, "seeds": len(values), **more})

    def against(method: str, one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        p = paired(one - other)[2] if len(one) > 1 else float("nan")
        add(method, "percent_lower", 100.0 * (1.0 - one / other), p=p)

    def of_loss(sides: Sequence[int]) -> NDArray[np.float64]:
        return np.array([found.of(seed=s, part=LOSSES, pyramid=list(sides))[0]["test"] for s in of_losses])

    def with_chosen(seeds: Sequence[int]) -> NDArray[np.float64]:
        return np.array([chosen(found.of(seed=seed, part=LOSSES))["test"] for seed in seeds])

    alone, searched = of_loss(()), with_chosen(of_losses)
    add("squared error alone", "count_mae", alone)
    add("pyramid, sides by validation", "count_mae", searched)
    for sides in PYRAMIDS:
        name = f"pyramid {', '.join(map(str, sides))}"
        add(name, "count_mae", of_loss(sides))
        against(f"{name}, against the error alone", of_loss(sides), alone)
    against("pyramid, sides by validation, against the error alone", searched, alone)
    if not of_searches:
        return rows
    best = {part: np.array([_best(found.of(seed=s, part=part))["test"] for s in of_searches]) for part in SEARCHERS}
    mean = np.array([np.mean([row["test"] for row in found.of(seed=seed, part=RANDOM)]) for seed in of_searches])
    trainings = len(found.of(seed=of_searches[0], part=PREDICTOR))
    for part in SEARCHERS:
        add(f"best by validation of {trainings}: {part}", "count_mae", best[part])
    add(MEAN, "count_mae", mean)
    for name, other in ((RANDOM, best[RANDOM]), (MEAN, mean), (USUAL, with_chosen(of_searches))):
        against(f"{PREDICTOR} against {name}", best[PREDICTOR], other)
    return rows


def _best(rows: Sequence[Row]) -> Row:
    return min(rows, key=lambda row: row["validation"])


def tables(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Errors and differences, with their intervals."""
    titles = {"count_mae": "Mean absolute error of the number of digits, test", "percent_lower": "Per cent lower"}
    titled: dict[str, list[Row]] = {}
    for row in rows:
        line = {"method": row["method"], "mean": with_half(row["mean"], row["ci95"], 3, 2)}
        if "p" in row:
            line["p"] = "" if np.isnan(row["p"]) else f"{row['p']:.2g}"
        titled.setdefault(titles[row["metric"]], []).append(line)
    return list(titled.items())


NAME = "counting.png"
"""Of the picture."""


def draw(found: Found, folder: Path, **settings: Any) -> str:
    """Train the usual network with both losses once more on the first seed, and write scenes and maps; returns the
    file's name."""
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from nastk.files import atomic_path
    from nastk.oracles import Recipe
    from nastk.oracles._trainer import Job, train

    plan = Plan(found.seeds(LOSSES)[0], LOSSES, **settings)
    sides, data, space = chosen(found.of(seed=plan.seed, part=LOSSES))["pyramid"], plan.data(), Counting()
    x, y = data.test.tensors()
    pick = torch.argsort(y.flatten(1).sum(1), stable=True)[torch.linspace(0, len(y) - 1, 6).long()]
    maps = [("map as marked", y[pick, 0])]
    for title, pyramid in (("squared error alone", ()), (f"pyramid {', '.join(map(str, sides))}", sides)):
        recipe = Recipe(plan.epochs, plan.batch, "adamw", plan.rate, decay=1e-3)
        job = Job(
            space, space.usual, {}, data.training, {}, None, recipe, plan.seed, "cpu", (plan.epochs,),
            problem=plan.problem(pyramid),
        )  # fmt: skip
        network = train(job).network
        assert network is not None
        with torch.inference_mode():
            maps.append((title, network(x[pick])[:, 0]))
    figure = Figure(figsize=(9.6, 6.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1 + len(maps), len(pick))
    for column, picture in enumerate(x[pick, 0]):
        grid[0, column].imshow(picture, cmap="gray_r")
        for row, (_, some) in enumerate(maps, 1):
            grid[row, column].imshow(some[column], cmap="magma", vmin=0.0, vmax=float(maps[0][1].max()))
            grid[row, column].set_title(f"{some[column].sum():.1f}", fontsize=9)
    for axes, title in zip(grid[:, 0], ("scene", *(title for title, _ in maps)), strict=True):
        axes.set_ylabel(title, fontsize=9)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    with atomic_path(folder / NAME) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return NAME
