"""From names, as ``nastk search`` has them, to the description of a search."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from nastk.data.device_file import METRICS, CommandDevice, UserDevices
from nastk.devices import is_live
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.oracles.counts import COUNTED
from nastk.oracles.goals import VALIDATION_LOSS, Goal, objective_names
from nastk.oracles.microcontroller import ACCELERATOR, BY_VELA, MICROCONTROLLER, check_accelerator
from nastk.predictors._local_sources import SECONDS
from nastk.run.description import MEASURED, MEASURED_HERE, SearchDescription, usual_budget
from nastk.search.base import Constraint, searcher_class
from nastk.spaces.base import SearchSpace
from nastk.spaces.precisions import read_precisions

ACCURACY_DATASET = "cifar10"
"""Data set of the shipped accuracy estimates where none is named."""

ACCURACIES = ("test_accuracy", "accuracy", "val_accuracy")
"""A table's metrics that the objective "accuracy" stands for, in order of preference."""

TRAIN = ("command", "timeout", "retries")
"""Keys of the table ``[train]``."""


def describe(
    space: str = "nasbench201",
    dataset: str | None = None,
    device: str = "this",
    objectives: Sequence[str] = ("accuracy", "latency"),
    constraints: Sequence[str] = (),
    searcher: str = "predictor",
    predictors: Sequence[str] = (),
    budget: int | None = None,
    measurements: int = 10,
    verify: int = 12,
    seed: int = 0,
    threads: int = 1,
    batch: int = 1,
    runtime: str = "torch",
    precision: str = "fp32",
    calibration: str | None = None,
    accuracy: str | None = None,
    epochs: Sequence[float] = (),
    retries: int = 1,
    count_failures: bool = False,
    devices: str | None = None,
    device_command: str | None = None,
    measured: str | None = None,
    local_sources: int | None = None,
    local_sources_time: float = SECONDS,
    train: str | Mapping[str, Any] | None = None,
    weights: bool = True,
    data: str | None = None,
    image_size: int | None = None,
    verify_seeds: int = 0,
    supernet: str | Mapping[str, Any] | None = None,
    supernet_steps: int | None = None,
    supernet_start: bool = False,
    ship_supernet: bool = False,
    pairs: Sequence[str] = (),
) -> SearchDescription:
    """The description of a search that is given as names, as ``nastk search`` has them.

    Args:
        space, searcher, budget, measurements, verify, seed, retries, count_failures, local_sources,
            local_sources_time, verify_seeds: see :class:`SearchDescription`.
        dataset: data set of a fetched table, whose accuracies are evaluated; None for shipped estimates, or for the
            accuracies of a table where no estimates ship.
        device: "this" and other devices of this machine are measured, and those of `devices`; another name is a device
            of a fetched table.
        objectives: ``[max:|min:]METRIC[:DEVICE][@EPOCHS]``, as :class:`nastk.oracles.goals.Goal` reads them: accuracy,
            latency, energy, peak_memory, params, flops, figures of a microcontroller (flash, arena, sram, npu_cycles,
            cpu_operators, of Vela's also with an accelerator: "sram:ethos-u55-64"), or a table's metric. With a table,
            "accuracy" stands for the first that it has of :data:`ACCURACIES`, also in `constraints` and `predictors`.
            Other metrics, with their direction ("max:f1"), are those of `train`.
            A device of an objective's own, as in "latency:pi5", goes before `device`.
        constraints: such as ``latency<=10``.
        predictors: ``NAME`` for all expensive objectives, or ``OBJECTIVE=NAME``.
        threads, batch, runtime, precision, calibration: how latency is measured here, as of `nastk.oracles.Latency`.
        accuracy: a user's accuracy function, ``file.py:function``.
        epochs: fidelities of this function, of `train`, or of trainings on `data`, ascending; the last is the target.
        devices: file of devices behind commands, by default ``devices.toml``
            (:func:`nastk.data.device_file.read_devices`). They measure latency, energy and memory.
        device_command: the command line of one such device, called `device` ("command" where that is "this").
        measured: CSV file of the latencies (of `device`) that there are: none is measured.
        train: a command line that trains a network, or a table of :data:`TRAIN` (`nastk.oracles.TrainingCommand`).
        weights: keep the weights of the networks that `accuracy` trains.
        data: images to train the networks on (:func:`nastk.data.images.read_images`): the accuracy is that on their
            validation part.
        image_size: side to which these images are resized.
        supernet: method of a supernet that is trained on `data` first, and is a lower fidelity of the accuracies, which
            may then be those of `accuracy` or `train`; or a table of `method` and options of its class.
        supernet_steps: of its training, or of that on `pairs`.
        supernet_start: begin the trainings on `data` with its weights.
        ship_supernet: instead of trainings: accuracies are those with its weights, as networks then ship.
        pairs: of the space hat, two text files of sentences and their translations: in place of an accuracy the
            objective is the validation loss with the weights of a small SuperTransformer, which is trained on them
            first (`nastk.oracles.TranslationLoss`).

    Raises:
        NastkError: an objective that does not exist with these names; the message says what is missing.
    """
    kind = searcher_class(searcher)
    if predictors and not kind.learns:
        raise InvalidValue(f"the searcher {searcher!r} learns nothing; leave out --predictor")
    _check_pairs(pairs, {"--accuracy": accuracy, "--train": train, "--data": data, "--supernet": supernet})
    if epochs and accuracy is None and train is None and data is None:
        raise InvalidValue(
            "--epochs are of trainings; leave it out, or bring --accuracy my_file.py:train or images, such as --data "
            "digits"
        )
    if not weights and accuracy is None:
        raise InvalidValue("--no-weights is of your own function, --accuracy; leave it out")
    if accuracy is not None and train is not None:
        raise InvalidValue("--accuracy and --train are both of your own trainings; leave one out")
    of_supernet = None if pairs else supernet_steps
    _check_supernet(supernet, of_supernet, supernet_start, ship_supernet, data, accuracy, train, epochs)
    if data is not None and supernet is None and (accuracy is not None or train is not None):
        own = "--accuracy" if train is None else "--train"
        raise InvalidValue(f"with --data nastk trains, with {own} you do; leave one out")
    if data is not None and dataset is not None:
        raise InvalidValue(f"--data {data} is to be trained on, --dataset {dataset} is of a table; leave one out")
    if image_size is not None and data is None:
        raise InvalidValue("--image-size is of --data; leave it out")
    if budget is None:
        budget = usual_budget(supernet is not None, ship_supernet or bool(pairs))
    how = dict(zip(MEASURED, (runtime, threads, batch, read_precisions(precision), calibration), strict=True))
    commands, device = UserDevices.asked(device, devices, device_command)
    training = None if train is None else _training(train, retries)
    trained_on = data if accuracy is None and train is None else None
    asked = _Asked(space, dataset, device, how, accuracy, epochs, commands, measured, training, trained_on, image_size)
    if pairs:
        asked.take_pairs(pairs, seed, supernet_steps)
    shared = None
    if supernet is not None:
        from nastk.run.supernet import supernet_facts

        table = {"method": supernet} if isinstance(supernet, str) else dict(supernet)
        steps = {} if supernet_steps is None else {"steps": supernet_steps}
        shared, _ = supernet_facts(asked.space, {**table, **steps}, data, image_size, seed)
        asked.shared = shared if ship_supernet else None
        asked.start = shared if supernet_start else None
    goals = [Goal.parse(text) for text in objectives]
    found = [asked.objective(goal) for goal in goals]
    asked.refuse_unused([facts for _, _, facts in found])
    made_by = {
        "devices": "command", "device-command": "command", "measured": "brought", "train": "train", "data": "training",
        "pairs": "translation",
    }  # fmt: skip
    line = None if training is None else shlex.join(training["command"])
    given = (devices, device_command, measured, line, data, " ".join(pairs) or None)
    for (option, kind_of), value in zip(made_by.items(), given, strict=True):
        if option == "data" and supernet is not None:
            continue
        if value is not None and kind_of not in {facts["oracle"] for _, _, facts in found}:
            raise InvalidValue(f"--{option} {value}: no objective is measured by it; leave it out")
    for _, _, facts in found:
        if facts["oracle"] == "function" and not weights:
            facts["weights"] = False
    trained = [facts for _, _, facts in found if facts["oracle"] == "train"]
    for facts in trained:
        facts["metrics"] = [other["metric"] for other in trained]
    names = objective_names([goal for goal, _, _ in found])
    if again := next((name for name in names if names.count(name) > 1), None):
        same = [text for text, name in zip(objectives, names, strict=True) if name == again]
        raise InvalidValue(f"the objectives {' and '.join(same)} are the same; leave one out")
    called = _as_called(objectives, goals, names)
    bounds = [
        str(replace(c, objective=called[c.objective])) for c in (Constraint.parse(text, called) for text in constraints)
    ]
    entries = tuple(
        {"name": name, "fidelity": fidelity, "oracle": facts}
        for name, (_, fidelity, facts) in zip(names, found, strict=True)
    )
    description = SearchDescription(
        space, entries, tuple(bounds), searcher, {}, {}, budget, measurements, None, verify, seed, retries,
        count_failures, local_sources, local_sources_time, verify_seeds, None if ship_supernet else shared,
    )  # fmt: skip
    return replace(description, predictors=_named_predictors(predictors, description, called))


def _check_pairs(pairs: Sequence[str], others: Mapping[str, Any]) -> None:
    """Refuse sentence pairs that are not two files, or beside which something else tells how good a network is."""
    if not pairs:
        return
    if len(pairs) != 2:
        raise InvalidValue(f"--pairs takes two text files, sentences and their translations; got {len(pairs)}")
    if other := next((name for name, value in others.items() if value is not None), None):
        raise InvalidValue(f"--pairs and {other} both say how good a network is; leave one out")


def _check_supernet(
    supernet: Any,
    steps: int | None,
    start: bool,
    ship: bool,
    data: str | None,
    accuracy: str | None,
    train: Any,
    epochs: Sequence[float],
) -> None:
    """Refuse options of a supernet that mean nothing, or contradict others; arguments as of :func:`describe`."""
    given = {"--supernet-steps": steps is not None, "--supernet-start": start, "--ship-supernet": ship}
    if supernet is None:
        if unused := next((name for name, is_given in given.items() if is_given), None):
            also = " or --pairs" if unused == "--supernet-steps" else ""
            raise InvalidValue(f"{unused} is of --supernet{also}; add it, or leave {unused} out")
        return
    if data is None:
        raise InvalidValue(
            "a supernet is trained on images: add --data digits, a .npz file, a folder or file.py:dataset"
        )
    own = "--accuracy" if accuracy is not None else "--train" if train is not None else None
    if start and own:
        raise InvalidValue(f"--supernet-start is of trainings on --data, and with {own} you train; leave one out")
    if ship and (own or start or epochs):
        other = own or ("--supernet-start" if start else "--epochs")
        raise InvalidValue(f"with --ship-supernet nothing is trained alone; leave out {other}")


def _as_called(texts: Sequence[str], goals: Sequence[Goal], names: Sequence[str]) -> dict[str, str]:
    """Names of objectives by what constraints may call them: the text, the name, or a metric that only one has."""
    metrics = [goal.metric for goal in goals]
    called = {metric: name for metric, name in zip(metrics, names, strict=True) if metrics.count(metric) == 1}
    return called | dict(zip(texts, names, strict=True)) | {name: name for name in names}


class _Asked:
    """Where the objectives of a search that is given as names come from; arguments as of :func:`describe`."""

    def __init__(
        self,
        space: str,
        dataset: str | None,
        device: str,
        measured: Mapping[str, Any],
        accuracy: str | None,
        epochs: Sequence[float],
        commands: UserDevices,
        brought: str | None,
        training: Mapping[str, Any] | None,
        data: str | None,
        image_size: int | None,
    ):
        from nastk.spaces.factory import space as named

        self.name, self.space = space, named(space)  # first: all else would call an unknown space something else
        self.dataset, self.device, self.measured = dataset, device, measured
        self.accuracy, self.epochs = accuracy, tuple(epochs)
        self.commands, self.brought, self.training = commands, brought, training
        self.images: dict[str, Any] | None = None
        self.shared: Mapping[str, Any] | None = None  # the supernet whose accuracies ship
        self.start: Mapping[str, Any] | None = None  # the one with whose weights trainings begin
        self.translation: Mapping[str, Any] | None = None  # the loss on sentence pairs
        self.build: dict[str, Any] = {}
        if data is not None:
            self._take_images(data, image_size)

    def _take_images(self, data: str, image_size: int | None) -> None:
        """The images to train on, and the options with which the networks of all objectives are built for them."""
        from nastk.data.images import read_images
        from nastk.oracles._fitting import options_for

        images = read_images(data, image_size)
        self.images, self.build = images.asked(), options_for(self.space, images)

    def take_pairs(self, pairs: Sequence[str], seed: int, steps: int | None) -> None:
        """The sentence pairs that a SuperTransformer is trained on; errors as of `nastk.oracles.TranslationLoss`."""
        from nastk.oracles.translation import TranslationLoss

        options: dict[str, Any] = {} if steps is None else {"steps": steps}
        source, target = pairs
        self.translation = TranslationLoss(self.space, source, target, seed=seed, **options).describe()

    @cached_property
    def metrics(self) -> dict[str, bool]:
        """Metrics of the space's table, and whether each depends on the device; empty where there is no table."""
        from nastk.oracles.table import benchmark, has_table

        if self.dataset is None and not has_table(self.space):
            return {}
        table = benchmark(self.name, dataset=self.dataset).table
        return {metric: bool(table.devices(metric=metric)) for metric in table.metrics()}

    def objective(self, goal: Goal) -> tuple[Goal, float | None, dict[str, Any]]:
        """The objective as its oracle calls it, the fidelity to evaluate, and the description of the oracle."""
        device = goal.device or self.device
        if goal.metric == "accuracy" or (goal.metric == VALIDATION_LOSS and self.translation is not None):
            return self._accuracy(goal)
        if goal.metric == "latency" and goal.device is None and self.brought is not None:
            goal.needs_no_epochs("min")
            if self.commands.find(device) is not None:
                raise InvalidValue(
                    f"--measured {self.brought} has the latencies, and device {device} has a command that would "
                    "measure them; leave one out, or give the device of the file a name without a command"
                )
            named = None if device == "this" else device
            return goal, None, {"oracle": "brought", "file": self.brought, "device": named}
        command = self.commands.find(device)
        if goal.metric in METRICS and command is not None:
            return self._by_command(goal, command)
        if goal.metric in MEASURED_HERE and is_live(device):
            goal.needs_no_epochs("min")
            return replace(goal, device=device), None, {"oracle": goal.metric, "device": device, **self._how()}
        if goal.metric in MICROCONTROLLER and goal.metric not in self.metrics:
            return self._microcontroller(goal)
        if goal.metric in COUNTED and (self.space.has_networks or goal.metric not in self.metrics):
            goal.needs_none()
            direction = {} if goal.direction is None else {"direction": goal.direction}
            return goal, None, {"oracle": "count", "metric": goal.metric, **direction, **self.build}
        if goal.metric == "latency":
            self._refuse_unknown(device)
            return self._column(replace(goal, device=device))
        if self.training is not None and goal.metric not in self.metrics:
            return self._trained(goal)
        if (is_live(device) or command is not None) and not self.metrics:
            measured = (*MEASURED_HERE, *MICROCONTROLLER) if command is None else METRICS
            known = ", ".join(("accuracy", *measured, *COUNTED))
            raise InvalidValue(
                f"objective {goal.metric!r}: without --dataset or --device of a fetched table there are {known}"
            )
        if goal.device is None and not is_live(device) and self.metrics.get(goal.metric, False):
            goal = replace(goal, device=device)
        return self._column(goal)

    def _refuse_unknown(self, device: str) -> None:
        """Refuse a device that neither the user nor the table has, where the user has some: a table knows not these."""
        own = self.commands.names()
        if own and self.metrics:
            from nastk.oracles.table import benchmark

            known = benchmark(self.name, dataset=self.dataset).table.devices(metric="latency")
            if device not in known:
                raise UnknownName("device", device, [*own, *known])

    def _by_command(self, goal: Goal, command: CommandDevice) -> tuple[Goal, None, dict[str, Any]]:
        from nastk.oracles.on_device import describe_command

        goal.needs_no_epochs("min")
        facts = describe_command(goal.metric, command, self.measured)
        return replace(goal, device=command.name), None, {**facts, **self.build}

    def _microcontroller(self, goal: Goal) -> tuple[Goal, None, dict[str, Any]]:
        """A figure of the int8 file; those of Vela are of the accelerator that the objective names."""
        goal.needs_no_epochs("min")
        facts = {"oracle": "microcontroller", "metric": goal.metric, **self.build}
        if goal.metric in BY_VELA:
            check_accelerator(goal.device or ACCELERATOR)
            return goal, None, {**facts, "accelerator": goal.device or ACCELERATOR}
        goal.needs_none("min")
        return goal, None, facts

    def _how(self) -> dict[str, Any]:
        """How networks are run here; precision and calibration only where they are not the default."""
        later = ("precision", "calibration")
        return {k: v for k, v in self.measured.items() if k not in later or v != MEASURED[k]} | self.build

    def refuse_unused(self, oracles: Sequence[Mapping[str, Any]]) -> None:
        """Refuse what was asked for and is part of no objective, which would otherwise be left out without a word.

        Args:
            oracles: descriptions of those of all objectives.

        Raises:
            InvalidValue: such as a device where nothing depends on one.
        """
        kinds = {facts["oracle"] for facts in oracles}
        if self.dataset is not None and "table" not in kinds:
            raise InvalidValue(f"--dataset {self.dataset} is of a table, and no objective is a table's; leave it out")
        if self.device != "this" and self.device not in {facts.get("device") for facts in oracles}:
            raise InvalidValue(f"--device {self.device}: no objective depends on it; leave it out")
        found = [facts for facts in oracles if facts["oracle"] == "command"]
        commands = {facts["device"]: CommandDevice(**facts["command"]) for facts in found}
        if commands and kinds.isdisjoint(MEASURED_HERE):
            from nastk.oracles.on_device import refuse_unused

            refuse_unused(list(commands.values()), self.measured, MEASURED)
        elif kinds.isdisjoint(MEASURED_HERE):
            for option, default in MEASURED.items():
                if self.measured[option] != default:
                    raise InvalidValue(f"--{option} {self.measured[option]}: nothing is measured here; leave it out")

    def _column(self, goal: Goal) -> tuple[Goal, None, dict[str, Any]]:
        if self.images is not None and self.build:
            build = ", ".join(f"{name}={value}" for name, value in self.build.items())
            raise InvalidValue(
                f"objective {goal.metric}: a table's values are of its own networks, and --data {self.images['data']} "
                f"needs others ({build}); leave one out, or measure here"
            )
        where = {"table": self.name, "metric": goal.metric, "dataset": self.dataset, "device": goal.device}
        more = {"fidelity": goal.epochs, "direction": goal.direction}
        facts = {"oracle": "table", **where, **{name: value for name, value in more.items() if value is not None}}
        return goal, None, facts

    def _trained(self, goal: Goal) -> tuple[Goal, float | None, dict[str, Any]]:
        """A metric that the user's command tells of the networks that it trains."""
        assert self.training is not None
        self._refuse_other_epochs(goal)
        replace(goal, epochs=None).needs_none("max" if goal.metric == "accuracy" else None)
        direction = {} if goal.direction is None else {"direction": goal.direction}
        facts = {"oracle": "train", "metric": goal.metric, **direction, **self.training}
        return goal, goal.epochs, {**facts, "fidelities": self.epochs}

    def _by_images(self, images: Mapping[str, Any]) -> dict[str, Any]:
        from nastk.oracles.training import Recipe

        epochs = [int(epoch) for epoch in self.epochs]
        recipe = Recipe(epochs[-1]) if epochs else Recipe()
        found = {"oracle": "training", **images, "epochs": epochs, "recipe": recipe.to_dict(), "build": self.build}
        if self.start is not None:
            found["start"] = {name: self.start[name] for name in ("method", "options", "build", "seed")}
        return found

    def _refuse_other_epochs(self, goal: Goal) -> None:
        if goal.epochs is not None and goal.epochs not in self.epochs:
            raise InvalidValue(f"objective {goal}: --epochs has no {goal.epochs:g}")

    def _accuracy(self, goal: Goal) -> tuple[Goal, float | None, dict[str, Any]]:
        """By the user's command or function, else of a table's data set, else estimated; else of a table without data
        sets."""
        if self.training is not None:
            return self._trained(goal)
        if self.translation is not None:
            goal = replace(goal, metric=VALIDATION_LOSS)
            goal.needs_none("min")
            return goal, None, dict(self.translation)
        if self.shared is not None:
            goal.needs_none("max")
            return goal, None, {"oracle": "supernet", **self.shared}
        if self.images is not None:
            self._refuse_other_epochs(goal)
            replace(goal, epochs=None).needs_none("max")
            return goal, goal.epochs, self._by_images(self.images)
        if self.accuracy is not None:
            self._refuse_other_epochs(goal)
            replace(goal, epochs=None).needs_none("max")
            facts = {"oracle": "function", "function": self.accuracy, "epochs": self.epochs}
            return goal, goal.epochs, facts
        weights = shipped_weights(self.space) if self.dataset is None else None
        if weights is not None:
            goal.needs_none("max")
            return goal, None, {"oracle": "shipped", "weights": weights}
        column = next((name for name in ACCURACIES if name in self.metrics), None)
        if column is None and self.dataset is None:
            raise Unsupported(
                f"no accuracy predictor ships for {self.space.whole.name}; bring --accuracy my_file.py:evaluate, or "
                "leave accuracy out with --objective flops --objective latency and the like"
            )
        return self._column(replace(goal, metric=column or ACCURACIES[0]))


def _training(train: str | Mapping[str, Any], retries: int) -> dict[str, Any]:
    """How a command trains, from its line or a table of :data:`TRAIN`; it is started again as often as anything is.

    Raises:
        InvalidValue: a value that cannot be used.
        UnknownName: a key that does not exist.
    """
    from nastk.oracles.training_command import check_limits, command_words

    table = {"command": train} if isinstance(train, str) else dict(train)
    for key in table:
        if key not in TRAIN:
            raise UnknownName("key of [train]", key, TRAIN)
    if "command" not in table:
        raise InvalidValue('[train] needs a command, such as "python train.py --arch {arch}"')
    limits = {"retries": retries, **table}
    check_limits(limits.get("timeout", 1.0), limits["retries"])
    return {**limits, "command": list(command_words(table["command"])), "working_folder": os.getcwd()}


def shipped_weights(space: SearchSpace) -> str | None:
    """Name of the accuracy estimates that ship for a space, if any do."""
    from nastk.predictors.factory import weights

    for stem, notes in weights().items():
        about = notes.get("space"), notes.get("dataset")
        if about == (space.whole.name, ACCURACY_DATASET) and "accuracy" in notes["metric"]:
            return stem
    return None


def _named_predictors(
    texts: Sequence[str], description: SearchDescription, called: Mapping[str, str]
) -> dict[str, str]:
    """Names by expensive objective, from ``NAME`` and ``OBJECTIVE=NAME``; each must exist."""
    from nastk.predictors.factory import predictor

    if not texts:
        return {}
    expensive = [str(e["name"]) for e in description.objectives if _is_expensive(e["oracle"])]
    chosen: dict[str, str] = {}
    for text in texts:
        before, equals, after = text.partition("=")
        objective, name = (called.get(before, before), after) if equals else ("", text)
        if equals and objective not in expensive:
            have = ", ".join(expensive) or "none"
            raise InvalidValue(
                f"--predictor {text}: {before} is not an expensive objective of this search (expensive: {have})"
            )
        predictor(name)
        chosen |= dict.fromkeys([objective] if equals else expensive, name)
    return chosen


def _is_expensive(facts: Mapping[str, Any]) -> bool:
    """Whether the oracle of a description is expensive; of a table, as its column says."""
    if facts["oracle"] != "table":
        return facts["oracle"] not in ("count", "shipped")
    from nastk.oracles.table import benchmark

    table = benchmark(facts["table"]).table
    return table.find(facts["metric"], dataset=facts["dataset"], device=facts["device"])[1].expensive
