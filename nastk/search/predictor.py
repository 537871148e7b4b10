"""predictor: learns expensive objectives, computes free ones, evaluates where the front is expected to improve most.

Several objectives: expected hypervolume improvement (Emmerich et al. 2006; Daulton et al., NeurIPS 2020) over the
enumerated space or an evolved pool, with the hypervolume written as a mean over directions (Deng & Zhang 2019; Zhang &
Golovin, ICML 2020); every `ALONE`-th proposal optimises a single expensive objective. One objective: an upper
confidence bound (Srinivas et al., ICML 2010) whose optimism decays. Both start at the best prior scores, where the
predictors have a prior, such as one learned from zero-cost proxies. A latency with a few-shot predictor is measured a
few times at the start, on a design chosen before any value of the device is known. An evaluated network is proposed
again in an isomorphic encoding where that may be faster: encodings of one cell differ several times in latency, and ten
measurements do not tell which is the fastest.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.metrics import nondominated
from nastk.oracles.base import Oracle, Values
from nastk.predictors.base import Prediction, Predictor
from nastk.search import acquisition, candidates, first_designs
from nastk.search.base import Constraint, LowerFidelity, Objective, Proposal, Searcher
from nastk.search.defaults import default_predictor
from nastk.search.models import Models, Predictors
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

START = 10
"""First evaluations where no predictor has a prior. More make the first fit better, and leave fewer to choose by it."""

PRIOR_START = 2
"""First evaluations of one objective whose predictor has a prior: two are the least that a predictor can be fitted
to."""

PRIOR_FRONT_START = 6
"""First evaluations of several objectives whose predictors have priors: the front by prior scores, thinned to this.
More spread over it, and leave fewer to choose by fitted predictors."""

PRIOR_POOL = 20_000
"""Random architectures among which prior scores are compared in a space too large to enumerate; more find better ones
and take longer."""

LOWER_POOL = 2000
"""The same where scores are those of a lower fidelity: of a space of one's own, whose free objectives are counted in
networks that are built one by one."""

LIVE_POOL = 200
"""Random architectures that are candidates, all through a search, where a predictor reads proxies that are computed on
the networks themselves, a tenth of a second each and more."""

LIVE_MUTANTS = 10
"""Mutants of evaluated architectures that join them at every proposal."""

OPTIMISM_START = 1.5
"""Standard deviations of the upper confidence bound at the start; more explores longer."""

OPTIMISM_END = 0.3
"""Standard deviations of the bound at the end; with 0 the search would be greedy."""

OPTIMISM_DECAY = 40.0
"""Evaluations in which the bound falls by one standard deviation: budgets here are some tens of evaluations. Srinivas
et al. let it grow slowly instead, which is for horizons without an end."""

PATIENCE = 10
"""Evaluations of one objective without a better value, after which the bound rises again where there is no prior: what
is certain is wrong, or the best is found. Fewer leave a good neighbourhood too early."""

PATIENCE_RISE = 20.0
"""Further evaluations in which it then rises by one standard deviation, at most to where it began."""

ALONE = 5
"""With several objectives, every ALONE-th proposal optimises a single expensive one. That end of the front is the
hardest to find, and expected hypervolume, which grows little there, leaves it out. Fewer between them sharpen the ends
of the front at the expense of its middle."""

SHORTLIST = 1000
"""With several objectives, candidates that are compared by joint draws, which cost the cube of their number."""

ENCODINGS = 6
"""Isomorphic encodings to keep in the shortlist for each network, or those of one fast network would fill it. More find
a faster encoding, and leave room for fewer networks."""

EXPLORATION = 0.5
"""With several objectives, factor on the predictors' standard deviations: expected improvement rewards uncertainty by
itself, and less of it makes a search of some tens of evaluations greedier."""

PRIOR_EXPLORATION = 0.1
"""The same where the predictors have priors: prior scores of the whole space leave less to explore."""

DEVIATION = 0.7
"""Share of their deviation from the mean that the joint draws of a few-shot predictor keep; less is greedier."""

SCREENS = (0.0, 0.5, 1.5)
"""Optimism of the screens in standard deviations; the shortlist takes turns among them: candidates that are expected to
improve the front, that are likely to, and that might."""

SCREENED = 3000
"""With one objective, architectures of an enumerable space that are scored at every evaluation: the best when all were
last scored. Fewer are faster, and miss more of what a new value changes."""

LEAST_SCREENED = 500
"""At least so many, however many values there are; see :data:`STEADY`."""

REFRESH = 10
"""Evaluations after which the whole space is scored again; see :data:`SCREENED`."""

STEADY = 100
"""Values with which that is so. Of more, each changes less and takes longer to predict by: with twice as many, half as
many architectures are scored, and the whole space after twice as many evaluations."""


class PredictorSearch(Searcher):
    """Model-based search, the default.

    Args:
        predictor: learns the expensive objectives: a name, or one by objective (`{"latency": few_shot, "accuracy":
            "gp"}`). By default gp-bma for one objective, where a prior ships for the space and it is maximised, or
            where the space tells nothing beyond its choices; else gp. A pretrained few-shot predictor is adapted to its
            measurements; anything else is refitted every round.
        contexts: context of the features by objective (build options, source of proxies).
        start: evaluations of each learned objective before the first fit; fewer if the budget is small. By default
            :data:`START`, or of a single one what its predictor asks for (`first_in_search`); where the predictors have
            priors, :data:`PRIOR_START` of one objective and :data:`PRIOR_FRONT_START` of several.
        measurements: evaluations of each objective with a few-shot predictor, where the budget does not say.
        refine: share of the measurements kept for architectures that are proposed later, least certain first.
        candidates: score at most this many architectures a round; a larger space is scored on an evolved pool. At most
            :data:`LIVE_POOL` where proxies in the contexts are computed on networks.
        generations: of that pool.
        directions: of the hypervolume.
        draws: of the expectation.
        front_size: recommend at most this many architectures where predictions alone decide.
        exploration: factor on the predictors' standard deviations when the next architectures are chosen, by default
            :data:`EXPLORATION` or :data:`PRIOR_EXPLORATION`; not on few-shot predictors, which are drawn jointly.

    Raises:
        InvalidValue: a predictor only ranks, or has learned from the device that is searched for.
        UnknownName: no such predictor, or an objective that is not expensive.
    """

    learns = True
    learns_few_shot = True
    uses_lower = True
    thins_front = True

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        predictor: Predictors = None,
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
        super().__init__(space, objectives, constraints, seed, budget)
        self.start, self.candidates, self.generations, self.front_size = start, candidates, generations, front_size
        self.refine, self.exploration = refine, exploration
        alone = len(self.objectives) == 1
        self.models = Models(
            self,
            predictor,
            contexts,
            lambda o: default_predictor(space, o.direction, alone),
            self._lower_model,
        )
        for name, model in self.models.templates.items():
            if model.scale != "metric":
                raise InvalidValue(f"the predictor of {name} only ranks; a search needs one in the metric's units")
        for name in self.few_shot:
            self.budget.setdefault(name, measurements)
        self._live = any(getattr(c.proxies, "live", False) for c in self.models.contexts.values())
        if self._live:
            self.candidates = min(candidates, LIVE_POOL)
        self._volume = acquisition.DirectionalHypervolume(len(self.objectives), directions, seed)
        self._normal = acquisition.quasi_normal(draws, len(self.objectives), seed + 1)
        self._told: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._rankings: dict[str, tuple[int, Rows]] = {}
        self._plans: dict[tuple[str, int], Archs] = {}

    def _lower_model(self, name: str) -> Predictor | None:
        """The predictor of the lower fidelities that the search evaluates: here none."""
        return None

    def use_lower(self, lower: Mapping[str, LowerFidelity]) -> None:
        self.models.use_lower(lower)

    # ---- which objectives are learned how

    @property
    def few_shot(self) -> list[str]:
        """Expensive objectives that a few-shot predictor learns."""
        return self.models.few_shot

    @property
    def evaluated(self) -> list[str]:
        """Expensive objectives that are evaluated on every proposal after the start."""
        return [name for name in self.expensive if name not in self.few_shot]

    @property
    def single(self) -> bool:
        """Whether there is one objective, and it is evaluated."""
        return len(self.objectives) == 1 and bool(self.evaluated)

    @property
    def _evaluated_objectives(self) -> list[Objective]:
        return [o for o in self.objectives if o.name in self.evaluated]

    @property
    def _evaluated_columns(self) -> Rows:
        return np.array([j for j, o in enumerate(self.objectives) if o.name in self.evaluated], dtype=np.int64)

    # ---- what was told

    def _tell(self, records: Sequence[Record]) -> None:
        for record in records:
            self._told[record.objective] = self._told.get(record.objective, 0) + 1
            if record.status == "ok" or record.charged:  # other failures are replaced by another evaluation
                self._counts[record.objective] = self._counts.get(record.objective, 0) + 1

    def _count(self, name: str) -> int:
        """Evaluations of an objective so far, failures included that the budget counts."""
        return self._counts.get(name, 0)

    def _results(self, name: str) -> int:
        """Number of results that an objective's predictor learns from, failures included."""
        return self._told.get(name, 0)

    def _evaluated_archs(self) -> Archs:
        """Architectures on which every evaluated objective is known."""
        return self.archs_[np.isfinite(self.values_[:, self._evaluated_columns]).all(axis=1)]

    # ---- predictions

    def relearned(self, name: str, archs: Archs, values: Array, of: Archs) -> Prediction | None:
        if len(archs) < 2 or np.ptp(values) == 0:
            return None
        return self.models.learn(name, archs, values).predict(of)

    def computed(self, archs: Archs) -> dict[str, Array]:
        return self.models.compute(archs)

    def estimate(self, archs: Archs) -> dict[str, Prediction]:
        """What the predictors say of each expensive objective that has enough values to be learned."""
        return {name: self.models.predict(name, archs) for name in self._predicted()}

    def intervals(self, archs: Archs) -> dict[str, tuple[Values, Values]]:
        found = {name: self.models.interval(name, archs) for name in self._predicted()}
        return {name: ends for name, ends in found.items() if ends is not None}

    def _predicted(self) -> list[str]:
        """Objectives that have enough values to be learned."""
        return [name for name in self.expensive if self.models.can_learn([name])]

    def _feasibility(self, mean: Array, std: Array) -> Array:
        names = [o.name for o in self.objectives]
        return acquisition.feasibility(mean, std, [(names.index(c.objective), c) for c in self.constraints])

    # ---- proposals

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        proposals = self._first_measurements(n, pending)
        if proposals:
            return proposals
        if not self.evaluated:
            return [Proposal(a, (name,)) for name, a in self._choose_refinements(self._predict_front(), n, pending)]
        names = tuple(self.evaluated)
        done = min(self._count(name) for name in names) + len(pending)
        start = self._start()
        if done < start:
            plan = self._first_archs(start)
            fresh = plan[self._fresh_rows(plan, pending)][: min(n, start - done)]
            if len(fresh):
                return [Proposal(a, names) for a in fresh]
        if not self.models.can_learn(self.expensive):  # measurements under way or failed leave latency unknown, too
            return [Proposal(a, names) for a in self.fresh_random(n, pending, rng)]
        if self.single:
            chosen = self._maximise_bound(self.objectives[0], n, pending, rng)
        else:
            chosen = self._next_batch(n, pending, rng)
        also = {a.tobytes(): name for name, a in self._choose_refinements(chosen, 1, pending)}
        return [Proposal(a, (*names, also[a.tobytes()]) if a.tobytes() in also else names) for a in chosen]

    def _first_measurements(self, n: int, pending: Archs) -> list[Proposal]:
        """The rest of the measurement design of each objective with a few-shot predictor."""
        proposals: list[Proposal] = []
        waiting = {a.tobytes() for a in pending}
        columns = {o.name: j for j, o in enumerate(self.objectives)}
        for name in self.few_shot:
            planned = min(max(2, round(self.budget[name] * (1.0 - self.refine))), self.budget[name])
            if self._count(name) >= planned and not self.models.can_learn([name]):
                planned = self.budget[name]  # measurements failed: what was kept for later is needed now
            plan = self._measurement_plan(name, planned)
            for arch in plan:
                row = self._rows.get(arch.tobytes())
                told = row is not None and np.isfinite(self._values[row][columns[name]])
                tried = told or (row is not None and arch.tobytes() in self._failed)
                if not tried and arch.tobytes() not in waiting and self._count(name) + len(proposals) < planned:
                    proposals.append(Proposal(arch, (name,)))
            if not proposals and not self.models.can_learn([name]) and self._count(name) < planned:
                proposals += [Proposal(arch, (name,)) for arch in self._replacements(n, pending)]
        return proposals[:n]

    def _replacements(self, n: int, pending: Archs) -> Archs:
        """Architectures to measure where too many of a design failed for anything to be learned."""
        if len(pending):  # of which some may succeed
            return pending[:0]
        return self.fresh_random(n, pending, np.random.default_rng([self.seed, 5, len(self.archs_)]))

    def _measurement_plan(self, name: str, n: int) -> Archs:
        """What to measure of an objective before anything is known of it, ``(n, d)``; the same at every ask.

        The whole of a space, such as a small table, that has fewer than `n`.
        """
        n = min(n, self.space.size)
        if not n:  # nothing is measured: there are the values of a file
            return np.empty((0, self.space.d), dtype=np.int64)
        if (name, n) not in self._plans:
            rng = np.random.default_rng([self.seed, 1])
            context = self.models.contexts.get(name)
            self._plans[name, n] = self.models.templates[name].choose(n, space=self.space, seed=rng, context=context)
        return self._plans[name, n]

    def _choose_refinements(self, archs: Archs, n: int, pending: Archs) -> list[tuple[str, Archs]]:
        """Spend measurements kept for later on the least certain of `archs`: pairs of objective and architecture."""
        chosen: list[tuple[str, Archs]] = []
        waiting = {a.tobytes() for a in pending}
        for name in self.few_shot:
            spent = sum(self.charged(name).values())
            left = min(n, self.budget[name] - spent - len(pending) * (not self.evaluated))
            if left <= 0 or not len(archs) or not self.models.can_learn([name]):
                continue
            known = {a.tobytes() for a in self.models.known(name)[0]} | self._failed | waiting
            fresh = np.array([a for a in archs if a.tobytes() not in known], dtype=np.int64)
            if len(fresh):
                predicted = self.models.fitted(name).predict(fresh)
                uncertain = np.argsort(-predicted.std / np.abs(predicted.mean))[:left]
                chosen += [(name, a) for a in fresh[uncertain]]
        return chosen

    def _predict_front(self) -> Archs:
        """The currently predicted front, on which measurements are spent when nothing else is evaluated."""
        return (
            self.recommend() if self.models.can_learn(self.expensive) else np.empty((0, self.space.d), dtype=np.int64)
        )

    # ---- the start

    def _start(self) -> int:
        start = self.start
        if start is None:
            if self._has_prior:
                start = PRIOR_START if self.single else PRIOR_FRONT_START
            else:
                first = self.models.templates[self.evaluated[0]].first_in_search if self.single else None
                start = START if first is None else first
        return max(1, min(start, self._plan_size() // 2))

    @property
    def _has_prior(self) -> bool:
        """Whether architectures can be ranked before any of them is evaluated."""
        return self._prior is not None

    @property
    def _has_lower(self) -> bool:
        """Whether some of the prior scores are of a lower fidelity: a supernet ranks less well than a prior that was
        learned from whole tables, and leaves more to explore."""
        return any(self.models.lowest(name) is not None for name in self.evaluated)

    def _plan_size(self) -> int:
        """Number of architectures that the budget evaluates."""
        return min((self.budget.get(name, 10**9) for name in self.evaluated), default=10**9)

    def _first_archs(self, n: int) -> Archs:
        """The initial design, at most `n`: the best by prior scores where the predictors have priors, else spread."""
        if self._prior is None:
            return self._spread_design(n)
        pool, scores = self._prior
        if self.single:
            rng = np.random.default_rng([self.seed, 2])
            return first_designs.prior_best(self.space, pool, scores[:, 0], n, rng)
        return self._front_by_scores(pool, scores, n)

    @cached_property
    def _prior(self) -> tuple[Archs, Array] | None:
        """Architectures and prior scores of the evaluated objectives, ``(n, evaluated)``, higher is better; None where
        one of them has no lower fidelity, and its predictor no prior."""
        # a prior scores quality, which is maximised
        if any(o.direction == "min" and self.models.lowest(o.name) is None for o in self._evaluated_objectives):
            return None
        pool = candidates.whole_space(self.space, self.candidates)
        if pool is None:
            size = LIVE_POOL if self._live else LOWER_POOL if self._has_lower else PRIOR_POOL
            pool = self.space.sample(size, np.random.default_rng([self.seed, 4]))
        scores = self.models.prior_scores(self.evaluated, pool)
        return None if scores is None else (pool, scores)

    def _spread_design(self, n: int) -> Archs:
        """The first architectures to evaluate: spread over the space, each network once, in its cheapest encoding."""
        context = next((self.models.contexts[name] for name in self.evaluated if name in self.models.contexts), None)
        rng = np.random.default_rng([self.seed, 2])
        return self._cheapest_encodings(first_designs.spread_design(self.space, n, context, rng))

    def _front_by_scores(self, pool: Archs, scores: Array, n: int) -> Archs:
        """The front of `pool` by scores of the evaluated objectives and known values of the others."""
        known = self.models.known_values(pool)
        if len(known) + scores.shape[1] < len(self.objectives):
            return self._spread_design(n)
        costs = np.empty((len(pool), len(self.objectives)))
        costs[:, self._evaluated_columns] = -scores
        for j, o in enumerate(self.objectives):
            if o.name in known:
                costs[:, j] = o.sign * known[o.name]
        broken = np.zeros(len(pool), dtype=bool)
        for c in self.constraints:
            if c.objective in known:
                broken |= c.violation(known[c.objective]) > 0
        usable = np.isfinite(costs).all(axis=1)  # of a network that cannot be built nothing is known
        if not usable.any():
            return self._spread_design(n)
        return first_designs.prior_front(self.space, pool[usable], costs[usable], broken[usable], n, self._volume)

    def _cheapest_encodings(self, archs: Archs) -> Archs:
        """For each architecture the isomorphic one of least cost, as far as costs are known without an evaluation."""

        def cost(members: Archs) -> Array | None:
            known = self.models.known_values(members)
            signs = {o.name: o.sign for o in self.objectives}
            scaled = [signs[name] * v / max(float(np.ptp(v)), 1e-12) for name, v in known.items()]
            return np.asarray(np.sum(scaled, axis=0)) if scaled else None

        return candidates.cheapest_encodings(self.space, archs, cost, self.candidates)

    # ---- several objectives

    def _next_batch(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """A batch that is expected to improve the front; every :data:`ALONE`-th optimises one expensive objective."""
        evaluated = self._evaluated_objectives
        done = min(self._count(o.name) for o in evaluated) + len(pending)
        turns = [i // ALONE for i in range(done, done + n) if i % ALONE == ALONE - 1]
        chosen = self._improve_front(n - len(turns), pending, rng) if n > len(turns) else pending[:0]
        for turn in turns:
            waiting = np.concatenate([pending, chosen])
            best = self._maximise_bound(evaluated[turn % len(evaluated)], 1, waiting, rng)
            chosen = np.concatenate([chosen, self._cheapest_encodings(best)])
        return chosen

    def _improve_front(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """A batch of the largest expected hypervolume improvement, weighted by the probability of feasibility."""
        pool = self._pool(rng)
        keys, seen = self.space.keys(pool), self._evaluated_keys(pending)
        fresh = np.flatnonzero([key not in seen for key in keys])
        fresh = fresh[self.space.distinct(pool[fresh])]
        again, told = self._other_encodings(pool, keys, pending)
        if not len(fresh) + len(again):
            return pool[:0]
        mean, std = self.models.moments(pool)  # of all: predictors cache the features of an enumerable space
        known = np.ix_(again, self._evaluated_columns)
        mean[known], std[known] = told, 0.0
        rows, repeated = np.concatenate([fresh, again]), np.repeat([False, True], [len(fresh), len(again)])
        pool, mean, std, networks = pool[rows], mean[rows], std[rows], candidates.number_networks(keys)[rows]
        low, high = self._range(mean)

        def scale(values: Array) -> Array:
            return np.asarray((values * self.signs - low) / (high - low))

        costs = scale(mean)
        known_archs, known_values = self._known(pending)
        front = self._volume.front(scale(known_values[self.violation(known_values) <= 0]))
        feasible = self._feasibility(mean, std)

        # Joint draws of all candidates would cost the cube of their number: a shortlist is screened by the hypervolume
        # gained if a candidate is as good as predicted, or better by some standard deviations.
        optimistic = [costs - screen * std / (high - low) for screen in SCREENS]
        gains = [self._volume.gain(self._volume.reach(h), front) * np.maximum(feasible, 1e-3) for h in optimistic]
        rankings = [candidates.best_encodings(networks, gain, ENCODINGS) for gain in gains]
        short = candidates.take_turns(rankings)[: max(SHORTLIST, 8 * n)]

        exploration = self.exploration
        if exploration is None:
            exploration = PRIOR_EXPLORATION if self._prior is not None and not self._has_lower else EXPLORATION
        pool, deviation = pool[short], exploration * std[short] / (high - low)
        drawn, known_draws = self._draw(pool, mean[short], known_archs, known_values, rng)
        fronts = [self._volume.front(scale(values)) for values in known_draws]
        # Few-shot objectives vary jointly in the draws; the others candidate by candidate, around their means.
        vary = np.array([float(o.name not in self.few_shot) for o in self.objectives])
        noise = [deviation * z for z in self._normal * vary]
        chosen = acquisition.expected_improvement_batch(
            self._volume,
            costs[short],
            [scale(values) for values in drawn],
            noise,
            fronts,
            feasible[short],
            networks[short],
            repeated[short],
            n,
        )
        return pool[chosen]

    def _other_encodings(self, pool: Archs, keys: Sequence[Hashable], pending: Archs) -> tuple[Rows, Array]:
        """Rows of `pool` that are isomorphic to evaluated networks, where encodings differ in an objective that a
        few-shot predictor learns; and the values of those networks, ``(rows, evaluated objectives)``.

        Args:
            keys: of the pool's networks.
        """
        columns = self._evaluated_columns
        if not (self.few_shot and self.space.forms_differ):
            return np.empty(0, dtype=np.int64), np.empty((0, len(columns)))
        archs = self._evaluated_archs()
        told: dict[Hashable, list[Array]] = {}
        for key, arch in zip(self.space.keys(archs), archs, strict=True):
            told.setdefault(key, []).append(self.values_of(arch[None])[0, columns])
        done = {a.tobytes() for a in archs} | self._failed
        for key in self.space.keys(pending):
            told.pop(key, None)
        again = [i for i, key in enumerate(keys) if key in told and pool[i].tobytes() not in done]
        values = [np.mean(told[keys[i]], axis=0) for i in again]
        return np.array(again, dtype=np.int64), np.reshape(values, (len(again), len(columns)))

    def _draw(
        self, pool: Archs, mean: Array, known: Archs, values: Array, rng: np.random.Generator
    ) -> tuple[list[Array], list[Array]]:
        """For each draw the values ``(n, m)`` of candidates, and those of the known feasible architectures.

        A few-shot predictor's values of the candidates, and of evaluated architectures without a measurement, are one
        joint draw of the same function (Daulton et al., NeurIPS 2021): a device on which everything is slower than
        predicted moves both, and improves nothing. Other objectives have their means.
        """
        told = np.isfinite(self.values_of(known))
        everything, believed = np.concatenate([pool, known]), np.concatenate([mean, values])
        draws = self.models.draw(everything, believed, len(self._normal), rng, DEVIATION)
        fronts = [np.where(told, values, draw[len(pool) :]) for draw in draws]
        return [draw[: len(pool)] for draw in draws], [front[self.violation(front) <= 0] for front in fronts]

    def _range(self, mean: Array) -> tuple[Array, Array]:
        """Least and greatest cost of each objective over what is predicted and what was told."""
        values = np.concatenate([mean, self.values_]) * self.signs
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        return low, np.where(high > low, high, low + 1.0)

    def _known(self, pending: Archs) -> tuple[Archs, Array]:
        """Evaluated and pending architectures, ``(p, d)``, and their values as told or predicted, ``(p, m)``."""
        known = np.concatenate([self._evaluated_archs(), pending])
        values = self.models.complete(known)
        kept = np.isfinite(values).all(axis=1)
        return known[kept], values[kept]

    # ---- one objective

    def _maximise_bound(self, objective: Objective, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """A batch of the best by an optimistic quantile of one objective.

        Pending architectures, and those chosen before, are imputed by their predicted median (the kriging believer,
        Ginsbourger et al. 2010), so that a batch does not hold near-copies.
        """
        name = objective.name
        optimism = self._optimism(objective)
        pool = self._screen(objective, rng)
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        model = self.models.fitted(name)
        for _ in range(n):
            waiting = np.concatenate([pending, chosen])
            if len(waiting):
                believed = self.models.fitted(name).quantile(waiting, 0.0)
                model = self.models.extended(name, waiting, believed)
            left = pool[self._fresh_rows(pool, waiting)]
            if not len(left):
                break
            cost = objective.sign * model.quantile(left, -objective.sign * optimism)
            if self.constraints:
                likely = self._feasibility(*self.models.moments(left))
                cost = np.where(likely >= min(0.5, float(likely.max())), cost, np.inf)
            chosen = np.concatenate([chosen, left[[int(np.argmin(cost))]]])
        return chosen

    def _optimism(self, objective: Objective) -> float:
        """Standard deviations of the bound, by the values told; more where the best of one objective is long ago."""
        values = self.models.known(objective.name)[1]
        optimism = max(OPTIMISM_END, OPTIMISM_START - len(values) / OPTIMISM_DECAY)
        # with others or a limit the best of one need not be what is searched for; a prior leaves less to explore
        if not self.single or self.constraints or self._has_prior:
            return optimism
        since = len(values) - 1 - int(np.argmin(objective.sign * values))
        return min(OPTIMISM_START, optimism + max(0, since - PATIENCE) / PATIENCE_RISE)

    def _screen(self, objective: Objective, rng: np.random.Generator) -> Archs:
        """Candidates: of an enumerable space, the best when all of it was last scored, and some random others."""
        everything = candidates.whole_space(self.space, self.candidates)
        if everything is None or len(everything) <= SCREENED or (self.constraints and not self.single):
            return self._pool(rng)  # the best in one objective may all violate the constraints on others
        name, count = objective.name, self._results(objective.name)
        fewer = max(1.0, count / STEADY)
        screened = max(LEAST_SCREENED, int(SCREENED / fewer))
        if name not in self._rankings or count - self._rankings[name][0] >= REFRESH * fewer or count < REFRESH:
            cost = objective.sign * self.models.fitted(name).quantile(everything, -objective.sign)
            self._rankings[name] = count, np.argsort(cost, kind="stable")
        order = self._rankings[name][1]
        some = rng.choice(order[screened:], min(screened // 4, len(order) - screened), replace=False)
        return everything[np.concatenate([order[:screened], some])]

    # ---- candidates and the result

    def _pool(self, rng: np.random.Generator) -> Archs:
        """Candidates: the whole space, or a pool evolved on the predictions where that is too large.

        With proxies that take time, a random pool that stays the same, and a few mutants of what was evaluated.
        """
        everything = candidates.whole_space(self.space, self.candidates)
        if everything is not None:
            return everything
        size = min(2000, self.candidates)
        if self._live:
            pool = self.space.sample(size, np.random.default_rng([self.seed, 4]))
            parents = self._evaluated_archs()
            if len(parents):
                mutants = self.space.mutate(parents[rng.integers(0, len(parents), LIVE_MUTANTS)], rng)
                pool = np.unique(np.concatenate([pool, mutants]), axis=0)
            return pool

        def score(archs: Archs) -> tuple[Array, Array]:
            mean, std = self.models.moments(archs)
            low, high = self._range(mean)
            return (mean * self.signs - std - low) / (high - low), 1.0 - self._feasibility(mean, std)

        start = np.concatenate([self.space.sample(size, rng), self._evaluated_archs()])
        return candidates.evolve(self.space, start, score, size, self.generations, rng)

    def _fresh_rows(self, archs: Archs, pending: Archs) -> Rows:
        """Rows of `archs` whose networks have neither been evaluated nor are pending; isomorphic ones among them
        stay."""
        seen = self._evaluated_keys(pending)
        return np.flatnonzero([key not in seen for key in self.space.keys(archs)])

    def _evaluated_keys(self, pending: Archs) -> set[Hashable]:
        """Keys of the networks that have been evaluated, successfully or not, or are pending."""
        archs, values = self.archs_, self.values_[:, self._evaluated_columns]
        tried = np.isfinite(values).any(axis=1) | np.array([a.tobytes() in self._failed for a in archs], dtype=bool)
        return set(self.space.keys(archs[tried])) | set(self.space.keys(pending))

    def recommend(self) -> Archs:
        """The front by what was evaluated, completed by predictions.

        Where some objective is evaluated on each proposal, only architectures evaluated so are recommended; where all
        expensive objectives are learned by few-shot predictors, the predicted front of the whole space, thinned to
        `front_size`.
        """
        if not self.models.can_learn(self.expensive):
            return super().recommend()
        predicted, pool = not self.evaluated, self.alternatives()
        if not len(pool):
            return pool
        values = self.models.complete(pool)
        known = np.isfinite(values).all(axis=1)  # a free objective has no value where its network cannot be built
        pool, values = pool[known], values[known]
        if not len(pool):
            return pool
        violation = self.violation(values)
        if not (violation <= 0).any():
            return pool[[int(np.argmin(violation))]]
        pool, costs = pool[violation <= 0], (values * self.signs)[violation <= 0]
        keep = np.flatnonzero(nondominated(costs))
        if predicted and len(keep) > self.front_size:
            keep = keep[self._volume.subset(costs[keep], self.front_size)]
        return pool[keep]

    def alternatives(self) -> Archs:
        """What was evaluated; where few-shot predictors learn all expensive objectives, the whole space or a pool."""
        if not self.models.can_learn(self.expensive):
            return super().alternatives()
        pool = self._evaluated_archs() if self.evaluated else self._pool(np.random.default_rng([self.seed, 3]))
        return self._working(pool)

    def further(self, told: Mapping[str, tuple[Archs, Array]]) -> Archs:
        """Where a space is too large to be looked at whole, a pool evolved on predictions that learned from these."""
        known = {name: of for name, of in told.items() if len(of[0]) >= 2 and np.ptp(of[1]) > 0}
        whole = candidates.whole_space(self.space, self.candidates) is not None
        if self.evaluated or whole or not known or not self.models.can_learn(self.expensive):
            return np.empty((0, self.space.d), dtype=np.int64)
        with self.models.believing(known):
            pool = self._pool(np.random.default_rng([self.seed, 6, sum(len(of[0]) for of in known.values())]))
        return self._working(pool)

    def _working(self, pool: Archs) -> Archs:
        """One architecture for each network, without those that failed: a prediction is no value of a network that
        cannot be run."""
        pool = self.one_of_each(pool) if len(pool) else pool
        failed = [a for a in self.archs_ if a.tobytes() in self._failed]
        if not failed or not len(pool):
            return pool
        return candidates.other_networks(self.space, pool, np.array(failed, dtype=np.int64))
