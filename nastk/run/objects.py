"""From a user's objects to the description of a search: ``nastk.search`` and the benchmarks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any

from nastk.data.images import ImageData
from nastk.errors import InvalidValue, StorageError
from nastk.files import NETWORKS, atomic_path
from nastk.history import History
from nastk.oracles.base import Oracle
from nastk.parallel import Uninterrupted
from nastk.predictors._local_sources import SECONDS
from nastk.predictors.base import Predictor
from nastk.result import Result
from nastk.run.composition import compose
from nastk.run.description import Objects, SearchDescription, usual_budget
from nastk.run.running import Run
from nastk.run.supernet import images_of, shipped, supernet_facts
from nastk.search.base import Constraint, Objective
from nastk.search.models import Predictors
from nastk.spaces.base import SearchSpace
from nastk.study import Progress
from nastk.workers.base import Workers


def search(
    space: SearchSpace | str,
    objectives: Sequence[Oracle | Objective],
    searcher: str = "predictor",
    predictor: Predictors = None,
    constraints: Sequence[str | Constraint] = (),
    budget: int | Mapping[str, int] | None = None,
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
    reuse: bool = False,
    supernet: str | Mapping[str, Any] | None = None,
    data: Any = None,
    image_size: int | None = None,
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
            searcher also trains briefly. By default 50, with a supernet 12.
        measurements: evaluations of an objective that a few-shot predictor learns, unless `budget` names it; None for
            no few-shot predictor by default.
        seed: random seed.
        storage: SQLAlchemy URL of the database (or path of the SQLite file) that keeps the history and from which the
            search is resumed, or a history of your own. What other studies in it evaluated on the same space with the
            same oracles is used, and counts against no budget, unless `reuse` says so. Without it, evaluations are kept
            in memory, and in a file of the current folder if the search ends with an error.
        study: name of the study in that database; by default it is found by what the search is.
        batch: proposals to ask for at a time; by default 1 for one objective, at most 5 for several.
        verify: number of front members whose predicted values are evaluated in the end, beyond the budget; measured
            ones are measured again, and as many others at most where a limit is broken
            (:meth:`nastk.Result.settle`); 0 for none.
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
        reuse: count what other studies of the storage evaluated against the budget, as if this one had: another limit,
            objective or device then evaluates only what is missing.
        supernet: name of a supernet that is trained first, such as "sandwich", or a table of its `method` and options
            of its class (``{"method": "sandwich", "steps": 600}``). What it says of networks is a lower fidelity of the
            accuracies, so that trainings are paid for only of what leads; it is kept in the user's cache. To search
            its own accuracies, use `nastk.oracles.SupernetAccuracy` as an objective.
        data, image_size: images that the supernet is trained on, see :func:`nastk.data.images.read_images`; by default
            those that an objective trains on.
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
    if budget is None:
        budget = usual_budget(supernet is not None, shipped(goals) is not None)
    description, objects = describe_objects(
        named_space, goals, searcher, predictor, constraints, budget, measurements, batch, verify, seed, options,
        retries, count_failures, local_sources, local_sources_time,
    )  # fmt: skip
    if isinstance(space, str):
        description = replace(description, space=space)  # a path says more than the class's name
    if supernet is not None:
        facts, images = _supernet(named_space, goals, supernet, data, image_size, description.seed)
        description, objects = replace(description, supernet=facts), replace(objects, images=images)
    elif data is not None or image_size is not None:
        raise InvalidValue("data and image_size are of a supernet; leave them out, or give supernet='sandwich'")
    run = compose(description, objects, storage, study, reuse)
    for note in run.history.notes:
        warnings.warn(note, stacklevel=2)
    if run.sources is not None and not run.sources.local.complete:
        plan = run.sources.local.plan()
        warnings.warn(f"{plan[0].upper()}{plan[1:]}; local_sources=0 leaves it out", stacklevel=2)
    if run.supernet is not None and not run.supernet.is_kept:
        warnings.warn(f"{run.supernet.plan[0].upper()}{run.supernet.plan[1:]}", stacklevel=2)
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


def _supernet(
    space: SearchSpace,
    goals: Sequence[Objective],
    supernet: str | Mapping[str, Any],
    data: Any,
    image_size: int | None,
    seed: int,
) -> tuple[dict[str, Any], ImageData]:
    """The description of the supernet that is asked for, and its images; arguments and errors as of :func:`search`."""
    images = images_of(goals) if data is None else data
    if images is None:
        raise InvalidValue("a supernet is trained on images: give data, such as 'digits'")
    return supernet_facts(space, supernet, images, image_size, seed)


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
