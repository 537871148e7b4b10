"""Shared by searchers on rungs of fidelities: results at each rung, the budget that is left, promotions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""Tolerance for rounding errors in sums of prices, far below the price of any evaluation."""


class Rungs(NamedTuple):
    """Fidelities at which architectures are evaluated.

    Args:
        staged: names of the objectives that have them.
        fidelities: ascending, the last the target.
        price: of an evaluation at each, ``(k,)``: in full trainings where the budget counts those, else 1.
    """

    staged: tuple[str, ...]
    fidelities: tuple[float, ...]
    price: Array

    @classmethod
    def of(cls, searcher: Searcher, rungs: Sequence[float] | None, eta: float, trainings: float | None) -> Rungs:
        """The rungs of a searcher; arguments and errors as of :class:`RungSearch`."""
        if not eta > 1:
            raise InvalidValue(f"eta must be more than 1; got {eta}")
        if trainings is not None and not trainings > 0:
            raise InvalidValue(f"trainings is a number above 0; got {trainings}")
        staged = [o for o in searcher.objectives if o.expensive and len(o.oracle.fidelities)]
        fidelities = _fidelities(searcher, staged, rungs, eta)
        price = np.ones(len(fidelities)) if trainings is None else np.array([staged[0].share(f) for f in fidelities])
        return cls(tuple(o.name for o in staged), fidelities, price)


def _fidelities(
    searcher: Searcher, staged: Sequence[Objective], rungs: Sequence[float] | None, eta: float
) -> tuple[float, ...]:
    targets = {o.target for o in staged}
    sets = [{f for f in o.oracle.fidelities if f <= (o.target or 0)} for o in staged]
    common = sorted(set.intersection(*sets)) if sets else []
    if len(common) < 2 or len(targets) > 1:
        have = {o.name: ", ".join(f"{f:g}" for f in sorted(s)) for o, s in zip(staged, sets, strict=True)}
        said = "; ".join(f"{o.name} has {have.get(o.name, 'none')}" for o in searcher.objectives)
        name = type(searcher).__module__.rpartition(".")[2].replace("_", "-")
        raise InvalidValue(
            f"{name} needs an objective with two fidelities (training epochs) or more, the same for "
            f"all that have some, as test_accuracy of nasbench201 has with 12 and 200; {said}"
        )
    if rungs is not None:
        wanted = tuple(float(f) for f in rungs)
        if len(wanted) < 2 or sorted(set(wanted)) != list(wanted) or wanted[-1] != common[-1]:
            raise InvalidValue(f"rungs are two fidelities or more, ascending, the last {common[-1]:g}; got {rungs}")
        if unknown := [f"{f:g}" for f in wanted if f not in common]:
            known = ", ".join(f"{f:g}" for f in common)
            raise InvalidValue(f"no fidelity {', '.join(unknown)}; there are {known}")
        return wanted
    chosen = [common[-1]]
    for fidelity in reversed(common[:-1]):
        if fidelity * eta <= chosen[-1]:
            chosen.append(fidelity)
    return tuple(reversed(chosen)) if len(chosen) > 1 else (common[0], common[-1])


class RungSearch(Searcher):
    """Evaluates many architectures at a low fidelity and the best of them at the next, up to the target.

    Expensive objectives without fidelities (a latency) are evaluated once, with the first evaluation of an
    architecture. An evaluation costs the same whether its training begins from scratch or continues from a checkpoint
    that a lower fidelity left in the network's folder (:meth:`Oracle.network_folder`).

    Args:
        budget: evaluations of each expensive objective, those of all fidelities together.
        rungs: fidelities, ascending, the last the target. By default those that all objectives with fidelities have, up
            to the target, the highest first and then each that is at most an `eta`-th of the one before.
        eta: reduction factor: one in `eta` architectures of a rung is promoted.
        trainings: a budget in full trainings that replaces `budget`: an evaluation at fidelity f costs f / target of
            one. Objectives without fidelities are then evaluated as often as architectures are started.

    Raises:
        InvalidValue: no expensive objective has two fidelities, or they do not have them in common; rungs, eta or
            trainings that cannot be used.
    """

    needs_fidelities = True

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        rungs: Sequence[float] | None = None,
        eta: float = 3.0,
        trainings: float | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        self.eta, self.trainings = eta, trainings
        self.staged, self.rungs, self._price = Rungs.of(self, rungs, eta, trainings)
        self.once = tuple(name for name in self.expensive if name not in self.staged)
        self._columns = {o.name: j for j, o in enumerate(self.objectives)}
        if trainings is not None:
            self.budget = dict.fromkeys(self.expensive, int(trainings / self._price[0] + ROUNDING))
        self._told: dict[str, list[dict[bytes, float]]] = {name: [{} for _ in self.rungs] for name in self.expensive}
        self._begun: dict[bytes, None] = {}  # architectures with any training, in the order told
        self._awaited: list[Proposal] = []  # pending, and what this question has chosen so far
        self._tells = 0
        self._order: dict[int, tuple[int, list[bytes]]] = {}

    @abstractmethod
    def _best_first(self, costs: Array, violation: Array) -> NDArray[np.int64]:
        """The order in which architectures of one rung are promoted.

        Args:
            costs: of each objective, to be minimised, ``(m, k)``.
            violation: of the constraints, ``(m,)``.
        """

    # ---- what was told

    def ask(self, n: int = 1, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        self._awaited = list(pending)
        return super().ask(n, pending)

    def tell(self, records: Sequence[Record]) -> None:
        super().tell(records)
        self._tells += 1
        begun = []
        for record in records:
            if record.objective not in self.expensive:
                continue
            rung = self._rung(record.fidelity) if record.objective in self.staged else 0
            if rung is not None:
                key = np.asarray(record.arch, dtype=np.int64).tobytes()
                self._told[record.objective][rung][key] = record.value
                begun.append(key)
                if record.objective == self.staged[0]:
                    self._begun.setdefault(key)
        self._seen.update(self.space.keys(self._archs_of(begun)))

    def _rung(self, fidelity: float | None) -> int | None:
        """Number of the rung of a fidelity; None for one that is no rung."""
        if fidelity is None:
            return len(self.rungs) - 1
        return self.rungs.index(fidelity) if fidelity in self.rungs else None

    def _archs_of(self, keys: Sequence[bytes]) -> Archs:
        return np.frombuffer(b"".join(keys), dtype=np.int64).reshape(-1, self.space.d).copy()

    def _members(self, rung: int) -> list[bytes]:
        """Architectures with all results of a rung, failures included, in the order told."""
        first, *others = [self._told[name][rung] for name in self.staged]
        others += [self._told[name][0] for name in self.once]
        return [key for key in first if all(key in other for other in others)]

    def _values_at(self, keys: Sequence[bytes], rung: int) -> Array:
        """Values ``(m, k)`` as known at a rung, in the objectives' units."""
        values = np.empty((len(keys), len(self.objectives)))
        for j, o in enumerate(self.objectives):
            if o.expensive:
                told = self._told[o.name][rung if o.name in self.staged else 0]
                values[:, j] = [told[key] for key in keys]
            elif keys:
                values[:, j] = o.oracle.evaluate(self._archs_of(keys), o.fidelity).value
        return values

    def ranking(self, rung: int) -> list[bytes]:
        """Architectures that did not fail at a rung, best first."""
        if self._order.get(rung, (-1, []))[0] != self._tells:
            keys = self._members(rung)
            values = self._values_at(keys, rung)
            known = np.flatnonzero(np.isfinite(values).all(axis=1))
            order = self._best_first(values[known] * self.signs, self.violation(values[known]))
            self._order[rung] = self._tells, [keys[i] for i in known[order]]
        return self._order[rung][1]

    def _keys_above(self, rung: int) -> set[bytes]:
        """Keys of architectures with results, or pending evaluations, at a higher rung."""
        above = {key for told in self._told[self.staged[0]][rung + 1 :] for key in told}
        for proposal in self._awaited:
            at = self._rung(proposal.fidelity)
            if at is not None and at > rung:
                above.add(key_of(proposal))
        return above

    # ---- the budget

    def _spending(self) -> dict[str, float]:
        """Budget spent on each objective with fidelities."""
        spent: dict[str, float] = {}
        for name in self.staged:
            counts = {self._rung(fidelity): n for fidelity, n in self.charged(name).items()}
            spent[name] = float(sum(n * self._price[rung] for rung, n in counts.items() if rung is not None))
        return spent

    def progress(self) -> tuple[float, float] | None:
        return None if self.trainings is None else (round(max(self._spending().values()), 2), self.trainings)

    def _budget_left(self) -> float:
        """What is left of the budget after pending evaluations; infinite where there is none."""
        spent = self._spending()
        for name in self.staged:
            for proposal in self._awaited:
                at = self._rung(proposal.fidelity)
                if at is not None and name in proposal.objectives and key_of(proposal) not in self._told[name][at]:
                    spent[name] += float(self._price[at])
        if self.trainings is not None:
            return self.trainings - max(spent.values()) + ROUNDING
        return min((self.budget[name] - spent[name] for name in self.staged if name in self.budget), default=np.inf)

    def _room(self) -> float:
        """How many architectures the budgets of the objectives without fidelities allow to start."""
        room = np.inf
        for name in self.once:
            awaited = sum(name in p.objectives and key_of(p) not in self._told[name][0] for p in self._awaited)
            room = min(room, self.budget.get(name, np.inf) - sum(self.charged(name).values()) - awaited)
        return room

    def _reaches(self, rung: int) -> bool:
        """Whether the budget left suffices for this rung and all above."""
        return bool(self._price[rung:].sum() <= self._budget_left())

    # ---- proposals

    def _start_new(self, n: int, rung: int, rng: np.random.Generator) -> list[Proposal]:
        """Start up to `n` new random architectures at a rung."""
        awaited = np.array([p.arch for p in self._awaited], dtype=np.int64).reshape(-1, self.space.d)
        return self._await([Proposal(a, self.expensive, self.rungs[rung]) for a in self.fresh_random(n, awaited, rng)])

    def _promote(self, keys: Sequence[bytes], rung: int) -> list[Proposal]:
        """Evaluate these architectures at the rung after `rung`."""
        return self._await([Proposal(a, self.staged, self.rungs[rung + 1]) for a in self._archs_of(keys)])

    def _await(self, proposals: list[Proposal]) -> list[Proposal]:
        """Count proposals as pending at once, so that the next one of the same batch knows of them."""
        self._awaited += proposals
        return proposals

    def _promote_best(self) -> list[Proposal]:
        """Promote the best architecture left behind at the highest rung, beyond the quota of `eta`, if the budget
        carries it to the top: a budget too small for a new architecture is not left unused."""
        for rung in range(len(self.rungs) - 2, -1, -1):
            if not self._reaches(rung + 1):
                break
            above = self._keys_above(rung)
            for key in self.ranking(rung):
                if key not in above:
                    return self._promote([key], rung)
        return []


def key_of(proposal: Proposal) -> bytes:
    return np.asarray(proposal.arch, dtype=np.int64).tobytes()
