"""Any population algorithm of pymoo by name (Blank & Deb, IEEE Access 2020), such as NSGA-II (Deb et al. 2002)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace

FAMILY = "pymoo:<algorithm>"

ALGORITHMS = {
    "nsga2": ("pymoo.algorithms.moo.nsga2", "NSGA2"),
    "nsga3": ("pymoo.algorithms.moo.nsga3", "NSGA3"),
    "sms-emoa": ("pymoo.algorithms.moo.sms", "SMSEMOA"),
    "spea2": ("pymoo.algorithms.moo.spea2", "SPEA2"),
    "rvea": ("pymoo.algorithms.moo.rvea", "RVEA"),
    "ga": ("pymoo.algorithms.soo.nonconvex.ga", "GA"),
}
BY_DIRECTIONS = ("nsga3", "rvea")


class PymooSearch(Searcher):
    """Runs one of pymoo's algorithms on the integer choices, with the space's own sampling, crossover and mutation.

    A generation is handed out in any batch size. Networks that are known, by canonical form, are not proposed again;
    where a generation has nothing new, random architectures fill it. Failed evaluations never enter the population.
    Architectures told without being asked for (a resumed run) form the first population.

    Args:
        algorithm: nsga2, nsga3, sms-emoa, spea2, rvea, or ga for one objective.
        population: size of the population and of each generation.
    """

    def __init__(
        self,
        algorithm: str,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        population: int = 20,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if algorithm not in ALGORITHMS:
            raise UnknownName("pymoo algorithm", algorithm, ALGORITHMS)
        if population < 2:
            raise InvalidValue(f"a population needs at least 2 architectures; got {population}")
        if algorithm == "ga" and len(self.objectives) > 1:
            raise InvalidValue("pymoo:ga takes one objective; for several use pymoo:nsga2")
        self.algorithm, self.population = algorithm, population
        self._optimiser: Any = None
        self._queue: list[Archs] = []
        self._generation: list[Archs] = []

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        while len(chosen) < n:
            while self._queue and len(chosen) < n:
                arch = self._queue.pop(0)[None]
                if len(self.unseen(arch, np.concatenate([pending, chosen]))):
                    chosen = np.concatenate([chosen, arch])
            if len(chosen) == n or not self._next_generation(len(pending) + len(chosen), rng):
                break
        if len(chosen) < n and not len(pending):
            waiting = np.concatenate([pending, chosen])
            chosen = np.concatenate([chosen, self.fresh_random(n - len(chosen), waiting, rng)])
        return [Proposal(arch, self.paid) for arch in chosen]

    def _next_generation(self, unfinished: int, rng: np.random.Generator) -> bool:
        """Fill the queue with a generation; False while the last one's results are awaited."""
        if unfinished:
            return False
        archs, costs, violation = self.complete()
        if len(archs) < self.population:
            self._queue = list(self.fresh_random(self.population - len(archs), archs[:0], rng))
            return bool(self._queue)
        if self._optimiser is None:
            self._optimiser = self._make(rng)
            self._feed(archs, costs, violation, first=True)
        elif self._generation:
            keys = {a.tobytes() for a in self._generation}
            mine = np.array([a.tobytes() in keys for a in archs], dtype=bool)
            self._feed(archs[mine], costs[mine], violation[mine], first=False)
        for _ in range(5):
            offspring = self._optimiser.ask().get("X").astype(np.int64)
            fresh = offspring[self.unseen(offspring)]
            if len(fresh):
                break
        if not len(fresh):
            fresh = self.fresh_random(self.population, archs[:0], rng)
        self._generation = list(fresh)
        self._queue = list(fresh)
        return bool(len(fresh))

    def _feed(self, archs: Archs, costs: Any, violation: Any, first: bool) -> None:
        from pymoo.core.population import Population

        if not len(archs):
            return
        if first:  # the algorithm's own survival decides who of everything told makes the first population
            self._optimiser.ask()
        known = Population.new(X=archs.astype(float), F=costs, G=violation[:, None])
        for individual in known:
            individual.evaluated.update({"F", "G"})
        self._optimiser.tell(infills=known)

    def _make(self, rng: np.random.Generator) -> Any:
        from importlib import import_module

        from pymoo.core.crossover import Crossover
        from pymoo.core.mutation import Mutation
        from pymoo.core.problem import Problem
        from pymoo.core.sampling import Sampling
        from pymoo.util.ref_dirs import get_reference_directions

        space, seed = self.space, int(rng.integers(2**31))
        moves = np.random.default_rng(seed)

        class Draw(Sampling):
            def _do(self, problem: Any, n_samples: int, **_: Any) -> Any:
                return space.sample(n_samples, moves).astype(float)

        class Cross(Crossover):
            def __init__(self) -> None:
                super().__init__(2, 2, prob=0.9)

            def _do(self, problem: Any, x: Any, **_: Any) -> Any:
                a, b = x.astype(np.int64)
                return np.stack([space.crossover(a, b, moves), space.crossover(b, a, moves)]).astype(float)

        class Mutate(Mutation):
            def __init__(self) -> None:
                super().__init__(prob=1.0)

            def _do(self, problem: Any, x: Any, **_: Any) -> Any:
                return space.mutate(x.astype(np.int64), moves).astype(float)

        problem = Problem(
            n_var=space.d, n_obj=len(self.objectives), n_ieq_constr=1, xl=np.zeros(space.d), xu=space.sizes - 1.0
        )
        module, name = ALGORITHMS[self.algorithm]
        options: dict[str, Any] = {
            "pop_size": self.population,
            "sampling": Draw(),
            "crossover": Cross(),
            "mutation": Mutate(),
            "eliminate_duplicates": True,
        }
        if self.algorithm in BY_DIRECTIONS:
            options["ref_dirs"] = get_reference_directions("energy", len(self.objectives), self.population, seed=1)
        algorithm = getattr(import_module(module), name)(**options)
        algorithm.setup(problem, termination=("n_gen", 10**9), seed=seed, verbose=False)
        return algorithm
