"""What gp-bma's kernels and prior means read: scaled groups of features, and the prior scores of architectures."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Encoding, Features, encoding, some_archs
from nastk.encodings.ordinal import columns_of, has_numbers
from nastk.predictors._proxy_prior import PriorScore, ProxyPrior, proxy_scores
from nastk.predictors._related_cells import RelatedCells
from nastk.predictors._tabulated import Tabulated
from nastk.predictors.base import Task
from nastk.spaces.base import Archs, SearchSpace

REFERENCE = 4000
"""Architectures, at most, that centres and scales are taken from."""
LIVE = 40
"""The same where proxies are computed on the networks themselves (`ProxySource`), a tenth of a second each and more: a
quantile is then right to about .08."""
COMPARED = 100
"""Architectures by whose distances groups are found to tell the same; see :func:`_same_distances`."""
OWN_SHARE = 2.0 / 3.0
"""Share in the prior of what other tasks of the target's own space say; the other scores have the rest in equal parts.
By leaving tasks of TransNAS-Bench-101 out (docs/accuracy.md)."""


class LearnedPrior(NamedTuple):
    """What was learned from other tasks.

    Args:
        proxies: what proxies are worth, those that read further ones first.
        related: what architectures of the space itself, or of others with the same edges, are worth.
    """

    proxies: tuple[ProxyPrior, ...]
    related: tuple[RelatedCells, ...]

    def applies(self, task: Task) -> bool:
        """Whether anything of it scores architectures of the task's space, given the task's context."""
        return bool(self.scores(task, task.archs))

    def scores(self, task: Task, reference: Archs) -> list[tuple[float, PriorScore]]:
        """Prior scores that apply to the task's space and context, each with its share; quantiles are taken within
        `reference`."""
        own: list[PriorScore] = [partial(cells, task.space) for cells in self.related if cells.own(task.space)]
        others = self._others(task, reference)
        share = OWN_SHARE if own and others else float(bool(own))
        return [(share / len(own), s) for s in own] + [((1.0 - share) / len(others), s) for s in others]

    def _others(self, task: Task, reference: Archs) -> list[PriorScore]:
        found = proxy_scores(self.proxies, task, reference)
        related = [cells for cells in self.related if cells.relates(task.space) and not cells.own(task.space)]
        return found + [partial(cells, task.space) for cells in related]


class ScaledFeatures(Tabulated):
    """Scaled features of each group, and the prior score, of the architectures of one space.

    Those of all architectures of a small space are computed at the first use and kept.

    Attributes:
        choice_of: where the space tells nothing beyond its choices, the choice that each column is of; else None.
    """

    def __init__(self, task: Task, name: str | Encoding, prior: LearnedPrior):
        super().__init__(task.space)
        self.task = task.subset([0])
        reference = some_archs(task.space)
        if len(reference) > REFERENCE:
            reference = reference[np.random.default_rng(0).choice(len(reference), REFERENCE, replace=False)]
        looked_up = reference
        if getattr(task.context.proxies, "live", False):
            looked_up = reference[np.random.default_rng(1).permutation(len(reference))[:LIVE]]
        self.looked_up = looked_up  # of the space; their proxies are known
        named = _groups(task, name, reference, looked_up)
        self.groups = [[term for term, _ in group] for group in named]
        self.scaling = [[_scaling(term.transform(archs)) for term, archs in group] for group in named]
        self.choice_of: NDArray[np.int64] | None = None
        alone = name == "auto" and task.context.proxies is None
        if alone and _same_distances(self._features(reference[:COMPARED])):
            columns = [len(columns_of(choice)[1]) for choice in task.space.choices]
            self.choice_of = np.repeat(np.arange(len(columns)), columns)  # of `ordinal`, which comes first
            self.groups, self.scaling = [self.groups[0][:1]], [self.scaling[0][:1]]
        self.scores = prior.scores(self.task, looked_up)
        # each score has a scale of its own: all are standardised before they are averaged, and the average once more,
        # so that a prior score of one is a standard deviation of the space
        self.standards = [_standard(score(looked_up)) for _, score in self.scores]
        self.centre, self.spread = _standard(self._mean_score(looked_up)) if self.scores else (0.0, 1.0)

    def __call__(self, archs: Archs) -> tuple[list[Features], Features | None]:
        """Features of each group, each ``(n, k)``, and standardised prior scores ``(n,)`` or None."""
        found = self._find(archs)
        return (found[:-1], found[-1]) if self.scores else (found, None)

    def _features(self, archs: Archs) -> list[Features]:
        return _scaled(self.groups, self.scaling, archs)

    def _compute(self, archs: Archs) -> list[Features]:
        groups = self._features(archs)
        return [*groups, (self._mean_score(archs) - self.centre) / self.spread] if self.scores else groups

    def _mean_score(self, archs: Archs) -> Features:
        """The mean of all prior scores, each standardised over the space."""
        parts = [
            share * (score(archs) - c) / s for (share, score), (c, s) in zip(self.scores, self.standards, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))


def choices_alone(space: SearchSpace) -> bool:
    """Whether a space is a list of choices, and tells nothing of them."""
    if space.statics(space.sample(1, 0)):
        return False
    archs = some_archs(space)
    archs = archs[np.random.default_rng(0).permutation(len(archs))[:COMPARED]]
    named = _groups(Task(space, archs[:1], np.zeros(1)), "auto", archs, archs)
    groups = [[term for term, _ in group] for group in named]
    scaling = [[_scaling(term.transform(archs)) for term in group] for group in groups]
    return _same_distances(_scaled(groups, scaling, archs))


def _same_distances(features: list[Features]) -> bool:
    """Whether all groups measure the same distances between some architectures: one of them tells what all do."""
    distances = [((x[:, None] - x) ** 2).sum(axis=2) for x in features]
    return all(np.allclose(distances[0], other, rtol=1e-6, atol=1e-9) for other in distances[1:])


def _scaled(
    groups: list[list[Encoding]], scaling: list[list[tuple[Features, Features]]], archs: Archs
) -> list[Features]:
    """Features of each group, ``(n, k)`` each."""
    found = []
    for terms, scales in zip(groups, scaling, strict=True):
        parts = [(t.transform(archs) - c) * s for t, (c, s) in zip(terms, scales, strict=True)]
        found.append(np.concatenate(parts, axis=1) / np.sqrt(len(parts)))
    return found


def _standard(values: Features) -> tuple[float, float]:
    """Centre and spread, the latter one if there is none."""
    return float(values.mean()), float(values.std()) or 1.0


def _scaling(features: Features) -> tuple[Features, Features]:
    """Centre and scale for which two architectures differ by a squared distance of two in the mean.

    Whatever the number of features, so that one length scale suits all groups; features that do not vary count nothing.
    """
    spread = features.std(axis=0)
    useful = spread > 1e-9
    scale = useful / np.where(useful, spread, 1.0) / np.sqrt(max(int(useful.sum()), 1))
    return features.mean(axis=0), np.asarray(scale)


def _groups(task: Task, name: str | Encoding, reference: Archs, looked_up: Archs) -> list[list[tuple[Encoding, Archs]]]:
    """Groups of fitted encodings, each a kernel; with the architectures that each was fitted to.

    Canonical forms are a group of their own beside what is written: isomorphic networks have the same accuracy up to
    chance. Statics and proxies are quantiles within the space: their raw scales span orders of magnitude.

    Args:
        reference: for statistics.
        looked_up: the same where there are proxies.
    """
    if name != "auto":
        archs = looked_up if "zcp" in str(name) else reference
        whole = encoding(name).fit(task.space, task.context, archs)
        return [[(term, archs)] for term in getattr(whole, "terms", [whole])]
    written = ["ordinal", "counts"]
    if task.space.statics(reference[:1], **task.context.build_options):
        written.append("quantiles:statics")
    names = [written]
    if not np.array_equal(task.space.canonical(reference), reference):
        names.append([f"canonical:{n}" if n != "quantiles:statics" else "quantiles:canonical:statics" for n in written])
    if has_numbers(task.space):  # totals of anything else are among the counts
        names.append(["totals"])
    names.append(["path-counts"])
    if task.context.proxies is not None:
        names.append(["quantiles:zcp"])
    fitted = []
    for group in names:
        archs = looked_up if group == ["quantiles:zcp"] else reference
        fitted.append([(encoding(n).fit(task.space, task.context, archs), archs) for n in group])
    return [group for group in fitted if any(term.names_ for term, _ in group)]
