"""Initial designs: spread over the space, or the best by the predictors' prior scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._latency_blocks import LatencyBlocks
from nastk.encodings.base import Context
from nastk.metrics import nondominated
from nastk.samplers.a_optimal import AOptimal
from nastk.search.acquisition import DirectionalHypervolume
from nastk.search.candidates import first_of_each_network
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

DRAWN = 1200
"""Random architectures among which a spread design chooses: twice the sampler's own pool, since isomorphic ones drop
out before. More take longer and spread the design little better."""

TOP_FRACTION = 0.01
"""Top fraction of the space by prior score from which the first evaluations of one objective are drawn. Smaller is
greedier; the very best are near-copies of each other, and teach a predictor less."""


def spread_design(space: SearchSpace, n: int, context: Context | None, rng: np.random.Generator) -> Archs:
    """At most `n` architectures spread over the space, ``(n, d)``, no two isomorphic.

    The A-optimal design in the kernel of few-shot latency prediction, with no source device: it covers options,
    parameters and FLOPs evenly, which serves accuracy as well.
    """
    drawn = space.sample(min(DRAWN, 4 * space.size), rng)
    networks = np.unique(space.canonical(drawn), axis=0)
    if len(networks) <= n:
        return networks
    blocks = LatencyBlocks(space.whole, None, context)
    return AOptimal(blocks=blocks).choose(n, space, candidates=networks, seed=rng)


def prior_best(space: SearchSpace, pool: Archs, scores: Array, n: int, rng: np.random.Generator) -> Archs:
    """At most `n` architectures, no two isomorphic, drawn from the top of `pool` by one prior score ``(p,)``."""
    best = pool[np.argsort(-scores, kind="stable")[: max(round(len(pool) * TOP_FRACTION), 10 * n)]]
    best = best[first_of_each_network(space, best)]
    return best[rng.permutation(len(best))[:n]]


def prior_front(
    space: SearchSpace,
    pool: Archs,
    costs: Array,
    broken: NDArray[np.bool_],
    n: int,
    volume: DirectionalHypervolume,
) -> Archs:
    """At most `n` architectures of the front of `pool` by prior scores and known costs, no two isomorphic.

    Args:
        costs: to be minimised, ``(p, m)``: negative prior scores, and values of objectives that are known.
        broken: which of the pool are known to violate a constraint, ``(p,)``; ignored where all do.
        volume: in which the front is thinned to `n`.
    """
    allowed = np.flatnonzero(~broken) if not broken.all() else np.arange(len(pool))
    front = allowed[nondominated(costs[allowed])]
    front = front[first_of_each_network(space, pool[front])]
    return pool[front[volume.subset(costs[front], min(n, len(front)))]]
