"""From the description of a search to one that is ready to run: oracles, predictors, limits, the searcher."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nastk.data.images import read_again
from nastk.encodings.base import Context
from nastk.errors import DataWarning, InvalidValue, UnknownName
from nastk.history import History
from nastk.oracles._settings import Setting
from nastk.oracles.base import Oracle
from nastk.oracles.latency import Latency
from nastk.oracles.of_network import OfNetwork
from nastk.oracles.table import TableOracle
from nastk.predictors.base import FewShotPredictor, Predictor
from nastk.registry import SEARCHERS
from nastk.run.description import MEASURED_HERE, Objects, SearchDescription
from nastk.run.running import Run, SourcesToLearn
from nastk.run.supernet import SupernetOfSearch, judged_by, kept_supernet, shipped
from nastk.search.base import Constraint, Objective, Searcher, searcher_class
from nastk.spaces._pool import Pool
from nastk.spaces.base import SearchSpace
from nastk.spaces.precisions import WithPrecision, in_precisions
from nastk.study import budget_by_objective

LARGEST_SEED = 2**32 - 1
"""Largest random seed that every library takes, pymoo's and Optuna's NumPy generators included."""

TRAINED = ("function", "train", "training")
"""Kinds of oracles that train, with a seed."""

LEAST = {
    "measurements": 2, "batch": 1, "verify": 0, "seed": 0, "retries": 0, "local_sources": 0, "verify_seeds": 0,
}  # fmt: skip
"""Least values of numbers in a description. A predictor cannot be fitted to fewer than two measurements."""

MEASURED_ELSEWHERE = ("command", "brought")
"""Kinds of oracles whose values were measured on another machine."""

ORACLES = (
    "table",
    "count",
    *MEASURED_HERE,
    "microcontroller",
    "command",
    "brought",
    "shipped",
    "function",
    "train",
    "training",
    "supernet",
    "translation",
)
"""Kinds of oracles that can be made from their description."""


def compose(
    description: SearchDescription,
    objects: Objects | None = None,
    storage: str | os.PathLike[str] | History | None = None,
    study: str | None = None,
    reuse: bool = False,
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
        reuse: whether what other studies there evaluated counts against the budget.

    Raises:
        NastkError: a name that does not exist, or an argument that cannot be used.
    """
    objects = objects or Objects()
    if reuse and (storage is None or isinstance(storage, History)):
        raise InvalidValue("reuse is of what other studies of a database evaluated: give its URL as storage")
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
    space = _known_to_tables(objects.space or _space(description, tables), description, objects, tables)
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
    other_seeds = _other_seeds(description, objects, space, goals)
    composed = Run(description, searcher, limits, storage if isinstance(storage, History) else History(), sources)
    composed.other_seeds = other_seeds
    composed.supernet = _supernet(description, objects, space, goals, searcher)
    if isinstance(storage, History):
        composed._place_networks()
    elif storage is not None:
        composed.keep_in(storage, study, reuse)
    return composed


def _supernet(
    description: SearchDescription,
    objects: Objects,
    space: SearchSpace,
    goals: Sequence[Objective],
    searcher: Searcher,
) -> SupernetOfSearch | None:
    """The supernet that is trained first; None where there is none.

    Raises:
        Unsupported: the searcher cannot use one.
        InvalidValue: nothing is paid for of which it says something.
    """
    if (ships := shipped(goals)) is not None:
        return SupernetOfSearch(ships.supernet, space, (), searcher, description.searcher)
    if description.supernet is None:
        return None
    kept = kept_supernet(space, description.supernet, objects.images)
    found = SupernetOfSearch(kept, space, judged_by(space, goals), searcher, description.searcher)
    found.check()
    return found


def _other_seeds(
    description: SearchDescription, objects: Objects, space: SearchSpace, goals: Sequence[Objective]
) -> dict[int, list[Objective]]:
    """The objectives that are trained, with each of the other seeds with which the front is trained again, by number.

    Raises:
        InvalidValue: there are none, or one cannot be given another seed.
    """
    if not description.verify_seeds:
        return {}
    entries = {str(entry["name"]): entry for entry in description.objectives}
    own = [o for o in goals if o.expensive and o.oracle.kind == "measured" and not o.oracle.noisy]
    trained = [o for o in own if o.name in objects.oracles or entries[o.name]["oracle"]["oracle"] in TRAINED]
    if not trained:
        raise InvalidValue("--verify-seeds trains again, and no objective is trained; leave it out")
    for o in trained:
        if o.name in objects.oracles:
            raise InvalidValue(f"verify_seeds: {o.name} is an object, which cannot be made again with another seed")
        if not o.oracle.seeded:
            raise InvalidValue(
                f"--verify-seeds: the evaluation of {o.name} is given no seed; let its function take the built network "
                "as `network`, or its command {seed}"
            )

    def with_seed(o: Objective, seed: int) -> Objective:
        return Objective(o.name, _oracle_in(space, entries[o.name], objects, {}, seed), o.fidelity)

    numbers = range(1, description.verify_seeds + 1)
    return {number: [with_seed(o, description.seed + number) for o in trained] for number in numbers}


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


def oracle_of(facts: Mapping[str, Any], space: SearchSpace, seed: int) -> Oracle:
    """The oracle of an objective of a search, with another seed.

    Args:
        facts: its description in :class:`SearchDescription`.
        space: that was searched.
        seed: of its trainings.

    Raises:
        NastkError: it cannot be made, such as a user's own function that is not there any more.
    """
    return _oracle_in(space, {"name": "", "oracle": facts}, Objects(), {}, seed)


def space_of_search(description: SearchDescription) -> SearchSpace:
    """The space that a search of this description is of, with its choice of precisions.

    Raises:
        NastkError: there is no such space, or no table of it.
    """
    return in_precisions(_space(description, {}), _precisions(description))


def _space(description: SearchDescription, tables: dict[str, Any]) -> SearchSpace:
    """The space to search: with an objective of a table, the architectures that it holds."""
    for entry in description.objectives:
        if entry["oracle"].get("oracle") == "table":
            found: SearchSpace = _table(entry["oracle"]["table"], tables).space
            return found
    from nastk.spaces.factory import space

    return space(description.space)


def _known_to_tables(
    space: SearchSpace, description: SearchDescription, objects: Objects, tables: dict[str, Any]
) -> SearchSpace:
    """The architectures of which tables know the objectives: others cannot be evaluated.

    In a table of a whole space, one without a value on a device is a failure, as its measurement was.

    Raises:
        InvalidValue: there are none.
    """
    found = []
    for entry in description.objectives:
        oracle = objects.oracles.get(entry["name"])
        if oracle is None and entry["oracle"].get("oracle") == "table":
            oracle = _oracle(entry["oracle"], space, tables, description.seed)
        if isinstance(oracle, TableOracle) and (isinstance(space, Pool) or oracle.device is None):
            found.append((entry, oracle))
    if not found or not space.enumerable or isinstance(space.whole, WithPrecision):
        return space
    everything = space.enumerate()
    known = np.ones(len(everything), dtype=bool)
    lacking = []
    for entry, oracle in found:
        has = oracle.knows(everything, entry.get("fidelity"))
        lacking += [] if has.all() else [f"{entry['name']} ({oracle.source})"]
        known &= has
    if known.all():
        return space
    what = f"of the {space.size:,} architectures of {space.whole.name}'s table"
    if not known.any():
        raise InvalidValue(f"none {what} has {' and '.join(lacking)}")
    warnings.warn(
        f"{known.sum():,} {what} have {' and '.join(lacking)}; the search stays among them", DataWarning, stacklevel=3
    )
    return space.among(known) if isinstance(space, Pool) else Pool(space, everything[known])


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
    if what == "training":
        return _training_oracle(space, rest, seed)
    if what == "supernet":
        from nastk.oracles.supernet import SupernetAccuracy

        data = read_again(rest.pop("data"), rest["image_size"], rest.pop("hash", None))
        return SupernetAccuracy(space, data, **rest)
    if what == "translation":
        from nastk.oracles.translation import TranslationLoss

        return TranslationLoss.described(space, rest)
    from nastk.oracles.own_function import accuracy_function

    return accuracy_function(
        space, str(rest["function"]), rest.get("epochs", ()), seed, weights=rest.get("weights", True)
    )


def _measured_oracle(metric: str, space: SearchSpace, how: dict[str, Any]) -> Oracle:
    from nastk.oracles import Energy, Latency, PeakMemory

    found: Oracle = {"latency": Latency, "energy": Energy, "peak_memory": PeakMemory}[metric](space, **how)
    return found


def _training_oracle(space: SearchSpace, facts: Mapping[str, Any], seed: int) -> Oracle:
    from nastk.devices import training_device
    from nastk.oracles.training import Recipe, Training

    data = read_again(facts["data"], facts.get("image_size"), facts.get("hash"))
    made = Training(
        space, data, seed=seed, device=training_device(), fidelities=facts.get("epochs", ()),
        recipe=Recipe.from_dict(facts["recipe"]), **facts.get("build", {}),
    )  # fmt: skip
    if (start := facts.get("start")) is not None:
        made.start = kept_supernet(space, {**start, **made.data_asked()}, data)
    return made


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
    from nastk.search.defaults import (
        default_predictor,
        gp_bma_for_search,
        latency_predictor,
        predictor_for_search,
    )

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
        elif description.supernet is not None and kind.learns_few_shot:
            # its processes with and without the lower fidelity have equal weight: a supernet that misleads costs little
            chosen[name] = gp_bma_for_search(networks, objective.direction, alone=len(goals) == 1)
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
