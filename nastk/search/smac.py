"""SMAC3's random forests (Lindauer et al., JMLR 2022), of several objectives by ParEGO (Knowles, TEVC 2006)."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, installing
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace

TRIES = 8
"""Consecutive suggestions that are known or invalid before random architectures take their place. More respect SMAC's
acquisition better, and cost a maximisation each."""


class SMAC(Searcher):
    """Asks SMAC3's HyperparameterOptimizationFacade for a value of each categorical choice.

    Its own defaults: a Sobol design of at most a quarter of the budget, a random forest, expected improvement of the
    logarithm, some random configurations in between; of several objectives ParEGO's random scalarisations (Knowles,
    TEVC 2006). SMAC knows neither which combinations are valid nor which encodings are isomorphic: a suggestion that
    cannot be proposed is asked for again, up to :data:`TRIES` times. In a table that holds a sample of its space hardly
    a suggestion is a member: the nearest new one is proposed (:meth:`nearest_new`). SMAC
    has no constraints: what breaks one is told with the worst known costs plus its violation, and a failure as a crash
    with the worst known costs.
    Needs the extra `smac`.

    Raises:
        InvalidValue: SMAC is not installed.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if find_spec("smac") is None:
            raise InvalidValue(f"smac needs SMAC3: {installing('smac')}")
        self._free = [j for j, size in enumerate(space.sizes) if size > 1]

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        log = logging.getLogger("smac")
        before = log.level
        log.setLevel(logging.ERROR)  # it warns of a design without configurations
        try:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                chosen = self._suggest(self._facade(Path(folder), pending, int(rng.integers(2**31))), n, pending, rng)
        finally:
            log.setLevel(before)
        return self.propose(self.filled(chosen, n, pending, rng))

    def _suggest(self, facade: Any, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """Up to `n` new architectures; fewer after :data:`TRIES` in turn that cannot be proposed."""
        from smac.main.exceptions import ConfigurationSpaceExhaustedException

        chosen = np.empty((0, self.space.d), dtype=np.int64)
        tries = 0
        while len(chosen) < n and tries < TRIES:
            try:
                values = dict(facade.ask().config)
            except (ConfigurationSpaceExhaustedException, StopIteration):
                break
            arch = np.zeros(self.space.d, dtype=np.int64)
            arch[self._free] = [values[f"x{j}"] for j in self._free]
            waiting = np.concatenate([pending, chosen])
            valid = self.space.is_valid(arch[None])[0]
            if not valid and isinstance(self.space, Pool):
                found = self.nearest_new(arch, waiting, rng)
                chosen, tries = np.concatenate([chosen, found]), 0 if len(found) else TRIES
            elif valid and len(self.unseen(arch[None], waiting)):
                chosen, tries = np.concatenate([chosen, arch[None]]), 0
            else:
                tries += 1
        return chosen

    def _facade(self, folder: Path, pending: Archs, seed: int) -> Any:
        """SMAC with everything that was told, and what is pending as running trials.

        Made anew for every proposal, so that it depends on the history alone; the seed of the first design stays.
        """
        from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario
        from smac.multi_objective.parego import ParEGO
        from smac.runhistory import StatusType, TrialInfo, TrialValue

        choices = ConfigurationSpace()
        choices.add([CategoricalHyperparameter(f"x{j}", range(int(self.space.sizes[j]))) for j in self._free])
        archs, costs, failed = self._told()
        planned = max(min(self.budget.values(), default=100), 1)
        first = min(10 * len(self._free), planned // 4)  # SMAC's own: ten a hyper-parameter, a quarter of the trials
        begins = len(archs) + len(pending) < max(first, 1)
        several = len(self.objectives) > 1
        scenario = Scenario(
            choices,
            deterministic=True,
            objectives=[f"cost{j}" for j in range(len(self.objectives))] if several else "cost",
            n_trials=max(planned, len(archs) + len(pending) + 1),
            seed=self.seed % 2**31 if begins else seed,
            output_directory=folder,
        )
        facade = Facade(
            scenario,
            initial_design=Facade.get_initial_design(scenario, n_configs=max(first, 1) if begins else 0, max_ratio=1.0),
            intensifier=Facade.get_intensifier(scenario, max_config_calls=1),
            multi_objective_algorithm=ParEGO(scenario) if several else None,
            logging_level=False,
            overwrite=True,
        )

        def trial(arch: Archs) -> Any:
            return TrialInfo(Configuration(choices, values={f"x{j}": int(arch[j]) for j in self._free}), seed=0)

        for arch, cost, broke in zip(archs, costs, failed, strict=True):
            status = StatusType.CRASHED if broke else StatusType.SUCCESS
            told = TrialValue(cost.tolist() if several else float(cost[0]), status=status)
            facade.tell(trial(arch), told, save=False)
        for arch in pending:
            facade.runhistory.add_running_trial(trial(arch))
        return facade

    def _told(self) -> tuple[Archs, NDArray[np.float64], NDArray[np.bool_]]:
        """Everything told completely, or failed: ``(m, d)``, costs to minimise ``(m, k)``, whether it failed."""
        costs = self.values_ * self.signs
        failed = np.array([arch.tobytes() in self._failed for arch in self.archs_], dtype=bool)
        known = np.isfinite(costs).all(axis=1)
        if not known.any():
            return self.archs_[:0], costs[:0], failed[:0]
        worst, width = costs[known].max(axis=0), np.maximum(np.ptp(costs[known], axis=0), 1e-9)
        violation = np.where(known, self.violation(self.values_), 0.0)
        broken = known & (violation > 0)
        costs[broken] = worst + violation[broken, None] * width
        costs[failed] = worst
        kept = known | failed
        return self.archs_[kept], costs[kept], failed[kept]
