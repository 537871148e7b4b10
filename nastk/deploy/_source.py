"""Parts of Python files, put together to one that stands alone: definitions, what they need, and no package of them."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nastk.errors import Unsupported

Edit = tuple[int, int, str]
"""Start and end of a piece of a file's text, and what takes its place."""

WIDTH = 120
"""Characters of the longest line that is written."""


class Source:
    """The text of a Python file, with the statements of its module."""

    def __init__(self, text: str, where: str):
        self.text, self.where = text, where
        try:
            self.tree = ast.parse(text)
        except SyntaxError as error:
            raise Unsupported(f"{where} cannot be read as Python: {error}") from error
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    @classmethod
    def of(cls, thing: Any) -> Source:
        """The file in which a class, a function or a module is defined.

        Raises:
            Unsupported: there is none, as of what was typed in.
        """
        try:
            name = inspect.getsourcefile(thing)
            text = Path(name or "").read_text(encoding="utf-8") if name else ""
        except (TypeError, OSError, UnicodeDecodeError):
            name, text = None, ""
        if not name or not text:
            raise Unsupported(f"the source of {getattr(thing, '__name__', thing)} cannot be read")
        return cls(text, name)

    def at(self, line: int, column: int) -> int:
        """Place in the text of a line (from 1) and its column in bytes, as the parser counts."""
        before = self._lines[line - 1].encode()[:column].decode(errors="replace")
        return self._starts[line - 1] + len(before)

    def span(self, node: Any) -> tuple[int, int]:
        """Start and end of a node, its decorators included."""
        first = min([node, *getattr(node, "decorator_list", [])], key=lambda n: n.lineno)
        start = self.at(node.lineno, node.col_offset)
        if first is not node:
            start = (
                self._starts[first.lineno - 1]
                + len(self._lines[first.lineno - 1])
                - len(self._lines[first.lineno - 1].lstrip())
            )
        return start, self.at(node.end_lineno, node.end_col_offset)

    def segment(self, node: Any, edits: Iterable[Edit] = ()) -> str:
        """The text of a node, with some pieces replaced."""
        start, end = self.span(node)
        return self._edited(start, end, edits)

    def statement(self, node: Any, edits: Iterable[Edit] = ()) -> str:
        """The lines of a statement without their indentation, with the comments right above it and behind it."""
        start, end = self.span(node)
        first = self.text.rfind("\n", 0, start) + 1
        while True:
            above = self.text.rfind("\n", 0, max(first - 1, 0)) + 1
            line = self.text[above : max(first - 1, 0)].strip()
            if first == 0 or not line.startswith("#") or line.startswith("#!"):
                break
            first = above
        rest = self.text[end:].partition("\n")[0]
        last = end + len(rest) if rest.strip().startswith("#") else end
        return textwrap.dedent(self._edited(first, last, edits)).rstrip()

    def _edited(self, start: int, end: int, edits: Iterable[Edit]) -> str:
        parts, at = [], start
        for a, b, new in sorted(edits):
            if at <= a and b <= end:
                parts += [self.text[at:a], new]
                at = b
        return "".join([*parts, self.text[at:end]])

    def binding(self, name: str) -> list[ast.stmt]:
        """The statements of the module that bind a name, in order."""
        return [node for node in self.tree.body if name in bound(node)]


def bound(node: ast.stmt) -> set[str]:
    """Names that a statement of a module binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if _is_main(node) or isinstance(node, ast.Expr):
        return set()
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for inner in ast.walk(node):
        if inner is not node and isinstance(inner, ast.stmt) and not isinstance(inner, ast.Expr):
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                names.add(inner.name)
            elif isinstance(inner, (ast.Import, ast.ImportFrom)):
                names |= bound(inner)
    return names


def used(node: ast.AST) -> set[str]:
    """Names that a piece of code mentions, annotations included."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _is_main(node: ast.stmt) -> bool:
    """Whether this is ``if __name__ == "__main__":``."""
    return isinstance(node, ast.If) and "__name__" in used(node.test)


def module_of(thing: Any) -> ModuleType:
    """The module in which a class or function is defined.

    Raises:
        Unsupported: it is another one by now, such as another file of the same name.
    """
    name, _, inner = thing.__qualname__.partition(".")
    try:
        found = importlib.import_module(thing.__module__)
    except ImportError as error:
        raise Unsupported(f"the module of {thing.__qualname__} cannot be found: {error}") from error
    if not inner and getattr(found, name, None) is not thing:
        raise Unsupported(f"{name} is not in the module {thing.__module__}, of which there is another one")
    return found


def is_installed(module: str) -> bool:
    """Whether a module is of Python or of an installed package other than nastk, so that an export may import it."""
    top = module.partition(".")[0]
    if top == "nastk":
        return False
    if top in sys.stdlib_module_names:
        return True
    found = sys.modules.get(top)
    file = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", [])), None)
    if file is None:
        return False
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).resolve().parts)


@dataclass
class _Chunk:
    """What is taken of one module."""

    source: Source
    edits: list[Edit] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)


class Standalone:
    """The text of a module that imports installed packages alone: what is asked for, and all that it needs.

    Args:
        edit: pieces to replace in a statement of a file that is taken; by default none.
    """

    def __init__(self, edit: Callable[[Source, ast.stmt], list[Edit]] = lambda source, statement: []):
        self._edit = edit
        self._chunks: dict[str, _Chunk] = {}
        self.imports: set[str] = set()
        self.constants: dict[str, str] = {}
        self._names: dict[str, str] = {}

    @property
    def names(self) -> set[str]:
        """Names that the module has so far."""
        return set(self._names) | set(self.constants)

    def require(self, module: ModuleType, name: str) -> None:
        """Take what a name means in a module, with what that needs in turn.

        Raises:
            Unsupported: it is neither in the module's file nor importable without it.
        """
        owner = self._names.get(name)
        if owner == module.__name__:
            return
        chunk = self._chunk(module)
        statements = chunk.source.binding(name)
        if not statements:
            if hasattr(builtins, name) or name in ("__file__", "__name__"):
                return
            raise Unsupported(f"{name} is not defined in {chunk.source.where}")
        if all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in statements):
            self._import(module, name, statements[-1])
            return
        self._own(name, module.__name__)
        for statement in statements:
            number = chunk.source.tree.body.index(statement)
            if number in chunk.taken:
                continue
            chunk.taken.add(number)
            chunk.edits += self._edit(chunk.source, statement)
            for other in bound(statement) - {name}:
                self._own(other, module.__name__)
            self.require_used(module, statement)

    def require_used(self, module: ModuleType, node: ast.AST) -> None:
        """Take what a piece of a module's code mentions, without what is replaced in it."""
        chunk = self._chunk(module)
        start, end = chunk.source.span(node)
        replaced = [(a, b, new) for a, b, new in chunk.edits if start <= a and b <= end]
        text = textwrap.dedent(chunk.source.segment(node, replaced))
        try:
            code: ast.AST = ast.parse(text)
        except SyntaxError:
            code = ast.parse(textwrap.dedent(chunk.source.statement(node, replaced)))
        known = {n for n in used(code) if n in vars(module) or chunk.source.binding(n)}
        for name in sorted(known - self.constants.keys()):
            self.require(module, name)

    def _own(self, name: str, owner: str) -> None:
        if self._names.setdefault(name, owner) != owner:
            raise Unsupported(f"{name} means different things in {owner} and {self._names[name]}")

    def _chunk(self, module: ModuleType) -> _Chunk:
        if module.__name__ not in self._chunks:
            self._chunks[module.__name__] = _Chunk(Source.of(module))
        return self._chunks[module.__name__]

    def _import(self, module: ModuleType, name: str, statement: ast.stmt) -> None:
        """A name that a module imports: by an import, or by what it means where it is of no installed package."""
        assert isinstance(statement, (ast.Import, ast.ImportFrom))
        alias = next(a for a in statement.names if (a.asname or a.name.partition(".")[0]) == name)
        if isinstance(statement, ast.Import):
            if not is_installed(alias.name):
                raise Unsupported(f"{module.__name__} uses the module {alias.name}, which does not stand alone")
            self._own(name, f"import {alias.name}")
            self.imports.add(f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else ""))
            return
        origin = statement.module or ""
        if not statement.level and (origin == "__future__" or is_installed(origin)):
            self._own(name, f"from {origin}.{alias.name}")
            self.imports.add(f"from {origin} import {alias.name}" + (f" as {alias.asname}" if alias.asname else ""))
            return
        value = vars(module).get(name)
        if inspect.isclass(value) or inspect.isfunction(value):
            if value.__name__ != name:
                raise Unsupported(f"{module.__name__} imports {value.__name__} by another name")
            self.require(module_of(value), name)
            return
        self._own(name, f"constant of {origin}")
        self.constants[name] = literal(value, self.imports)

    def definitions(self) -> list[str]:
        """What was taken, in an order in which it can be executed: of imported modules first."""
        order: list[str] = []

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in order or name in above:
                return
            for node in ast.walk(self._chunks[name].source.tree):
                if isinstance(node, ast.ImportFrom) and node.module in self._chunks:
                    visit(node.module, (*above, name))
            order.append(name)

        for name in self._chunks:
            visit(name, ())
        texts = [f"{name} = {value}" for name, value in self.constants.items()]
        for name in order:
            chunk = self._chunks[name]
            texts += [chunk.source.statement(chunk.source.tree.body[i], chunk.edits) for i in sorted(chunk.taken)]
        return texts


def literal(value: Any, imports: set[str]) -> str:
    """An expression of a plain value: numbers, texts, collections of them, arrays, and functions of PyTorch.

    Args:
        imports: gets what the expression needs.

    Raises:
        Unsupported: there is none.
    """
    import numpy as np
    import torch

    if isinstance(value, str):
        text = repr(value)
        return text if '"' in value or "\\" in text else f'"{text[1:-1]}"'
    if value is None or value is Ellipsis or isinstance(value, (bool, bytes)):
        return repr(value)
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, np.generic):
        return literal(value.item(), imports)
    if isinstance(value, np.ndarray):
        imports.add("import numpy as np")
        return f"np.array({literal(value.tolist(), imports)}, dtype={str(value.dtype)!r})"
    if isinstance(value, range):
        return repr(value)
    if isinstance(value, (torch.dtype, torch.device)):
        imports.add("import torch")
        return str(value) if isinstance(value, torch.dtype) else repr(value).replace("device", "torch.device", 1)
    if isinstance(value, tuple):
        inner = ", ".join(literal(v, imports) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return "[" + ", ".join(literal(v, imports) for v in value) + "]"
    if isinstance(value, (set, frozenset)) and value:
        return "{" + ", ".join(sorted(literal(v, imports) for v in value)) + "}"
    if isinstance(value, dict):
        pairs = (f"{literal(k, imports)}: {literal(v, imports)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if callable(value) and (place := _place_of(value)):
        imports.add(f"import {place.partition('.')[0]}")
        if place.startswith("torch.nn."):
            imports.add("import torch.nn")
        return place
    raise Unsupported(f"{type(value).__name__} has no literal form")


def _place_of(value: Any) -> str:
    """Where a function or class of PyTorch is found by its name; empty where it is not."""
    import torch

    name = getattr(value, "__name__", "")
    for place in (torch, torch.nn.functional, torch.nn):
        if name and getattr(place, name, None) is value:
            return f"{place.__name__}.{name}"
    return ""


def on_lines(opening: str, parts: list[str], closing: str, room: int = WIDTH) -> str:
    """An expression with parts in brackets, on one line where it fits, else with one part a line."""
    line = opening + ", ".join(parts) + closing
    if len(line) <= room and "\n" not in line:
        return line
    return opening + "\n" + textwrap.indent(",\n".join(parts) + ",", "    ") + "\n" + closing
