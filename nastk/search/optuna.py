"""Optuna's samplers as searchers, by name, such as TPE (Akiba et al., KDD 2019; Bergstra et al., NeurIPS 2011)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import optuna

FAMILY = "optuna:<sampler>"
"""The name under which lists show these searchers."""

SAMPLERS = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "cma-es": "CmaEsSampler",
}
"""Names of Optuna's sampler classes by the names used here."""

BY_NUMBERS = ("cma-es",)
"""Samplers that take options as numbers, in their order; the others take them as categories."""

NEEDS = {"cma-es": "cmaes"}
"""Packages that a sampler needs and Optuna does not bring."""

TRIES = 8
"""Consecutive suggestions that are known or invalid before a mutant of the last one is proposed. More respect the
sampler's distribution better, and cost a sampling step each."""


class OptunaSearch(Searcher):
    """Asks one of Optuna's samplers for a value of each choice.

    Samplers know neither which combinations are valid nor which encodings are isomorphic: a suggestion that cannot be
    proposed is sampled again, and after :data:`TRIES` times the last one is mutated until it is new. In a table that
    holds a sample of its space hardly a suggestion is a member: the nearest new one is proposed (:meth:`nearest_new`).
    Failures are failed trials; what was told without being asked for is a trial too.

    Args:
        sampler: tpe, gp, nsga2, nsga3, cma-es (needs the package cmaes; one objective).

    Raises:
        UnknownName: no such sampler.
        InvalidValue: it needs a package that is not installed, or takes one objective only.
    """

    def __init__(
        self,
        sampler: str,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if sampler not in SAMPLERS:
            raise UnknownName("Optuna sampler", sampler, SAMPLERS)
        if sampler in NEEDS and find_spec(NEEDS[sampler]) is None:
            raise InvalidValue(f"optuna:{sampler} needs the package {NEEDS[sampler]}: pip install {NEEDS[sampler]}")
        if sampler == "cma-es" and len(self.objectives) > 1:
            raise InvalidValue("optuna:cma-es takes one objective; for several use optuna:nsga2 or optuna:tpe")
        self.sampler = sampler
        self._asked: dict[bytes, dict[str, Any]] = {}  # the sampler's system attributes of a suggestion

    # ---- the study behind

    def _study(self, rng: np.random.Generator) -> optuna.Study:
        """A study of finished trials: everything told completely, or failed, in the order told.

        Made anew for every proposal, so that it depends on the history and the samplers' system attributes alone.
        """
        import optuna
        from optuna.trial import TrialState, create_trial

        distributions = self._distributions()
        violation = self.violation(self.values_)
        trials = []
        for row, arch in enumerate(self.archs_):
            key = arch.tobytes()
            values, failed = self.values_[row] * self.signs, key in self._failed
            if not failed and not np.isfinite(values).all():
                continue
            broken = float(violation[row]) if np.isfinite(violation[row]) else 1.0
            trials.append(
                create_trial(
                    state=TrialState.FAIL if failed else TrialState.COMPLETE,
                    values=None if failed else values.tolist(),
                    params={name: int(arch[int(name)]) for name in distributions},
                    distributions=distributions,
                    system_attrs=self._asked.get(key, {}),
                    constraints={"violation": broken} if self.constraints else None,
                )
            )
        study = optuna.create_study(directions=["minimize"] * len(self.objectives), sampler=self._make_sampler(rng))
        study.add_trials(trials)
        return study

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        numbers = self.sampler in BY_NUMBERS
        return {
            str(j): IntDistribution(0, len(c) - 1) if numbers else CategoricalDistribution(range(len(c)))
            for j, c in enumerate(self.space.choices)
            if len(c) > 1
        }

    def _make_sampler(self, rng: np.random.Generator) -> Any:
        """The sampler, seeded for this proposal."""
        import optuna

        options: dict[str, Any] = {"seed": int(rng.integers(2**31))}
        if self.sampler in ("nsga2", "nsga3"):
            options["population_size"] = min(max(min(self.budget.values(), default=200) // 20, 10), 20)
        return getattr(optuna.samplers, SAMPLERS[self.sampler])(**options)

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        import optuna

        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some samplers and options are marked experimental
                study = self._study(rng)
                while len(chosen) < n:
                    arch = self._suggest(study, np.concatenate([pending, chosen]), rng)
                    if arch is None:
                        break
                    chosen = np.concatenate([chosen, arch[None]])
        finally:
            optuna.logging.set_verbosity(before)
        return [Proposal(arch, self.expensive) for arch in chosen]

    def _suggest(self, study: optuna.Study, pending: Archs, rng: np.random.Generator) -> Archs | None:
        """A new architecture; None where the space is exhausted."""
        from optuna.trial import TrialState

        distributions = self._distributions()
        arch = np.zeros(self.space.d, dtype=np.int64)
        for _ in range(1 if isinstance(self.space, Pool) else TRIES):
            trial = study.ask(distributions)
            for name, value in trial.params.items():
                arch[int(name)] = value
            noted = dict(study.tell(trial, state=TrialState.FAIL).system_attrs)
            if self.space.is_valid(arch[None])[0] and len(self.unseen(arch[None], pending)):
                break
        else:
            fresh = self._mutate_until_new(arch, pending, rng)
            if fresh is None:
                return None
            arch = fresh
        self._asked[arch.tobytes()] = noted
        return arch

    def _mutate_until_new(self, arch: Archs, pending: Archs, rng: np.random.Generator) -> Archs | None:
        """A new mutant of a known suggestion, the nearest new one to what is no member, else any new architecture."""
        if not self.space.is_valid(arch[None])[0]:
            found = self.nearest_new(arch, pending, rng)
            return found[0] if len(found) else None
        for _ in range(TRIES):
            arch = self.space.mutate(arch[None], rng)[0]
            if len(self.unseen(arch[None], pending)):
                return arch
        fresh = self.fresh_random(1, pending, rng)
        return fresh[0] if len(fresh) else None

    # ---- saving

    def state(self) -> dict[str, Any]:
        asked = [[np.frombuffer(key, dtype=np.int64).tolist(), noted] for key, noted in self._asked.items()]
        return {**super().state(), "asked": asked}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        for arch, noted in state.get("asked", []):
            self._asked[np.array(arch, dtype=np.int64).tobytes()] = noted
