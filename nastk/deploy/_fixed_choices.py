"""The user's own class with its choices fixed: the calls of ``nastk.choice`` replaced in its source."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from nastk.deploy._source import Edit, Source, Standalone, literal, module_of, used
from nastk.errors import Unsupported
from nastk.spaces._placeholders import DerivedSpace
from nastk.spaces.base import Archs

SUGGESTIONS = ("suggest_categorical", "suggest_int", "suggest_float")
"""Methods of an Optuna trial that choose."""

ATOMS = (ast.Name, ast.Attribute, ast.Constant, ast.Call, ast.List, ast.Dict, ast.Tuple, ast.Subscript)
"""Expressions that need no brackets, wherever they stand."""

VALUES, NUMBERS = "CHOICES", "CHOSEN"
"""Names of the dictionaries of values, and of numbers of options, of choices whose names are made in a loop."""


class FixedChoices:
    """One architecture of a derived space as source code.

    Args:
        space: of the network that makes the choices.
        arch: integers ``(d,)``.

    Attributes:
        into: the text of the definitions.

    Raises:
        Unsupported: its source cannot be read, or needs nastk for more than its choices.
    """

    def __init__(self, space: DerivedSpace, arch: Archs):
        self.space = space
        self.number = {c.name: int(v) for c, v in zip(space.choices, arch, strict=True)}
        self.active: dict[str, Any] = space.params(arch)
        self._plain = all(_is_literal(value) for value in self.active.values())
        self._needs: set[str] = set()
        self._written: set[str] = set()
        self.into = Standalone(self._edits)
        network = space.network
        if not hasattr(network, "__qualname__") or "." in network.__qualname__:
            raise Unsupported(f"{space.name} is not defined at the top of a file")
        self.into.require(module_of(network), network.__name__)
        for text in self.into.definitions():
            if "nastk" in used(ast.parse(text)) or _names_of_nastk(ast.parse(text)) != (set(), set()):
                raise Unsupported(f"{space.name} needs nastk for more than its choices")

    def call(self, options: Mapping[str, Any]) -> str:
        """The expression that makes the network."""
        given = [f"{name}={literal(value, self.into.imports)}" for name, value in options.items()]
        trial = ["None"] if self.space._takes_trial else []
        return f"{self.space.network.__name__}({', '.join([*trial, *given])})"

    def dictionaries(self) -> dict[str, str]:
        """What choices are looked up in, by name, where they are."""
        tables = {
            VALUES: {n: value for n, value in self.active.items() if n not in self._written and _is_literal(value)},
            NUMBERS: {n: self.number[n] for n in self.active if n not in self._written},
        }
        return {name: literal(tables[name], self.into.imports) for name in (VALUES, NUMBERS) if name in self._needs}

    def _edits(self, source: Source, statement: ast.stmt) -> list[Edit]:
        """What takes the place of each choice in a statement of a file."""
        modules, functions = _names_of_nastk(source.tree)
        found: list[Edit] = []
        for node in ast.walk(statement):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            trial = isinstance(called, ast.Attribute) and called.attr in SUGGESTIONS and self.space._takes_trial
            by_module = (
                isinstance(called, ast.Attribute)
                and called.attr == "choice"
                and isinstance(called.value, ast.Name)
                and called.value.id in modules
            )
            if trial or by_module or (isinstance(called, ast.Name) and called.id in functions):
                found.append((*source.span(node), self._in_place_of(source, node, trial)))
        # a choice within the options of another goes with them
        return [e for e in found if not any(o is not e and o[0] <= e[0] and e[1] <= o[1] for o in found)]

    def _in_place_of(self, source: Source, node: ast.Call, trial: bool) -> str:
        name, options = _argument(node, 0, "name"), _argument(node, 1, "choices" if trial else "options")
        if name is None:
            raise Unsupported(f"line {node.lineno} of {source.where} makes a choice without a name")
        listed = _listed(options)
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value in self.number:
            self._written.add(name.value)
            if listed is not None:
                chosen = listed[self.number[name.value]]
                text = source.segment(chosen)
                return text if isinstance(chosen, ATOMS) else f"({text})"
            if name.value in self.active and _is_literal(self.active[name.value]):
                return literal(self.active[name.value], self.into.imports)
            self._written.remove(name.value)
        plain = listed is not None and all(isinstance(option, ast.Constant) for option in listed)
        if trial or plain or self._plain:
            self._needs.add(VALUES)
            return f"{VALUES}[{source.segment(name)}]"
        self._needs.add(NUMBERS)
        text = source.segment(options) if options is not None else "()"
        if isinstance(options, ast.Dict):
            text = f"list({text}.values())"
        elif listed is None:
            text = f"(list({text}.values()) if isinstance({text}, dict) else list({text}))"
        return f"{text}[{NUMBERS}[{source.segment(name)}]]"


def _names_of_nastk(tree: ast.Module) -> tuple[set[str], set[str]]:
    """What a file calls nastk, and its function `choice`."""
    modules, functions = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {a.asname or a.name for a in node.names if a.name == "nastk"}
        elif isinstance(node, ast.ImportFrom) and node.module == "nastk":
            functions |= {a.asname or a.name for a in node.names if a.name == "choice"}
    return modules, functions


def _argument(node: ast.Call, place: int, name: str) -> ast.expr | None:
    if place < len(node.args):
        return node.args[place]
    return next((k.value for k in node.keywords if k.arg == name), None)


def _listed(options: ast.expr | None) -> list[ast.expr] | None:
    """The options of a list or dictionary that is written out; None of any other expression."""
    if isinstance(options, (ast.List, ast.Tuple)) and not any(isinstance(e, ast.Starred) for e in options.elts):
        return options.elts
    if isinstance(options, ast.Dict) and all(key is not None for key in options.keys):
        return options.values
    return None


def _is_literal(value: Any) -> bool:
    try:
        text = literal(value, set())
    except Unsupported:
        return False
    return not text.startswith("torch.")
