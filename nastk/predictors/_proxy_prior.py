"""How zero-cost proxies predict a metric, learned on other spaces: gp-bma's prior before the first value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Features
from nastk.predictors._monotone_trees import MonotoneTrees
from nastk.predictors._normal_scores import normal_scores
from nastk.predictors._proxy_quantiles import further_names, proxy_columns, proxy_names, proxy_quantiles
from nastk.predictors._similar_spaces import SimilarSpaces, correlation
from nastk.predictors.base import Task
from nastk.spaces.base import Archs

NOISY = frozenset({"grasp", "plain"})
"""Proxies that are not read: two published runs on the same images agree on them at .70 and .19."""
KNOWN = 0.25
"""Share of a space, at least, whose further proxies are known before they are read: of a few networks they tell little,
and mix two orders (docs/accuracy.md)."""


class PriorScore(Protocol):
    """Scores architectures before anything was evaluated, ``(n, d)`` to ``(n,)``, up to scale; higher is better."""

    def __call__(self, archs: Archs, /) -> Features: ...


@dataclass(frozen=True)
class ProxyPrior:
    """Two scores of proxies' quantiles, learned from tasks of other spaces.

    Args:
        proxies: their names.
        trees: predict normal scores of a metric.
        similar: the same, by each space, those with similar proxies first; None in weights made before.
        further: those of `proxies` that :func:`proxy_scores` wants to know of an architecture.
    """

    proxies: tuple[str, ...]
    trees: MonotoneTrees
    similar: SimilarSpaces | None
    further: tuple[str, ...] = ()

    @classmethod
    def fit(cls, tasks: Sequence[Task], further: bool = False) -> ProxyPrior:
        """Each space with equal weight.

        Args:
            tasks: of any spaces, with proxies in their contexts.
            further: whether the further proxies of the contexts are read too.

        Raises:
            InvalidValue: no tasks, or one without proxies.
        """
        more = sorted({name for task in tasks for name in further_names(task)}) if further else []
        names = [*proxy_names(tasks), *more]
        names = [name for name in names if name not in NOISY] or names
        spaces = [task.space.whole.name for task in tasks]
        x = [proxy_quantiles(task, names, task.archs, task.archs) for task in tasks]
        y = [normal_scores(task) for task in tasks]
        weight = np.concatenate([np.full(len(t), 1.0 / len(t) / spaces.count(t.space.whole.name)) for t in tasks])
        trees = MonotoneTrees.fit(np.concatenate(x), np.concatenate(y), weight / weight.mean())
        return cls(tuple(names), trees, SimilarSpaces.fit(list(zip(spaces, x, y, strict=True))), tuple(more))

    def applies(self, task: Task, reference: Archs) -> bool:
        """Whether the task's context has these proxies: one is enough, as missing ones are taken, but all further."""
        source = task.context.proxies
        known = set() if source is None else {*source.names, *further_names(task)}
        if not known & set(self.proxies) or not set(self.further) <= known:
            return False
        return not self.further or float(self.knows(task, reference).mean()) >= KNOWN

    def knows(self, task: Task, archs: Archs) -> NDArray[np.bool_]:
        """Which architectures have further proxies, ``(n,)``; one that is undefined on a network may be missing."""
        return np.asarray(np.isfinite(proxy_columns(task, self.further, archs)).any(axis=1))

    def scores(self, task: Task, reference: Archs) -> list[PriorScore]:
        """The scores in the task's context, of quantiles within `reference`."""
        found: list[PriorScore] = [_ByTrees(self, task, reference)]
        return found if self.similar is None else [*found, _BySpaces(self, self.similar, task, reference)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State for :meth:`of_arrays`, beside the names."""
        trees = {f"trees.{name}": a for name, a in self.trees.arrays().items()}
        similar = {} if self.similar is None else self.similar.arrays()
        return trees | {f"similar.{name}": a for name, a in similar.items()}

    @classmethod
    def of_arrays(
        cls, proxies: Sequence[str], arrays: dict[str, NDArray[Any]], further: Sequence[str] = ()
    ) -> ProxyPrior:
        """The inverse of :meth:`arrays`."""
        trees, similar = (
            {name.removeprefix(part): a for name, a in arrays.items() if name.startswith(part)}
            for part in ("trees.", "similar.")
        )
        spaces = SimilarSpaces.of_arrays(similar) if similar else None
        return cls(tuple(proxies), MonotoneTrees.of_arrays(trees), spaces, tuple(further))


def proxy_scores(priors: Sequence[ProxyPrior], task: Task, reference: Archs) -> list[PriorScore]:
    """The scores of the first that applies; of an architecture whose further proxies are unknown, those of the next.

    Args:
        priors: those with further proxies first.
        task: in whose context the proxies are.
        reference: within which quantiles are taken.
    """
    found = [prior for prior in priors if prior.applies(task, reference)]
    if not found:
        return []
    first, *rest = found
    scores, others = first.scores(task, reference), proxy_scores(rest, task, reference)
    if not first.further or not others or bool(first.knows(task, reference).all()):
        return scores
    return [_Pieced(first, a, b, task, reference) for a, b in zip(scores, others, strict=True)]


@dataclass(frozen=True)
class _Pieced:
    """One score where a prior knows an architecture's further proxies, else another.

    The first is given the mean and the spread that the other has on the same architectures, those of `reference` that
    both read: on the rest the other may be ill informed, and spread little.
    """

    prior: ProxyPrior
    known: PriorScore
    unknown: PriorScore
    task: Task
    reference: Archs

    def __call__(self, archs: Archs, /) -> Features:
        there = self.prior.knows(self.task, archs)
        (centre, spread), (wanted_centre, wanted_spread) = self._scales
        found = np.empty(len(archs))
        if there.any():
            found[there] = (self.known(archs[there]) - centre) / spread * wanted_spread + wanted_centre
        if not there.all():
            found[~there] = self.unknown(archs[~there])
        return found

    @cached_property
    def _scales(self) -> list[tuple[float, float]]:
        both = self.reference[self.prior.knows(self.task, self.reference)]
        parts = (score(both) for score in (self.known, self.unknown))
        return [(float(part.mean()), float(part.std()) or 1.0) for part in parts]


@dataclass(frozen=True)
class _ByTrees:
    """A class, so that a fitted predictor pickles."""

    prior: ProxyPrior
    task: Task
    reference: Archs

    def __call__(self, archs: Archs, /) -> Features:
        return self.prior.trees(proxy_quantiles(self.task, self.prior.proxies, archs, self.reference))


@dataclass(frozen=True)
class _BySpaces:
    """The same by the spaces whose proxies correlate as the target's do."""

    prior: ProxyPrior
    spaces: SimilarSpaces
    task: Task
    reference: Archs

    def __call__(self, archs: Archs, /) -> Features:
        return self.spaces(proxy_quantiles(self.task, self.prior.proxies, archs, self.reference), self._here)

    @cached_property
    def _here(self) -> Features:
        return correlation(proxy_quantiles(self.task, self.prior.proxies, self.reference, self.reference))
