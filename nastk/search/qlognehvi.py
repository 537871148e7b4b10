"""qLogNEHVI of BoTorch over a discrete pool (Ament et al., NeurIPS 2023; Daulton et al., NeurIPS 2021)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, installing
from nastk.oracles.base import Oracle
from nastk.search._multi import by_dominance
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace


class QLogNEHVI(Searcher):
    """BoTorch's Gaussian processes on one-hot choices, and the logarithm of noisy expected hypervolume improvement.

    One exact Gaussian process per objective is fitted to the evaluated architectures; a batch is chosen greedily from a
    random pool by the acquisition. Constraints are outcome constraints of the acquisition.
    Needs the extra `bo`.

    Args:
        start: random architectures before the first fit.
        candidates: size of the pool, half random, half mutants of the front.
        samples: of the posterior.

    Raises:
        InvalidValue: BoTorch is not installed, or there is one objective only.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        start: int = 10,
        candidates: int = 1000,
        samples: int = 64,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if find_spec("botorch") is None:
            raise InvalidValue(f"qlognehvi needs BoTorch: {installing('bo')}")
        if len(self.objectives) < 2:
            raise InvalidValue("qlognehvi takes two objectives or more; for one use predictor")
        if start < 2 or candidates < 2:
            raise InvalidValue(f"start and candidates must be at least 2; got {start} and {candidates}")
        self.start, self.candidates, self.samples = start, candidates, samples

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        start = max(2, min(self.start, min(self.budget.values(), default=10**9) // 2))
        missing = start - len(self.archs_) - len(pending)
        archs, costs, violation = self.complete()
        if missing > 0 or len(archs) < 2:
            return self.propose(self.fresh_random(min(n, max(missing, 1)), pending, rng))
        parents = archs[by_dominance(costs, violation)[:20]]
        mutants = self.space.mutate(parents[rng.integers(0, len(parents), self.candidates // 2)], rng)
        pool = np.concatenate([self.space.sample(self.candidates // 2, rng), mutants])
        pool = pool[self.unseen(pool, pending)]
        chosen = pool[self._maximise_acquisition(archs, costs, pool, pending, n, rng)] if len(pool) else pool
        return self.propose(self.filled(chosen, n, pending, rng))

    def _maximise_acquisition(
        self, archs: Archs, costs: NDArray[np.float64], pool: Archs, pending: Archs, n: int, rng: np.random.Generator
    ) -> list[int]:
        """Rows of the pool, chosen greedily: each choice is pending for the next (sequential greedy, NeurIPS 2021)."""
        import torch
        from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
        from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import ModelListGP, SingleTaskGP
        from botorch.sampling import SobolQMCNormalSampler
        from gpytorch.mlls import SumMarginalLogLikelihood

        def features(rows: Archs) -> Any:
            return torch.as_tensor(self.space.one_hot(self.space.as_networks(rows)), dtype=torch.float64)

        seed = int(rng.integers(2**31))
        centre, width = costs.mean(axis=0), np.maximum(costs.std(axis=0), 1e-12)
        y = torch.as_tensor(-(costs - centre) / width)  # BoTorch maximises
        x = features(archs)
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            model = ModelListGP(*(SingleTaskGP(x, column[:, None]) for column in y.T))
            fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
            bounds = [self._slack(c, centre, width) for c in self.constraints]
            m = costs.shape[1]
            acquisition = qLogNoisyExpectedHypervolumeImprovement(
                model,
                ref_point=(y.min(dim=0).values - 0.1 * (y.max(dim=0).values - y.min(dim=0).values)).tolist(),
                X_baseline=x,
                sampler=SobolQMCNormalSampler(torch.Size([self.samples]), seed=seed),
                objective=IdentityMCMultiOutputObjective(outcomes=list(range(m))),
                constraints=bounds or None,
                X_pending=features(pending) if len(pending) else None,
                prune_baseline=True,
            )
            chosen: list[int] = []
            candidates = features(pool)
            waiting = [features(pending)] if len(pending) else []
            for _ in range(min(n, len(pool))):
                with torch.no_grad():
                    gain = torch.cat([acquisition(part[:, None]) for part in candidates.split(256)])
                gain[chosen] = -torch.inf
                chosen.append(int(gain.argmax()))
                waiting.append(candidates[chosen[-1:]])
                acquisition.set_X_pending(torch.cat(waiting))
        return chosen

    def _slack(self, c: Constraint, centre: NDArray[np.float64], width: NDArray[np.float64]) -> Any:
        """A constraint as BoTorch takes it: a function of modelled outcomes, negative where they are feasible."""
        j = [o.name for o in self.objectives].index(c.objective)
        sign = float(self.signs[j]) * (1.0 if c.relation == "<=" else -1.0)
        bound = (1.0 if c.relation == "<=" else -1.0) * c.bound

        def slack(outcomes: Any) -> Any:
            cost = centre[j] - outcomes[..., j] * width[j]
            return (sign * cost - bound) / width[j]

        return slack
