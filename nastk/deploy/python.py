"""A network as a Python module of its own that needs PyTorch and safetensors, and no nastk."""

from __future__ import annotations

import importlib.util
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk import __version__
from nastk.deploy._fixed_choices import FixedChoices
from nastk.deploy._format import Format, Network, as_float
from nastk.deploy._modules import ModuleTree
from nastk.deploy._source import Standalone, literal
from nastk.errors import Unsupported
from nastk.spaces._placeholders import DerivedSpace
from nastk.spaces.precisions import WithPrecision

if TYPE_CHECKING:
    import torch

WEIGHTS = ".safetensors"
"""End of the name of the file of weights, which lies beside the module."""


class PythonModule(Format):
    """Source code of this one network: the user's class with its choices fixed, or classes that name each layer.

    Its state dict has the names of the space's network, and the file of weights lies beside it.
    """

    name = "python"
    suffix = ".py"
    exact = True

    def write(self, network: Network, file: Path) -> None:
        file.write_text(self.text(network, file.stem), encoding="utf-8")

    def text(self, network: Network, stem: str) -> str:
        """The module's source.

        Args:
            stem: of its name, and of the file of its weights.

        Raises:
            Unsupported: the source of a part of the network cannot be read, or does not stand alone.
        """
        space, arch = network.space, network.arch
        if isinstance(space, WithPrecision):
            space, arch = space.networks, arch[:-1]
        derived = space.whole
        reason = ""
        if isinstance(derived, DerivedSpace):
            try:
                fixed = FixedChoices(derived, arch)
                return _module(network, stem, fixed.into, fixed.dictionaries(), [], fixed.call(network.build))
            except Unsupported as error:
                reason = str(error)
        into = Standalone()
        tree = ModuleTree(into)
        try:
            made = tree.root(network.module)
        except Unsupported as error:
            both = f"{reason}; and {error}" if reason else str(error)
            raise Unsupported(f"this network cannot be written as Python: {both}") from error
        if reason:
            self.notes.append(f"The classes name each layer; your own source could not be used: {reason}.")
        return _module(network, stem, into, {}, tree.classes, made)

    def outputs(self, network: Network, file: Path, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        import torch

        module = load_module(file)
        made = getattr(module, _loader(file.read_text(encoding="utf-8")))()
        with torch.no_grad():
            return [as_float(made(batch)) for batch in batches]


def load_module(file: Path) -> Any:
    """The module in a file, executed under a name that no other has."""
    name = f"nastk_exported_{abs(hash(str(file)))}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        del sys.modules[name]
    return module


def _loader(text: str) -> str:
    """Name of the function of a written module that gives the network its weights."""
    found = re.search(r"^def (load\w*)\(weights=None\):$", text, re.MULTILINE)
    assert found is not None
    return found[1]


def _module(
    network: Network, stem: str, into: Standalone, tables: dict[str, str], classes: list[str], made: str
) -> str:
    """The whole text of a module.

    Args:
        tables: dictionaries of choices, by name.
        classes: behind the definitions of `into`.
        made: the expression that makes the network.
    """
    free = next(name for name in ("load", "load_network", "load_exported") if name not in into.names)
    imports = sorted({"from __future__ import annotations", "import torch", *into.imports}, key=_import_order)
    shape = tuple(network.inputs.shape)
    floats = network.inputs.is_floating_point()
    blank = f"torch.zeros({literal(shape, set())}" + ("" if floats else ", dtype=torch.long") + ")"
    if "\n" in made:
        made = textwrap.indent(made, "    ").lstrip()
    chosen = "\n".join(f"    {name}: {option}" for name, option in network.choices.items())
    licence = " Its classes are those of nastk (MIT licence)." if _is_of_nastk(network.module) else ""
    head = (
        f'"""{_quoted(network.space.name)} {_quoted(network.space.format(network.arch))}\n\n'
        f"One network of a search, written by nastk {__version__}, which it does not need.{licence}\n\n"
        + (f"Its choices:\n\n{_quoted(chosen)}\n\n" if chosen else "")
        + f'``{free}()`` gives it the weights of {stem}{WEIGHTS}, which lies beside this file.\n"""'
    )
    loader = f'''def {free}(weights=None):
    """The network with its weights, in evaluation mode.

    Args:
        weights: a file of safetensors; by default the one beside this file.
    """
    from pathlib import Path

    from safetensors.torch import load_file

    network = {made}
    network.load_state_dict(load_file(weights or Path(__file__).with_suffix("{WEIGHTS}")))
    return network.eval()'''
    main = f"""if __name__ == "__main__":
    print({free}()({blank}).shape)"""
    constants = [f"{name} = {value}" for name, value in tables.items()]
    future, *others = imports
    top = "\n\n".join([head, future, "\n".join(others)])
    parts = [top, "\n".join(constants), *into.definitions(), *classes, loader, main]
    return "\n\n\n".join(part for part in parts if part) + "\n"


def _is_of_nastk(module: torch.nn.Module) -> bool:
    return any(type(m).__module__.startswith("nastk.") for m in module.modules())


def _import_order(line: str) -> tuple[bool, bool, str]:
    return "__future__" not in line, line.startswith("from"), line


def _quoted(text: str) -> str:
    """A text within three quotes."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
