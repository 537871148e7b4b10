"""The options of ``nastk search``: defaults, then ``--config run.toml``, then the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nastk.errors import InvalidValue, UnknownName

LISTS = ("objective", "constraint", "predictor")
COUNTS = ("budget", "measurements", "verify", "threads", "batch")


@dataclass(frozen=True)
class RunOptions:
    """What one search is asked to do; each field is the long name of an option.

    Args:
        space: name of a space, or ``file.py:Class``.
        dataset: data set of a fetched table whose accuracies are paid for; None for the shipped predictor.
        device: "this" for this machine, else a device of a fetched table.
        objective: names of the objectives.
        constraint: such as ``latency<=10``.
        searcher: its name.
        predictor: ``NAME`` for all that is learned, or ``OBJECTIVE=NAME``.
        budget: evaluations of each objective that is paid for and not learned from few measurements; full
            trainings where the searcher trains briefly too.
        measurements: measurements to which a few-shot predictor is adapted.
        verify: how many architectures of the proposed front are measured in the end.
        storage: URL of the database that keeps the history.
        study: name of the study in that database.
        out: folder of the results.
        seed: fixes everything drawn.
        json: file for tidy rows.
        threads, batch, runtime: how latency is measured here.
        accuracy: a user's own accuracy function, ``file.py:function``, of one architecture's integers, or of the
            built network if its argument is called ``network`` or ``model``.
        epochs: that this function gets as its second argument, ``epochs``, such as ``5,50``: the last is what counts,
            the others are short trainings, for searchers that use them.
    """

    space: str = "nasbench201"
    dataset: str | None = None
    device: str = "this"
    objective: list[str] = field(default_factory=lambda: ["accuracy", "latency"])
    constraint: list[str] = field(default_factory=list)
    searcher: str = "predictor"
    predictor: list[str] = field(default_factory=list)
    budget: int = 50
    measurements: int = 10
    verify: int = 12
    storage: str | None = None
    study: str | None = None
    out: str = "nastk-out"
    seed: int = 0
    json: str | None = None
    threads: int = 1
    batch: int = 1
    runtime: str = "torch"
    accuracy: str | None = None
    epochs: str | None = None

    @classmethod
    def gather(cls, command_line: Mapping[str, Any], config: Path | None = None) -> RunOptions:
        """Options from the command line (None where not given) over those of a file over the defaults.

        Raises:
            InvalidValue: the file cannot be read, or a value is of the wrong type.
            UnknownName: the file has a key that is no option.
        """
        chosen = read_config(config) if config is not None else {}
        chosen.update({name: value for name, value in command_line.items() if value not in (None, [])})
        options = replace(cls(), **chosen)
        for name in COUNTS:
            if getattr(options, name) < (0 if name == "verify" else 1):
                raise InvalidValue(f"--{name} must be at least {0 if name == 'verify' else 1}")
        return options


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    wanted, word = (int, "an integer") if kind == "int" else (str, "a text")
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise InvalidValue(f"{file}: {key} must be {word}; got {value!r}")
    return value
