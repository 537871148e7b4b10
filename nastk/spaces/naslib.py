"""NASLib's search spaces by class, where NASLib is installed (Ruchte et al., 2020), such as NasBench201SearchSpace."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nastk.errors import InvalidValue, MissingExtra, NastkError, UnknownName, Unsupported
from nastk.spaces._pool import Pool
from nastk.spaces.base import ENUMERABLE, Archs, Choice, SearchSpace
from nastk.spaces.nasbench201 import EDGES, OPERATIONS, NASBench201

if TYPE_CHECKING:
    import torch

FAMILY = "naslib:<SearchSpace>"
"""Name of these spaces in listings."""

OP_INDICES = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
"""NASLib's order of the operations of NAS-Bench-201."""

INSTALL = "pip install git+https://github.com/automl/NASLib"
"""Shown where NASLib is missing; it is not on the package index."""


class NASLibSpace(Pool):
    """Architectures of one of NASLib's search spaces, in its compact form; networks are NASLib's graphs.

    Rows of ``NasBench201SearchSpace`` are those of ``nasbench201``, so that its tables and text forms fit. Elsewhere
    the choices are the integers of the compact form (``get_hash``), in order, and their options the values that occur.
    Where NASLib enumerates a space without its tables, all architectures are members; otherwise `members` sampled ones.

    It calls ``sample_random_architecture``, ``get_hash``, ``get_arch_iterator``, ``set_spec`` and ``parse``.

    Args:
        search_space: name of a class of `naslib.search_spaces`.
        members: architectures to sample from a space that NASLib cannot enumerate.
        seed: random seed of the sample.
        input_shape: of the networks, which NASLib does not define.
        options: arguments of the class, such as ``n_classes``.

    Raises:
        MissingExtra: NASLib is not installed.
        UnknownName: it has no such search space.
        Unsupported: the search space's architectures are not tuples of integers of one shape.
    """

    def __init__(
        self,
        search_space: str,
        members: int = 200,
        seed: int = 0,
        input_shape: tuple[int, ...] = (3, 32, 32),
        **options: Any,
    ):
        whole: SearchSpace
        _naslib_class(search_space)
        if search_space == "NasBench201SearchSpace":
            whole = _NasBench201(search_space, input_shape, options)
            archs = whole.enumerate()
        else:
            whole, archs = _compact(search_space, members, seed, input_shape, options)
        super().__init__(whole, archs, name=whole.name)


class _NasBench201(NASBench201):
    datasets: ClassVar[dict[str, dict[str, int]]] = {}

    def __init__(self, search_space: str, input_shape: tuple[int, ...], options: dict[str, Any]):
        self.name = f"naslib-{search_space}"
        self._search_space, self._shape, self._options = search_space, tuple(input_shape), options

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:  # type: ignore[override]
        """NASLib's graph, parsed to a module; options are those of its class."""
        row = self.as_archs(arch)[0]
        by_edge = {edge: OP_INDICES.index(OPERATIONS[int(v)]) for edge, v in zip(EDGES, row, strict=True)}
        return _network(
            self._search_space, {**self._options, **options}, tuple(by_edge[edge] for edge in sorted(EDGES))
        )

    def input_shape(self, **options: Any) -> tuple[int, ...]:  # type: ignore[override]
        return self._shape

    def statics(self, archs: Archs, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        return {}


class _Compact(SearchSpace):
    """Rows are indices into the values that occur at each position of the flattened compact form."""

    def __init__(
        self,
        search_space: str,
        input_shape: tuple[int, ...],
        options: dict[str, Any],
        form: Any,
        values: list[list[int]],
    ):
        self.name = f"naslib-{search_space}"
        self._search_space, self._shape, self._options = search_space, tuple(input_shape), options
        self._form, self._values = form, values
        self.choices = tuple(Choice(f"place {i}", tuple(map(str, found))) for i, found in enumerate(values))

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        """NASLib's graph, parsed to a module; options are those of its class."""
        row = self.as_archs(arch)[0]
        spec = _nested(self._form, iter([found[int(v)] for found, v in zip(self._values, row, strict=True)]))
        return _network(self._search_space, {**self._options, **options}, spec)

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        return self._shape


def _compact(
    search_space: str, members: int, seed: int, input_shape: tuple[int, ...], options: dict[str, Any]
) -> tuple[_Compact, Archs]:
    """A space from its compact forms, and the rows of its members."""
    forms = _enumerate(search_space, options) or _sample(search_space, members, seed, options)
    form = _form(forms[0])
    if any(_form(f) != form for f in forms):
        raise Unsupported(f"naslib:{search_space}: its architectures do not all have one shape, such as {forms[0]}")
    flat = np.array([_flat(f) for f in forms], dtype=np.int64)
    values = [np.unique(column).tolist() for column in flat.T]
    rows = np.stack([np.searchsorted(v, column) for v, column in zip(values, flat.T, strict=True)], axis=1)
    return _Compact(search_space, input_shape, options, form, values), rows


def _enumerate(search_space: str, options: dict[str, Any]) -> list[Any]:
    """All compact forms; empty if NASLib needs the tables to enumerate them or there are more than a million."""
    graph = _new(search_space, options)
    try:
        listed = list(islice(graph.get_arch_iterator(None), ENUMERABLE + 1))
    except Exception:  # classes differ: no such method, or it needs the tables, which are not given
        return []
    return [_as_tuple(spec, search_space) for spec in listed] if len(listed) <= ENUMERABLE else []


def _sample(search_space: str, members: int, seed: int, options: dict[str, Any]) -> list[Any]:
    if members < 1:
        raise InvalidValue(f"naslib:{search_space}: members must be at least 1; got {members}")
    drawn: dict[Any, None] = {}
    with _global_seed(seed):
        for _ in range(2 * members):  # draws repeat; a small space may have fewer
            graph = _new(search_space, options)
            graph.sample_random_architecture(dataset_api=None)
            drawn[_as_tuple(graph.get_hash(), search_space)] = None
            if len(drawn) == members:
                break
    return list(drawn)


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seeds the global generators, which NASLib draws from, and restores them."""
    import random

    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


def _naslib_class(search_space: str) -> Any:
    try:
        module = importlib.import_module("naslib.search_spaces")
    except ImportError as error:
        if error.name in ("naslib", "naslib.search_spaces"):
            raise MissingExtra(
                f"naslib:{search_space} needs NASLib, which is not installed; it is not on the package index: {INSTALL}"
            ) from error
        raise NastkError(f"NASLib is installed but does not load: {error}") from error
    known = {k: v for k, v in vars(module).items() if inspect.isclass(v) and hasattr(v, "set_spec")}
    if search_space not in known:
        raise UnknownName("NASLib search space", search_space, known)
    return known[search_space]


def _network(search_space: str, options: dict[str, Any], spec: Any) -> torch.nn.Module:
    graph = _new(search_space, options)
    graph.set_spec(spec)
    graph.parse()
    made: torch.nn.Module = graph
    return made


def _new(search_space: str, options: dict[str, Any]) -> Any:
    try:
        return _naslib_class(search_space)(**options)
    except TypeError as error:
        raise InvalidValue(f"naslib:{search_space}: {str(error).splitlines()[0]}") from error


# ---- compact forms: nested tuples of integers


def _as_tuple(spec: Any, search_space: str) -> Any:
    if isinstance(spec, (list, tuple, np.ndarray)):
        return tuple(_as_tuple(part, search_space) for part in spec)
    if isinstance(spec, (int, np.integer)):
        return int(spec)
    raise Unsupported(f"naslib:{search_space}: only integers can be choices; got {type(spec).__name__}")


def _form(spec: Any) -> Any:
    return tuple(map(_form, spec)) if isinstance(spec, tuple) else None


def _flat(spec: Any) -> list[int]:
    return [v for part in spec for v in _flat(part)] if isinstance(spec, tuple) else [spec]


def _nested(form: Any, values: Iterator[int]) -> Any:
    return tuple(_nested(part, values) for part in form) if isinstance(form, tuple) else next(values)
