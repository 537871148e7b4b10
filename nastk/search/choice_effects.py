"""What each choice of a space costs and gains: main effects and pairwise interactions of what a search has learned.

A functional analysis of variance (Sobol 1993; Hutter, Hoos & Leyton-Brown, ICML 2014): the objectives, predicted or
computed at random architectures, are projected by least squares on functions of one choice each. An effect is the
difference to the mean over the options of its choice, all other choices varying as they do in the space; a choice that
an architecture does not use has no effect on it. What single choices leave is averaged over the options of each pair.

Intervals are 95 % bootstrap intervals (Efron 1979): the random architectures are drawn again and the predictors learn
again from evaluations drawn with replacement, so that they hold what the predictors do not know, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.evaluation import Kind
from nastk.parallel import one_thread
from nastk.search.base import Objective, Searcher
from nastk.search.defaults import default_predictor
from nastk.search.models import Models
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

SAMPLES = 2000
"""Random architectures. An effect's sampling error falls with their root; the time of predictions grows with them."""

REFITS = 20
"""Bootstrap replicates: each learns every predictor anew. A standard error from 20 is itself known to about 16 %."""

PAIRS = 12
"""Strongest pairs of choices of each objective to list."""

LEAST_SHARE = 0.002
"""Least share of the variance of a listed pair: less is nothing that a reader could use."""

ROUNDING = 1e-10
"""Share of the largest coefficient below which an effect is what floating-point numbers leave of none."""

Z95 = 1.96


@dataclass(frozen=True)
class ChoiceEffects:
    """What each option of each choice does to the objectives.

    Args:
        space: its name.
        objectives: their names, units, directions and kinds ("estimate" where they were predicted).
        options: one row an option: ``choice``, ``option``, ``group``, ``active`` (share of the architectures to whose
            networks the choice makes a difference), and for each objective ``<name>_effect``, ``<name>_low`` and
            ``<name>_high`` (95 % interval), ``<name>_unit``, ``<name>_kind``, and ``<name>_share``, the share of the
            variance that the choice alone explains. Where something is maximised and something minimised,
            ``<name>_over_cheapest`` of both, the difference to the option of least cost, and
            ``<gain>_per_<unit>``, their ratio: what each option gains for what it costs.
        pairs: the strongest interactions: ``objective``, ``choice_a``, ``choice_b``, ``share`` of the variance with its
            ``low`` and ``high``, and the pair of options whose joint effect differs most from the sum of their own
            (``option_a``, ``option_b``, ``effect``, ``unit``).
        explained: by objective, the share of the variance that choices explain one by one.
        notes: how it came about, a sentence each.
    """

    space: str
    objectives: list[EffectOf]
    options: pd.DataFrame
    pairs: pd.DataFrame
    explained: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def trade(self) -> tuple[EffectOf, EffectOf] | None:
        """What is gained and what it costs: the first maximised and the first minimised objective."""
        gain = next((o for o in self.objectives if o.direction == "max"), None)
        cost = next((o for o in self.objectives if o.direction == "min"), None)
        return None if gain is None or cost is None else (gain, cost)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write :attr:`options`, whole or not at all."""
        from nastk.files import write_text

        write_text(path, self.options.to_csv(index=False))

    def pairs_to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write :attr:`pairs`, whole or not at all."""
        from nastk.files import write_text

        write_text(path, self.pairs.to_csv(index=False))


@dataclass(frozen=True)
class EffectOf:
    """One objective of :class:`ChoiceEffects`.

    Args:
        name, unit, direction: of the objective.
        kind: of the values that were analysed.
        evaluations: from which its predictor learned; 0 where nothing was predicted.
    """

    name: str
    unit: str
    direction: str
    kind: Kind
    evaluations: int = 0


def choice_effects(
    searcher: Searcher,
    samples: int = SAMPLES,
    refits: int = REFITS,
    seed: int = 0,
    progress: Callable[[float, float, str], None] | None = None,
) -> ChoiceEffects:
    """The effects of the choices of a searcher's space on its objectives, as far as it knows.

    Expensive objectives are predicted at random architectures by the searcher's predictors, or where it has none by the
    default one; free ones are computed. Nothing is evaluated.

    Args:
        searcher: with what it was told.
        samples: random architectures; all of a space that has no more.
        refits: bootstrap replicates, of which there are at least 2.
        seed: random seed.
        progress: called with (done, total, objective) after every fit.

    Raises:
        InvalidValue: numbers that cannot be used, or no objective of which enough is known.
    """
    if samples < 50 or refits < 2:
        raise InvalidValue(f"effects need at least 50 samples and 2 refits; got {samples} and {refits}")
    rng = np.random.default_rng(seed)
    space = searcher.space
    whole = space.enumerable and space.size <= samples
    archs = space.enumerate() if whole else space.sample(samples, rng)
    archs = archs[space.distinct(archs)] if whole else archs
    design = _Design(space, archs)
    learned = _models(searcher)
    known = [o for o in searcher.objectives if not o.expensive or learned.can_learn([o.name])]
    left_out = [o.name for o in searcher.objectives if o not in known]
    if not known:
        raise InvalidValue("too little is known of any objective: a predictor needs two different values")
    rows = [_rows(len(archs), whole, rng) for _ in range(refits)]
    done, total = 0, len(known) * (refits + 1)
    columns = design.columns()
    pairs: list[dict[str, Any]] = []
    explained, about = {}, []
    for objective in known:
        kind: Kind = "estimate" if objective.expensive else objective.oracle.kind
        evaluations = len(learned.known(objective.name)[1]) if objective.expensive else 0
        effect_of = EffectOf(objective.name, objective.unit, objective.direction, kind, evaluations)
        values: list[Array] = []
        for replicate in range(refits + 1):
            with one_thread():
                values.append(_values(objective, learned, archs, rng, replicate > 0, values))
            done += 1
            if progress is not None:
                progress(done, total, objective.name)
        kept = np.asarray(np.isfinite(np.array(values)).all(axis=0))
        if not kept.any():
            left_out.append(objective.name)
            continue
        fits = [design.fit(y, r[kept[r]]) for y, r in zip(values, [np.flatnonzero(kept), *rows], strict=True)]
        about.append(effect_of)
        columns |= _effect_columns(effect_of, design, fits, kept)
        explained[objective.name] = design.explained(values[0], fits[0], kept)
        pairs += _pairs(effect_of, design, values, fits, rows, kept, whole)
    if not about:
        raise InvalidValue("no objective has values at random architectures of this space")
    return _result(space, about, columns, pairs, explained, _notes(about, left_out, len(archs), whole, refits))


def _models(searcher: Searcher) -> Models:
    """The searcher's predictors, or default ones of a searcher that learns nothing."""
    found = getattr(searcher, "models", None)
    if isinstance(found, Models):
        return found
    alone = len(searcher.objectives) == 1
    return Models(searcher, None, None, lambda o: default_predictor(searcher.space, o.direction, alone))


def _rows(n: int, whole: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """Architectures of a replicate; the whole space is no sample."""
    return np.arange(n) if whole else rng.integers(0, n, n)


def _values(
    objective: Objective, learned: Models, archs: Archs, rng: np.random.Generator, again: bool, before: list[Array]
) -> Array:
    """Values ``(n,)``: computed, or predicted by a predictor that learned from all evaluations or, `again`, from as
    many drawn with replacement."""
    if not objective.expensive:
        return before[0] if before else np.asarray(objective.oracle.evaluate(archs, objective.fidelity).value)
    if not again:
        return np.asarray(learned.fitted(objective.name).predict(archs).mean)
    told, values = learned.known(objective.name)
    drawn = rng.integers(0, len(values), len(values))
    while np.ptp(values[drawn]) == 0 and np.ptp(values) > 0:  # of nothing but one value nothing is learned
        drawn = rng.integers(0, len(values), len(values))
    return np.asarray(learned.learn(objective.name, told[drawn], values[drawn]).predict(archs).mean)


class _Design:
    """Functions of one choice each at some architectures, as columns of a matrix.

    A choice of k options has k - 1 columns whose coefficients sum to zero over its options; they are zero where the
    choice makes no difference.
    """

    def __init__(self, space: SearchSpace, archs: Archs):
        self.space, self.archs = space, archs
        self.active = space.active(archs)
        parts, self.places, start = [np.ones((len(archs), 1))], [], 1
        for j, size in enumerate(space.sizes.tolist()):
            hot = (archs[:, j, None] == np.arange(size)).astype(float)
            parts.append((hot[:, :-1] - hot[:, -1:]) * self.active[:, j, None])
            self.places.append(slice(start, start + size - 1))
            start += size - 1
        self.matrix = np.concatenate(parts, axis=1)
        self.used = [
            [bool((self.active[:, j] & (archs[:, j] == v)).any()) for v in range(size)]
            for j, size in enumerate(space.sizes.tolist())
        ]

    def fit(self, values: Array, rows: NDArray[np.int64]) -> Array:
        """Coefficients ``(columns,)`` by least squares, the shortest where several fit equally well."""
        return np.asarray(np.linalg.lstsq(self.matrix[rows], values[rows], rcond=1e-8)[0])

    def effects(self, coefficients: Array) -> list[Array]:
        """For each choice the effects of its options."""
        return [np.append(coefficients[p], -coefficients[p].sum()) for p in self.places]

    def part(self, coefficients: Array, j: int) -> Array:
        """What one choice contributes at each architecture, ``(n,)``."""
        return np.asarray(self.matrix[:, self.places[j]] @ coefficients[self.places[j]])

    def explained(self, values: Array, coefficients: Array, kept: NDArray[np.bool_]) -> float:
        total = float(np.var(values[kept]))
        rest = float(np.var((values - self.matrix @ coefficients)[kept]))
        return 1.0 - rest / total if total > 0 else float("nan")

    def columns(self) -> dict[str, list[Any]]:
        """What tells the rows of the table apart."""
        share = self.active.mean(axis=0)
        rows = [(c.name, o, c.group, float(share[j])) for j, c in enumerate(self.space.choices) for o in c.options]
        return {name: [row[i] for row in rows] for i, name in enumerate(("choice", "option", "group", "active"))}


def _effect_columns(
    of: EffectOf, design: _Design, fits: Sequence[Array], kept: NDArray[np.bool_]
) -> dict[str, list[Any]]:
    own = [e for effects in design.effects(fits[0]) for e in effects]
    again = np.array([np.concatenate(design.effects(fit)) for fit in fits[1:]])
    half = Z95 * again.std(axis=0, ddof=1)
    used = [u for choice in design.used for u in choice]
    parts = [float(np.var(design.part(fits[0], j)[kept])) for j in range(design.space.d)]
    total = float(np.var((design.matrix @ fits[0])[kept]))
    shares = [
        part / total if total > 0 else np.nan
        for part, choice in zip(parts, design.space.choices, strict=True)
        for _ in choice.options
    ]
    effect = np.where(used, own, np.nan)
    largest = float(np.abs(fits[0]).max())  # an effect that is rounding error alone is none
    for found in (effect, half):
        found[np.abs(found) < ROUNDING * largest] = 0.0
    return {
        f"{of.name}_effect": effect.tolist(),
        f"{of.name}_low": (effect - half).tolist(),
        f"{of.name}_high": (effect + half).tolist(),
        f"{of.name}_unit": [of.unit] * len(own),
        f"{of.name}_kind": [of.kind] * len(own),
        f"{of.name}_share": shares,
    }


# ---- pairs


def _pairs(
    of: EffectOf,
    design: _Design,
    values: Sequence[Array],
    fits: Sequence[Array],
    rows: Sequence[NDArray[np.int64]],
    kept: NDArray[np.bool_],
    whole: bool,
) -> list[dict[str, Any]]:
    """The strongest interactions of two choices, by what single choices leave of the variance."""
    choices = design.space.choices
    every = np.flatnonzero(kept)
    rest = values[0] - design.matrix @ fits[0]
    total = float(np.var(values[0][kept]))
    if total <= 0:
        return []
    several = [j for j in range(len(choices)) if len(choices[j]) > 1]
    shares = {(a, b): _share(design, rest, a, b, every, whole) / total for a, b in combinations(several, 2)}
    strongest = sorted(shares, key=lambda pair: -shares[pair])[:PAIRS]
    found = []
    for a, b in strongest:
        if shares[a, b] < LEAST_SHARE:
            break
        again = [
            _share(design, y - design.matrix @ fit, a, b, r[kept[r]], whole) / max(float(np.var(y[kept])), 1e-300)
            for y, fit, r in zip(values[1:], fits[1:], rows, strict=True)
        ]
        half = Z95 * float(np.std(again, ddof=1))
        means, _ = _cells(design, rest, a, b, every)
        at = np.unravel_index(int(np.nanargmax(np.abs(means))), means.shape)
        found.append(
            {
                "objective": of.name,
                "choice_a": choices[a].name,
                "choice_b": choices[b].name,
                "share": shares[a, b],
                "low": max(shares[a, b] - half, 0.0),
                "high": min(shares[a, b] + half, 1.0),
                "option_a": choices[a].options[int(at[0])],
                "option_b": choices[b].options[int(at[1])],
                "effect": float(means[at]),
                "unit": of.unit,
            }
        )
    return found


def _cells(design: _Design, rest: Array, a: int, b: int, rows: NDArray[np.int64]) -> tuple[Array, Array]:
    """Mean and number of what is left at each pair of options, of architectures that use both choices."""
    sizes = design.space.sizes
    both = rows[design.active[rows, a] & design.active[rows, b]]
    shape = int(sizes[a]), int(sizes[b])
    cell = design.archs[both, a] * shape[1] + design.archs[both, b]
    count = np.bincount(cell, minlength=shape[0] * shape[1]).astype(float)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(cell, rest[both], minlength=shape[0] * shape[1]) / count
    return mean.reshape(shape), count.reshape(shape)


def _share(design: _Design, rest: Array, a: int, b: int, rows: NDArray[np.int64], whole: bool) -> float:
    """Variance that the pair explains of what is left; of a sample, without what means of so few would have by
    chance."""
    mean, count = _cells(design, rest, a, b, rows)
    inside = np.where(count > 0, np.nan_to_num(mean) ** 2 * count, 0.0).sum()
    if not whole:
        freedom = max((count > 0).sum() - count.shape[0] - count.shape[1] + 1, 0)
        inside -= freedom * float(np.var(rest[rows]))
    return max(float(inside), 0.0) / max(len(rows), 1)


# ---- the result


def _notes(about: Sequence[EffectOf], left_out: Sequence[str], n: int, whole: bool, refits: int) -> list[str]:
    where = f"all {n:,} networks of the space" if whole else f"{n:,} random architectures"
    predicted = [f"{o.name} (learned from {o.evaluations} evaluations)" for o in about if o.kind == "estimate"]
    exact = [f"{o.name} ({o.kind})" for o in about if o.kind != "estimate"]
    said = [f"Over {where}. Predicted: {', '.join(predicted) or 'nothing'}; known: {', '.join(exact) or 'nothing'}."]
    said.append(
        f"Intervals: 95 %, by {refits} bootstrap replicates"
        + (
            ", in each of which the predictors learned from evaluations drawn anew; a predictor's own bias is not in "
            "them."
            if predicted
            else "."
        )
    )
    said += [f"{name} is left out: too little is known of it." for name in left_out]
    return said


def _result(
    space: SearchSpace,
    about: list[EffectOf],
    columns: dict[str, list[Any]],
    pairs: list[dict[str, Any]],
    explained: dict[str, float],
    notes: list[str],
) -> ChoiceEffects:
    import pandas as pd

    options = pd.DataFrame(columns)
    heads = ["objective", "choice_a", "choice_b", "share", "low", "high", "option_a", "option_b", "effect", "unit"]
    found = ChoiceEffects(space.whole.name, about, options, pd.DataFrame(pairs, columns=heads), explained, notes)
    if found.trade is not None:
        _add_trade(options, *found.trade)
    return found


def _add_trade(options: pd.DataFrame, gain: EffectOf, cost: EffectOf) -> None:
    """What each option gains, and what it costs, beside the cheapest one of its choice."""
    for of in (gain, cost):
        options[f"{of.name}_over_cheapest"] = np.nan
    for _, rows in options.groupby("choice", sort=False):
        known = rows[rows[f"{cost.name}_effect"].notna()]
        if len(known):
            cheapest = known[f"{cost.name}_effect"].idxmin()
            for of in (gain, cost):
                effect = rows[f"{of.name}_effect"]
                options.loc[rows.index, f"{of.name}_over_cheapest"] = effect - effect[cheapest]
    spent = options[f"{cost.name}_over_cheapest"]
    ratio = options[f"{gain.name}_over_cheapest"] / spent.where(spent > 0)
    options[f"{gain.name}_per_{cost.unit or cost.name}"] = ratio
