"""Which kernels of latency few-shot-gp averages over, and how probable each is before a device has been measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._latency_blocks import READINGS

Array = NDArray[np.float64]


class Share(NamedTuple):
    """A setting of the source devices' blocks: their own weight, that of their mean, and its probability on each scale.

    Latencies are a weighted sum of the sources' latencies on the raw scale, of their logarithms on the log scale; the
    mean of the sources, what all devices share, is a block of its own.
    """

    scale: str
    own: float
    mean: float
    raw: float
    log: float


SHARES = (
    Share("", 0.0, 0.0, 0.12, 0.12),
    Share("raw ", 0.3, 1.0, 0.22, 0.03),
    Share("raw ", 1.0, 1.0, 0.22, 0.03),
    Share("raw ", 0.3, 3.0, 0.16, 0.03),
    Share("raw ", 1.0, 3.0, 0.16, 0.03),
    Share("", 0.3, 1.0, 0.03, 0.19),
    Share("", 1.0, 1.0, 0.03, 0.19),
    Share("", 0.3, 3.0, 0.03, 0.19),
    Share("", 1.0, 3.0, 0.03, 0.19),
)
"""A device rarely owes nothing to the sources, and its latency is a sum of theirs more often than a product."""
COUNTS = {0.0: 0.35, 0.1: 0.35, 1.0: 0.3}
"""Probabilities of the weight of option counts; counts within groups have half of it."""
STATICS = {0.0: 0.5, 1.0: 0.5}
"""Probabilities of the weight of parameters and FLOPs, and their logarithms."""
CHOICES = {0.0: 0.3, 0.02: 0.4, 0.1: 0.2, 0.3: 0.1}
"""Probabilities of the weight of the layer-wise block: with more it ranks worse from few measurements."""
NOISES = {1e-4: 0.12, 1e-3: 0.18, 1e-2: 0.22, 0.03: 0.15, 0.1: 0.18, 0.3: 0.15}
"""Probabilities of the noise variance relative to the signal's. A low one tells the scales apart: most runtimes add up
their layers to a few per mille, and a higher floor hides it. A high one keeps a few measurements of a phone, which
drifts, from being believed."""
LOG = 0.3
"""Probability that a device's layers multiply (its logarithm is modelled) and do not add up."""
READS = dict(zip(READINGS, (0.65, 0.15, 0.12, 0.08), strict=True))
"""Probabilities of what a runtime executes: what is written, as compiled, with equal work done once, or both."""


@dataclass(frozen=True)
class Kernels:
    """Kernel weightings ``c`` that are averaged over.

    Args:
        weights: of each block, ``(c, blocks)``: prior variances, how much of the latency comes from that block.
        log_odds: log probabilities on the raw and on the logarithmic scale with each noise, ``(2, c, noises)``.
        noises: noise variances relative to the signal's, ``(noises,)``.
    """

    weights: Array
    log_odds: Array
    noises: Array


@lru_cache(maxsize=32)  # a search fits again at every proposal
def kernels(names: tuple[str, ...], limit: int | None = None) -> Kernels:
    """The weightings of these blocks (`Blocks.names`).

    Args:
        names: of the blocks that there are.
        limit: keep at most this many, the most probable ones.
    """
    place = {name: i for i, name in enumerate(names)}
    readings = [reading for reading in READINGS if "choices" + reading in place]
    shares = [share for share in SHARES if not share.mean or "sources" in place]
    found, odds = [], []
    for reading, share, counts, statics, choices in itertools.product(readings, shares, COUNTS, STATICS, CHOICES):
        if not _sensible(share, counts, statics, choices):
            continue
        row = np.zeros(len(names))
        for block, weight in _weights(share, counts, statics, choices).items():
            if block + reading in place:
                row[place[block + reading]] = weight
        found.append(row)
        rest = READS[reading] * COUNTS[counts] * STATICS[statics] * CHOICES[choices]
        odds.append((rest * share.raw * (1.0 - LOG), rest * share.log * LOG))
    # a block that a space lacks makes weightings equal
    weights, place_of = np.unique(np.array(found), axis=0, return_inverse=True)
    chance: Array = np.zeros((len(weights), 2))
    np.add.at(chance, place_of.ravel(), np.array(odds))
    if limit is not None and len(weights) > limit:
        kept = np.sort(np.argsort(-chance.sum(axis=1), kind="stable")[:limit])
        weights, chance = weights[kept], chance[kept]
    log_odds = np.log(chance.T[:, :, None] / chance.sum()) + np.log(list(NOISES.values()))
    return Kernels(weights, log_odds, np.array(list(NOISES)))


def _sensible(share: Share, counts: float, statics: float, choices: float) -> bool:
    """Without sources, something else has to tell networks apart, the layer-wise block more than beside them."""
    if share.mean:
        return choices < max(CHOICES)
    return choices > 0.0 and counts + statics > 0.0


def _weights(share: Share, counts: float, statics: float, choices: float) -> Mapping[str, float]:
    of_sources = {share.scale + "sources": share.own, share.scale + "mean": share.mean} if share.mean else {}
    return {**of_sources, "counts": counts, "groups": counts / 2, "statics": statics, "choices": choices}
