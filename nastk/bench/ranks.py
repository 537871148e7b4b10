"""Ranks of methods over tables, and which of their differences are more than chance.

J. Demsar. Statistical Comparisons of Classifiers over Multiple Data Sets. JMLR 7, 2006; with Wilcoxon's signed-rank
test and Holm's correction in place of Nemenyi's test, whose verdict on two methods depends on the others that are
compared (A. Benavoli, G. Corani, F. Mangili. Should We Really Use Post-Hoc Tests Based on Mean-Ranks? JMLR 17, 2016).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from nastk.errors import InvalidValue

Array = NDArray[np.float64]

ALPHA = 0.05
"""Level of the tests."""


@dataclass(frozen=True)
class Ranks:
    """Costs of methods on the problems of some tables, with the same seeds.

    Problems are blocks: methods are ranked within each problem and seed, 1 the best, ties shared, a cost that is not
    known (NaN) last. The tests ask whether methods differ on these tables, the seeds being random; they do not say what
    holds on other tables.

    Args:
        methods: names.
        costs: by table, lower is better, ``(methods, problems, seeds)``.

    Raises:
        InvalidValue: no table, or arrays of other shapes.
    """

    methods: tuple[str, ...]
    costs: Mapping[str, Array]

    def __post_init__(self) -> None:
        shapes = [np.shape(cost) for cost in self.costs.values()]
        if not shapes or any(len(s) != 3 or s[0] != len(self.methods) or 0 in s for s in shapes):
            raise InvalidValue(
                f"ranks of {len(self.methods)} methods need costs (methods, problems, seeds); got {shapes}"
            )

    @cached_property
    def by_table(self) -> dict[str, Array]:
        """Mean ranks on each table, ``(methods,)``."""
        return {
            table: rankdata(np.nan_to_num(cost, nan=np.inf), axis=0).mean(axis=(1, 2))
            for table, cost in self.costs.items()
        }

    @cached_property
    def mean(self) -> Array:
        """Mean ranks over the tables, each of which counts the same, ``(methods,)``."""
        return np.mean(list(self.by_table.values()), axis=0)

    @cached_property
    def order(self) -> list[int]:
        """Positions of the methods, the best mean rank first."""
        return [int(i) for i in np.argsort(self.mean, kind="stable")]

    @property
    def pairs(self) -> int:
        """How many problems and seeds two methods are compared on."""
        return sum(cost.shape[1] * cost.shape[2] for cost in self.costs.values())

    @cached_property
    def p(self) -> Array:
        """Two-sided p of Wilcoxon's signed-rank test of each two methods, ``(methods, methods)``; NaN on the diagonal.

        Differences are divided by their mean size on each problem, so that problems with large units do not outweigh
        the others; the test stays exact. Methods that never differ have 1.
        """
        found = np.full((len(self.methods),) * 2, np.nan)
        for i, j in combinations(range(len(self.methods)), 2):
            differences = np.concatenate(
                [_differences(cost[i, k], cost[j, k]) for cost in self.costs.values() for k in range(cost.shape[1])]
            )
            found[i, j] = found[j, i] = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
        return found

    @cached_property
    def holm(self) -> Array:
        """The same p with Holm's correction for all pairs of methods (Holm, Scand. J. Statist. 6, 1979)."""
        upper = np.triu_indices(len(self.methods), 1)
        found = np.full((len(self.methods),) * 2, np.nan)
        found[upper] = found.T[upper] = holm(self.p[upper])
        return found

    @cached_property
    def friedman(self) -> float:
        """p of Friedman's test that no method differs, over all problems and seeds; NaN for fewer than three methods,
        or where nothing differs."""
        if len(self.methods) < 3:
            return float("nan")
        blocks = np.concatenate([cost.reshape(len(cost), -1) for cost in self.costs.values()], axis=1)
        ranked = rankdata(np.nan_to_num(blocks, nan=np.inf), axis=0)
        return float(friedmanchisquare(*ranked).pvalue) if np.ptp(ranked, axis=0).any() else float("nan")

    @property
    def least(self) -> float:
        """The least p that two methods can have on so many problems and seeds."""
        return float(min(1.0, 2.0 ** (1 - self.pairs)))

    @property
    def least_corrected(self) -> float:
        """The least p that Holm's correction leaves of it."""
        return min(1.0, self.least * len(self.methods) * (len(self.methods) - 1) / 2)

    def cliques(self, alpha: float = ALPHA) -> list[list[int]]:
        """Groups of neighbours in :attr:`order`, of which no two differ at the level `alpha` after Holm's correction;
        each as long as it can be, of two methods at least."""
        found: list[list[int]] = []
        for first in range(len(self.order)):
            group = [self.order[first]]
            for other in self.order[first + 1 :]:
                if any(self.holm[other, member] <= alpha for member in group):
                    break
                group.append(other)
            if len(group) > 1 and not (found and set(group) <= set(found[-1])):
                found.append(group)
        return found

    def sentences(self, alpha: float = ALPHA) -> list[str]:
        """What was tested and how, for the reader."""
        tables, seeds = len(self.costs), next(iter(self.costs.values())).shape[2]
        problems = sum(cost.shape[1] for cost in self.costs.values())
        of = f"{problems} problem{'s' * (problems > 1)}" + (f" of {tables} tables" if tables > 1 else "")
        said = [
            f"Ranks within each of {of} and {seeds} seed{'s' * (seeds > 1)}, 1 the best"
            + (", averaged over each table and then over the tables." if tables > 1 else "."),
            "p: Wilcoxon's signed-rank test over the same problems and seeds, two-sided, with Holm's correction for "
            f"the {len(self.methods) * (len(self.methods) - 1) // 2} pairs of methods. The least that {self.pairs} "
            f"pairs of values allow is {_p(self.least)}, and {_p(self.least_corrected)} with the correction"
            + (f": no difference can be significant at {alpha:g}." if self.least_corrected > alpha else "."),
        ]
        if np.isfinite(self.friedman):
            said.append(
                f"Friedman's test over all problems and seeds that no method differs: p {_p(self.friedman, '= ')}."
            )
        return said

    def rows(self) -> list[dict[str, Any]]:
        """A line for each method, the best first: mean rank, on each table, and p against the others."""
        lines = []
        for i in self.order:
            line: dict[str, Any] = {"method": self.methods[i], "mean rank": float(self.mean[i])}
            if len(self.costs) > 1:
                line |= {f"rank, {table}": float(ranks[i]) for table, ranks in self.by_table.items()}
            line |= {f"p against {self.methods[j]}": float(self.holm[i, j]) for j in self.order}
            lines.append(line)
        return lines


def new_name(name: str, taken: Collection[str]) -> str:
    """The name of a table, with a number behind it where it is taken: one table may be compared on in two ways."""
    return name if name not in taken else f"{name} ({len(taken) + 1})"


def holm(p: Sequence[float] | Array) -> Array:
    """Holm's correction of p-values ``(n,)``: the k-th least times ``n - k + 1``, at most 1, and no less than the one
    before."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return corrected


def _differences(a: Array, b: Array) -> Array:
    """Scaled differences of one problem: what is not known is worse than anything known by more than any of them."""
    known = np.isfinite(a) & np.isfinite(b)
    size = np.abs(a[known] - b[known]).mean() if known.any() else 0.0
    scaled = np.zeros(len(a))
    if size > 0:
        scaled[known] = (a[known] - b[known]) / size
    most = 1.0 + np.abs(scaled).max(initial=0.0)
    scaled[~known] = most * (np.isfinite(b[~known]).astype(float) - np.isfinite(a[~known]))
    return scaled


def _p(value: float, equal: str = "") -> str:
    """A p-value in a sentence."""
    return "< .0001" if value < 1e-4 else f"{equal}{value:.2g}".replace("0.", ".", 1)
