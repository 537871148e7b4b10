"""The options of ``nastk search``: those of ``--config run.toml``, then the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.cli.options import LARGEST_SEED, MANY, MOST_WORKERS, integers, seconds
from nastk.errors import InvalidValue, UnknownName
from nastk.files import check_outputs

if TYPE_CHECKING:
    from nastk.run import SearchDescription

LEAST = {
    "budget": 1,
    "measurements": 2,
    "verify": 0,
    "verify_seeds": 0,
    "threads": 1,
    "batch": 1,
    "retries": 0,
    "seed": 0,
    "local_sources": 0,
    "workers": 1,
    "image_size": 1,
    "supernet_steps": 1,
}
"""Numbers that have a least value."""
MOST = {**dict.fromkeys(LEAST, MANY), "seed": LARGEST_SEED, "threads": MOST_WORKERS, "workers": MOST_WORKERS}
"""Their greatest values."""


BY = ("workers", "dask", "timeout", "memory_limit")
"""Options of who evaluates, and within which limits."""

UNTIL = ("time", "cost")
"""Options of when a search ends. Neither is a part of what it searches."""


@dataclass(frozen=True)
class RunOptions:
    """What one search is asked to do; each field is the long name of an option, None or empty where it is not given.

    The defaults are those of :func:`nastk.run.describe`, whose arguments most of these are.

    Args:
        objective, constraint, predictor: its `objectives`, `constraints` and `predictors`.
        epochs: numbers with commas between, such as ``5,50``.
        supernet: name of a method, or the table ``[supernet]`` with `method` and options of its class.
        train: a command line, or the table ``[train]`` with `command`, `timeout` and `retries`.
        pairs: two text files, sentences and translations.
        storage: URL of the database that keeps the history.
        study: name of the study in that database.
        resume: go on with the history in `out`, without `storage`.
        reuse: count what other studies of the storage (without `storage`, of the history in `out`) evaluated against
            the budget.
        out: folder of the results.
        json: file for tidy rows.
        live: show the search on the terminal while it runs.
    """

    space: str | None = None
    dataset: str | None = None
    device: str | None = None
    devices: str | None = None
    device_command: str | None = None
    measured: str | None = None
    objective: list[str] = field(default_factory=list)
    constraint: list[str] = field(default_factory=list)
    searcher: str | None = None
    predictor: list[str] = field(default_factory=list)
    budget: int | None = None
    measurements: int | None = None
    verify: int | None = None
    verify_seeds: int | None = None
    storage: str | None = None
    study: str | None = None
    out: str = "nastk-out"
    seed: int | None = None
    json: str | None = None
    threads: int | None = None
    batch: int | None = None
    runtime: str | None = None
    precision: str | None = None
    calibration: str | None = None
    resume: bool | None = None
    reuse: bool | None = None
    live: bool | None = None
    retries: int | None = None
    count_failures: bool | None = None
    local_sources: int | None = None
    local_sources_time: str | None = None
    accuracy: str | None = None
    train: str | dict[str, Any] | None = None
    data: str | None = None
    image_size: int | None = None
    pairs: list[str] = field(default_factory=list)
    epochs: str | None = None
    weights: bool | None = None
    supernet: str | dict[str, Any] | None = None
    supernet_steps: int | None = None
    supernet_start: bool | None = None
    ship_supernet: bool | None = None
    workers: int | None = None
    dask: str | None = None
    timeout: str | None = None
    memory_limit: str | None = None
    time: str | None = None
    cost: str | None = None

    @classmethod
    def gather(cls, command_line: Mapping[str, Any], config: Path | None = None) -> RunOptions:
        """Options from the command line (None where not given) over those of a file.

        Raises:
            InvalidValue: the file cannot be read, or a value is empty, of the wrong type or out of bounds.
            UnknownName: the file has a key that is no option.
            StorageError: the results could not be written.
        """
        chosen = read_config(config) if config is not None else {}
        given = {name: list(v) if isinstance(v, tuple) else v for name, v in command_line.items()}
        chosen.update({name: value for name, value in given.items() if value not in (None, [])})
        options = replace(cls(), **chosen)
        for name, least in LEAST.items():
            value = getattr(options, name)
            if value is not None and value < least:
                raise InvalidValue(f"--{name.replace('_', '-')} must be at least {least}")
            if value is not None and value > MOST[name]:
                raise InvalidValue(f"--{name.replace('_', '-')} must be at most {MOST[name]:,d}")
        for name, value in vars(options).items():
            if any(
                isinstance(text, str) and not text.strip() for text in (value if isinstance(value, list) else [value])
            ):
                raise InvalidValue(f"--{name} is empty")
        check_outputs([options.json], [options.out])
        return options

    def describe(self) -> SearchDescription:
        """The search that these options ask for.

        Raises:
            NastkError: an objective that cannot be had with them.
        """
        from nastk import run

        given = {name: value for name, value in vars(self).items() if value not in (None, [])}
        for name in ("out", "json", "storage", "study", "resume", "reuse", "live", *BY, *UNTIL):
            given.pop(name, None)
        for one in ("objective", "constraint", "predictor"):
            if one in given:
                given[f"{one}s"] = given.pop(one)
        if "local_sources_time" in given:
            given["local_sources_time"] = seconds("--local-sources-time", given["local_sources_time"])
        if "epochs" in given:
            given["epochs"] = integers("--epochs", given["epochs"])
        return run.describe(**given)

    def by(self) -> dict[str, Any]:
        """Who evaluates: arguments of `nastk.run.Run.evaluate_by`.

        Raises:
            InvalidValue: a time that cannot be read.
        """
        return self._in_seconds(BY)

    def until(self) -> dict[str, Any]:
        """When the search ends: arguments of `nastk.run.Run.search`; errors as of :meth:`by`."""
        return self._in_seconds(UNTIL)

    def _in_seconds(self, names: tuple[str, ...]) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in names}
        for name in ("timeout", "time", "cost"):
            if given.get(name) is not None:
                given[name] = seconds(f"--{name}", given[name])
        return given


def read_config(path: Path) -> dict[str, Any]:
    """The options in a TOML file, by their long names.

    Raises:
        InvalidValue: unreadable, not TOML, or a value of the wrong type.
        UnknownName: a key that is no option.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValue(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"{path} is not valid TOML: {error}") from error
    kinds = {f.name: str(f.type) for f in fields(RunOptions)}
    for key, value in content.items():
        if key not in kinds:
            raise UnknownName(f"option in {path.name}", key, kinds)
        content[key] = _typed(path.name, key, kinds[key], value)
    return content


def _typed(file: str, key: str, kind: str, value: Any) -> Any:
    if kind.startswith("list"):
        values = [value] if isinstance(value, str) else value
        if isinstance(values, list) and all(isinstance(v, str) for v in values):
            return values
        raise InvalidValue(f"{file}: {key} must be a text or a list of texts; got {value!r}")
    if kind.startswith("bool"):
        if isinstance(value, bool):
            return value
        raise InvalidValue(f"{file}: {key} must be true or false; got {value!r}")
    if "dict" in kind and isinstance(value, dict):
        return value
    wanted, word = (int, "an integer") if kind.startswith("int") else (str, "a text")
    word += " or a table" * ("dict" in kind)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise InvalidValue(f"{file}: {key} must be {word}; got {value!r}")
    return value
