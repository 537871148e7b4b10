"""``nastk.train``: networks of a finished search trained fully, with several seeds, beside what the search believed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.code import code_of
from nastk.data.images import ImageData, read_images
from nastk.deploy._format import format_class
from nastk.devices import torch_device, training_device
from nastk.errors import DataError, InvalidValue, NastkError, UnknownName, Unsupported
from nastk.evaluation import reason_of
from nastk.files import check_outputs, write_text
from nastk.finished import FinishedSearch, read_search
from nastk.metrics import mean_ci
from nastk.oracles._distributed import train_in_processes
from nastk.oracles._trainer import Recipe, fingerprint
from nastk.oracles._trainer import train as train_network
from nastk.oracles._weights import load_weights, read_weights
from nastk.oracles.base import Oracle
from nastk.oracles.training import Training
from nastk.problems import CLASSIFICATION
from nastk.report.rows import without_nan
from nastk.result import Result
from nastk.run import oracle_of
from nastk.run.supernet import kept_supernet
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision

if TYPE_CHECKING:
    from torch import nn

    from nastk.supernets._kept import KeptSupernet

TRAINED, SPLITS, VALUES = "trained.json", "splits.json", "values.json"
"""Files of the folder: the report, the splits of the images, and what a training of the user's own told."""

OWN = ("function", "train")
"""Kinds of oracles that are a user's own training."""

VALIDATION, TEST = "validation_accuracy", "test_accuracy"

Progress = Callable[[float, float, str], None]
"""Called with (epochs done, epochs in all, what is being trained)."""


@dataclass(frozen=True)
class TrainedNetwork:
    """One network and what came of its trainings.

    Args:
        arch: text form.
        row: its integers.
        believed: its accuracy (or what else its training tells) in the search; None where it was not known.
        others: its other objectives in the search.
        values: by metric, one for each seed; NaN of a training that failed.
        seeds: of the trainings.
        reasons: of the trainings that failed, by seed.
        folders: of the trainings, with their weights.
    """

    arch: str
    row: tuple[int, ...]
    believed: float | None
    others: Mapping[str, float]
    values: Mapping[str, Sequence[float]]
    seeds: Sequence[int]
    reasons: Mapping[int, str]
    folders: Sequence[Path]

    def summary(self, metric: str) -> dict[str, float]:
        """Mean, standard deviation and half-width of the 95 % interval of the mean, over the seeds that did not fail;
        NaN where there are too few."""
        known = [v for v in self.values.get(metric, ()) if math.isfinite(v)]
        mean, half = mean_ci(known) if known else (math.nan, math.nan)
        std = float(np.std(known, ddof=1)) if len(known) > 1 else math.nan
        return {"mean": mean, "std": std, "ci95": half, "seeds": len(known)}


@dataclass(frozen=True)
class FullTraining:
    """Networks that were trained fully.

    Attributes:
        networks: in the order in which they were chosen.
        metrics: that their trainings told; the first is what the search believed something of.
        unit, direction: of that metric.
        how: the trainings, in words.
        data: what they trained on, in one line; empty for a user's own trainings.
        comparable: whether the search trained in the same way, but for the seed.
        notes: what is to be known of the values.
        exported: files that were exported, by architecture.
    """

    networks: Sequence[TrainedNetwork]
    metrics: Sequence[str]
    unit: str
    direction: str
    how: str
    data: str
    comparable: bool
    notes: list[str] = field(default_factory=list)
    exported: dict[str, list[str]] = field(default_factory=dict)

    def optimism(self, network: TrainedNetwork) -> float:
        """By how much the search's value of a network was better than the mean of these trainings; NaN if unknown."""
        if network.believed is None or not self.comparable:
            return math.nan
        sign = 1.0 if self.direction == "max" else -1.0
        return sign * (network.believed - network.summary(self.metrics[0])["mean"])

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: each value of each training."""
        return [
            {
                "arch": network.arch, "seed": seed, "metric": metric, "value": value, "unit": self.unit,
                "believed": network.believed if metric == self.metrics[0] else None, "source": self.how,
                "reason": network.reasons.get(seed, ""),
            }
            for network in self.networks
            for metric in self.metrics
            for seed, value in zip(network.seeds, network.values[metric], strict=True)
        ]  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        """One row a network, as people read it."""
        shown = []
        for network in self.networks:
            row: dict[str, Any] = {"architecture": network.arch, "in the search": network.believed}
            for metric in self.metrics:
                found = network.summary(metric)
                row[metric.replace("_", " ")] = _with_interval(found["mean"], found["ci95"])
                row[f"sd of {metric.removesuffix('_accuracy')}"] = found["std"]
            shown.append({**row, **{name: v for name, v in network.others.items() if name not in self.metrics}})
        return shown

    def to_dict(self) -> dict[str, Any]:
        """What `trained.json` holds."""
        return {
            "schema": 1, "how": self.how, "data": self.data, "unit": self.unit, "comparable": self.comparable,
            "notes": self.notes, "rows": self.rows(),
            "networks": [
                {
                    "arch": n.arch, "row": list(n.row), "believed": n.believed, "others": dict(n.others),
                    "optimism": self.optimism(n), "folders": [str(folder) for folder in n.folders],
                    "exported": self.exported.get(n.arch, []),
                    **{metric: n.summary(metric) for metric in self.metrics},
                }
                for n in self.networks
            ],
        }  # fmt: skip


def train(
    search: FinishedSearch | Result | str | os.PathLike[str],
    data: Any = None,
    pick: str | None = None,
    archs: Sequence[Any] = (),
    top: int | None = None,
    epochs: int | None = None,
    seeds: int = 3,
    recipe: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    device: str | None = None,
    gpus: int = 1,
    out: str | os.PathLike[str] = "nastk-trained",
    space: str | None = None,
    export: Sequence[str] = (),
    progress: Progress | None = None,
    supernet_start: bool = False,
) -> FullTraining:
    """Train networks of a search fully, with seeds that the search did not use: ``nastk.train``.

    On images, nastk trains: those of `data`, or those that the search trained on. A search with a training of the
    user's own (``--accuracy``, ``--train``) has it train with other seeds, where there is no `data`.

    What is done is kept in `out`: another call with the same arguments goes on, and trains nothing again.

    Args:
        search: the folder of its results, or a result.
        data: see :func:`nastk.data.images.read_images`.
        pick: the network that is the best by an objective and keeps limits, ``"accuracy, latency<=8"``.
        archs: or these architectures: texts, indices, or integers.
        top: or so many of the front, the best by the accuracy.
        epochs: of each training; by default as many as in the search, else 30.
        seeds: number of trainings of each network.
        recipe: arguments of :class:`nastk.oracles.Recipe`, over those of the search.
        image_size: resize images to this height and width.
        device: of the trainings; by default a GPU, if there is one.
        gpus: of this machine, between which each batch is divided (DistributedDataParallel).
        out: folder of weights, checkpoints, ``splits.json`` and the report ``trained.json``.
        space: where the space of the search is, if it is no longer what the search called it.
        export: formats of files to write of each network, with the weights of its best seed by validation;
            see :func:`nastk.export`.
        progress: called with (done, total, what) after every epoch, or every training of the user's own.
        supernet_start: begin each training with the weights that the search's supernet has for the network; on its
            images, which need not be named then.

    Raises:
        InvalidValue: an argument that cannot be used, or images that have changed since the search.
        DataError: the folder of the search, or `out`, holds something else.
        NastkError: all trainings failed.
    """
    if seeds < 1 or seeds > 1000:
        raise InvalidValue(f"seeds is a number of trainings from 1 to 1000; got {seeds}")
    for form in export:
        format_class(form)
    finished = _finished(search, space)
    chosen = _chosen(finished, pick, archs, top)
    place = Path(out).absolute()
    check_outputs([place / TRAINED])
    facts = _supernet_of(finished) if supernet_start else None
    if facts is not None and data is None:
        data, image_size = facts["data"], facts.get("image_size")
    trainer = _trainer(finished, data, image_size, epochs, recipe, device, gpus, place)
    if facts is not None:
        assert isinstance(trainer, _OnImages)
        trainer.begin_with(facts)
    numbers = [finished.description.seed + 1 + i for i in range(seeds)]
    networks = _train_all(trainer, chosen, numbers, progress)
    if not any(math.isfinite(value) for network in networks for value in network.values[trainer.metrics[0]]):
        reason = next(iter(networks[0].reasons.values()))
        raise NastkError(f"all trainings failed; the first: {reason}")
    found = FullTraining(
        networks, trainer.metrics, trainer.unit, trainer.direction, trainer.how, trainer.on, trainer.comparable
    )
    found.notes.extend(_notes(found, trainer))
    _write(found, place)
    if export:  # later: what it cannot write loses no trainings
        _export(finished, trainer, found, export, place)
        _write(found, place)
    return found


def _write(found: FullTraining, place: Path) -> None:
    write_text(place / TRAINED, json.dumps(without_nan(found.to_dict()), indent=1) + "\n")


# ---- what is trained


@dataclass(frozen=True)
class _Chosen:
    """An architecture, what the search believed of it, and its other objectives."""

    row: Archs
    arch: str
    believed: float | None
    others: dict[str, float]


def _finished(search: Any, space: str | None) -> FinishedSearch:
    if isinstance(search, FinishedSearch):
        return search
    return FinishedSearch.of(search) if isinstance(search, Result) else read_search(search, space)


def _accuracy_of(finished: FinishedSearch) -> str | None:
    """The objective that trainings tell, or that stands for it."""
    for entry in finished.description.objectives:
        if entry["oracle"].get("oracle") in (*OWN, "training"):
            return str(entry["name"])
    try:
        return finished.objective("accuracy").name
    except UnknownName:
        return None


def _chosen(finished: FinishedSearch, pick: str | None, archs: Sequence[Any], top: int | None) -> list[_Chosen]:
    given = {"--pick": pick is not None, "--arch": len(archs) > 0, "--top": top is not None}
    ways = [name for name, is_given in given.items() if is_given]
    if len(ways) != 1:
        said = f"{' and '.join(ways)} are given; leave one out" if ways else "say which: --pick, --arch or --top"
        raise InvalidValue(f"which networks are to be trained? {said}")
    front, accuracy = finished.front, _accuracy_of(finished)
    if pick is not None:
        rows = [finished.arch(str(finished.pick(pick)["arch"]))]
    elif top is not None:
        if top < 1:
            raise InvalidValue(f"top is a number of networks, 1 or more; got {top}")
        by = accuracy or finished.objectives[0].name
        ascending = finished.objective(by).direction == "min"
        best = front.sort_values(by, ascending=ascending, kind="stable") if len(front) else front
        rows = [finished.arch(str(text)) for text in best.get("arch", [])][:top]
        if not rows:
            raise InvalidValue(f"{finished.called} has an empty front: there is nothing to train")
    else:
        rows = [finished.arch(arch) for arch in archs]
    known = {str(row["arch"]): row for _, row in front.iterrows()}
    found: dict[str, _Chosen] = {}
    for row in rows:
        text = finished.space.format(row)
        values = {o.name: float(known[text][o.name]) for o in finished.objectives} if text in known else {}
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        believed = values.pop(accuracy, None) if accuracy is not None else None
        found[text] = _Chosen(row, text, believed, values)
    return list(found.values())


# ---- who trains


def _networks_of(finished: FinishedSearch) -> SearchSpace:
    """The space without a choice of precisions, which no training knows."""
    space = finished.space
    return space.networks if isinstance(space, WithPrecision) else space


class _OnImages:
    """Trainings by nastk's own trainer."""

    metrics = (VALIDATION, TEST)
    unit, direction = "%", "max"

    def __init__(
        self,
        finished: FinishedSearch,
        data: ImageData,
        recipe: Recipe,
        device: str,
        gpus: int,
        place: Path,
        asked: Mapping[str, Any] | None,
    ):
        if data.problem.name != CLASSIFICATION.name:
            raise Unsupported(f"nastk train judges by accuracy, and {data.name} are for {data.problem.name}")
        self.finished, self.data, self.recipe, self.device, self.place = finished, data, recipe, device, place
        self.gpus = gpus
        self.how, self.on = str(recipe), data.description
        self.total = recipe.epochs
        self.searched_on = None if asked is None else asked.get("hash")
        searched = None if asked is None else Recipe.from_dict(asked["recipe"])
        self.comparable = searched == recipe and self.searched_on == data.identity
        if self.comparable:
            self.why_not = ""
        elif self.searched_on != data.identity:
            self.why_not = "The search's accuracies are not of these images, and cannot be compared with these."
        else:
            self.why_not = (
                f"The search trained otherwise ({searched}): its accuracies differ from these by more than chance."
            )
        self.build: Mapping[str, Any] = self.oracle(finished.description.seed).build_options
        self.images: ImageData | None = data
        self._write_splits()

    start: KeptSupernet | None = None

    def begin_with(self, facts: Mapping[str, Any]) -> None:
        """Begin trainings with the weights of a supernet.

        Raises:
            InvalidValue: it was trained on other images, or is not kept here.
        """
        if facts.get("hash") != self.data.identity:
            raise InvalidValue("--supernet-start: the search's supernet was trained on other images; leave out --data")
        self.start = kept_supernet(_networks_of(self.finished), facts, self.data)
        if not self.start.is_kept:
            raise InvalidValue(
                f"--supernet-start: {self.start.called} is not kept in {self.start.folder}; run the search again: it "
                "trains it"
            )
        begun = any("start" in entry["oracle"] for entry in self.finished.description.objectives)
        self.how += f", from the weights of {self.start.called}"
        if not begun:
            self.comparable = False
            self.why_not = "The search's accuracies are not of trainings that began with a supernet's weights."

    def _write_splits(self) -> None:
        """Write down which images are of which part.

        Raises:
            DataError: the folder holds trainings on others.
        """
        file, content = self.place / SPLITS, json.dumps(self.data.written()) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            if (self.place / TRAINED).exists():
                raise DataError(f"{self.place} holds trainings on other images; give another folder, or remove it")
            write_text(file, content)

    def oracle(self, seed: int) -> Training:
        """The search's oracle with another seed, which keeps its files in a folder of that seed."""
        build = self.finished.build if self.searched_on == self.data.identity else {}
        made = Training(
            _networks_of(self.finished), self.data, seed=seed, device=self.device, recipe=self.recipe,
            folder=self.place / f"seed-{seed}", **build,
        )  # fmt: skip
        made.start = self.start
        return made

    def train(self, oracle: Oracle, row: Archs, progress: Callable[[float], None]) -> dict[str, float]:
        """Accuracies on the validation and the test part."""
        assert isinstance(oracle, Training)
        code = code_of(oracle.space.whole.source_code())
        job = oracle.job(row, (self.recipe.epochs,))
        parts = {"validation": self.data.validation, "test": self.data.test}
        settings: list[Any] = [job.known_as, oracle.space.whole.identity(), None if code is None else code.digest]
        if self.gpus > 1:
            settings.append(self.gpus)
        job = replace(job, evaluated=parts, known_as=fingerprint(*settings))

        def move(done: int, total: int) -> None:
            progress(float(done))

        done = train_in_processes(job, self.gpus, move) if self.gpus > 1 else train_network(job, move)
        found = done.errors[self.recipe.epochs]
        return {VALIDATION: 100.0 - found["validation"], TEST: 100.0 - found["test"]}


def _supernet_of(finished: FinishedSearch) -> Mapping[str, Any]:
    """The description of the supernet of a search.

    Raises:
        InvalidValue: it had none, or one of images that are no file.
    """
    entries = [entry["oracle"] for entry in finished.description.objectives]
    shipped = next((facts for facts in entries if facts.get("oracle") == "supernet"), None)
    facts = finished.description.supernet or shipped
    if facts is None:
        raise InvalidValue(f"--supernet-start: {finished.called} is of a search without a supernet; leave it out")
    if not isinstance(facts.get("data"), str):
        raise InvalidValue("--supernet-start: the supernet's images were objects, which cannot be read again")
    return facts


class _ByUser:
    """Trainings by the function or command that the search had.

    Args:
        facts: description of the oracle.
        name: of the objective.
        epochs: of each training, None for those of the search.
    """

    def __init__(self, finished: FinishedSearch, name: str, facts: Mapping[str, Any], epochs: int | None, place: Path):
        self.finished, self.name, self.place = finished, name, place
        key = "epochs" if facts["oracle"] == "function" else "fidelities"
        before = list(facts.get(key) or ())
        self.facts = {**facts, key: tuple(before if epochs is None else [epochs])}
        self.comparable = epochs is None or before[-1:] == [epochs]
        self.why_not = (
            ""
            if self.comparable
            else (
                f"The search trained for {before[-1] if before else 'a number of epochs of its own'}, and these are "
                f"trainings of {epochs} epochs: they differ by more than chance."
            )
        )
        example = self.oracle(finished.description.seed)
        self.unit, self.direction = example.unit, example.direction
        others = [metric for metric in getattr(example, "metrics", ()) if metric != getattr(example, "metric", None)]
        self.metrics = (name, *others)
        self.how, self.on, self.total = example.source, "", 1
        self.images: ImageData | None = None
        self.build: Mapping[str, Any] = finished.build

    def oracle(self, seed: int) -> Oracle:
        """The search's oracle with another seed."""
        found = oracle_of(self.facts, _networks_of(self.finished), seed)
        found.folder = str(self.place / f"seed-{seed}")
        return found

    def train(self, oracle: Oracle, row: Archs, progress: Callable[[float], None]) -> dict[str, float]:
        """What the training told; kept for a later call."""
        code = code_of(oracle.source_code())
        known_as = fingerprint(oracle.identity(), dict(self.facts), None if code is None else code.digest)
        file = Path(oracle.network_folder(row)) / VALUES
        kept = _read_values(file, known_as)
        if kept is None:
            answer = oracle.evaluate(row[None])
            value = float(answer.value[0])
            if not math.isfinite(value):
                raise ValueError(getattr(oracle, "reasons", {}).get(oracle.space.format(row), "no value"))
            kept = {self.name: value, **{name: float(other.value[0]) for name, other in answer.others.items()}}
            write_text(file, json.dumps({"training": known_as, "values": without_nan(kept)}) + "\n")
        progress(1.0)
        return {metric: kept.get(metric, math.nan) for metric in self.metrics}


def _read_values(file: Path, known_as: str) -> dict[str, float] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["training"]
        values = {str(k): math.nan if v is None else float(v) for k, v in content["values"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{file} is not what a training told: {error}; remove it") from error
    if known != known_as:
        raise DataError(
            f"{file.parent} holds a training with other settings or code; give another folder, or remove it"
        )
    return values


_Trainer = _OnImages | _ByUser


def _trainer(
    finished: FinishedSearch,
    data: Any,
    image_size: int | None,
    epochs: int | None,
    recipe: Mapping[str, Any] | None,
    device: str | None,
    gpus: int,
    place: Path,
) -> _Trainer:
    if epochs is not None and epochs < 1:
        raise InvalidValue(f"epochs is 1 or more; got {epochs}")
    entries = {str(entry["name"]): entry["oracle"] for entry in finished.description.objectives}
    asked = finished.training
    if data is None and asked is None:
        own = next((name for name, facts in entries.items() if facts.get("oracle") in OWN), None)
        if own is None:
            raise Unsupported(
                f"{finished.called}: the search trained nothing, or by an object that it cannot make again; say what "
                "to train on, such as --data digits"
            )
        for name, value in (
            ("--image-size", image_size is not None), ("--optimizer and the like", bool(recipe)),
            ("--device", device is not None), ("--gpus", gpus != 1),
        ):  # fmt: skip
            if value:
                raise InvalidValue(f"{name}: that is of trainings on --data, and here a training of your own trains")
        return _ByUser(finished, own, entries[own], epochs, place)
    if data is None and image_size is not None:
        raise InvalidValue("--image-size is of --data; the search's images are as they were")
    images = finished.images() if data is None else read_images(data, image_size)
    assert images is not None
    searched = {} if asked is None else dict(asked["recipe"])
    wanted = {**searched, **(recipe or {}), **({} if epochs is None else {"epochs": epochs})}
    chosen = device or training_device()
    torch_device(chosen)
    if gpus < 1 or (gpus > 1 and chosen != "cuda"):
        raise InvalidValue(f"gpus is a number of GPUs for --device cuda, 1 or more; got {gpus} for {chosen}")
    return _OnImages(finished, images, Recipe.from_dict(wanted), chosen, gpus, place, asked)


def _train_all(
    trainer: _Trainer, chosen: Sequence[_Chosen], seeds: Sequence[int], progress: Progress | None
) -> list[TrainedNetwork]:
    """All trainings, seed by seed, so that an early end leaves something of every network."""
    told: dict[tuple[str, int], dict[str, float]] = {}
    reasons: dict[tuple[str, int], str] = {}
    folders: dict[tuple[str, int], Path] = {}
    total, done = float(trainer.total * len(chosen) * len(seeds)), 0.0
    for i, seed in enumerate(seeds):
        oracle = trainer.oracle(seed)
        for j, network in enumerate(chosen):
            what = f"{network.arch}, seed {seed}"
            before = done

            def move(epoch: float, before: float = before, what: str = what) -> None:
                if progress is not None:
                    progress(before + epoch, total, what)

            row = network.row[: oracle.space.d]
            move(0.0)
            try:
                told[network.arch, seed] = trainer.train(oracle, row, move)
            except DataError:
                raise
            except (Exception, SystemExit) as error:
                reasons[network.arch, seed] = reason_of(error)
            folders[network.arch, seed] = Path(oracle.network_folder(row))
            done = float(trainer.total * (i * len(chosen) + j + 1))
    return [
        TrainedNetwork(
            n.arch, tuple(int(v) for v in n.row), n.believed, n.others,
            {m: [told.get((n.arch, s), {}).get(m, math.nan) for s in seeds] for m in trainer.metrics}, list(seeds),
            {s: reasons[n.arch, s] for s in seeds if (n.arch, s) in reasons}, [folders[n.arch, s] for s in seeds],
        )
        for n in chosen
    ]  # fmt: skip


# ---- what is said


def _notes(found: FullTraining, trainer: _Trainer) -> list[str]:
    notes = []
    metric, unit = found.metrics[0], f" {found.unit}" if found.unit else ""
    points = " percentage points" if found.unit == "%" else unit
    known = [n for n in found.networks if math.isfinite(found.optimism(n))]
    if known:
        too_good = [found.optimism(n) for n in known]
        half = mean_ci(too_good)[1] if len(known) > 1 else known[0].summary(metric)["ci95"]
        mean = float(np.mean(too_good))
        few = (
            f"this network: {known[0].believed:.2f}"
            if len(known) == 1
            else (f"these {len(known)} networks: {np.mean([n.believed for n in known]):.2f}")
        )
        alone = " (by one training, without an interval)" if math.isnan(half) else ""
        verdict = "too good by" if mean >= 0 else "not too good, but too bad by"
        notes.append(
            f"The search believed of {few}{unit}; trained again with other seeds it was {verdict} "
            f"{_with_interval(abs(mean), half)}{points}{alone}. The best of many noisy values is too good on average."
        )
    elif any(n.believed is not None for n in found.networks):
        notes.append(trainer.why_not)
    if isinstance(trainer, _OnImages):
        seen = (
            ""
            if trainer.searched_on == trainer.data.identity
            else (" Whether the search has seen them is not known here.")
        )
        notes.append(
            "Test accuracy is of images that no training, and no choice made here, has seen; it is told in this report "
            f"alone. Who chooses between these networks by it needs other images to test on.{seen}"
        )
    elif any(len(n.seeds) > 1 and len(set(n.values[metric])) == 1 for n in found.networks):
        notes.append(
            "All seeds gave the same value: the training draws nothing from what the seed sets (PyTorch's random state "
            "where it takes the network, {seed} of a command), so the spread is not known."
        )
    for network in found.networks:
        notes += [f"{network.arch}, seed {seed} failed: {why}" for seed, why in network.reasons.items()]
    return notes


def _with_interval(mean: float, half: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.2f}" + ("" if math.isnan(half) else f" ± {half:.2f}")


# ---- files of them


def best_network(finished: FinishedSearch, network: TrainedNetwork, metric: str, sign: float, build: Any) -> nn.Module:
    """The network with the weights of its best seed by a metric.

    Raises:
        DataError: no weights of it are kept.
    """
    from nastk.spaces._networks import build_network

    values = np.array([sign * v if math.isfinite(v) else -math.inf for v in network.values[metric]])
    folder = network.folders[int(values.argmax())]
    weights = read_weights(folder)
    if weights is None:
        raise DataError(f"{folder} holds no weights of {network.arch}: its training returned none")
    space = _networks_of(finished)
    made = build_network(space, np.array(network.row)[: space.d], **build)
    load_weights(made, weights)
    return made.eval()


def _origin(trainer: _Trainer, found: FullTraining, network: TrainedNetwork) -> str:
    """Where the weights of a network come from, and what it takes, for its model card."""
    told = [
        f"{metric.replace('_', ' ')} {_with_interval(each['mean'], each['ci95'])} {found.unit}"
        for metric in found.metrics
        for each in [network.summary(metric)]
    ]
    parts = [f"Trained fully by nastk train ({found.how}), the best of {len(network.seeds)} seeds", *told]
    if isinstance(trainer, _OnImages):
        by = trainer.data.normalisation
        mean, std = (", ".join(f"{value:.6g}" for value in by[name]) for name in ("mean", "std"))
        parts.append(f"its inputs are images less the mean {mean}, divided by {std}")
    return "; ".join(parts)


def _export(
    finished: FinishedSearch, trainer: _Trainer, found: FullTraining, formats: Sequence[str], place: Path
) -> None:
    from nastk.deploy.write import export

    sign = 1.0 if found.direction == "max" else -1.0
    for network in found.networks:
        made = best_network(finished, network, found.metrics[0], sign, trainer.build)
        written = export(
            finished, arch=network.arch, network=made, format=tuple(formats), folder=place / "export",
            origin=_origin(trainer, found, network), images=trainer.images,
        )  # fmt: skip
        found.exported[network.arch] = [str(file) for file in written.files]
