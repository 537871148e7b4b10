"""predictor: learns what is paid for, computes what is free, and pays where the front is expected to grow most.

Several objectives: expected hypervolume improvement (Emmerich et al. 2006; Daulton et al., NeurIPS 2020) over the
enumerated space or an evolved pool, with the hypervolume written as a mean over directions (Deng & Zhang 2019; Zhang &
Golovin, ICML 2020); one proposal in five is what could be best in an expensive objective alone. One objective: an upper
confidence bound (Srinivas et al., ICML 2010) that becomes less optimistic. Both start at what zero-cost proxies say
where the predictor has learned what they are worth: at what they rank first, or at the front by them. A latency with a
few-shot predictor is measured a few times at the start, on architectures chosen target-blind. A network that was
evaluated is proposed again in another form where that may be faster: equal cells can be written in many ways whose
latencies differ several times, and ten measurements do not tell the fastest.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from nastk.encodings.base import Context
from nastk.metrics import nondominated, orthant_directions, orthant_volume, reach
from nastk.oracles.base import Oracle
from nastk.predictors.base import Predictor
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.search._beliefs import BeliefSearch
from nastk.search.base import Constraint, Objective, Proposal
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

START = 10
"""First evaluations where no predictor has a guess."""
GUESSED, TOP, GUESSES = 2, 0.01, 20_000
"""First evaluations of one objective whose predictor has a guess; the share of the space, best by the guess, that they
are drawn from; random architectures that stand for a space that cannot be listed."""
GUESSED_FRONT = 6
"""First evaluations of several objectives whose predictors have a guess: the front by it."""
OPTIMISM = (1.5, 0.3, 40.0)
"""Standard deviations that are added to what one objective may be: at the start, at the end, and the evaluations in
which one of them goes."""
ALONE = 5
"""With several objectives, each so many proposals one is what could be best in an expensive one alone. That end of the
front is the hardest to find, and the expected hypervolume, which adds little there, leaves it."""
SHORTLIST, FORMS = 1000, 6
"""With several objectives, so many candidates are compared by draws, and so many ways to write one network."""
EXPLORATION = (0.5, 0.1)
"""With several objectives, what the standard deviations of what is learned are multiplied by: without and with a guess
beforehand, which has explored already."""
DEVIATION = 0.7
"""Share of their deviation from the mean that the joint draws of a few-shot predictor keep."""
SCREENS = (0.0, 0.5, 1.5)
"""Standard deviations that candidates are believed better by when they are screened for that, in turn: those that are
expected to improve the front, those that are likely to, and those that might."""
SCREENED, REFRESH = 3000, 10
"""With one objective, so many architectures of a listed space are scored again at every evaluation; all of it each so
many evaluations."""


class PredictorSearch(BeliefSearch):
    """Model-based search, the default.

    Args:
        predictor: learns the paid objectives: a name, or one by objective (`{"latency": few_shot, "accuracy": "gp"}`).
            By default gp-bma for one objective, or where a prior ships for the space and it is maximised; else gp. A
            pretrained few-shot predictor is adapted to its measurements; anything else is refitted every round.
        contexts: context of the features by objective (build options, source of proxies).
        start: evaluations of each learned objective before the first fit; fewer if the budget is small. By default
            :data:`START`; where the predictors have a guess beforehand, :data:`GUESSED` of one objective and
            :data:`GUESSED_FRONT` of several.
        measurements: how many evaluations objectives with a few-shot predictor get, where the budget does not say.
        refine: the share of them that is kept for architectures proposed later, the least certain first.
        candidates: at most so many architectures are scored a round; a larger space is scored on an evolved pool.
        generations: how often that pool evolves.
        directions: number of directions of the hypervolume.
        draws: number of draws of the expectation.
        front_size: at most so many architectures are recommended where predictions alone decide.
        exploration: multiplies the predictors' standard deviations when the next architectures are chosen, by default
            by :data:`EXPLORATION`; not those of few-shot predictors, which draw jointly.
    """

    learns_few_shot = True

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        predictor: str | Predictor | Mapping[str, str | Predictor] | None = None,
        contexts: Mapping[str, Context] | None = None,
        start: int | None = None,
        measurements: int = 10,
        refine: float = 0.3,
        candidates: int = 50_000,
        generations: int = 10,
        directions: int = 128,
        draws: int = 32,
        front_size: int = 24,
        exploration: float | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, measurements)
        self.start, self.candidates, self.generations, self.front_size = start, candidates, generations, front_size
        self.refine, self.exploration = refine, exploration
        m = len(self.objectives)
        self._directions, self._volume = orthant_directions(directions, m, seed), orthant_volume(m)
        self._normal = norm.ppf(qmc.Sobol(max(m, 1), seed=seed + 1).random(draws).clip(1e-3, 1 - 1e-3))
        self._rankings: dict[str, tuple[int, NDArray[np.int64]]] = {}

    # ---- proposals

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        proposals = self._measurements(n, pending)
        if proposals:
            return proposals
        if not self.evaluated:
            return [Proposal(a, (name,)) for name, a in self._doubtful(self._candidates_of_front(), n, pending)]
        names = tuple(self.evaluated)
        done = min(self._paid_for(name) for name in names) + len(pending)
        start = self._start()
        if done < start:
            plan = self._first(start)
            fresh = plan[self._not_evaluated(plan, pending)][: min(n, start - done)]
            if len(fresh):
                return [Proposal(a, names) for a in fresh]
        if any(len(self._known(name)[1]) < 2 for name in names):
            return [Proposal(a, names) for a in self.fresh_random(n, pending, rng)]
        chosen = self._promising(self.objectives[0], n, pending, rng) if self.single else self._mixed(n, pending, rng)
        also = {a.tobytes(): name for name, a in self._doubtful(chosen, 1, pending)}
        return [Proposal(a, (*names, also[a.tobytes()]) if a.tobytes() in also else names) for a in chosen]

    def _start(self) -> int:
        start = self.start
        if start is None:
            start = START if not self._guessing else GUESSED if self.single else GUESSED_FRONT
        return max(1, min(start, self._planned() // 2))

    @property
    def _guessing(self) -> bool:
        """Whether something says which architectures are good before any of them is evaluated."""
        return self._guesses is not None

    def _planned(self) -> int:
        """How many architectures the budget evaluates."""
        return min((self.budget.get(name, 10**9) for name in self.evaluated), default=10**9)

    def _first(self, n: int) -> Archs:
        """What is evaluated first, at most `n`: by the predictors' guesses where they have some, else spread."""
        if self._guesses is None:
            return self._design(n)
        return self._guessed_best(*self._guesses, n) if self.single else self._guessed_front(*self._guesses, n)

    @cached_property
    def _guesses(self) -> tuple[Archs, Array] | None:
        """Architectures, and how good the evaluated objectives are guessed to be, ``(n, evaluated)``, the more the
        better; None where one of their predictors has no guess."""
        evaluated = self._evaluated_objectives
        if any(o.direction == "min" for o in evaluated):  # a guess is of quality, which is maximised
            return None
        pool = self._everything()
        if pool is None:
            pool = self.space.sample(GUESSES, np.random.default_rng([self.seed, 4]))
        contexts = [self.contexts.get(o.name, Context()) for o in evaluated]
        asked = [self.models[o.name].prior_score(self.space, pool, c) for o, c in zip(evaluated, contexts, strict=True)]
        guesses = [guess for guess in asked if guess is not None]
        return (pool, np.stack(guesses, axis=1)) if len(guesses) == len(evaluated) else None

    def _measurements(self, n: int, pending: Archs) -> list[Proposal]:
        """Architectures on which an objective with a few-shot predictor is still to be measured."""
        out: list[Proposal] = []
        waiting = {a.tobytes() for a in pending}
        for name in self.few_shot:
            model = self.models[name]
            planned = max(2, round(self.budget[name] * (1.0 - self.refine)))
            planned = min(planned, self.budget[name])
            choose = getattr(model, "choose", None) or FewShotGP().choose
            rng = np.random.default_rng([self.seed, 1])
            plan = choose(planned, seed=rng, space=self.space, context=self.contexts.get(name))
            column = [o.name for o in self.objectives].index(name)
            for arch in plan:
                row = self._rows.get(arch.tobytes())
                tried = row is not None and (np.isfinite(self._values[row][column]) or arch.tobytes() in self._failed)
                if not tried and arch.tobytes() not in waiting and self._paid_for(name) + len(out) < planned:
                    out.append(Proposal(arch, (name,)))
        return out[:n]

    def _doubtful(self, archs: Archs, n: int, pending: Archs) -> list[tuple[str, Archs]]:
        """Measurements that are left for later, each on the least certain of `archs`: objective and architecture."""
        out: list[tuple[str, Archs]] = []
        waiting = {a.tobytes() for a in pending}
        for name in self.few_shot:
            left = min(n, self.budget[name] - self._paid_for(name) - len(pending) * (not self.evaluated))
            if left <= 0 or not len(archs) or len(self._known(name)[1]) < 2:
                continue
            known = {a.tobytes() for a in self._known(name)[0]} | self._failed | waiting
            fresh = np.array([a for a in archs if a.tobytes() not in known], dtype=np.int64)
            if len(fresh):
                belief = self._fit(name).predict(fresh)
                out += [(name, a) for a in fresh[np.argsort(-belief.std / np.abs(belief.mean))[:left]]]
        return out

    def _candidates_of_front(self) -> Archs:
        """The front as predicted now, on which measurements are best spent when nothing else is paid for."""
        if any(len(self._known(n)[1]) < 2 for n in self.expensive):
            return np.empty((0, self.space.d), dtype=np.int64)
        return self.recommend()

    def _design(self, n: int) -> Archs:
        """The first architectures to evaluate: spread over the space, each network once, in its cheapest form."""
        context = next((self.contexts[name] for name in self.evaluated if name in self.contexts), None)
        rng = np.random.default_rng([self.seed, 2])
        drawn = self.space.sample(min(1200, 4 * self.space.size), rng)
        networks = np.unique(self.space.canonical(drawn), axis=0)
        if len(networks) > n:
            networks = FewShotGP().choose(n, seed=rng, space=self.space, candidates=networks, context=context)
        return self._cheapest_forms(networks)

    def _guessed_front(self, pool: Archs, guesses: Array, n: int) -> Archs:
        """The front of `pool` by guesses and what the other objectives are known to be, thinned to `n`."""
        known = self._beforehand(pool)
        if len(known) + guesses.shape[1] < len(self.objectives):
            return self._design(n)
        costs = np.empty((len(pool), len(self.objectives)))
        costs[:, self._evaluated_columns] = -guesses
        for j, o in enumerate(self.objectives):
            if o.name in known:
                costs[:, j] = o.sign * known[o.name]
        broken = np.zeros(len(pool), dtype=bool)
        for c in self.constraints:
            if c.objective in known:
                broken |= c.violation(known[c.objective]) > 0
        allowed = np.flatnonzero(~broken) if not broken.all() else np.arange(len(pool))
        front = allowed[nondominated(costs[allowed])]
        front = front[self._one_of_each(pool[front])]
        return pool[front[self._spread(costs[front], min(n, len(front)))]]

    def _beforehand(self, archs: Archs) -> dict[str, Array]:
        """Values of the objectives that are known without paying: free ones, and those that a few-shot predictor has
        learned by now."""
        learned = [name for name in self.few_shot if len(self._known(name)[1]) >= 2]
        return self._computed(archs) | {name: self._answer(name, archs).mean for name in learned}

    def _one_of_each(self, archs: Archs) -> NDArray[np.int64]:
        """Rows of `archs`, in their order: the first of each network."""
        _, first = np.unique(self.space.canonical(archs), axis=0, return_index=True)
        return np.sort(first)

    def _cheapest_forms(self, archs: Archs) -> Archs:
        """For each architecture the equal network with the least costs, as far as they are known without paying.

        The ways to write the same cell differ in latency.
        """
        if not len(archs) or not self.space.enumerable or self.space.size > self.candidates:
            return archs
        everything = self.space.enumerate()
        keys = self.space.keys(archs)
        wanted = set(keys)
        equal: dict[Hashable, list[int]] = {}
        for i, key in enumerate(self.space.keys(everything)):
            if key in wanted:
                equal.setdefault(key, []).append(i)
        members = everything[[i for rows in equal.values() for i in rows]]
        known = self._beforehand(members)
        if not known:
            return archs
        signs = {o.name: o.sign for o in self.objectives}
        total = np.sum([signs[n] * v / max(float(np.ptp(v)), 1e-12) for n, v in known.items()], axis=0)
        start, best = 0, {}
        for key, rows in equal.items():
            best[key] = members[start + int(np.argmin(total[start : start + len(rows)]))]
            start += len(rows)
        return np.array([best[key] for key in keys])

    def _not_evaluated(self, archs: Archs, pending: Archs) -> NDArray[np.int64]:
        """Rows of `archs` whose networks have neither been evaluated nor are pending; equal ones among them stay."""
        seen = self._evaluated_keys(pending)
        return np.flatnonzero([key not in seen for key in self.space.keys(archs)])

    def _evaluated_keys(self, pending: Archs) -> set[Hashable]:
        """Keys of the networks that have been evaluated, successfully or not, or are pending."""
        archs, values = self.archs_, self.values_[:, self._evaluated_columns]
        tried = np.isfinite(values).any(axis=1) | np.array([a.tobytes() in self._failed for a in archs], dtype=bool)
        return set(self.space.keys(archs[tried])) | set(self.space.keys(pending))

    def _mixed(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """What is expected to improve the front, and one in :data:`ALONE` that could be best in one objective."""
        evaluated = self._evaluated_objectives
        done = min(self._paid_for(o.name) for o in evaluated) + len(pending)
        turns = [i // ALONE for i in range(done, done + n) if i % ALONE == ALONE - 1]
        chosen = self._improving(n - len(turns), pending, rng) if n > len(turns) else pending[:0]
        for turn in turns:
            waiting = np.concatenate([pending, chosen])
            best = self._promising(evaluated[turn % len(evaluated)], 1, waiting, rng)
            chosen = np.concatenate([chosen, self._cheapest_forms(best)])
        return chosen

    def _improving(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """Greedy batch of the largest expected hypervolume improvement, weighted by the probability of feasibility."""
        pool = self._pool(rng)
        keys, seen = self.space.keys(pool), self._evaluated_keys(pending)
        fresh = np.flatnonzero([key not in seen for key in keys])
        again, told = self._other_forms(pool, keys, pending)
        if not len(fresh) + len(again):
            return pool[:0]
        mean, std = self._beliefs(pool)  # of all: a listed space's features are kept
        known = np.ix_(again, self._evaluated_columns)
        mean[known], std[known] = told, 0.0
        rows, repeated = np.concatenate([fresh, again]), np.repeat([False, True], [len(fresh), len(again)])
        pool, mean, std, networks = pool[rows], mean[rows], std[rows], _numbers(keys)[rows]
        low, high = self._range(mean)
        exploration = EXPLORATION[self._guesses is not None] if self.exploration is None else self.exploration
        costs, spread = (mean * self.signs - low) / (high - low), exploration * std / (high - low)
        front = self._reach((self._front_costs(pending) - low) / (high - low)).max(axis=0, initial=0.0)
        feasible = self._feasibility(mean, std)
        hopes = [costs - screen * std / (high - low) for screen in SCREENS]
        gains = [self._gain(self._reach(hoped), front) * np.maximum(feasible, 1e-3) for hoped in hopes]
        short = _in_turn([_best_forms(networks, gain) for gain in gains])[: max(SHORTLIST, 8 * n)]
        pool, costs, spread = pool[short], costs[short], spread[short]
        feasible, repeated, networks = feasible[short], repeated[short], networks[short]
        sure, fronts = self._drawn(pool, costs, pending, low, high, rng)
        drawn = [self._reach(c + spread * z) for c, z in zip(sure, self._normal * self._varied, strict=True)]
        left = np.ones(len(pool), dtype=bool)
        chosen: list[int] = []
        while len(chosen) < n and left.any():
            gain = np.mean([self._gain(r, f) for r, f in zip(drawn, fronts, strict=True)], axis=0) * feasible
            if gain[left].max() <= 0:  # nothing is expected to improve: the most promising that is left
                gain = feasible - 1e-3 * costs.sum(axis=1)
            best = int(np.argmax(np.where(left, gain, -np.inf)))
            chosen.append(best)
            left &= np.arange(len(left)) != best if repeated[best] else networks != networks[best]
            fronts = [np.maximum(f, self._reach(c[[best]])[0]) for c, f in zip(sure, fronts, strict=True)]
        return pool[chosen]

    def _other_forms(self, pool: Archs, keys: Sequence[Hashable], pending: Archs) -> tuple[NDArray[np.int64], Array]:
        """Rows of `pool` that are other forms of evaluated networks, where forms differ and a few-shot predictor learns
        in what; and what those networks were evaluated to, ``(rows, evaluated objectives)``.

        Args:
            keys: of the pool's networks.
        """
        columns = self._evaluated_columns
        if not (self.few_shot and self.space.forms_differ):
            return np.empty(0, dtype=np.int64), np.empty((0, len(columns)))
        archs = self._evaluated_archs()
        told: dict[Hashable, list[Array]] = {}
        for key, arch in zip(self.space.keys(archs), archs, strict=True):
            told.setdefault(key, []).append(self._told(arch)[columns])
        done = {a.tobytes() for a in archs} | self._failed
        for key in self.space.keys(pending):
            told.pop(key, None)
        again = [i for i, key in enumerate(keys) if key in told and pool[i].tobytes() not in done]
        values = [np.mean(told[keys[i]], axis=0) for i in again]
        return np.array(again, dtype=np.int64), np.reshape(values, (len(again), len(columns)))

    @property
    def _varied(self) -> Array:
        """Which objectives vary on their own in a draw, ``(m,)``: those that no few-shot predictor draws jointly."""
        return np.array([float(o.name not in self.few_shot) for o in self.objectives])

    def _drawn(
        self, pool: Archs, costs: Array, pending: Archs, low: Array, high: Array, rng: np.random.Generator
    ) -> tuple[list[Array], list[Array]]:
        """For each draw the scaled costs ``(n, m)`` of candidates, and the reach ``(directions,)`` of what is known.

        What a few-shot predictor says of candidates and of what was evaluated, but not on this objective, is one joint
        draw of the same function (Daulton et al., NeurIPS 2021); other objectives have their means.
        """
        known = np.concatenate([self._evaluated_archs(), pending])
        values = self._completed(known)
        kept = np.isfinite(values).all(axis=1)
        known, values = known[kept], values[kept]
        names = [o.name for o in self.objectives]
        columns = [names.index(name) for name in self.few_shot if len(self._known(name)[1]) >= 2]
        told = np.array([np.isfinite(self._told(arch)) for arch in known]).reshape(-1, len(names))
        everything = np.concatenate([pool, known])
        draws = {j: self._tempered(self._fit(names[j]), everything, rng) for j in columns}
        sure, fronts = [], []
        for i in range(len(self._normal)):
            here, there = costs.copy(), values.copy()
            for j, drawn in draws.items():
                here[:, j] = (drawn[i, : len(pool)] * self.signs[j] - low[j]) / (high[j] - low[j])
                there[:, j] = np.where(told[:, j], values[:, j], drawn[i, len(pool) :])
            scaled = (there * self.signs - low) / (high - low)
            sure.append(here)
            fronts.append(self._reach(scaled[self.violation(there) <= 0]).max(axis=0, initial=0.0))
        return sure, fronts

    def _tempered(self, model: Predictor, archs: Archs, rng: np.random.Generator) -> Array:
        """Joint draws ``(draws, n)`` of measurements, :data:`DEVIATION` as far from the mean."""
        mean = model.predict(archs).mean
        drawn: Array = model.sample(archs, len(self._normal), rng)
        return mean + DEVIATION * (drawn - mean)

    # ---- one objective

    @property
    def single(self) -> bool:
        """Whether there is one objective, and it is evaluated."""
        return len(self.objectives) == 1 and bool(self.evaluated)

    def _guessed_best(self, pool: Archs, guesses: Array, n: int) -> Archs:
        """At most `n` of `pool`, drawn among what the guess ranks first."""
        best = pool[np.argsort(-guesses[:, 0], kind="stable")[: max(round(len(pool) * TOP), 10 * n)]]
        best = best[self._one_of_each(best)]
        return best[np.random.default_rng([self.seed, 2]).permutation(len(best))[:n]]

    def _promising(self, objective: Objective, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """What could be best in an objective, one after another; of those chosen before, the median is believed
        meanwhile."""
        told, values = self._known(objective.name)
        optimism = max(OPTIMISM[1], OPTIMISM[0] - len(told) / OPTIMISM[2])
        pool = self._screened(objective, rng)
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        model = self._fit(objective.name)
        for _ in range(n):
            waiting = np.concatenate([pending, chosen])
            if len(waiting):
                believed = self._fit(objective.name).quantile(waiting, 0.0)
                model = self._learned(objective, np.concatenate([told, waiting]), np.concatenate([values, believed]))
            left = pool[self._not_evaluated(pool, waiting)]
            if not len(left):
                break
            cost = objective.sign * model.quantile(left, -objective.sign * optimism)
            if self.constraints:
                likely = self._feasibility(*self._beliefs(left))
                cost = np.where(likely >= min(0.5, float(likely.max())), cost, np.inf)
            chosen = np.concatenate([chosen, left[[int(np.argmin(cost))]]])
        return chosen

    def _screened(self, objective: Objective, rng: np.random.Generator) -> Archs:
        """Candidates: of a space that can be listed, what looked good when all of it was last scored, and some more."""
        everything = self._everything()
        if everything is None or len(everything) <= SCREENED or (self.constraints and not self.single):
            return self._pool(rng)  # what is best in one objective may break the constraints on the others
        name, count = objective.name, self._results(objective.name)
        if name not in self._rankings or count - self._rankings[name][0] >= REFRESH or count < REFRESH:
            cost = objective.sign * self._fit(name).quantile(everything, -objective.sign)
            self._rankings[name] = count, np.argsort(cost, kind="stable")
        order = self._rankings[name][1]
        some = rng.choice(order[SCREENED:], min(SCREENED // 4, len(order) - SCREENED), replace=False)
        return everything[np.concatenate([order[:SCREENED], some])]

    def _everything(self) -> Archs | None:
        return self.space.enumerate() if self.space.enumerable and self.space.size <= self.candidates else None

    # ---- hypervolume by directions

    def _reach(self, costs: Array) -> Array:
        """How far each point ``(n, m)`` of normalised costs pushes along each direction, ``(n, directions)``."""
        return reach(costs, self._directions)

    def _gain(self, reached: Array, front: Array) -> Array:
        """Hypervolume ``(n,)`` that points add, by their reach ``(n, directions)``, to a front known by its own."""
        m = len(self.objectives)
        gain: Array = self._volume * np.maximum(reached**m - front**m, 0.0).mean(axis=1)
        return gain

    def _range(self, mean: Array) -> tuple[Array, Array]:
        """Least and greatest cost of each objective over what is predicted and what was paid for."""
        values = np.concatenate([mean, self.values_]) * self.signs
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        return low, np.where(high > low, high, low + 1.0)

    def _front_costs(self, pending: Archs = np.empty((0, 0), dtype=np.int64)) -> Array:
        """Costs of what was evaluated within the constraints, and of what is pending as predicted, ``(n, m)``."""
        values = self._completed(self._evaluated_archs())
        if len(pending):
            values = np.concatenate([values, self._completed(pending)])
        values = values[np.isfinite(values).all(axis=1)]
        return (values * self.signs)[self.violation(values) <= 0]

    # ---- candidates and the result

    def _pool(self, rng: np.random.Generator) -> Archs:
        """Candidates: the whole space, or a pool evolved on the beliefs where that is too large."""
        if self.space.enumerable and self.space.size <= self.candidates:
            return self.space.enumerate()
        size = min(2000, self.candidates)
        pool = np.concatenate([self.space.sample(size, rng), self._evaluated_archs()])
        for _ in range(self.generations):
            mean, std = self._beliefs(pool)
            low, high = self._range(mean)
            optimistic = (mean * self.signs - std - low) / (high - low)
            broken = 1.0 - self._feasibility(mean, std)
            order = np.lexsort((optimistic @ np.full(optimistic.shape[1], 1.0), broken > 0.5))
            front = np.flatnonzero(nondominated(np.column_stack([optimistic, broken])))
            parents = pool[np.unique(np.concatenate([front[: size // 4], order[: size // 10]]))]
            pick = rng.integers(0, len(parents), (2, size // 2))
            children = self.space.mutate(self.space.crossover(parents[pick[0]], parents[pick[1]], rng), rng)
            mutants = self.space.mutate(parents[rng.integers(0, len(parents), size // 2)], rng)
            pool = np.unique(np.concatenate([parents, children, mutants]), axis=0)
        return pool

    def recommend(self) -> Archs:
        """The front by what was paid for, completed by predictions.

        Where some objective is evaluated on each proposal, only architectures evaluated so are recommended; where all
        paid objectives are learned by few-shot predictors, the predicted front of the whole space, thinned to
        `front_size`.
        """
        if any(len(self._known(n)[1]) < 2 for n in self.expensive):
            return super().recommend()
        predicted = not self.evaluated
        pool = self._pool(np.random.default_rng([self.seed, 3])) if predicted else self._evaluated_archs()
        if not len(pool):
            return pool
        values = self._completed(pool)
        violation = self.violation(values)
        if not (violation <= 0).any():
            return pool[[int(np.argmin(violation))]]
        pool, costs = pool[violation <= 0], (values * self.signs)[violation <= 0]
        keep = np.flatnonzero(nondominated(costs))
        if predicted and len(keep) > self.front_size:
            keep = keep[self._spread(costs[keep], self.front_size)]
        return pool[keep]

    def _spread(self, costs: Array, n: int) -> list[int]:
        """The `n` points whose hypervolume, within the range of these points, is greatest, chosen greedily."""
        low, high = costs.min(axis=0), costs.max(axis=0)
        scaled = (costs - low) / np.where(high > low, high - low, 1.0) / 1.1
        chosen: list[int] = []
        reached, front = self._reach(scaled), np.zeros(len(self._directions))
        for _ in range(n):
            gain = self._gain(reached, front)
            gain[chosen] = -1.0
            chosen.append(int(np.argmax(gain)))
            front = np.maximum(front, reached[chosen[-1]])
        return chosen


def _numbers(keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """A number for each key, ``(n,)``, equal for equal keys."""
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)


def _best_forms(networks: NDArray[np.int64], gain: Array) -> NDArray[np.int64]:
    """Rows by falling gain, at most :data:`FORMS` of each network."""
    order = np.argsort(-gain, kind="stable")
    which = networks[order]
    by_network = np.argsort(which, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[by_network] = np.arange(len(order)) - np.searchsorted(which[by_network], which[by_network])
    return np.asarray(order[place < FORMS])


def _in_turn(rankings: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The first of each ranking, the second of each, and so on, each row once; the rankings are of one length."""
    together = np.stack(rankings, axis=1).ravel()
    _, first = np.unique(together, return_index=True)
    return np.asarray(together[np.sort(first)])
