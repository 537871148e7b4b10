"""NASLib's search spaces by class, where NASLib is installed (Ruchte et al., 2020), such as NasBench201SearchSpace."""

from __future__ import annotations

import importlib
import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, MissingExtra, NastkError, UnknownName, Unsupported
from nastk.spaces import _transbench101_heads as tasks
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.nasbench101 import NASBench101
from nastk.spaces.nasbench201 import EDGES, OPERATIONS, NASBench201
from nastk.spaces.nasbench301 import NASBench301
from nastk.spaces.transbench101_macro import TransBench101Macro
from nastk.spaces.transbench101_micro import OPERATIONS as MICRO_OPERATIONS
from nastk.spaces.transbench101_micro import TransBench101Micro

if TYPE_CHECKING:
    import torch

FAMILY = "naslib:<SearchSpace>"
"""Name of these spaces in listings."""

OP_INDICES = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
"""NASLib's order of the operations on the edges of a cell; TransNAS-Bench-101 micro has no pooling."""
COMMIT = "0b51bc18"
"""Of NASLib's branch Develop: what the adapter was tested with."""
NEEDS = (
    *("torchvision", "fvcore", "pytorch-msssim", "scikit-image", "ConfigSpace", "transforms3d", "termcolor"),
    "nasbench_pytorch",
)
"""Packages that NASLib imports beside those that nastk brings."""
INSTALL = (
    f"git clone https://github.com/automl/NASLib && git -C NASLib checkout {COMMIT} && pip install {' '.join(NEEDS)} "
    '&& export PYTHONPATH="$PWD/NASLib"'
)
"""Shown where NASLib is missing: it is not on the package index, and its setup.py refuses Python above 3.9."""


class NASLibSpace(SearchSpace):
    """The networks of one of NASLib's search spaces: its graphs, parsed to modules.

    Architectures are those of nastk's own space of the benchmark (`nasbench101`, `nasbench201`, `nasbench301`,
    `transbench101-micro`, `transbench101-macro`), so that texts, tables, encodings and canonical forms fit. NASLib's
    other classes are rejected: it makes no network of one of their architectures.

    What NASLib would ignore without a word is an error: an option that the class does not have, or that changes nothing
    in its networks, as ``n_classes`` for NAS-Bench-101.

    It calls ``set_spec`` and ``parse`` (and NAS-Bench-101's ``convert_to_cell``).

    Args:
        search_space: name of a class of `naslib.search_spaces`.
        input_shape: of one input of the networks, without the batch; by default 32 x 32 with the class's
            ``in_channels``, or that of TransNAS-Bench-101's data set (nine tiles for the jigsaw, the class's default).
        options: arguments of the class, such as ``n_classes`` or ``dataset``.

    Raises:
        MissingExtra: NASLib is not installed.
        UnknownName: it has no such search space.
        Unsupported: it makes no network of one of the search space's architectures.
        InvalidValue: the class does not have an option, ignores it, or fails with it; or its network does not take
            inputs of `input_shape`.
    """

    # Not the counts and data sets of nastk's own networks, which the other base class of each space would bring.
    datasets: ClassVar[Mapping[str, dict[str, Any]]] = {}

    def __new__(cls, search_space: str = "", *_: Any, **options: Any) -> NASLibSpace:
        """One of the classes below; by unpickling, which names no search space, the class itself."""
        return super().__new__(_of(search_space) if cls is NASLibSpace else cls)

    def __init__(self, search_space: str, input_shape: tuple[int, ...] | None = None, **options: Any):
        self._search_space, self._options = search_space, options
        self._shape = None if input_shape is None else _checked_shape(search_space, input_shape)
        # Networks of other options are other networks: the name is what caches and results know them by.
        defaults = self._arguments({})
        other = {option: value for option, value in self._arguments(options).items() if value != defaults[option]}
        if self._shape is not None:
            other["input_shape"] = "x".join(map(str, self._shape))
        named = ",".join(f"{option}={value}" for option, value in sorted(other.items()))
        self.name = f"naslib-{search_space}" + (f"({named})" if named else "")
        self._tried: set[str] = set()
        self._try(options)

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        """NASLib's graph, parsed to a module; options are those of its class."""
        merged = {**self._options, **options}
        self._try(merged)
        return self._network(self.as_archs(arch)[:1], merged)

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        return self._shape or self._default_shape(self._arguments({**self._options, **options}))

    def statics(self, archs: Archs, **options: Any) -> dict[str, NDArray[np.float64]]:
        return {}

    def supernet(self, **options: Any) -> torch.nn.Module:
        return SearchSpace.supernet(self, **options)

    # ---- what the search spaces differ in

    @abstractmethod
    def _spec(self, graph: Any, row: NDArray[np.int64], arguments: Mapping[str, Any]) -> Any:
        """What the graph's ``set_spec`` takes for a row ``(d,)``."""

    def _default_shape(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        return (arguments.get("in_channels", 3), 32, 32)

    # ---- NASLib's classes

    def _arguments(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with the defaults of the class.

        Raises:
            InvalidValue: the class names no such option; some classes take any and ignore it.
        """
        known = {
            name: parameter.default
            for name, parameter in inspect.signature(_naslib_class(self._search_space)).parameters.items()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        }
        for name in options:
            if name not in known:
                raise InvalidValue(f"naslib:{self._search_space} has no option {name!r}; known: {', '.join(known)}")
        return {**known, **options}

    def _network(self, archs: Archs, options: Mapping[str, Any]) -> torch.nn.Module:
        graph = _naslib_class(self._search_space)(**options)
        graph.set_spec(self._spec(graph, archs[0], self._arguments(options)))
        graph.parse()
        made: torch.nn.Module = graph
        return made

    def _try(self, options: Mapping[str, Any]) -> None:
        """Builds and runs one network with these options, once, and compares it with those that lack one of them."""
        import torch

        key = repr(sorted(options.items()))
        if key in self._tried:
            return
        arguments, defaults, arch = self._arguments(options), self._arguments({}), self.sample(1, seed=0)
        shape = self._shape or self._default_shape(arguments)
        name = f"naslib:{self._search_space}"
        given = f" with {', '.join(f'{k}={v!r}' for k, v in options.items())}" if options else ""
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            try:
                network = self._network(arch, options)
            except Exception as error:  # NASLib's own: an assertion, a task that it does not implement, ...
                raise InvalidValue(f"{name}: NASLib makes no network{given}: {_line(error)}") from error
            for option in [o for o in options if options[o] != defaults[o]]:
                if self._same_without(option, arch, options, _shapes(network)):
                    said = f"{option}={options[option]!r}"
                    raise InvalidValue(f"{name}: {said} changes nothing in NASLib's networks; leave it out")
            try:
                network.eval()(torch.zeros(2, *shape))
            except Exception as error:
                raise InvalidValue(
                    f"{name}: NASLib's network{given} fails on inputs of shape {shape} (input_shape sets another): "
                    f"{_line(error)}"
                ) from error
        self._tried.add(key)

    def _same_without(self, option: str, arch: Archs, options: Mapping[str, Any], shapes: dict[str, Any]) -> bool:
        rest = {name: value for name, value in options.items() if name != option}
        try:
            return _shapes(self._network(arch, rest)) == shapes
        except Exception:  # no network at all without it
            return False


def _checked_shape(search_space: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, (tuple, list)) and shape and all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        return tuple(int(n) for n in shape)
    raise InvalidValue(f"naslib:{search_space}: input_shape must be positive integers, as (3, 32, 32); got {shape!r}")


def _by_edge(row: NDArray[np.int64], operations: tuple[str, ...]) -> tuple[int, ...]:
    """NASLib's codes of a cell's operations in its order of edges: 0-1, 0-2, 0-3, 1-2, 1-3, 2-3."""
    codes = {edge: OP_INDICES.index(operations[int(v)]) for edge, v in zip(EDGES, row, strict=True)}
    return tuple(codes[edge] for edge in sorted(EDGES))


class _NASBench101(NASLibSpace, NASBench101):  # type: ignore[misc]
    def _spec(self, graph: Any, row: NDArray[np.int64], arguments: Mapping[str, Any]) -> Any:
        return graph.convert_to_cell(*self.matrix(row))


class _NASBench201(NASLibSpace, NASBench201):  # type: ignore[misc]
    def _spec(self, graph: Any, row: NDArray[np.int64], arguments: Mapping[str, Any]) -> Any:
        return _by_edge(row, OPERATIONS)


class _NASBench301(NASLibSpace, NASBench301):  # type: ignore[misc]
    def _spec(self, graph: Any, row: NDArray[np.int64], arguments: Mapping[str, Any]) -> Any:
        inputs, operations = self.inputs_and_operations(row[None])
        pairs = np.stack([inputs[0], operations[0]], axis=-1).reshape(2, -1, 2)
        return tuple(tuple(map(tuple, cell)) for cell in pairs.tolist())


class _TransBench101Micro(NASLibSpace, TransBench101Micro):  # type: ignore[misc]
    def _spec(self, graph: Any, row: NDArray[np.int64], arguments: Mapping[str, Any]) -> Any:
        # NASLib writes its integers into the benchmark's text, whose digits mean nastk's operations; only the graphs
        # of its own that it makes with create_graph have its order of edges and operations.
        return _by_edge(row, MICRO_OPERATIONS) if arguments["create_graph"] else tuple(row.tolist())

    def _default_shape(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        return _shape_of_task(arguments)


class _TransBench101Macro(NASLibSpace, TransBench101Macro):  # type: ignore[misc]
    def _spec(self, graph: Any, row: NDArray[np.int64], arguments: Mapping[str, Any]) -> Any:
        return row.copy()  # an array: NASLib compares it with 0

    def _default_shape(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        return _shape_of_task(arguments)


def _shape_of_task(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of an input of TransNAS-Bench-101's data sets; 32 x 32 for others."""
    task = tasks.TASKS.get(arguments["dataset"])
    *tiles, channels, height, width = (3, 32, 32) if task is None else tasks.input_shape(task)
    if arguments.get("in_channels", 3) != 3 or arguments["dataset"] not in tasks.SEVEN:
        channels = arguments.get("in_channels", channels)
    return (*tiles, channels, height, width)


_SPACES: dict[str, type[NASLibSpace]] = {
    "NasBench101SearchSpace": _NASBench101,
    "NasBench201SearchSpace": _NASBench201,
    "NasBench301SearchSpace": _NASBench301,
    "TransBench101SearchSpaceMicro": _TransBench101Micro,
    "TransBench101SearchSpaceMacro": _TransBench101Macro,
}
"""By NASLib's class."""


def _of(search_space: str) -> type[NASLibSpace]:
    """The class of spaces for one of NASLib's classes."""
    _naslib_class(search_space)
    if search_space not in _SPACES:
        raise Unsupported(
            f"naslib:{search_space}: NASLib makes no network of one of its architectures; it does for "
            f"{', '.join(_SPACES)}"
        )
    return _SPACES[search_space]


def _naslib_class(search_space: str) -> Any:
    try:
        module = importlib.import_module("naslib.search_spaces")
    except ImportError as error:
        if error.name in ("naslib", "naslib.search_spaces"):
            raise MissingExtra(
                f"naslib:{search_space} needs NASLib, which is not installed; it is not on the package index: {INSTALL}"
            ) from error
        raise NastkError(f"NASLib is installed but does not load: {error}; it needs {' '.join(NEEDS)}") from error
    except Exception as error:  # such as torchvision of another build than torch's: a RuntimeError
        raise NastkError(f"NASLib is installed but does not load: {_line(error)}") from error
    known = {k: v for k, v in vars(module).items() if inspect.isclass(v) and k.endswith(("Space", "Micro", "Macro"))}
    if search_space not in known:
        raise UnknownName("NASLib search space", search_space, known)
    return known[search_space]


def _shapes(network: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _line(error: Exception) -> str:
    """An error's type and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
