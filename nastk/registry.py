"""Registries of spaces, encodings, predictors, searchers, runtimes ... by name.

One file is one entry: ``predictors/few_shot_gp.py`` is the predictor ``few-shot-gp``, described by the first line of
its docstring. Listing reads those first lines and imports nothing. A whole family of another library is one file with a
line ``FAMILY = "sklearn:<Regressor>"``; the text after the colon is the first argument of its class. Other packages
add entries through entry points (group ``nastk.predictors`` and so on), users by ``module:Class`` or ``file.py:Class``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from nastk.errors import InvalidValue, NastkError, UnknownName

_DOCSTRING = re.compile(r'\A(?:#[^\n]*\n|\s)*[rR]?"""(.+?)(?:"""|\n)')
_FAMILY = re.compile(r'^FAMILY = "(.+?)"$', re.MULTILINE)
"""The line that makes a file a family; read without importing it."""


@dataclass(frozen=True)
class Entry:
    """One registered name with its origin and description, known without importing it."""

    name: str
    description: str
    target: str | EntryPoint
    family: bool = False


class Registry:
    """The entries of one kind.

    Args:
        kind: singular, for messages ("predictor").
        package: folder of the package that holds the entries ("nastk.predictors").
        base: dotted path of the class that an entry's class derives from.
        shared: names of files that are no entries, but what entries are made of; ``base``, ``factory`` and names that
            begin with an underscore never are.
    """

    def __init__(self, kind: str, package: str, base: str, shared: Collection[str] = ()):
        self.kind, self.package, self._base = kind, package, base
        self._shared = {"base", "factory", *shared}
        self.group = package if package.startswith("nastk.") else f"nastk.{package}"

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every entry by name, in alphabetical order; other packages cannot replace built-in ones."""
        found: dict[str, Entry] = {}
        folder = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        for path in sorted(folder.iterdir()):
            stem = path.stem
            if path.is_dir():
                path = path / "__init__.py"
            if path.suffix != ".py" or stem in self._shared or stem.startswith("_") or not path.is_file():
                continue
            text = path.read_text(encoding="utf-8")
            family, docstring = _FAMILY.search(text), _DOCSTRING.match(text)
            name = family.group(1) if family else stem.replace("_", "-")
            description = docstring.group(1).strip() if docstring else ""
            found[name] = Entry(name, description, f"{self.package}.{stem}", family is not None)
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist else point.value
            found.setdefault(point.name, Entry(point.name, f"from {origin}", point))
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Names of all entries."""
        return list(self.entries)

    def get(self, name: str) -> Any:
        """The class (or factory function) called `name`.

        Raises:
            UnknownName: no such entry; the message proposes the nearest names.
        """
        from functools import partial

        if name in self.entries and not self.entries[name].family:
            return self._load(self.entries[name])
        prefix, colon, rest = name.partition(":")
        if colon and rest:
            for entry in self.entries.values():
                if entry.family and entry.name.partition(":")[0] == prefix:
                    return partial(self._load(entry), rest)
            return load_object(name)
        raise UnknownName(self.kind, name, self.entries)

    def create(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Create the entry called `name` with these arguments.

        Raises:
            UnknownName: no such entry.
            InvalidValue: an unknown option, or a user's own class that lacks methods or fails when it is created.
        """
        make = self.get(name)
        if lacking := ", ".join(sorted(getattr(make, "__abstractmethods__", ()))):
            raise InvalidValue(f"{self.kind} {name!r} lacks {lacking}")
        try:
            inspect.signature(make).bind(*args, **options)
        except TypeError as error:
            raise InvalidValue(f"{self.kind} {name!r}: {error}") from None
        except ValueError:  # written in C, without a signature: it checks its arguments itself
            pass
        if name in self.entries:
            return make(*args, **options)
        try:
            return make(*args, **options)
        except NastkError:
            raise
        except Exception as error:
            raise InvalidValue(f"{self.kind} {name!r} cannot be created: {type(error).__name__}: {error}") from error

    def _load(self, entry: Entry) -> Any:
        if isinstance(entry.target, EntryPoint):
            return entry.target.load()
        module = importlib.import_module(entry.target)
        module_name, _, class_name = self._base.rpartition(".")
        base = getattr(importlib.import_module(module_name), class_name)
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, base)
            and (value.__module__ + ".").startswith(module.__name__ + ".")
            and not value.__name__.startswith("_")
        ]
        if len(classes) != 1:
            raise RuntimeError(f"{module.__name__} must define exactly one public {base.__name__}; got {len(classes)}")
        return classes[0]


def load_object(path: str) -> Any:
    """The object named by ``package.module:name`` or ``path/to/file.py:name``, such as a user's own space or function.

    Raises:
        InvalidValue: no such file, module or attribute, or the module itself fails to import.
    """
    module_name, _, attribute = path.rpartition(":")
    if not module_name or not attribute:
        raise InvalidValue(f"{path!r} does not name an object; write module:name or file.py:name")
    try:
        if module_name.endswith(".py"):
            file = Path(module_name).resolve()
            if not file.is_file():
                raise InvalidValue(f"{module_name}: no such file (in {path!r})")
            module = _load_file(file)
        else:
            if "" not in sys.path:
                sys.path.insert(0, "")
            module = importlib.import_module(module_name)
    except InvalidValue:
        raise
    except (Exception, SystemExit) as error:  # a script ends the process when it is imported
        raise InvalidValue(f"cannot import {module_name!r}: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InvalidValue(f"{module_name!r} has no {attribute!r}") from None


_LOADED: dict[Path, int] = {}
"""Loaded files and their modification times, in nanoseconds."""


def _load_file(file: Path) -> ModuleType:
    """The module in a file, executed again only after the file has changed.

    It can import modules in its folder, and its objects can be pickled to worker processes. Where another module has
    its name, it gets one of its own, so that what its objects' source is read from is this file.
    """
    changed = file.stat().st_mtime_ns
    name = file.stem
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(file):
        name = f"{name}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    known = sys.modules.get(name)
    if known is not None and _LOADED.get(file, changed) == changed:
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _LOADED[file] = changed
    return module


# One registry per kind: name, package of the entries, base class.
SPACES = Registry("space", "nastk.spaces", "nastk.spaces.base.SearchSpace", shared=("precisions",))
ENCODINGS = Registry("encoding", "nastk.encodings", "nastk.encodings.base.Encoding")
PREDICTORS = Registry("predictor", "nastk.predictors", "nastk.predictors.base.Predictor")
SEARCHERS = Registry(
    "searcher", "nastk.search", "nastk.search.base.Searcher",
    shared=(
        "acquisition", "candidates", "choice_effects", "defaults", "delivery", "first_designs", "models", "retrained",
    ),
)  # fmt: skip
SAMPLERS = Registry("sampler", "nastk.samplers", "nastk.samplers.base.Sampler")
RUNTIMES = Registry("runtime", "nastk.runtimes", "nastk.runtimes.base.Runtime")
PROXIES = Registry("proxy", "nastk.oracles.zerocost", "nastk.oracles.zerocost.base.Proxy")
SUPERNETS = Registry("supernet", "nastk.supernets", "nastk.supernets.base.Supernet", shared=("knapsack",))
REGISTRIES = {
    "spaces": SPACES,
    "encodings": ENCODINGS,
    "predictors": PREDICTORS,
    "proxies": PROXIES,
    "samplers": SAMPLERS,
    "searchers": SEARCHERS,
    "runtimes": RUNTIMES,
    "supernets": SUPERNETS,
}
"""All registries by the plural of their kind."""
