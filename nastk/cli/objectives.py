"""From option texts to spaces, objectives and predictors: what the commands share."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, cast

from nastk.cli.bench import integers
from nastk.cli.config import RunOptions
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, Unsupported
from nastk.oracles.base import Oracle
from nastk.predictors.base import FewShotPredictor, Predictor
from nastk.search.base import Objective, learns_few_shot
from nastk.spaces.base import Archs, SearchSpace

FEW_SHOT = "few-shot-gp"
DUPLICATE = 0.99
"""Source devices that rank architectures this alike (Spearman) are the same device for the question of leaks."""

ACCURACY_OF = "cifar10"
"""The data set that the shipped accuracy predictor is about where none is named."""

COUNTED = ("params", "flops")

NETWORK = ("network", "model")
"""A user's function whose argument has one of these names is given the built network."""


def is_live(device: str) -> bool:
    """Whether a device is one of this machine, to be measured, rather than a column of a table."""
    return device in ("this", "cpu", "mps") or device.partition(":")[0] == "cuda"


def named_space(options: RunOptions) -> SearchSpace:
    """The space to search: as far as a table is asked, the members that it holds."""
    if options.dataset is not None or not is_live(options.device):
        return benchmark(options).space
    from nastk.spaces.factory import space

    return space(options.space)


def benchmark(options: RunOptions) -> Any:
    """The table that the options name by their space."""
    from nastk.oracles.table import benchmark as table

    return table(options.space, dataset=options.dataset)


def objectives(options: RunOptions, space: SearchSpace) -> list[Objective]:
    """The objectives in the order asked for.

    Raises:
        NastkError: an objective that cannot be had with these options; the message says what would make it so.
    """
    return [Objective(name, _oracle(name, options, space)) for name in options.objective]


def _oracle(name: str, options: RunOptions, space: SearchSpace) -> Oracle:
    if name == "accuracy":
        return _accuracy(options, space)
    if name == "latency":
        return latency(options, space)
    if name in COUNTED:
        from nastk.oracles.counts import Count

        return Count(space, name)
    if options.dataset is None and is_live(options.device):
        known = ", ".join(("accuracy", "latency", *COUNTED))
        raise InvalidValue(f"objective {name!r}: without --dataset or --device of a fetched table there are {known}")
    table = benchmark(options)
    if not is_live(options.device) and name in table.table.metrics() and table.table.devices(metric=name):
        return table.oracle(name, device=options.device)
    return table.oracle(name)


def latency(options: RunOptions, space: SearchSpace) -> Oracle:
    """Latency on the device of the options: measured here, or from a table."""
    if is_live(options.device):
        from nastk.oracles.latency import Latency

        runtime = cast(Any, options.runtime)
        return Latency(space, options.device, runtime, batch=options.batch, threads=options.threads)
    return benchmark(options).oracle("latency", device=options.device)


def _accuracy(options: RunOptions, space: SearchSpace) -> Oracle:
    if options.accuracy is not None:
        from nastk.oracles.base import FunctionOracle
        from nastk.registry import load_object

        function = load_object(options.accuracy)
        if not callable(function):
            raise InvalidValue(f"--accuracy {options.accuracy} is a {type(function).__name__}, not a function")
        arguments = _arguments(function)
        epochs = [] if options.epochs is None else integers("--epochs", options.epochs)
        second = arguments[1] if len(arguments) > 1 and arguments[1].name == "epochs" else None
        if epochs and second is None:
            raise InvalidValue(f"--epochs: {options.accuracy} does not take `epochs` as its second argument")
        if not epochs and second is not None and second.default is second.empty:
            raise InvalidValue(f"{options.accuracy} takes `epochs`: say for how many, such as --epochs 5,50")
        if arguments and arguments[0].name in NETWORK:
            function = _of_network(function, space, options.seed)
        return FunctionOracle(
            space, function, "accuracy", "%", "max", one_by_one=True, per_network=True, fidelities=epochs
        )
    if options.epochs is not None:
        raise InvalidValue("--epochs are of your own function; leave it out, or bring --accuracy my_file.py:train")
    if options.dataset is not None:
        return benchmark(options).oracle("test_accuracy")
    return _shipped_accuracy(space)


def _arguments(function: Any) -> list[Parameter]:
    """The arguments of a function; none of one that is written in C."""
    try:
        return list(signature(function).parameters.values())
    except ValueError:
        return []


def _of_network(function: Any, space: SearchSpace, seed: int) -> Any:
    """A function of the built network as one of the architecture; the seed fixes weights and what is drawn after."""
    from functools import wraps

    import torch

    @wraps(function)
    def of_architecture(arch: Archs, *epochs: float) -> Any:
        torch.manual_seed(seed)
        return function(space.build(arch), *epochs)

    return of_architecture


def _shipped_accuracy(space: SearchSpace) -> Oracle:
    from nastk.oracles.predicted import Predicted

    whole = space.whole
    for stem, notes in shipped().items():
        if notes.get("space") == whole.name and notes.get("dataset") == ACCURACY_OF and "accuracy" in notes["metric"]:
            name = stem.removesuffix(f"-{whole.name}-{ACCURACY_OF}")
            fitted = pretrained(name, f"{whole.name}-{ACCURACY_OF}")
            error = notes.get("held_out", {}).get("median_absolute_error")
            quality = "" if error is None else f", median error {error:.2f} % on architectures it never saw"
            source = f"estimate of the shipped predictor {stem}{quality}"
            return Predicted(fitted, space, "accuracy", "%", "max", source)
    raise Unsupported(
        f"no accuracy predictor ships for {whole.name}; bring --accuracy my_file.py:evaluate, or leave accuracy out "
        "with --objective flops --objective latency and the like"
    )


def shipped() -> dict[str, dict[str, Any]]:
    """Shipped weights by name, with what is noted of them."""
    from nastk.predictors.factory import weights

    return weights()


def pretrained(name: str, weights: str) -> Any:
    """A predictor with shipped weights."""
    from nastk.predictors.factory import predictor

    return predictor(name, pretrained=weights)


def latency_predictor(space: SearchSpace, device: str | None = None, name: str = FEW_SHOT) -> Any:
    """The predictor that learns latency from few measurements, with the shipped weights where the space has some.

    Args:
        device: of a table, if that is the target; it and its likes are taken out of the sources.
    """
    from nastk.predictors.factory import predictor

    whole = space.whole
    if f"{name}-{whole.name}" not in shipped():
        return predictor(name)
    few = pretrained(name, whole.name)
    return few.without([device], duplicates=DUPLICATE) if device else few


def predictors(options: RunOptions, space: SearchSpace, goals: Sequence[Objective]) -> dict[str, Predictor | str]:
    """Predictors of paid objectives: as asked for, and few-shot for latency where the searcher can learn by it.

    For the others the searcher has a default of its own.

    Raises:
        InvalidValue: a predictor for an objective that is not paid for.
        UnknownName: no such predictor.
    """
    from nastk.predictors.factory import predictor

    paid = [o.name for o in goals if o.expensive]
    chosen: dict[str, Predictor | str] = {}
    target = None if is_live(options.device) else options.device
    if "latency" in paid and learns_few_shot(options.searcher):
        chosen["latency"] = latency_predictor(space, target)
    for text in options.predictor:
        objective, equals, name = text.partition("=")
        if equals and objective not in paid:
            have = ", ".join(paid) or "none"
            raise InvalidValue(f"--predictor {text}: {objective} is not a paid objective of this search (paid: {have})")
        for which in [objective] if equals else paid:
            few = (name if equals else text) == FEW_SHOT
            chosen[which] = latency_predictor(space, target) if few else predictor(name if equals else text)
    return chosen


def contexts(options: RunOptions, goals: Sequence[Objective]) -> dict[str, Context]:
    """Where features of a table's accuracy come from: its zero-cost proxies, if most of its architectures have them."""
    if options.dataset is None or not any(goal.expensive and goal.name == "accuracy" for goal in goals):
        return {}
    proxies = benchmark(options).search_proxies()
    return {} if proxies is None else {"accuracy": Context(proxies=proxies, dataset=options.dataset)}


def budgets(options: RunOptions, goals: Sequence[Objective], models: dict[str, Predictor | str]) -> dict[str, int]:
    """How many evaluations each paid objective gets; few-shot ones their measurements, where the searcher can."""
    learns = learns_few_shot(options.searcher)
    return {
        o.name: options.measurements if learns and isinstance(models.get(o.name), FewShotPredictor) else options.budget
        for o in goals
        if o.expensive
    }


def read_archs(space: SearchSpace, texts: Sequence[str]) -> Archs:
    """Architectures from arguments: text forms, official indices, or integers with commas.

    Raises:
        InvalidArchitecture: the first that cannot be read.
    """
    import numpy as np

    rows = [space.as_archs(int(t) if t.strip().isdigit() and space.d > 1 else t) for t in texts]
    return np.concatenate([np.empty((0, space.d), dtype=np.int64), *rows])


def read_measurements(space: SearchSpace, path: Path) -> tuple[Archs, Any]:
    """Architectures ``(n, d)`` and milliseconds ``(n,)`` from a CSV file with columns ``arch`` and ``ms``.

    Raises:
        InvalidValue: unreadable, columns missing, or a value that is no positive number; the message has the line.
    """
    import csv
    import math

    import numpy as np

    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"arch", "ms"} <= set(reader.fieldnames or ()):
                raise InvalidValue(f"{path} needs the columns arch and ms; it has {', '.join(reader.fieldnames or ())}")
            rows = [(reader.line_num, row["arch"], row["ms"]) for row in reader]
    except OSError as error:
        raise InvalidValue(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidValue(f"{path} is not a CSV file: {error}") from error
    values = []
    for line, arch, text in rows:
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not arch or not (math.isfinite(value) and value > 0):
            raise InvalidValue(f"{path}, line {line}: needs an architecture and positive milliseconds; got {text!r}")
        values.append(value)
    return read_archs(space, [arch for _, arch, _ in rows]), np.array(values)
