"""The composition root: from the description of a search to a study. Names are resolved and defaults decided here.

``nastk.search(...)``, ``nastk search`` and ``nastk bench search`` all use :func:`compose`, so that one description
gives the same records in all three, and each resumes a study that another began.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.data.device_file import METRICS, CommandDevice, UserDevices
from nastk.data.fetch import default_home
from nastk.devices import is_live
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, StorageError, UnknownName, Unsupported
from nastk.evaluation import evaluate_together
from nastk.files import NETWORKS, atomic_path, check_outputs
from nastk.history import History
from nastk.identity import earlier_identity, evaluation_identity, files_identity, study_identity
from nastk.oracles._settings import Setting
from nastk.oracles.base import Oracle
from nastk.oracles.counts import COUNTED
from nastk.oracles.goals import Goal, objective_names
from nastk.oracles.latency import Latency
from nastk.oracles.microcontroller import ACCELERATOR, BY_VELA, MICROCONTROLLER, check_accelerator
from nastk.oracles.of_network import OfNetwork
from nastk.parallel import Uninterrupted
from nastk.predictors._local_sources import SECONDS, LocalSources, pretrain
from nastk.predictors.base import FewShotPredictor, Predictor
from nastk.registry import SEARCHERS
from nastk.result import Result
from nastk.search.base import Constraint, Objective, Searcher, searcher_class
from nastk.search.models import Predictors
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision, in_precisions, read_precisions
from nastk.study import Progress, Study, budget_by_objective
from nastk.workers.base import Workers
from nastk.workers.factory import make_workers

if TYPE_CHECKING:
    from nastk.storage import Computed

ACCURACY_DATASET = "cifar10"
"""Data set of the shipped accuracy estimates where none is named."""

ACCURACIES = ("test_accuracy", "accuracy", "val_accuracy")
"""A table's metrics that the objective "accuracy" stands for, in order of preference."""

MEASURED: dict[str, Any] = {"runtime": "torch", "threads": 1, "batch": 1, "precision": "fp32", "calibration": None}
"""How networks are run here, to be measured, where nothing else is asked for."""

LARGEST_BATCH = 5
"""Largest default batch in a search of several objectives. Each ask refits, which takes seconds; a larger batch is
faster, and chooses by fewer results."""

LARGEST_SEED = 2**32 - 1
"""Largest random seed that every library takes, pymoo's and Optuna's NumPy generators included."""

LEAST = {"measurements": 2, "batch": 1, "verify": 0, "seed": 0, "retries": 0, "local_sources": 0}
"""Least values of numbers in a description. A predictor cannot be fitted to fewer than two measurements."""

MEASURED_HERE = ("latency", "energy", "peak_memory")
"""Metrics of networks that a runtime runs on a device of this machine: the names of their oracles too."""

MEASURED_ELSEWHERE = ("command", "brought")
"""Kinds of oracles whose values were measured on another machine."""

ORACLES = ("table", "count", *MEASURED_HERE, "microcontroller", "command", "brought", "shipped", "function", "train")
"""Kinds of oracles that can be made from their description."""

FILES = "nastk-networks"
"""Folder, in the current one, for the files of the networks of a search whose history is in memory."""

LEAST_ROUNDS = 10
"""Least number of batches that a budget is divided into by default: with fewer, a search would hardly learn from its
results."""


@dataclass(frozen=True)
class SearchDescription:
    """One search, described in JSON-able values.

    Args:
        space: its name, or ``file.py:Class``.
        objectives: each ``{"name", "fidelity", "oracle"}``: the name in constraints and columns, the fidelity to
            evaluate or None for the highest, and what :meth:`nastk.Oracle.describe` says.
        constraints: such as ``latency<=10``.
        searcher: its name.
        predictors: names by expensive objective; an objective that is left out gets the default.
        options: further arguments of the searcher.
        budget: evaluations of each expensive objective, in all or by name; full trainings where the searcher also
            trains briefly. Where no objective is expensive, a number of architectures.
        measurements: evaluations of an objective that a few-shot predictor learns, unless `budget` names it; in each
            precision, where the search chooses one. None: no objective is learned so by default.
        batch: proposals to ask for at a time; by default 1 for one objective, and up to :data:`LARGEST_BATCH` for
            several.
        verify: number of front members whose predicted values are evaluated in the end, beyond the budget.
        seed: random seed.
        retries: how often an evaluation that failed for a transient reason is tried again.
        count_failures: whether failed evaluations count against the budget.
        local_sources: networks to measure on this machine, in several settings, as source devices of few-shot-gp
            (:func:`nastk.local_sources`); 0 for none. None: as many as `nastk.predictors._local_sources.NETWORKS` where
            a device that is not this machine is learned and no latency weights ship for the space, else none.
        local_sources_time: time limit of these measurements, seconds.
    """

    space: str
    objectives: tuple[Mapping[str, Any], ...]
    constraints: tuple[str, ...] = ()
    searcher: str = "predictor"
    predictors: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: int | Mapping[str, int] = 50
    measurements: int | None = 10
    batch: int | None = None
    verify: int = 12
    seed: int = 0
    retries: int = 1
    count_failures: bool = False
    local_sources: int | None = None
    local_sources_time: float = SECONDS

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SearchDescription:
        """The inverse of :meth:`to_dict`.

        Raises:
            InvalidValue: it lacks the space or the objectives.
            UnknownName: it has something else.
        """
        known = [f.name for f in fields(cls)]
        for name in content:
            if name not in known:
                raise UnknownName("field of a search's description", name, known)
        if missing := [name for name in ("space", "objectives") if name not in content]:
            raise InvalidValue(f"the description of a search lacks its {' and '.join(missing)}")
        lists = {name: tuple(content[name]) for name in ("objectives", "constraints") if name in content}
        return cls(**{**content, **lists})


@dataclass(frozen=True)
class Objects:
    """Objects that a description names but cannot create: a user's own space, oracles and predictors.

    Args:
        space: the space.
        oracles: by the name of their objective.
        predictors: by the name of the objective that they learn.
        contexts: of features, by objective; where given they replace what the oracles' tables have.
        options: of the searcher, such as objects that JSON cannot hold.
    """

    space: SearchSpace | None = None
    oracles: Mapping[str, Oracle] = field(default_factory=dict)
    predictors: Mapping[str, Predictor] = field(default_factory=dict)
    contexts: Mapping[str, Context] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Run:
    """A search that is ready to start or to be resumed.

    Attributes:
        description: of the search.
        searcher, history: created or opened for it.
        budget: evaluations of each expensive objective.
        sources: networks of this machine that its few-shot predictors learn first; None where they need none.
        networks: folder in which its trainings keep files of their networks; None where none does, or before a search
            whose history is in memory begins.
        result: of the search, after :meth:`search`.
    """

    result: Result
    networks: Path | None = None

    def __init__(
        self,
        description: SearchDescription,
        searcher: Searcher,
        budget: dict[str, int],
        history: History,
        sources: SourcesToLearn | None = None,
    ):
        self.description, self.searcher, self.budget, self.history = description, searcher, budget, history
        self.sources = sources
        self._study: Study | None = None
        self._workers: Workers | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of the study; see `nastk.identity`."""
        return study_identity(self.description, self.searcher)

    @property
    def batch(self) -> int:
        """Proposals to ask for at a time."""
        if self.description.batch is not None:
            return self.description.batch
        most = max(self.budget.values(), default=1)
        if self.searcher.expensive and set(self.searcher.expensive) <= set(self.searcher.few_shot):
            return max(1, most)  # measurements alone: they take turns, which makes them comparable
        if len(self.searcher.objectives) == 1:
            return 1
        return min(max(1, most // LEAST_ROUNDS), LARGEST_BATCH)

    def evaluate_by(
        self,
        executor: Executor | Workers | None = None,
        workers: int | None = None,
        dask: Any = None,
        timeout: float | None = None,
        memory_limit: str | float | None = None,
        logs: str | os.PathLike[str] | None = None,
    ) -> None:
        """Who evaluates, before the search begins; arguments as of :func:`search`.

        Args:
            logs: folder for what worker processes print; by default a temporary one.
        """
        self._workers = make_workers(executor, workers, dask, timeout, memory_limit, logs)

    def search(
        self,
        progress: Progress | None = None,
        executor: Executor | Workers | None = None,
        workers: int = 1,
        time: float | None = None,
        cost: float | None = None,
    ) -> Result:
        """Spend the remaining budget; arguments and errors as of :class:`nastk.Study`."""
        if executor is not None:
            self.evaluate_by(executor, workers)
        self._study = Study(
            self.searcher, self.budget, self.history, self.batch, self._workers, 1, progress, self.description.retries,
            self.description.count_failures, time, cost,
        )  # fmt: skip
        self.learn_sources(progress)
        self._take_known()
        if self._keeps_networks and self.networks is None:
            self._keep_networks_in(_new_folder(Path(FILES)))
        self.result = self._study.run()
        self.result.description = self.description.to_dict()
        if self.sources is not None:
            self.result.notes.append(f"{self.sources.said}.")
        if self.networks is not None:
            self.result.notes.append(f"What the trainings kept of their networks is in {self.networks}.")
        return self.result

    def learn_sources(self, progress: Progress | None = None) -> None:
        """Measure what is needed here as sources, and let the predictors learn them; once, before the search."""
        if self.sources is not None and not self.sources.learned:
            self.sources.learn(progress)

    def _take_known(self) -> None:
        """Record the values that a closed oracle has, which no study evaluates; they count against no budget."""
        for o in self.searcher.objectives:
            new = [arch for arch in o.oracle.known if self.history.find(arch, o.name, o.fidelity) is None]
            if new:
                records = evaluate_together(o, np.array(new), o.fidelity)
                self.history.add([replace(record, charged=False) for record in records])

    def verify(self, progress: Progress | None = None) -> Result:
        """Evaluate values of the proposed front that are only predicted; see :meth:`nastk.Result.settle`.

        Nothing is evaluated where the time of the search is up.
        """
        if self.description.verify and self._study is not None and self._study.is_time_up:
            self.result.notes.append("The front was not verified: time was up.")
        elif self.description.verify:
            self.result.settle(self.description.verify, progress)
        return self.result

    def keep_in(self, storage: str | os.PathLike[str], study: str | None = None) -> None:
        """Keep the history in a database, and go on with what it has of this search; before the search begins.

        Args:
            storage: SQLAlchemy URL, or the path of a SQLite file.
            study: its name there; by default it is found by its identity.

        Raises:
            StudyHeld: another process runs this study.
        """
        self.history = self._open(storage, study)
        self._place_networks()

    @property
    def _keeps_networks(self) -> bool:
        return any(o.oracle.needs_folder and not o.oracle.folder for o in self.searcher.objectives)

    def _place_networks(self) -> None:
        """Let the oracles keep files of networks beside the history: next to a SQLite file, else in ``NASTK_HOME``."""
        if not self._keeps_networks:
            return
        folder = self.history.networks
        if folder is None and self.history.place:
            name = hashlib.sha256(self.history.place.encode()).hexdigest()[:16]
            folder = default_home() / "networks" / name
        if folder is None:
            return  # a history in memory: a new folder, once the search begins
        self._keep_networks_in(folder)
        earlier = {Path(o.oracle.study_folder) for o in self.searcher.objectives if o.oracle.needs_folder}
        if not len(self.history) and any(own.is_dir() and any(own.iterdir()) for own in earlier):
            self.history.notes.append(
                f"{folder} holds what earlier trainings kept, and this history nothing: networks that are trained "
                "again find it there; for a fresh start move it away."
            )

    def _keep_networks_in(self, folder: Path) -> None:
        self.networks = folder.absolute()
        check_outputs([], [self.networks])
        for o in self.searcher.objectives:
            if o.oracle.needs_folder:
                o.oracle.study_folder = str(self.networks / files_identity(o))

    def save(self, storage: str | os.PathLike[str]) -> None:
        """Copy the history into a database from which the same search can be resumed.

        Args:
            storage: SQLAlchemy URL, or the path of a new SQLite file.
        """
        saved = self._open(storage, None)
        saved.add(self.history.records(), self.history.state())
        saved.close()

    def _open(self, storage: str | os.PathLike[str], study: str | None) -> History:
        from nastk.storage import open_history

        identities = {o.name: evaluation_identity(o) for o in self.searcher.objectives}
        earlier = earlier_identity(self.description, self.searcher)
        return open_history(storage, study, self.identity, identities, earlier, self._about(), self._computed())

    def _about(self) -> dict[str, Any]:
        """What those that look at the study in its database should know; see `nastk.studies.Goal`."""
        goals = [
            {
                "name": o.name, "unit": o.unit, "direction": o.direction, "source": o.oracle.source,
                "expensive": o.expensive, "kind": o.oracle.kind,
                "target": None if o.target is None else float(o.target),
            }
            for o in self.searcher.objectives
        ]  # fmt: skip
        return {"goals": goals, "budget": {name: int(count) for name, count in self.budget.items()}}

    def _computed(self) -> Computed | None:
        """Values of the free objectives, of architectures that the searcher knows."""
        free = {o.name: j for j, o in enumerate(self.searcher.objectives) if not o.expensive}
        if not free:
            return None

        def computed(archs: Archs) -> dict[str, list[float]]:
            values = self.searcher.values_of(archs)
            return {name: values[:, j].tolist() for name, j in free.items()}

        return computed

    def close(self) -> None:
        """Let go of the database, and of the workers."""
        try:
            if self._workers is not None:
                self._workers.close()
            if hasattr(self, "result"):
                self.result.workers = None
        finally:
            self.history.close()


class SourcesToLearn:
    """Networks of this machine as sources of few-shot predictors.

    Args:
        local: the measurements.
        predictors: that learn them, by objective; without sources of their own.

    Attributes:
        learned: whether the predictors have learned them.
        said: what was learned, in one line.
    """

    def __init__(self, local: LocalSources, predictors: Mapping[str, Predictor]):
        self.local, self.predictors = local, predictors
        self.learned, self.said = False, ""

    def learn(self, progress: Progress | None = None) -> None:
        """Measure what is not kept from before, and pretrain; where nothing can be measured here, say so and go on."""
        self.said = pretrain(self.predictors.values(), self.local, progress)
        self.learned = True


# ---- from a description to a study


def compose(
    description: SearchDescription,
    objects: Objects | None = None,
    storage: str | os.PathLike[str] | History | None = None,
    study: str | None = None,
) -> Run:
    """Everything up to the first evaluation: names resolved, defaults decided, the history opened.

    Defaults: a latency is learned by a few-shot predictor with the weights that ship for the space, the target device
    and its near-duplicates left out, where the searcher can; other expensive objectives of a table are learned with
    its zero-cost proxies among the features.

    Args:
        description: of the search.
        objects: those that it names but cannot create.
        storage: keep the history in this database (SQLAlchemy URL, or path of a SQLite file), or in this history.
        study: its name there; by default it is found by its identity.

    Raises:
        NastkError: a name that does not exist, or an argument that cannot be used.
    """
    objects = objects or Objects()
    if isinstance(description.seed, int) and description.seed > LARGEST_SEED:
        raise InvalidValue(f"seed is a whole number of at most {LARGEST_SEED}; got {description.seed}")
    for name, least in LEAST.items():
        value = getattr(description, name)
        missing = value is None and name in ("measurements", "batch", "local_sources")
        if not missing and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InvalidValue(f"{name} is a whole number of at least {least}; got {value!r}")
    for entry in description.objectives:
        _check_entry(entry, objects)
    kind = searcher_class(description.searcher)
    if (description.predictors or objects.predictors) and not kind.learns:
        raise InvalidValue(f"the searcher {description.searcher!r} learns nothing; leave out the predictor")
    names = [str(entry["name"]) for entry in description.objectives]
    for text in description.constraints:
        Constraint.parse(text, names)
    tables: dict[str, Any] = {}
    space = objects.space or _space(description, tables)
    space = in_precisions(space, _precisions(description))
    goals = [
        Objective(entry["name"], _oracle_in(space, entry, objects, tables, description.seed), entry.get("fidelity"))
        for entry in description.objectives
    ]
    options: dict[str, Any] = {**description.options, **objects.options}
    sources = None
    if kind.learns:
        options["predictor"] = _predictors(description, objects, kind, space, goals)
        sources = _sources(description, objects, space, goals, options["predictor"])
    elif description.local_sources:
        raise InvalidValue(f"the searcher {description.searcher!r} learns nothing; leave out the local sources")
    description = replace(description, local_sources=0 if sources is None else sources.local.networks)
    if kind.learns or kind.reads_contexts:
        options["contexts"] = _contexts(goals) if objects.contexts is None else objects.contexts
    limits = _limits(description, kind, goals, options.get("predictor", {}))
    _check_closed(goals, limits, kind, options.get("predictor", {}))
    if kind.needs_fidelities and isinstance(description.budget, int):
        options.setdefault("trainings", description.budget)
    if kind.thins_front and description.verify:
        options.setdefault("front_size", description.verify)
    searcher: Searcher = SEARCHERS.create(
        description.searcher, space, goals, constraints=description.constraints, seed=description.seed,
        budget=limits, **options,
    )  # fmt: skip
    limits |= searcher.budget
    composed = Run(description, searcher, limits, storage if isinstance(storage, History) else History(), sources)
    if isinstance(storage, History):
        composed._place_networks()
    elif storage is not None:
        composed.keep_in(storage, study)
    return composed


def _new_folder(path: Path) -> Path:
    """Make a folder of this name, or with a number behind it, that nothing has used."""
    for i in range(10_000):
        folder = path.with_name(f"{path.name}-{i}") if i else path
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"cannot make the folder {folder}: {error.strerror or error}") from error
        return folder
    raise StorageError(f"{path} and the next 9,999 names are taken")


def _check_entry(entry: Mapping[str, Any], objects: Objects) -> None:
    """Refuse an objective of a description that cannot be made, before anything is."""
    if not isinstance(entry, Mapping) or not {"name", "oracle"} <= entry.keys():
        raise InvalidValue(f"an objective of a description needs a name and an oracle; got {entry!r}")
    name, what = entry["name"], entry["oracle"].get("oracle")
    if name in objects.oracles or what in ORACLES:
        return
    if what == "object":
        raise InvalidValue(f"the objective {name!r} is an object that its description cannot make again")
    raise UnknownName(f"kind of oracle of the objective {name!r}:", str(what), ORACLES)


def _space(description: SearchDescription, tables: dict[str, Any]) -> SearchSpace:
    """The space to search: with an objective of a table, the architectures that it holds."""
    for entry in description.objectives:
        if entry["oracle"].get("oracle") == "table":
            found: SearchSpace = _table(entry["oracle"]["table"], tables).space
            return found
    from nastk.spaces.factory import space

    return space(description.space)


def _table(name: str, tables: dict[str, Any]) -> Any:
    if name not in tables:
        from nastk.oracles.table import benchmark

        tables[name] = benchmark(name)
    return tables[name]


def _precisions(description: SearchDescription) -> str:
    """The precisions that the search chooses from, such as "fp32,int8"; empty where latency is measured in one."""
    for entry in description.objectives:
        if "," in str(entry["oracle"].get("precision", "")) and entry["oracle"]["oracle"] != "latency":
            raise InvalidValue(f"{entry['name']} is measured in one precision; only latency chooses between several")
    found = {str(entry["oracle"].get("precision", "")) for entry in description.objectives}
    several = sorted(text for text in found if "," in text)
    if len(several) > 1:
        raise InvalidValue(f"latencies choose from different precisions: {' and '.join(several)}")
    return several[0] if several else ""


def _oracle_in(
    space: SearchSpace, entry: Mapping[str, Any], objects: Objects, tables: dict[str, Any], seed: int
) -> Oracle:
    """The oracle of an objective, in the space that is searched: what knows no precision is asked of the network."""
    given = objects.oracles.get(entry["name"])
    if not isinstance(space, WithPrecision):
        return given or _oracle(entry["oracle"], space, tables, seed)
    if given is None and entry["oracle"]["oracle"] == "latency":
        return _oracle(entry["oracle"], space, tables, seed)
    oracle = given or _oracle(entry["oracle"], space.networks, tables, seed)
    return oracle if isinstance(oracle.space, WithPrecision) else OfNetwork(oracle, space)


def _oracle(facts: Mapping[str, Any], space: SearchSpace, tables: dict[str, Any], seed: int) -> Oracle:
    """The oracle of a description; see :meth:`nastk.Oracle.describe`."""
    rest = dict(facts)
    what = rest.pop("oracle")
    if what == "table":
        direction, metric = rest.pop("direction", None), rest.pop("metric")
        found: Oracle = _table(rest.pop("table"), tables).oracle(metric, **rest)
        if direction is not None:
            found.direction = direction
        return found
    if what == "count":
        from nastk.oracles.counts import Count

        direction = rest.pop("direction", "min")
        found = Count(space, **rest)
        found.direction = direction
        return found
    if what in MEASURED_HERE:
        return _measured_oracle(what, space, rest)
    if what == "microcontroller":
        from nastk.oracles.microcontroller import Microcontroller

        return Microcontroller(space, **rest)
    if what == "command":
        from nastk.oracles.on_device import command_oracle

        return command_oracle(space, rest)
    if what == "brought":
        from nastk.oracles.brought import Brought
        from nastk.search.defaults import read_measured

        return Brought(space, read_measured(space, rest["file"]), **rest)
    if what == "shipped":
        return _shipped_oracle(space, str(rest["weights"]))
    if what == "train":
        from nastk.oracles.training_command import TrainingCommand

        return TrainingCommand(space, rest.pop("command"), seed=seed, **rest)
    from nastk.oracles.own_function import accuracy_function

    return accuracy_function(space, str(rest["function"]), rest.get("epochs", ()), seed)


def _measured_oracle(metric: str, space: SearchSpace, how: dict[str, Any]) -> Oracle:
    from nastk.oracles import Energy, Latency, PeakMemory

    found: Oracle = {"latency": Latency, "energy": Energy, "peak_memory": PeakMemory}[metric](space, **how)
    return found


def _shipped_oracle(space: SearchSpace, stem: str) -> Oracle:
    from nastk.oracles.predicted import Predicted
    from nastk.predictors.factory import predictor, weights

    notes = weights()[stem]
    dataset, whole = notes["dataset"], space.whole
    fitted = predictor(stem.removesuffix(f"-{whole.name}-{dataset}"), pretrained=f"{whole.name}-{dataset}")
    error = notes.get("held_out", {}).get("median_absolute_error")
    quality = "" if error is None else f", median error {error:.2f} % on architectures it never saw"
    return Predicted(
        fitted, space, "accuracy", "%", "max", f"estimate of the shipped predictor {stem}{quality}", weights=stem
    )


def _predictors(
    description: SearchDescription,
    objects: Objects,
    kind: type[Searcher],
    space: SearchSpace,
    goals: Sequence[Objective],
) -> dict[str, Predictor]:
    """Predictors of expensive objectives: those given, and few-shot ones where the searcher supports them.

    For the others the searcher has a default of its own.
    """
    from nastk.predictors._per_precision import OfNetworks, PerPrecision
    from nastk.search.defaults import default_predictor, latency_predictor, predictor_for_search

    networks = space.networks if isinstance(space, WithPrecision) else space
    expensive = {o.name: o for o in goals if o.expensive}
    for name in {*description.predictors, *objects.predictors}:
        if name not in expensive:
            raise UnknownName("expensive objective", name, expensive)
    chosen: dict[str, Predictor] = {}
    for name, objective in expensive.items():
        if name in objects.predictors:
            chosen[name] = objects.predictors[name]
        elif name in description.predictors:
            if "(" in description.predictors[name]:
                raise InvalidValue(
                    f"the predictor of {name}, {description.predictors[name]}, is an object that its description "
                    "cannot make again"
                )
            chosen[name] = predictor_for_search(
                description.predictors[name], networks, objective.oracle, alone=len(goals) == 1
            )
        elif objective.oracle.few_shot and kind.learns_few_shot and description.measurements is not None:
            chosen[name] = latency_predictor(networks, objective.oracle.device)
        elif networks is not space:
            chosen[name] = default_predictor(networks, objective.direction, alone=len(goals) == 1)
        if isinstance(space, WithPrecision) and name in chosen:
            if isinstance(objective.oracle, OfNetwork):
                chosen[name] = OfNetworks(chosen[name])
            elif isinstance(chosen[name], FewShotPredictor):
                chosen[name] = PerPrecision(chosen[name], len(space.precisions))
    return chosen


def _sources(
    description: SearchDescription,
    objects: Objects,
    space: SearchSpace,
    goals: Sequence[Objective],
    models: Mapping[str, Predictor],
) -> SourcesToLearn | None:
    """What is measured here first, for the few-shot predictors that have no source devices."""
    from nastk.search.defaults import learns_sources, sources_here

    # an object that the user made stays as it is
    mine = {name: model for name, model in models.items() if name not in objects.predictors}
    learners = {name: model for name, model in mine.items() if learns_sources(model)}
    elsewhere = {o.name for o in goals if o.oracle.describe().get("oracle") in MEASURED_ELSEWHERE}
    live = [o.oracle for o in goals if isinstance(o.oracle, Latency)]
    local = sources_here(
        space,
        description.local_sources,
        description.local_sources_time,
        learned=bool(learners),
        elsewhere=bool(learners.keys() & elsewhere),
        but=[Setting(str(o.runtime), o.precision, o.threads, o.batch) for o in live],
        **next((o.oracle.build_options for o in goals if hasattr(o.oracle, "build_options")), {}),
    )
    return None if local is None else SourcesToLearn(local, learners)


def _contexts(goals: Sequence[Objective]) -> dict[str, Context]:
    """Where features of a table's accuracies and energies come from: its zero-cost proxies, where most have them."""
    contexts: dict[str, Context] = {}
    known: dict[tuple[Any, Any], Context | None] = {}
    for objective in goals:
        oracle = objective.oracle
        if not objective.expensive or oracle.few_shot:
            continue
        of = oracle.describe().get("table"), oracle.dataset
        if of not in known:
            proxies = oracle.search_proxies()
            known[of] = None if proxies is None else Context(proxies=proxies, dataset=oracle.dataset)
        if (context := known[of]) is not None:
            contexts[objective.name] = context
    return contexts


def _limits(
    description: SearchDescription, kind: type[Searcher], goals: Sequence[Objective], models: Mapping[str, Predictor]
) -> dict[str, int]:
    """Evaluations of each expensive objective; few-shot ones get `measurements`, where the searcher supports them."""
    budget = description.budget
    limits = budget_by_objective(budget, [o.name for o in goals if o.expensive] or [o.name for o in goals])
    if kind.learns_few_shot and description.measurements is not None:
        few_shot = [name for name, model in models.items() if isinstance(model, FewShotPredictor)]
        said = budget if isinstance(budget, Mapping) else {}
        each = description.measurements
        limits |= {name: each * getattr(models[name], "parts", 1) for name in few_shot if name not in said}
    return limits


def _check_closed(
    goals: Sequence[Objective], limits: dict[str, int], kind: type[Searcher], models: Mapping[str, Predictor]
) -> None:
    """Nothing is evaluated of an objective whose values were brought: it has to be predicted from those.

    Raises:
        InvalidValue: the searcher would evaluate it, or its predictor needs more values.
    """
    for o in goals:
        if not o.oracle.closed:
            continue
        if not kind.learns_few_shot or not isinstance(models.get(o.name), FewShotPredictor):
            raise InvalidValue(
                f"{o.name} is known from {o.oracle.source} alone, and can only be predicted: use a searcher that learns"
                " it with a few-shot predictor (the default does)"
            )
        limits[o.name] = 0


# ---- from objects to a description


def search(
    space: SearchSpace | str,
    objectives: Sequence[Oracle | Objective],
    searcher: str = "predictor",
    predictor: Predictors = None,
    constraints: Sequence[str | Constraint] = (),
    budget: int | Mapping[str, int] = 50,
    measurements: int | None = 10,
    seed: int = 0,
    storage: str | os.PathLike[str] | History | None = None,
    study: str | None = None,
    batch: int | None = None,
    verify: int = 12,
    executor: Executor | Workers | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    retries: int = 1,
    count_failures: bool = False,
    local_sources: int | None = None,
    local_sources_time: float = SECONDS,
    dask: Any = None,
    timeout: float | None = None,
    memory_limit: str | float | None = None,
    time: float | None = None,
    cost: float | None = None,
    **options: Any,
) -> Result:
    """Search a space for the front of some objectives: ``nastk.search``.

    The same search as ``nastk search`` runs with the same names: each can resume what the other began.

    Args:
        space: a space or its name.
        objectives: oracles; expensive ones are evaluated within the budget, free ones at will.
        searcher: name of the searcher.
        predictor: for searchers that learn: a name, a predictor, or one by expensive objective. By default a latency
            (of a table, or measured here) is learned by few-shot-gp where the searcher can, and what else is expensive
            by the searcher's own predictor.
        constraints: such as ``latency<=10``, in the objective's unit.
        budget: evaluations of each expensive objective, in all or by name; in all it counts full trainings where the
            searcher also trains briefly.
        measurements: evaluations of an objective that a few-shot predictor learns, unless `budget` names it; None for
            no few-shot predictor by default.
        seed: random seed.
        storage: SQLAlchemy URL of the database (or path of the SQLite file) that keeps the history and from which the
            search is resumed, or a history of your own. What other studies in it evaluated on the same space with the
            same oracles is used, and counts against no budget. Without it, evaluations are kept in memory, and in a
            file of the current folder if the search ends with an error.
        study: name of the study in that database; by default it is found by what the search is.
        batch: proposals to ask for at a time; by default 1 for one objective, at most 5 for several.
        verify: number of front members whose predicted values are evaluated in the end, beyond the budget; 0 for none.
        executor: evaluates in parallel where given, one of Python's; results are told in the order in which they come
            in.
        workers: evaluate in this many processes here, each evaluation for itself: whatever it does to its process (a
            segmentation fault, ``os._exit``) is its failure, and the search goes on. With `executor`, concurrent
            evaluations. By default this process evaluates.
        progress: called with (done, total, objective) after every evaluation.
        retries: how often an evaluation that failed for a transient reason (out of memory, a lost connection) is tried
            again.
        count_failures: count failed evaluations against the budget; by default others replace them.
        local_sources, local_sources_time: networks to measure on this machine first, as source devices, and the time
            limit in seconds; see :class:`SearchDescription`.
        dask: evaluate on the workers of a Dask cluster, in processes as with `workers`: the address of a scheduler
            (``tcp://host:8786``), ``local:4`` to start a cluster here, or a client or cluster object.
        timeout: seconds of an evaluation after which it is ended, and failed; alone, one process evaluates.
        memory_limit: bytes, or a text such as "4GB", that an evaluation and what it starts may use; likewise.
        time: seconds after which no evaluation begins; those in progress are finished.
        cost: seconds of all evaluations together, of earlier runs of the study too, after which none begins.
        options: further arguments of the searcher.

    Returns:
        The front, the records, and predictions of the rest.

    Raises:
        UnknownName: no such space, searcher or predictor.
        MissingExtra: Dask is not installed.
        InvalidValue: an argument that cannot be used; a predictor that learned from the device that is searched for;
            a named study that was begun with other settings.
        StorageError: the database cannot be used.
        NastkError: nothing can be evaluated, or all evaluations of an objective failed.

    Example::

        >>> result = nastk.search(space, [accuracy, latency], budget=50, seed=0)
        >>> result.front
    """
    from nastk.spaces.factory import space as named

    named_space = named(space)
    if isinstance(objectives, (Oracle, Objective)):
        objectives = [objectives]
    if isinstance(constraints, (str, Constraint)):
        constraints = [constraints]
    if any(isinstance(o, str) for o in objectives):
        raise InvalidValue("objectives are oracles, such as nastk.benchmark(...).oracle('test_accuracy'), not names")
    goals = [Objective.of(o) for o in objectives]
    description, objects = describe_objects(
        named_space, goals, searcher, predictor, constraints, budget, measurements, batch, verify, seed, options,
        retries, count_failures, local_sources, local_sources_time,
    )  # fmt: skip
    if isinstance(space, str):
        description = replace(description, space=space)  # a path says more than the class's name
    run = compose(description, objects, storage, study)
    for note in run.history.notes:
        warnings.warn(note, stacklevel=2)
    if run.sources is not None and not run.sources.local.complete:
        plan = run.sources.local.plan()
        warnings.warn(f"{plan[0].upper()}{plan[1:]}; local_sources=0 leaves it out", stacklevel=2)
    try:
        run.evaluate_by(executor, workers, dask, timeout, memory_limit)
        run.search(progress, time=time, cost=cost)
        return run.verify(progress)
    except BaseException as error:
        if storage is None and len(run.history):
            error.add_note(_rescue(run))
        raise
    finally:
        run.close()


def _rescue(run: Run) -> str:
    """Save a history that was in memory to a new file of the current folder; says where, and how to go on."""
    names = (f"nastk-history{f'-{i}' if i else ''}.db" for i in range(10_000))
    target = Path(next(name for name in names if not Path(name).exists()))  # another search's are not replaced
    count = len(run.history)
    try:
        with Uninterrupted(), atomic_path(target) as temporary:
            run.save(temporary)
        if run.networks is not None:
            run.networks.rename(f"{target.absolute()}{NETWORKS}")
    except StorageError as error:
        return f"{count} evaluations are lost: {error}"
    except OSError as error:
        return f"{count} evaluations are kept in {target}, but {run.networks} could not be moved beside it: {error}"
    return f"{count} evaluations are kept; nastk.search(..., storage='sqlite:///{target}') goes on from there"


def describe_objects(
    space: SearchSpace,
    goals: Sequence[Objective],
    searcher: str = "predictor",
    predictor: Predictors = None,
    constraints: Sequence[str | Constraint] = (),
    budget: int | Mapping[str, int] = 50,
    measurements: int | None = 10,
    batch: int | None = None,
    verify: int = 12,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    retries: int = 1,
    count_failures: bool = False,
    local_sources: int | None = None,
    local_sources_time: float = SECONDS,
) -> tuple[SearchDescription, Objects]:
    """The description of a search that is given as objects, and the objects; arguments as of :func:`search`."""
    given = dict(options or {})
    contexts = given.pop("contexts", None)
    expensive = [o.name for o in goals if o.expensive]
    if isinstance(predictor, Mapping):
        models = dict(predictor)
    else:
        models = {} if predictor is None else dict.fromkeys(expensive, predictor)
    plain = {name: value for name, value in given.items() if _is_plain(value)}
    description = SearchDescription(
        space.whole.name,
        tuple({"name": o.name, "fidelity": o.fidelity, "oracle": o.oracle.describe()} for o in goals),
        tuple(str(c) for c in constraints),
        searcher,
        {name: model if isinstance(model, str) else _describe_predictor(model) for name, model in models.items()},
        plain,
        {name: _plain_number(n) for name, n in budget.items()}
        if isinstance(budget, Mapping)
        else _plain_number(budget),
        _plain_number(measurements),
        _plain_number(batch),
        _plain_number(verify),
        _plain_number(seed),
        _plain_number(retries),
        count_failures,
        _plain_number(local_sources),
        local_sources_time,
    )
    objects = Objects(
        space,
        {o.name: o.oracle for o in goals},
        {name: model for name, model in models.items() if not isinstance(model, str)},
        contexts,
        {name: value for name, value in given.items() if name not in plain},
    )
    return description, objects


def _describe_predictor(predictor: Predictor) -> str:
    """A text that identifies a predictor object: its name, options that differ from the defaults, its sources."""
    from nastk.predictors._storage import constructor_options, registered_name

    defaults = {p.name: p.default for p in signature(type(predictor)).parameters.values()}
    try:
        options = constructor_options(predictor)
    except AttributeError:  # a class of the user's that does not keep its arguments
        options = {}
    own = [f"{name}={value!r}" for name, value in options.items() if repr(defaults.get(name)) != repr(value)]
    devices = getattr(predictor, "devices", ())
    own += [f"sources={','.join(devices)}"] if devices else []
    return registered_name(predictor) + (f"({', '.join(own)})" if own else "")


def _plain_number(number: Any) -> Any:
    """NumPy integers as Python's, which JSON can hold; anything else is refused later."""
    return int(number) if isinstance(number, Integral) and not isinstance(number, bool) else number


def _is_plain(value: Any) -> bool:
    """Whether a searcher's option is JSON-able, and so part of the identity of a study."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


# ---- from names to a description


def describe(
    space: str = "nasbench201",
    dataset: str | None = None,
    device: str = "this",
    objectives: Sequence[str] = ("accuracy", "latency"),
    constraints: Sequence[str] = (),
    searcher: str = "predictor",
    predictors: Sequence[str] = (),
    budget: int = 50,
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
) -> SearchDescription:
    """The description of a search that is given as names, as ``nastk search`` has them.

    Args:
        space, searcher, budget, measurements, verify, seed, retries, count_failures, local_sources,
            local_sources_time: see :class:`SearchDescription`.
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
        epochs: fidelities of this function, or of `train`, ascending; the last is the target.
        devices: file of devices behind commands, by default ``devices.toml``
            (:func:`nastk.data.device_file.read_devices`). They measure latency, energy and memory.
        device_command: the command line of one such device, called `device` ("command" where that is "this").
        measured: CSV file of the latencies (of `device`) that there are: none is measured.
        train: a command line that trains a network, or a table of :data:`TRAIN` (`nastk.oracles.TrainingCommand`).

    Raises:
        NastkError: an objective that does not exist with these names; the message says what is missing.
    """
    kind = searcher_class(searcher)
    if predictors and not kind.learns:
        raise InvalidValue(f"the searcher {searcher!r} learns nothing; leave out --predictor")
    if epochs and accuracy is None and train is None:
        raise InvalidValue("--epochs are of your own function; leave it out, or bring --accuracy my_file.py:train")
    if accuracy is not None and train is not None:
        raise InvalidValue("--accuracy and --train are both of your own trainings; leave one out")
    how = dict(zip(MEASURED, (runtime, threads, batch, read_precisions(precision), calibration), strict=True))
    commands, device = UserDevices.asked(device, devices, device_command)
    training = None if train is None else _training(train, retries)
    asked = _Asked(space, dataset, device, how, accuracy, epochs, commands, measured, training)
    goals = [Goal.parse(text) for text in objectives]
    found = [asked.objective(goal) for goal in goals]
    asked.refuse_unused([facts for _, _, facts in found])
    made_by = {"devices": "command", "device-command": "command", "measured": "brought", "train": "train"}
    given = (devices, device_command, measured, None if training is None else shlex.join(training["command"]))
    for (option, kind_of), value in zip(made_by.items(), given, strict=True):
        if value is not None and kind_of not in {facts["oracle"] for _, _, facts in found}:
            raise InvalidValue(f"--{option} {value}: no objective is measured by it; leave it out")
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
        count_failures, local_sources, local_sources_time,
    )  # fmt: skip
    return replace(description, predictors=_named_predictors(predictors, description, called))


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
    ):
        from nastk.spaces.factory import space as named

        self.name, self.space = space, named(space)  # first: all else would call an unknown space something else
        self.dataset, self.device, self.measured = dataset, device, measured
        self.accuracy, self.epochs = accuracy, tuple(epochs)
        self.commands, self.brought, self.training = commands, brought, training

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
        if goal.metric == "accuracy":
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
            return goal, None, {"oracle": "count", "metric": goal.metric, **direction}
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
        return replace(goal, device=command.name), None, describe_command(goal.metric, command, self.measured)

    def _microcontroller(self, goal: Goal) -> tuple[Goal, None, dict[str, Any]]:
        """A figure of the int8 file; those of Vela are of the accelerator that the objective names."""
        goal.needs_no_epochs("min")
        facts = {"oracle": "microcontroller", "metric": goal.metric}
        if goal.metric in BY_VELA:
            check_accelerator(goal.device or ACCELERATOR)
            return goal, None, {**facts, "accelerator": goal.device or ACCELERATOR}
        goal.needs_none("min")
        return goal, None, facts

    def _how(self) -> dict[str, Any]:
        """How networks are run here; precision and calibration only where they are not the default."""
        later = ("precision", "calibration")
        return {k: v for k, v in self.measured.items() if k not in later or v != MEASURED[k]}

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

    def _refuse_other_epochs(self, goal: Goal) -> None:
        if goal.epochs is not None and goal.epochs not in self.epochs:
            raise InvalidValue(f"objective {goal}: --epochs has no {goal.epochs:g}")

    def _accuracy(self, goal: Goal) -> tuple[Goal, float | None, dict[str, Any]]:
        """By the user's command or function, else of a table's data set, else estimated; else of a table without data
        sets."""
        if self.training is not None:
            return self._trained(goal)
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


TRAIN = ("command", "timeout", "retries")
"""Keys of the table ``[train]``."""


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
