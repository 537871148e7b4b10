"""Any network as source code: a class for each kind of module in it, whose constructor names its layers.

Layers of PyTorch are written as constructor calls, other modules with the ``forward`` of their own class and the values
that it reads.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nastk.deploy._source import WIDTH, Source, Standalone, literal, module_of, on_lines
from nastk.errors import Unsupported

if TYPE_CHECKING:
    from torch import nn

NOT_OF_THE_LAYER = ("self", "device", "dtype")
"""Arguments of constructors that say where a layer is, and not which."""


class ModuleTree:
    """Writes the classes of a network.

    Args:
        into: takes what their methods need.

    Attributes:
        classes: their text, parts before wholes.
    """

    def __init__(self, into: Standalone):
        self.into = into
        self.classes: list[str] = []
        self._known: dict[tuple[str, str], str] = {}
        into.imports.add("from torch import nn")

    def root(self, module: nn.Module) -> str:
        """As :meth:`expression`, for the whole network: a plain sequence of layers gets a class of its own too."""
        from torch import nn

        made = self.expression(module)
        names = list(module._modules)
        numbered = names == [str(i) for i in range(len(names))]
        if not isinstance(module, nn.Sequential) or not made.startswith("nn.") or not numbered:
            return made
        children = _runs([self.expression(child, WIDTH - 12) for child in module])
        body = textwrap.indent(on_lines("super().__init__(", children, ")", WIDTH - 8), "    ")
        text = "\n\n".join([*_summary(type(module)), "def __init__(self):\n" + body])
        return f"{self._named('Network', 'nn.Sequential', text)}()"

    def expression(self, module: nn.Module, room: int = WIDTH) -> str:
        """The expression that makes a module.

        Raises:
            Unsupported: a module that depends on more than its class and its plain attributes, or has no source.
        """
        from torch import nn

        kind = type(module)
        if module._forward_hooks or module._forward_pre_hooks:
            raise Unsupported(f"{kind.__name__} has hooks, which are no part of its source")
        plain = "forward" not in _own_methods(kind)
        if plain and isinstance(module, nn.Sequential):
            names = list(module._modules)
            children = [self.expression(child, room - 4) for child in module]
            if names == [str(i) for i in range(len(names))]:
                return on_lines("nn.Sequential(", _runs(children), ")", room)
            self.into.imports.add("from collections import OrderedDict")
            pairs = [f'("{name}", {child})' for name, child in zip(names, children, strict=True)]
            return on_lines("nn.Sequential(OrderedDict([", pairs, "]))", room)
        if plain and isinstance(module, nn.ModuleList):
            children = _runs([self.expression(child, room - 4) for child in module])
            return on_lines("nn.ModuleList([", children, "])", room)
        if plain and isinstance(module, nn.ModuleDict):
            pairs = [f"{name!r}: {self.expression(child, room - 4)}" for name, child in module.items()]
            return on_lines("nn.ModuleDict({", pairs, "})", room)
        if kind.__module__.startswith("torch."):
            return self._layer(module)
        return f"{self._class(module)}()"

    def _layer(self, module: nn.Module) -> str:
        """The constructor call of a layer of PyTorch, with the arguments that differ from the defaults."""
        import torch
        from torch import nn

        kind = type(module)
        if getattr(nn, kind.__name__, None) is not kind:
            raise Unsupported(f"{kind.__name__} is no layer of torch.nn")
        arguments = []
        for name, parameter in inspect.signature(kind.__init__).parameters.items():
            starred = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if name in NOT_OF_THE_LAYER or name.startswith("_") or starred:
                continue
            value = getattr(module, name, inspect.Parameter.empty)
            if name == "bias" and not isinstance(value, bool):
                value = isinstance(value, torch.Tensor)
            if value is parameter.empty:
                if parameter.default is parameter.empty:
                    raise Unsupported(f"{kind.__name__} does not keep its argument {name}")
                continue
            value = _simple(value)
            if value == parameter.default or (name == "stride" and parameter.default is None and _is_kernel(module)):
                continue
            text = literal(value, self.into.imports)
            arguments.append(text if parameter.default is parameter.empty else f"{name}={text}")
        return f"nn.{kind.__name__}({', '.join(arguments)})"

    def _class(self, module: nn.Module) -> str:
        """The name of the class that is written for a module; equal ones share it."""
        from torch import nn

        kind = type(module)
        bases = [b for b in kind.__mro__ if b.__module__.startswith("torch.") and issubclass(b, nn.Module)]
        if bases[0] not in (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict):
            raise Unsupported(f"{kind.__name__} derives from the layer {bases[0].__name__}")
        methods, attributes = self._methods(module)
        lines = ["super().__init__()"]
        for name in attributes:
            lines.append(f"self.{name} = {self._value(module, name)}")
        for name, parameter in module.named_parameters(recurse=False):
            empty = f"torch.empty({literal(tuple(parameter.shape), self.into.imports)}, dtype={parameter.dtype})"
            lines.append(f"self.{name} = nn.Parameter({empty})")
        for name, buffer in module.named_buffers(recurse=False):
            kept = name not in module._non_persistent_buffers_set
            if not kept:
                raise Unsupported(f"{kind.__name__}.{name} is a buffer that is no part of its state")
            empty = f"torch.empty({literal(tuple(buffer.shape), self.into.imports)}, dtype={buffer.dtype})"
            lines.append(f'self.register_buffer("{name}", {empty})')
        if any("torch.empty" in line for line in lines):
            self.into.imports.add("import torch")
        listed = bases[0] is not nn.Module
        for name, child in module._modules.items():
            if child is None:
                lines.append(f"self.{name} = None")
            elif listed or not name.isidentifier():
                lines.append(f"self.add_module({name!r}, {self.expression(child, WIDTH - 24)})")
            else:
                lines.append(f"self.{name} = {self.expression(child, WIDTH - 16 - len(name))}")
        body = "def __init__(self):\n" + textwrap.indent("\n".join(lines), "    ")
        text = "\n\n".join([*_summary(kind), body, *methods])
        return self._named(kind.__name__.lstrip("_") or kind.__name__, f"nn.{bases[0].__name__}", text)

    def _named(self, name: str, base: str, text: str) -> str:
        """The class of this text, which is written if it is new, under a name that is free."""
        if (base, text) not in self._known:
            taken = {*self._known.values(), *self.into.names}
            names = (name if i == 1 else f"{name}{i}" for i in itertools.count(1))
            free = next(n for n in names if n not in taken)
            self._known[base, text] = free
            self.classes.append(f"class {free}({base}):\n" + textwrap.indent(text, "    "))
        return self._known[base, text]

    def _methods(self, module: nn.Module) -> tuple[list[str], list[str]]:
        """The text of ``forward`` and the methods that it calls, and the plain attributes that they read."""

        kind = type(module)
        own = _own_methods(kind)
        texts: dict[str, str] = {}
        attributes: dict[str, None] = {}
        waiting = ["forward"]
        while waiting:
            name = waiting.pop(0)
            if name in texts or name in attributes:
                continue
            if name in own:
                place, source, node = own[name]
                if "super" in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}:
                    raise Unsupported(f"{kind.__name__}.{name} calls super()")
                self.into.require_used(place, node)
                texts[name] = source.statement(node)
                waiting += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and _is_of_self(n, node)]
            elif name in module._modules or name in module._parameters or name in module._buffers:
                continue
            elif _is_plain(module, name):
                attributes[name] = None
        return list(texts.values()), list(attributes)

    def _value(self, module: nn.Module, name: str) -> str:
        value = getattr(module, name)
        try:
            return literal(value, self.into.imports)
        except Unsupported as error:
            raise Unsupported(f"{type(module).__name__}.{name} is read by its forward, and {error}") from None


def _is_plain(module: nn.Module, name: str) -> bool:
    """Whether a module has an attribute of its own, or of its class, that PyTorch's modules have not."""
    from torch import nn

    if name in vars(module):
        return name not in vars(nn.Module())
    return hasattr(type(module), name) and not any(hasattr(kind, name) for kind in (nn.Module, nn.ModuleDict))


def _is_of_self(node: ast.Attribute, method: Any) -> bool:
    """Whether this reads an attribute of the method's first argument."""
    first = method.args.args[0].arg if method.args.args else ""
    return isinstance(node.value, ast.Name) and node.value.id == first


def _own_methods(kind: type) -> dict[str, tuple[ModuleType, Source, Any]]:
    """Methods of a class and its bases that are none of PyTorch's, by name: module, file and syntax of each."""
    found: dict[str, tuple[ModuleType, Source, Any]] = {}
    for cls in kind.__mro__:
        if cls.__module__.startswith(("torch.", "builtins")):
            continue
        if not any(inspect.isfunction(v) or isinstance(v, property) for v in vars(cls).values()):
            continue
        source = Source.of(cls)
        place = module_of(cls)
        classes = [n for n in ast.walk(source.tree) if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
        if len(classes) != 1:
            raise Unsupported(f"the source of the class {cls.__name__} was not found in {source.where}")
        for node in classes[0].body:
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                found.setdefault(node.name, (place, source, node))
    return found


def _summary(kind: type) -> list[str]:
    """The first paragraph of a class's docstring, as one; nothing of a class without."""
    text = (vars(kind).get("__doc__") or "").strip().partition("\n\n")[0].replace("\\", "\\\\")
    if kind.__module__.startswith("torch."):
        return []
    lines = [line.strip() for line in text.replace('"""', "'''").splitlines()]
    return ['"""' + "\n".join(lines) + '"""'] if lines else []


def _simple(value: Any) -> Any:
    """Equal numbers of a tuple as the one number, which layers take as well."""
    same = isinstance(value, tuple) and len(set(value)) == 1 and isinstance(value[0], int)
    return value[0] if same else value


def _is_kernel(module: Any) -> bool:
    """Whether the stride of a pooling is that of its default, the kernel."""
    return bool(getattr(module, "stride", None) == getattr(module, "kernel_size", ()))


def _runs(parts: Sequence[str]) -> list[str]:
    """Parts, with three and more equal ones in a row as one."""
    found: list[str] = []
    for part, group in itertools.groupby(parts):
        count = len(list(group))
        found += [f"*({part} for _ in range({count}))"] if count > 2 else [part] * count
    return found
