"""Spaces derived from networks whose constructors make choices."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, NastkError, Unsupported
from nastk.evaluation import reason_of
from nastk.spaces._choices import Build, building
from nastk.spaces._exploration import Answers, Exploration, Impossible
from nastk.spaces._optuna_trial import Trial
from nastk.spaces.base import Archs, Choice, SearchSpace, Seed

if TYPE_CHECKING:
    import torch


def space_of(
    network: Callable[..., Any],
    input_shape: tuple[int, ...] | None = None,
    name: str | None = None,
    checks: int = 64,
    runs: int = 2000,
) -> DerivedSpace:
    """The search space of a network that makes choices while it is built.

    The network is built repeatedly with different options, where possible on the meta device (no memory for weights),
    until no new choice appears. Choices that are only made under some options of others are found, too. A choice that
    an architecture does not make has its first option in the canonical form. Combinations of options that cannot be
    built are members of the space whose evaluations fail; where every choice has its first option, it must be possible.

    Args:
        network: a class derived from `torch.nn.Module`, or a function that returns a module. Its choices are calls of
            :func:`nastk.choice`; or it has an argument called ``trial`` and its choices are the suggestions of an
            Optuna trial (categorical, int, float with a step).
        input_shape: of one input, without the batch; by default the network's attribute ``input_shape``.
        name: of the space; by default the network's.
        checks: consecutive random architectures whose choices must be as predicted (all architectures, if there are
            at most 256).
        runs: maximum number of builds.

    Raises:
        InvalidValue: no choice is made, the first options cannot be built, or choices are inconsistent.

    Example::

        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(64, nastk.choice("width", [16, 32]))
        >>> nastk.space_of(Net, input_shape=(64,))
        <space Net: 1 choices, 2 architectures>
    """
    return DerivedSpace(network, input_shape, name, checks, runs)


def derivable(thing: Any) -> bool:
    """Whether a thing is a network class, or a function of a trial, from which a space can be derived."""
    if inspect.isfunction(thing):
        return next(iter(inspect.signature(thing).parameters), None) == "trial"
    if not inspect.isclass(thing) or issubclass(thing, SearchSpace):
        return False
    from torch import nn

    return issubclass(thing, nn.Module)


class DerivedSpace(SearchSpace):
    """A space whose choices are made by a network while it is built; created by :func:`space_of`.

    Attributes:
        network: the class or function that builds one.
        conditions: by choice, the choices that decide whether it is made; empty if it always is.
    """

    def __init__(
        self,
        network: Callable[..., Any],
        input_shape: tuple[int, ...] | None = None,
        name: str | None = None,
        checks: int = 64,
        runs: int = 2000,
    ):
        self.network = network
        self.name = name or str(getattr(network, "__name__", type(network).__name__))
        self._takes_trial = _takes_trial(network, self.name)
        shape = getattr(network, "input_shape", None) if input_shape is None else input_shape
        self._input_shape = tuple(int(n) for n in shape) if isinstance(shape, (tuple, list)) else None
        self._meta = True
        self._known: dict[str, tuple[str, ...]] | None = None
        self._explored = Exploration(self._labels, self.name, checks, runs)
        self._known = self._explored.options
        self.choices = tuple(Choice(name, options) for name, options in self._known.items())
        self.conditions = {name: tuple(sorted(gates)) for name, gates in self._explored.gates.items()}
        self._separator = "|" if any("_" in label for c in self.choices for label in c.options) else "_"

    def source_code(self) -> Any:
        return self.network

    # ---- building

    def _labels(self, answers: Answers) -> Mapping[str, tuple[str, ...]]:
        return self._trace(answers).labels

    def _trace(self, answers: Answers) -> Build:
        """Build on the meta device to record the choices; with real weights where a constructor reads values."""
        import torch

        for device in ("meta", "cpu") if self._meta else ("cpu",):
            build = Build(self.name, answers, self._known)
            try:
                with torch.random.fork_rng(devices=[]), torch.device(device):
                    self._construct(build)
                self._meta = device == "meta"
                return build
            except NastkError:
                raise
            except Exception as error:
                failure = error
        raise Impossible(build.labels, build.values, f"{build}: {reason_of(failure)}") from failure

    def _construct(self, build: Build, **options: Any) -> torch.nn.Module:
        from torch import nn

        token = building.set(build)
        try:
            if self._takes_trial:
                made = self.network(Trial(), **options)
            else:
                made = self.network(**options)
        finally:
            building.reset(token)
        if not isinstance(made, nn.Module):
            raise InvalidValue(f"{self.name} must return a torch.nn.Module, not {type(made).__name__}")
        return made

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        """The network of one architecture; options are arguments of the network.

        Raises:
            InvalidArchitecture: it makes a choice that was not found when the space was derived.
            InvalidValue: the network has no such argument.
        """
        row = self.as_archs(arch)
        try:
            inspect.signature(self.network).bind_partial(**options)
        except TypeError as error:
            raise InvalidValue(f"{self.name}: {error}") from None
        build = Build(self.name, self._answers(row[0]), self._known)
        network = self._construct(build, **options)
        used, _ = self._explored.used(row)
        foreseen = {c.name for c, u in zip(self.choices, used[0], strict=True) if u}
        if foreseen != set(build.labels) and not options:
            odd = ", ".join(sorted(foreseen ^ set(build.labels)))
            warnings.warn(
                f"{self.name}: whether {odd} matters depends on more choices than were found; give nastk.space_of a "
                "checks=",
                stacklevel=2,
            )
        return network

    def _answers(self, row: Archs) -> dict[str, int]:
        return {c.name: int(v) for c, v in zip(self.choices, row, strict=True)}

    def params(self, arch: Any) -> dict[str, Any]:
        """The choices that an architecture (text or row) makes, in order, with their values: Optuna's `params`.

        Of a network that cannot be built, the choices that it makes before it fails.
        """
        try:
            return dict(self._trace(self._answers(self.as_archs(arch)[0])).values)
        except Impossible as failure:
            return dict(failure.values)

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        if self._input_shape is None:
            raise Unsupported(
                f"{self.name} does not know the input shape of its networks; give nastk.space_of an "
                "input_shape=(3, 32, 32), say, or set that attribute on the network"
            )
        return self._input_shape

    # ---- form

    def canonical(self, archs: Archs) -> Archs:
        """Sets choices that an architecture does not make to their first option."""
        return self._explored.used(archs)[1]

    def active(self, archs: Archs) -> NDArray[np.bool_]:
        """Which choices each architecture makes, ``(n, d)``."""
        return self._explored.used(np.asarray(archs, dtype=np.int64).reshape(-1, self.d))[0]

    # ---- moves

    @property
    def _conditional(self) -> bool:
        """Whether some choices are not always made."""
        return any(self.conditions.values())

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """Change `n_changes` random choices to another option. Where some choices are not always made, the network
        changes, choices that the child makes and its parent does not are random, and rows are canonical."""
        if not self._conditional:
            return super().mutate(archs, seed, n_changes)
        rng = np.random.default_rng(seed)
        parents = np.asarray(archs, dtype=np.int64)
        free = np.flatnonzero(self.sizes > 1)
        if not len(free):
            return super().mutate(archs, rng, n_changes)
        made = self.active(parents)
        children = np.where(made, parents, rng.integers(0, self.sizes, parents.shape))
        # another option of a choice that is made is another network: those come first
        order = rng.random((len(parents), len(free))) + ~made[:, free]
        columns = free[order.argsort(axis=1)[:, : min(n_changes, len(free))]]
        shift = rng.integers(1, self.sizes[columns])
        old = np.take_along_axis(children, columns, axis=1)
        np.put_along_axis(children, columns, (old + shift) % self.sizes[columns], axis=1)
        return self.canonical(children)

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        """Uniform crossover of paired rows. Where some choices are not always made, one that a single parent makes
        comes from that parent, and rows are canonical."""
        if not self._conditional:
            return super().crossover(a, b, seed)
        a, b = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
        in_a, in_b = self.active(a), self.active(b)
        return self.canonical(super().crossover(np.where(in_b & ~in_a, b, a), np.where(in_a & ~in_b, a, b), seed))

    # ---- text

    def format(self, arch: Archs) -> str:
        """Labels joined by ``_``, or by ``|`` where a label has a ``_``."""
        row = np.asarray(arch).ravel()
        return self._separator.join(c.options[int(v)] for c, v in zip(self.choices, row, strict=True))

    def parse(self, text: str) -> Archs:
        """The row of labels joined as :meth:`format` joins them, or of their integers."""
        parts = text.strip().split(self._separator)
        named = len(parts) == self.d and all(p in c.options for p, c in zip(parts, self.choices, strict=True))
        row = None if named else self._parse_integers(text)
        if row is None:
            if len(parts) != self.d:
                raise self._wrong_number(text, self._separator)
            row = np.array([self._option(j, part) for j, part in enumerate(parts)], dtype=np.int64)
        return self.as_archs(row)[0]


def build_options(space: SearchSpace) -> dict[str, Any]:
    """What `SearchSpace.build` takes beside the architecture: names, and what each is by default; "**" stands for any
    others."""
    space = space.whole
    networks = getattr(space, "networks", space)  # of a space that chooses precisions, too
    made = networks.network if isinstance(networks, DerivedSpace) else networks.build
    parameters = inspect.signature(made).parameters.values()
    return {"**" if p.kind == p.VAR_KEYWORD else p.name: p.default for p in parameters}


def _takes_trial(network: Callable[..., Any], name: str) -> bool:
    if not callable(network):
        raise InvalidValue(f"a space is derived from a network class or a function; got {network!r}")
    parameters = inspect.signature(network).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed not in ([], ["trial"]):
        raise InvalidValue(
            f"{name} needs the arguments {', '.join(needed)}; a network that makes choices is built without arguments "
            "(give them defaults), or with one called trial"
        )
    return needed == ["trial"]
