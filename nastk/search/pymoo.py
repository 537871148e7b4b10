"""Any population algorithm of pymoo by name (Blank & Deb, IEEE Access 2020), such as NSGA-II (Deb et al. 2002)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import comb
from typing import Any

import numpy as np

from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.search._dominance import by_dominance
from nastk.search.base import Constraint, LowerFidelity, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace

FAMILY = "pymoo:<algorithm>"
"""The name under which lists show these searchers."""

ALGORITHMS = {
    "nsga2": ("pymoo.algorithms.moo.nsga2", "NSGA2"),
    "nsga3": ("pymoo.algorithms.moo.nsga3", "NSGA3"),
    "sms-emoa": ("pymoo.algorithms.moo.sms", "SMSEMOA"),
    "spea2": ("pymoo.algorithms.moo.spea2", "SPEA2"),
    "age-moea2": ("pymoo.algorithms.moo.age2", "AGEMOEA2"),
    "moead": ("pymoo.algorithms.moo.moead", "ParallelMOEAD"),
    "rvea": ("pymoo.algorithms.moo.rvea", "RVEA"),
    "ga": ("pymoo.algorithms.soo.nonconvex.ga", "GA"),
}
"""Module and class in pymoo of each algorithm, by the name used here."""

BROOD = 4
"""Candidates for each place of a generation, where a lower fidelity tells which of them lead. More of them make the
choice sharper, and rely more on it."""

BY_DIRECTIONS = ("nsga3", "moead", "rvea")
"""Algorithms that pymoo builds with reference directions."""


class PymooSearch(Searcher):
    """Runs one of pymoo's algorithms on the integer choices, with the space's own sampling, crossover and mutation.

    A generation is handed out in any batch size; while results of its last members are awaited, nothing new is
    proposed. Networks that are known, by canonical form, are not proposed again; where a generation has nothing new,
    random architectures take its place. Failed evaluations never enter the population. Architectures that were told
    without being proposed (a resumed run) compete for the first population.

    Where every expensive objective has a lower fidelity (:meth:`Searcher.use_lower`), a generation has :data:`BROOD`
    times as many offspring, of which those are evaluated that lead by it and by the free objectives.

    Args:
        algorithm: nsga2, nsga3, sms-emoa, spea2, age-moea2 (needs numba), moead, rvea, or ga for one objective.
        population: size of the population and of each generation; by default a twentieth of the budget, 10 to 20.
    """

    uses_lower = True

    def __init__(
        self,
        algorithm: str,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        population: int | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if algorithm not in ALGORITHMS:
            raise UnknownName("pymoo algorithm", algorithm, ALGORITHMS)
        if algorithm == "ga" and len(self.objectives) > 1:
            raise InvalidValue("pymoo:ga takes one objective; for several use pymoo:nsga2")
        if algorithm != "ga" and len(self.objectives) == 1:
            raise InvalidValue(f"pymoo:{algorithm} takes two objectives or more; for one use pymoo:ga")
        if population is None:
            population = min(max(min(self.budget.values(), default=200) // 20, 10), 20)
        if population < 2:
            raise InvalidValue(f"a population needs at least 2 architectures; got {population}")
        if algorithm == "age-moea2" and find_spec("numba") is None:
            raise InvalidValue("pymoo:age-moea2 needs numba, which pymoo does not bring: pip install numba")
        self.algorithm, self.population = algorithm, population
        self._lower_fidelities: dict[str, LowerFidelity] = {}
        self._generations = 0
        self._parents: Archs | None = None  # None until the first population is complete
        self._generation = self._queue = np.empty((0, space.d), dtype=np.int64)

    def use_lower(self, lower: Mapping[str, LowerFidelity]) -> None:
        if lacking := [name for name in self.expensive if name not in lower]:
            known = [o.name for o in self.objectives if not o.expensive]
            raise InvalidValue(
                f"pymoo:{self.algorithm} compares offspring before they are evaluated, by {', '.join([*lower, *known])}"
                f"; {lacking[0]} is known of none: take one that is computed, such as flops, or a searcher that learns"
                " it, such as predictor"
            )
        self._lower_fidelities = dict(lower)

    def _lead(self, archs: Archs, n: int) -> Archs:
        """The `n` of these that lead by lower fidelities and free objectives; all where there are no lower ones."""
        if not self._lower_fidelities or len(archs) <= n:
            return archs
        free = self.computed(archs)
        known = {**free, **{name: lower.ask(archs) for name, lower in self._lower_fidelities.items()}}
        costs = np.stack([o.sign * known[o.name] for o in self.objectives], axis=1)
        violation = np.zeros(len(archs))
        for c in self.constraints:
            if c.objective in free:  # a lower fidelity has another unit
                violation += c.violation(free[c.objective])
        kept = np.flatnonzero(np.isfinite(costs).all(axis=1))
        if not len(kept):
            return archs[:n]  # what fails in the supernet may not fail alone
        order = by_dominance(costs[kept], violation[kept]) if costs.shape[1] > 1 else np.argsort(costs[kept, 0])
        return archs[kept[order[:n]]]

    @property
    def _brood(self) -> int:
        return BROOD if self._lower_fidelities else 1

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        chosen = self._take(n, pending)
        if not len(chosen) and not len(pending):
            self._breed(rng)
            chosen = self._take(n, pending)
        return [Proposal(arch, self.expensive) for arch in chosen]

    def _take(self, n: int, pending: Archs) -> Archs:
        """Take up to `n` new architectures from the rest of the generation."""
        fresh = self.unseen(self._queue, pending)[:n]
        chosen = self._queue[fresh]
        self._queue = self._queue[fresh[-1] + 1 :] if len(fresh) else self._queue[:0]
        return chosen

    def _breed(self, rng: np.random.Generator) -> None:
        """The next generation: the first population is filled at random, later ones come from the algorithm."""
        nobody = self._queue[:0]
        archs, costs, violation = self.complete()
        if self._parents is None and len(archs) < self.population:
            missing = self.population - len(archs)
            drawn = self.fresh_random(self._brood * missing, nobody, rng)
            self._queue = self._generation = self._lead(drawn, missing)
            return
        family = {a.tobytes() for a in self._family()} if self._parents is not None else None
        mine = np.array([family is None or a.tobytes() in family for a in archs], dtype=bool)
        self._generations += 1
        self._parents, offspring = self._evolve(archs[mine], costs[mine], violation[mine])
        fresh = self._lead(offspring[self.unseen(offspring)], self.population)
        self._queue = self._generation = fresh if len(fresh) else self.fresh_random(self.population, nobody, rng)

    def _family(self) -> Archs:
        assert self._parents is not None
        return np.concatenate([self._parents, self._generation])

    def _evolve(self, archs: Archs, costs: Any, violation: Any) -> tuple[Archs, Archs]:
        """The algorithm's survivors of these, and their offspring, most of them new."""
        from pymoo.core.population import Population

        algorithm = self._algorithm(np.random.default_rng([self.seed, 7, self._generations]))
        if self.algorithm == "moead":
            return self._decompose(algorithm, archs, costs, violation)
        everyone = Population.new(X=archs.astype(float), F=costs, G=violation[:, None])
        for individual in everyone:
            individual.evaluated.update({"F", "G"})
        algorithm.pop = everyone
        algorithm.n_iter = self._generations
        algorithm.is_initialized = True
        with np.errstate(invalid="ignore"):  # RVEA scales directions by the front's range, which may be nothing
            algorithm.advance(infills=Population.empty())
        survivors = algorithm.pop.get("X").astype(np.int64)
        offspring = algorithm.ask()
        if offspring is None:
            return survivors, survivors[:0]
        return survivors, offspring.get("X").astype(np.int64)

    def _decompose(self, algorithm: Any, archs: Archs, costs: Any, violation: Any) -> tuple[Archs, Archs]:
        """MOEA/D has no survival: each direction keeps the best architecture along it, and mates with its
        neighbours."""
        from pymoo.core.population import Population

        low, high = costs.min(axis=0), costs.max(axis=0)
        scaled = (costs - low) / np.where(high > low, high - low, 1.0) + 10.0 * violation[:, None]
        algorithm.ideal = scaled.min(axis=0)
        value = algorithm.decomposition.do(
            scaled, weights=algorithm.ref_dirs, ideal_point=algorithm.ideal, _type="many_to_many"
        )
        best = np.asarray(value).argmin(axis=0)
        algorithm.pop = Population.new(X=archs[best].astype(float), F=scaled[best])
        offspring = [algorithm._infill().get("X").astype(np.int64) for _ in range(self._brood)]
        return np.unique(archs[best], axis=0), np.concatenate(offspring)

    def _algorithm(self, rng: np.random.Generator) -> Any:
        from copy import deepcopy
        from importlib import import_module

        from pymoo.core.crossover import Crossover
        from pymoo.core.duplicate import DuplicateElimination
        from pymoo.core.mutation import Mutation
        from pymoo.core.problem import Problem
        from pymoo.util.ref_dirs import get_reference_directions

        space, known = self.space, self._seen

        class Cross(Crossover):
            def __init__(self) -> None:
                super().__init__(2, 2, prob=0.9)

            def _do(self, problem: Any, x: Any, **_: Any) -> Any:
                a, b = x.astype(np.int64)
                return np.stack([space.crossover(a, b, rng), space.crossover(b, a, rng)]).astype(float)

        class Mutate(Mutation):
            def __init__(self) -> None:
                super().__init__(prob=1.0)

            def _do(self, problem: Any, x: Any, **_: Any) -> Any:
                return space.mutate(x.astype(np.int64), rng).astype(float)

        class Known(DuplicateElimination):
            """Drops offspring that is told already, or twice in the offspring."""

            def _do(self, pop: Any, other: Any, is_duplicate: Any) -> Any:
                met = set(known if other is None else space.keys(other.get("X").astype(np.int64)))
                for i, key in enumerate(space.keys(pop.get("X").astype(np.int64))):
                    is_duplicate[i] = key in met
                    met.add(key)
                return is_duplicate

        module, kind = ALGORITHMS[self.algorithm]
        options: dict[str, Any] = {
            "pop_size": self.population,
            "crossover": Cross(),
            "mutation": Mutate(),
            "eliminate_duplicates": Known(),
        }
        if self._lower_fidelities:
            options["n_offsprings"] = BROOD * self.population
        if self.algorithm in BY_DIRECTIONS:
            m, parts = len(self.objectives), 1
            while comb(parts + m, m - 1) <= self.population:
                parts += 1
            options["ref_dirs"] = get_reference_directions("das-dennis", m, n_partitions=parts)
        if self.algorithm == "moead":  # a direction has one member, which may be that of its neighbour too
            for name in ("pop_size", "eliminate_duplicates", "n_offsprings"):
                options.pop(name, None)
            options["n_neighbors"] = min(20, max(2, len(options["ref_dirs"]) // 2))
        constraints = 0 if self.algorithm == "moead" else 1
        problem = Problem(
            n_var=space.d, n_obj=len(self.objectives), n_ieq_constr=constraints, xl=np.zeros(space.d),
            xu=space.sizes - 1.0,
        )  # fmt: skip
        algorithm = getattr(import_module(module), kind)(**options)
        if hasattr(algorithm, "survival"):  # some are default arguments, shared between instances
            algorithm.survival = deepcopy(algorithm.survival)
        algorithm.mating.n_max_iterations = 10
        last = max(min(self.budget.values(), default=200) // self.population, self._generations + 1)
        algorithm.setup(problem, termination=("n_gen", last), seed=int(rng.integers(2**31)), verbose=False)
        return algorithm

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "generations": self._generations,
            "parents": None if self._parents is None else self._parents.tolist(),
            "generation": self._generation.tolist(),
            "queue": self._queue.tolist(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._generations = int(state.get("generations", 0))
        parents = state.get("parents")
        self._parents = None if parents is None else self._rows_of(parents)
        self._generation, self._queue = self._rows_of(state.get("generation")), self._rows_of(state.get("queue"))

    def _rows_of(self, rows: Any) -> Archs:
        return np.array(rows or [], dtype=np.int64).reshape(-1, self.space.d)
