"""Searchers: propose what to evaluate next, by ask and tell.

A searcher is built from a space, objectives, constraints and a seed. ``ask(n, pending)`` returns proposals,
``tell(records)`` takes results in any order, failures included, also of architectures that it never asked for (a
resumed run). It sees values of expensive objectives only through ``tell``.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataWarning, InvalidValue, UnknownName, Unsupported
from nastk.evaluation import Record
from nastk.oracles.base import Direction, Oracle, Values
from nastk.predictors.base import Prediction
from nastk.registry import SEARCHERS
from nastk.spaces.base import Archs, SearchSpace


@dataclass(frozen=True)
class Objective:
    """One thing to minimise or maximise (or to constrain).

    Args:
        name: as constraints and columns write it.
        oracle: evaluates it. A free objective's oracle may be called by the searcher; an expensive one's only by the
            study.
        fidelity: the fidelity to evaluate at, None for the oracle's own default, its highest.
    """

    name: str
    oracle: Oracle
    fidelity: float | None = None

    @property
    def direction(self) -> Direction:
        """Whether it is minimised ("min") or maximised ("max"), as the oracle says."""
        return self.oracle.direction

    @property
    def unit(self) -> str:
        """Unit of its values, such as "ms"; empty where they have none."""
        return self.oracle.unit

    @property
    def expensive(self) -> bool:
        """Whether an evaluation counts against the budget; a free objective is computed at will."""
        return self.oracle.expensive

    @property
    def paid(self) -> bool:
        """Deprecated: the old name of :attr:`expensive`."""
        warnings.warn("paid is now called expensive", DeprecationWarning, stacklevel=2)
        return self.expensive

    @property
    def target(self) -> float | None:
        """The fidelity whose values count; None where the oracle has no fidelities."""
        if self.fidelity is not None:
            return self.fidelity
        default = self.oracle.fidelity
        return max(self.oracle.fidelities, default=None) if default is None else default

    def is_target(self, fidelity: float | None) -> bool:
        """Whether a record of this fidelity is of what the objective is about; None always is."""
        return fidelity is None or fidelity == self.target

    def at(self, fidelity: float | None) -> float | None:
        """The fidelity at which a proposal for `fidelity` is evaluated and recorded; see :class:`Proposal`."""
        return self.fidelity if self.is_target(fidelity) or not self.oracle.fidelities else fidelity

    def share(self, fidelity: float | None) -> float:
        """Modelled cost of an evaluation, in evaluations at the target: fidelity / target."""
        return 1.0 if fidelity is None or self.target is None else fidelity / self.target

    @property
    def sign(self) -> float:
        """+1 to minimise, -1 to maximise: ``sign * value`` is always to be minimised."""
        return 1.0 if self.direction == "min" else -1.0

    @classmethod
    def of(cls, oracle: Oracle | Objective) -> Objective:
        """The objective of an oracle, under the oracle's name; an objective is returned as it is."""
        return oracle if isinstance(oracle, Objective) else cls(oracle.name, oracle)


_CONSTRAINT = re.compile(r"^\s*([\w.\-:@]+)\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")
"""A constraint as text: name, relation and number."""


@dataclass(frozen=True)
class Constraint:
    """A bound on an objective, such as ``latency<=10``.

    Args:
        objective: name of the objective.
        relation: "<=" for an upper bound, ">=" for a lower one.
        bound: in the objective's unit.
    """

    objective: str
    relation: Literal["<=", ">="]
    bound: float

    @classmethod
    def parse(cls, text: str | Constraint, objectives: Iterable[str] | None = None) -> Constraint:
        """Read ``name<=number`` or ``name>=number``.

        Raises:
            InvalidValue: not of that form.
            UnknownName: `objectives` is given and lacks the name.
        """
        if isinstance(text, Constraint):
            constraint = text
        else:
            match = _CONSTRAINT.match(text)
            if not match:
                raise InvalidValue(f"constraint {text!r}: write name<=number or name>=number, such as latency<=10")
            constraint = cls(match[1], match[2], float(match[3]))  # type: ignore[arg-type]
            if not np.isfinite(constraint.bound):
                raise InvalidValue(f"constraint {text!r}: {match[3]} is beyond the largest number, about 1.8e308")
        if objectives is not None and constraint.objective not in (known := list(objectives)):
            raise UnknownName("objective", constraint.objective, known)
        return constraint

    def violation(self, values: Any) -> NDArray[np.float64]:
        """By how much values break the bound, in the objective's unit; 0 where they keep it, NaN stays NaN."""
        excess = np.asarray(values, dtype=np.float64) - self.bound
        return np.maximum(excess if self.relation == "<=" else -excess, 0.0)

    def warn_of_fractions(self, unit: str) -> None:
        """Warn of a bound on percentages that is probably a fraction, ``accuracy>=0.9``."""
        if unit == "%" and 0 < self.bound <= 1:
            meant = Constraint(self.objective, self.relation, 100 * self.bound)
            warnings.warn(
                f"constraint {self}: {self.objective} is in %; this bounds it at {self.bound:g} %. Is {meant} meant?",
                DataWarning,
                stacklevel=3,
            )

    def __str__(self) -> str:
        return f"{self.objective}{self.relation}{repr(float(self.bound)).removesuffix('.0')}"  # exact, to be read again


@dataclass(frozen=True, eq=False)
class Proposal:
    """What to evaluate next: one architecture on some expensive objectives.

    Compared by identity: two proposals are never equal.

    Args:
        arch: the architecture, a row of integers ``(d,)``.
        objectives: names of the expensive objectives to evaluate on it; empty for all.
        fidelity: of those of its objectives whose oracles have fidelities; the others, such as a latency beside an
            accuracy, are evaluated as they stand. None for each objective's target fidelity.
    """

    arch: Archs
    objectives: tuple[str, ...]
    fidelity: float | None = field(default=None)


@dataclass(frozen=True, eq=False)
class LowerFidelity:
    """An objective at a fidelity that costs next to nothing, such as what a supernet says of an accuracy.

    Args:
        archs: of which it is known before the search, ``(m, d)``.
        values: of them, ``(m,)``, finite, in a unit of their own; lower is better where the objective is minimised,
            higher where it is maximised.
        ask: values ``(n,)`` of architectures ``(n, d)``, NaN where it fails.
    """

    archs: Archs
    values: NDArray[np.float64]
    ask: Callable[[Archs], NDArray[np.float64]]


class Searcher(ABC):
    """Base of all searchers.

    Args:
        space: where to search.
        objectives: oracles or :class:`Objective`; at least one.
        constraints: bounds on them, texts or :class:`Constraint`.
        seed: random seed.
        budget: how many evaluations of each expensive objective are planned, by objective name, where that is known;
            a searcher may plan by it, and never exceeds it by more than one batch.

    Raises:
        InvalidValue: no objectives, two of one name, or a constraint that cannot be read.
        UnknownName: a constraint on no objective.

    The base class keeps what was told: ``archs_`` ``(m, d)`` in the order first told, and ``values_`` ``(m, k)``, NaN
    where an objective has not been evaluated on that architecture (or failed), columns in the order of the objectives;
    free objectives are filled in by asking their oracles. Both hold values at the objectives' target fidelities alone;
    those at other fidelities are in :meth:`lower`, and an architecture that has nothing else is neither in ``archs_``,
    nor recommended, nor seen: a searcher that knows no fidelities may still propose it, for a full evaluation.
    """

    learns: bool = False
    """Whether the constructor takes `predictor` and `contexts`: what learns the expensive objectives, from which
    features."""
    reads_contexts: bool = False
    """Whether the constructor takes `contexts` although nothing is learned; true of every searcher that learns."""
    learns_few_shot: bool = False
    """Whether a few-shot predictor may learn an expensive objective from fewer evaluations than the others have."""
    needs_fidelities: bool = False
    """Whether an objective must have fidelities, such as accuracies after few and after many epochs. The constructor
    then takes `trainings`, a budget in full trainings."""
    uses_lower: bool = False
    """Whether :meth:`use_lower` is supported."""
    thins_front: bool = False
    """Whether the constructor takes `front_size`: how many architectures to recommend where predictions decide."""

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
    ):
        self.space = space
        self.objectives = [Objective.of(o) for o in objectives]
        if not self.objectives:
            raise InvalidValue("a search needs at least one objective")
        names = [o.name for o in self.objectives]
        if len(set(names)) != len(names):
            raise InvalidValue(f"objectives need different names; got {', '.join(names)}")
        self.constraints = [Constraint.parse(c, names) for c in constraints]
        for constraint in self.constraints:
            constraint.warn_of_fractions(self.objectives[names.index(constraint.objective)].unit)
        self.seed = seed
        self.budget = dict(budget or {})
        self.expensive = tuple(o.name for o in self.objectives if o.expensive)
        self.signs = np.array([o.sign for o in self.objectives])
        self._asks = 0
        self._rows: dict[bytes, int] = {}
        self._network_rows: dict[bytes, int] = {}
        self._archs = np.empty((16, space.d), dtype=np.int64)  # grows by doubling; len(self._rows) rows are in use
        self._values = np.empty((16, len(self.objectives)))
        self._targets = {o.name: o.target for o in self.objectives}
        self._lower: dict[str, dict[tuple[bytes, float], float]] = {name: {} for name in names}
        self._failed: set[bytes] = set()
        self._charged: dict[str, dict[float | None, int]] = {name: {} for name in names}
        self._seen: set[Hashable] = set()

    @property
    def paid(self) -> tuple[str, ...]:
        """Deprecated: the old name of ``expensive``, the names of the expensive objectives."""
        warnings.warn("paid is now called expensive", DeprecationWarning, stacklevel=2)
        return self.expensive

    # ---- what a searcher does

    @property
    def few_shot(self) -> list[str]:
        """Names of the expensive objectives that a few-shot predictor learns from a few evaluations."""
        return []

    def use_lower(self, lower: Mapping[str, LowerFidelity]) -> None:
        """Use lower fidelities of expensive objectives, by name; before the first question.

        Raises:
            Unsupported: the searcher cannot.
            InvalidValue: it cannot with its predictors.
        """
        raise Unsupported(f"{type(self).__name__} cannot use lower fidelities")

    @abstractmethod
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        """Up to `n` proposals; an empty list says that nothing is left to propose."""

    def ask(self, n: int = 1, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Up to `n` proposals; empty when the space is exhausted.

        Args:
            n: how many.
            pending: proposals whose results are still awaited; they are not proposed again.
        """
        # A generator for each question: what is drawn depends on the seed and the number of the question alone, so a
        # resumed run needs no generator state.
        rng = np.random.default_rng([self.seed, self._asks])
        self._asks += 1
        waiting = np.array([p.arch for p in pending], dtype=np.int64).reshape(-1, self.space.d)
        return self._ask(n, waiting, rng)

    def tell(self, records: Sequence[Record]) -> None:
        """Take results, in any order; a failed evaluation has value NaN and counts as tried."""
        columns = {o.name: j for j, o in enumerate(self.objectives)}
        told = len(self._rows)
        final = []
        for record in records:
            if record.objective not in columns:
                continue
            key = np.asarray(record.arch, dtype=np.int64).tobytes()
            if record.charged:
                at = None if record.fidelity == self._targets[record.objective] else record.fidelity
                spent = self._charged[record.objective]
                spent[at] = spent.get(at, 0) + 1
            if record.fidelity is not None and record.fidelity != self._targets[record.objective]:
                self._lower[record.objective][key, record.fidelity] = record.value
                continue
            final.append(record)
            row = self._rows[key] if key in self._rows else self._append(record.arch, key)
            self._values[row, columns[record.objective]] = record.value
            if not np.isfinite(record.value):
                self._failed.add(key)
        fresh = slice(told, len(self._rows))
        if fresh.stop > fresh.start:
            self._seen.update(self.space.keys(self._archs[fresh]))
            for row, network in enumerate(_row_keys(self.space.as_networks(self._archs[fresh])), fresh.start):
                self._network_rows.setdefault(network, row)
            for j, objective in enumerate(self.objectives):
                if not objective.expensive:
                    answer = objective.oracle.evaluate(self._archs[fresh], objective.fidelity)
                    self._values[fresh, j] = answer.value
        self._tell(final)

    def _append(self, arch: Sequence[int], key: bytes) -> int:
        row = len(self._rows)
        if row == len(self._archs):
            self._archs = np.concatenate([self._archs, np.empty_like(self._archs)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._archs[row] = arch
        self._values[row] = np.nan
        self._rows[key] = row
        return row

    def _tell(self, records: Sequence[Record]) -> None:
        """For searchers that keep a state of their own; the records are already in ``archs_`` and ``values_``.

        Those of lower fidelities, or of what is no objective, are left out.
        """

    def recommend(self) -> Archs:
        """The architectures that the search proposes as its front, ``(m, d)``.

        Here those told complete, non-dominated and within the constraints; where none keeps them, the one that breaks
        them least.
        """
        from nastk.metrics import nondominated

        archs, costs, violation = self.complete()
        if not len(archs):
            return archs
        feasible = violation <= 0
        if not feasible.any():
            return archs[[int(np.argmin(violation))]]
        archs, costs = archs[feasible], costs[feasible]
        return self.one_of_each(archs[nondominated(costs)])

    @property
    def optimised(self) -> int:
        """How many of the objectives, the first ones, its front is about; the others are only constrained."""
        return len(self.objectives)

    def alternatives(self) -> Archs:
        """The architectures among which :meth:`recommend` chooses, ``(m, d)``: here those told complete."""
        return self.complete()[0]

    def computed(self, archs: Archs) -> dict[str, NDArray[np.float64]]:
        """Values ``(n,)`` of the free objectives, by name."""
        return {o.name: o.oracle.evaluate(archs, o.fidelity).value for o in self.objectives if not o.expensive}

    def estimate(self, archs: Archs) -> dict[str, Prediction]:
        """Predictions for architectures that were not evaluated, by objective; empty if the searcher has no model."""
        return {}

    def intervals(self, archs: Archs) -> dict[str, tuple[Values, Values]]:
        """95 % intervals of what :meth:`estimate` predicts, both ends ``(n,)``, by objective
        (:meth:`Predictor.interval`); without those objectives whose predictor cannot tell any. Here none."""
        return {}

    def relearned(self, name: str, archs: Archs, values: NDArray[np.float64], of: Archs) -> Prediction | None:
        """Predictions of an objective for the architectures `of`, by its model fitted to these values ``(n,)`` instead
        of those told; None where the searcher has no model, or they are too few."""
        return None

    def further(self, told: Mapping[str, tuple[Archs, NDArray[np.float64]]]) -> Archs:
        """Architectures ``(m, d)`` besides :meth:`alternatives` that the search would come to if it had been told these
        architectures and values, by objective; here none."""
        return self.alternatives()[:0]

    # ---- what was told

    @property
    def archs_(self) -> Archs:
        """Architectures told so far, ``(m, d)``; read-only."""
        return _read_only(self._archs[: len(self._rows)])

    @property
    def values_(self) -> NDArray[np.float64]:
        """Their values, ``(m, k)``, in the objectives' own units and directions; NaN where unknown; read-only."""
        return _read_only(self._values[: len(self._rows)])

    def lower(self, name: str) -> tuple[Archs, NDArray[np.float64], NDArray[np.float64]]:
        """What was told of an objective at other fidelities than its target, in the order told.

        Returns:
            Architectures ``(m, d)``, one as often as it has fidelities; fidelities ``(m,)``; values ``(m,)`` in the
            objective's unit, NaN where the evaluation failed.
        """
        told = self._lower[name]
        archs = np.frombuffer(b"".join(key for key, _ in told), dtype=np.int64).reshape(-1, self.space.d)
        return archs.copy(), np.array([f for _, f in told], dtype=np.float64), np.array([*told.values()], dtype=float)

    def charged(self, name: str) -> dict[float | None, int]:
        """Evaluations of an objective that were told and count against the budget, by fidelity; None is the target.

        Not charged are evaluations of another study and, by default, failures.
        """
        return dict(self._charged[name])

    def values_of(self, archs: Archs) -> NDArray[np.float64]:
        """What was told of architectures ``(n, d)``, or of equal networks (:meth:`SearchSpace.as_networks`): values
        ``(n, k)``, NaN where nothing is known."""
        keys = zip(_row_keys(archs), _row_keys(self.space.as_networks(archs)), strict=True)
        found = [self._rows.get(own, self._network_rows.get(network, -1)) for own, network in keys]
        rows = np.array(found, dtype=np.int64)
        values = np.full((len(rows), len(self.objectives)), np.nan)
        values[rows >= 0] = self._values[rows[rows >= 0]]
        return values

    def one_of_each(self, archs: Archs) -> Archs:
        """`archs`, in their order, with one architecture for each network (:meth:`SearchSpace.as_networks`): the one
        that was told, where one was, else the first."""
        told = np.array([key in self._rows for key in _row_keys(archs)], dtype=bool)
        order = np.argsort(~told, kind="stable")
        return archs[np.sort(order[self.space.distinct(archs[order])])]

    def complete(self) -> tuple[Archs, NDArray[np.float64], NDArray[np.float64]]:
        """Those with every objective known: ``(m, d)``, costs to minimise ``(m, k)``, total violation ``(m,)``."""
        values = self.values_
        known = np.isfinite(values).all(axis=1)
        return self.archs_[known], values[known] * self.signs, self.violation(values[known])

    def violation(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the constraints' violations relative to their bounds, for values ``(m, k)``; 0 where all are kept."""
        total = np.zeros(len(values))
        names = [o.name for o in self.objectives]
        for c in self.constraints:
            total += c.violation(values[:, names.index(c.objective)]) / max(abs(c.bound), 1e-12)
        return total

    def unseen(self, archs: Archs, pending: Archs | None = None) -> NDArray[np.int64]:
        """Rows of `archs` that are neither told nor pending nor repeated, by canonical form, in their order."""
        new = set(self.space.keys(pending)) if pending is not None and len(pending) else set()
        kept = []
        for i, key in enumerate(self.space.keys(archs)):
            if key not in self._seen and key not in new:
                new.add(key)
                kept.append(i)
        return np.array(kept, dtype=np.int64)

    def fresh_random(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """Up to `n` random architectures of networks not seen before; fewer only when the space is exhausted."""
        found = np.empty((0, self.space.d), dtype=np.int64)
        for attempt in range(20):
            drawn = self.space.sample(n + 4 * n * attempt, rng)
            waiting = np.concatenate([pending, found])
            found = np.concatenate([found, drawn[self.unseen(drawn, waiting)]])[:n]
            if len(found) == n:
                return found
        if self.space.enumerable:
            rest = self.space.enumerate()
            rest = rest[self.unseen(rest, np.concatenate([pending, found]))]
            found = np.concatenate([found, rng.permutation(rest)])[:n]
        return found

    def nearest_new(self, arch: Archs, pending: Archs, rng: np.random.Generator) -> Archs:
        """For a suggestion ``(d,)`` that is no member, the network not seen before that differs in the fewest choices,
        ``(1, d)``, at random among equals; a random one in a space that cannot be enumerated, none in one that is
        exhausted."""
        if not self.space.enumerable:
            return self.fresh_random(1, pending, rng)
        members = self.space.enumerate()
        for i in np.argsort((members != arch).sum(axis=1) + rng.random(len(members))):
            if len(self.unseen(members[[i]], pending)):
                return members[[i]]
        return members[:0]

    def propose(self, archs: Archs) -> list[Proposal]:
        """Proposals of these architectures on every expensive objective."""
        return [Proposal(arch, self.expensive) for arch in archs]

    def fresh_from(
        self, make: Callable[[int], Archs], n: int, pending: Archs, rng: np.random.Generator, tries: int = 10
    ) -> Archs:
        """`n` candidates of networks not seen before; random ones where `make` finds no more.

        Args:
            make: makes as many candidates as it is asked for, ``(n, d)``; some may be known.
        """
        found = np.empty((0, self.space.d), dtype=np.int64)
        for _ in range(tries):
            if len(found) >= n:
                break
            drawn = make(n - len(found))
            found = np.concatenate([found, drawn[self.unseen(drawn, np.concatenate([pending, found]))]])
        return self.filled(found, n, pending, rng)

    def filled(self, chosen: Archs, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """`n` of these, or with new random architectures where they are fewer."""
        if len(chosen) < n:
            more = self.fresh_random(n - len(chosen), np.concatenate([pending, chosen]), rng)
            chosen = np.concatenate([chosen, more])
        return chosen[:n]

    def progress(self) -> tuple[float, float] | None:
        """Spent and planned, of a budget that is no number of evaluations (full trainings, short ones their share)."""
        return None

    # ---- saving

    def state(self) -> dict[str, Any]:
        """What, beside the history, determines the next proposals; JSON-able.

        A study saves it with each record, before it tells that record.
        """
        return {"asks": self._asks}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken; call after telling the history."""
        self._asks = int(state.get("asks", 0))


def _row_keys(archs: Archs) -> list[bytes]:
    return [row.tobytes() for row in np.ascontiguousarray(archs)]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def searcher_class(name: str) -> type[Searcher]:
    """The class of the searcher called `name`, whose attributes say what it can and what it takes.

    Raises:
        UnknownName: no such searcher.
    """
    made = SEARCHERS.get(name)
    while isinstance(made, partial):
        made = made.func
    if not (isinstance(made, type) and issubclass(made, Searcher)):
        raise InvalidValue(f"{name!r} is a {type(made).__name__}, not a class derived from nastk.Searcher")
    return made
