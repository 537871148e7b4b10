"""zero-cost: evaluates the best by zero-cost proxies, alone or by vote (Abdelfattah et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.encodings.base import Context, ProxySource
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.search._single import SingleObjective
from nastk.search.base import Constraint, Objective, Proposal
from nastk.spaces.base import Archs, SearchSpace

VOTERS = ("synflow", "jacov", "snip")
"""Proxies of the paper's vote."""


class ZeroCostSearch(SingleObjective):
    """Evaluates architectures in the order of the sum of their ranks by some proxies; learns nothing.

    Args:
        contexts: context by objective; that of the first holds the source of proxies. Without one, proxies are computed
            on the networks that the space builds.
        proxies: which vote; by default those of :data:`VOTERS` that the source has, or all it has if it has none of
            them.
        candidates: random architectures that are ranked where the space is larger or proxies are computed live.
    """

    reads_contexts = True

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        contexts: Mapping[str, Context] | None = None,
        proxies: Sequence[str] | None = None,
        candidates: int | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        context = (contexts or {}).get(self.objectives[0].name, Context())
        self.source, self.candidates = context.proxies, candidates
        self._live = self.source is None
        if self.source is None:
            from nastk.oracles.zerocost import ZeroCost

            self.source = ZeroCost(space, list(proxies or VOTERS), seed=seed, **context.build_options)
        known = list(self.source.names)
        for name in proxies or ():
            if name not in known:
                raise UnknownName("proxy of the source", name, known)
        if not known:
            raise InvalidValue("the source of proxies has none; zero-cost search has nothing to rank by")
        self.proxies = list(proxies or [p for p in VOTERS if p in known] or known)
        self._order: Archs | None = None

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        if self._order is None:
            self._order = self._rank()
        free = self.unseen(self._order, pending)[:n]
        return self.propose(self.filled(self._order[free], n, pending, rng))

    def _rank(self) -> Archs:
        """Candidates, best first."""
        limit = self.candidates or (100 if self._live else 20_000)
        rng = np.random.default_rng([self.seed, 4])
        if self.space.enumerable and self.space.size <= limit:
            pool = rng.permutation(self.space.enumerate())
        else:
            pool = self.space.sample(min(limit, self.space.size), rng, unique=True)
        assert self.source is not None
        return pool[np.argsort(-vote(self.source, self.proxies, pool), kind="stable")]


def vote(source: ProxySource, proxies: Sequence[str], archs: Archs) -> NDArray[np.float64]:
    """Sum of the ranks by these proxies, ``(n,)``; an unknown proxy ranks last."""
    names = list(source.names)
    values = np.nan_to_num(source(archs), nan=-np.inf)
    total: NDArray[np.float64] = np.sum([rankdata(values[:, names.index(p)]) for p in proxies], axis=0)
    return total
