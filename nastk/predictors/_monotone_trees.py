"""Boosted trees, monotone in every feature, stored as plain arrays (trained by scikit-learn)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {"feature": "i2", "threshold": "f8", "left": "i4", "right": "i4", "missing": "u1", "value": "f8"}
"""Fields of a node, with their types in arrays: which feature, up to which value one goes left, the children, whether
one goes left where the feature is missing, what a leaf adds."""
ROUNDS = 30
"""Trees; chosen, of 30 and 100, by leaving whole source spaces out (docs/accuracy.md)."""
DEPTH = 6
"""Of a tree; chosen by leaving whole source spaces out (docs/accuracy.md)."""
RATE = 0.05
"""Share of each tree's prediction that is added."""
LEAF = 50
"""Samples in a leaf at least; a tenth of all where there are fewer than 500."""


class MonotoneTrees:
    """A sum of trees, non-decreasing in every feature; NaN features go to the side that training found best.

    Args:
        nodes: arrays of all trees' nodes, by the names in :data:`TYPES`; a leaf is its own child.
        roots: ``(t,)``, node numbers.
        base: constant of the sum.
    """

    def __init__(self, nodes: dict[str, NDArray[Any]], roots: NDArray[np.int64], base: float):
        self.nodes, self.roots, self.base = nodes, roots, base

    @classmethod
    def fit(cls, x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> MonotoneTrees:
        """Least squares over ``(n, k)`` features, NaN where unknown, with weights ``(n,)``."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            monotonic_cst=[1] * x.shape[1], max_depth=DEPTH, max_iter=ROUNDS, learning_rate=RATE,
            min_samples_leaf=min(LEAF, max(len(y) // 10, 1)), early_stopping=False, random_state=0,
        )  # fmt: skip
        model.fit(x, y, weights)
        trees = cls._of([trees[0].nodes for trees in model._predictors], float(np.ravel(model._baseline_prediction)[0]))
        sample = x[:: max(len(x) // 200, 1)]
        if not np.allclose(trees(sample), model.predict(sample)):
            raise RuntimeError("this version of scikit-learn stores its trees in an unknown form")
        return trees

    @classmethod
    def _of(cls, trees: Sequence[NDArray[np.void]], base: float) -> MonotoneTrees:
        parts: dict[str, list[NDArray[Any]]] = {field: [] for field in TYPES}
        roots, start = [], 0
        for tree in trees:
            leaf, own = tree["is_leaf"].astype(bool), np.arange(len(tree))
            roots.append(start)
            parts["feature"].append(np.where(leaf, 0, tree["feature_idx"]))
            parts["threshold"].append(np.where(leaf, np.inf, tree["num_threshold"]))
            parts["left"].append(start + np.where(leaf, own, tree["left"]))
            parts["right"].append(start + np.where(leaf, own, tree["right"]))
            parts["missing"].append(tree["missing_go_to_left"])
            parts["value"].append(tree["value"])
            start += len(tree)
        nodes = {field: np.concatenate(arrays).astype(TYPES[field]) for field, arrays in parts.items()}
        return cls(nodes, np.array(roots, dtype=np.int64), base)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums ``(n,)`` for features ``(n, k)``."""
        feature, left, right = (self.nodes[name].astype(np.int64) for name in ("feature", "left", "right"))
        threshold, missing, value = self.nodes["threshold"], self.nodes["missing"] > 0, self.nodes["value"]
        rows = np.arange(len(x))
        total = np.full(len(x), self.base)
        for root in self.roots:
            node = np.full(len(x), root)
            while True:
                seen = x[rows, feature[node]]
                goes_left = np.where(np.isnan(seen), missing[node], seen <= threshold[node])
                following = np.where(goes_left, left[node], right[node])
                if np.array_equal(following, node):
                    break
                node = following
            total += value[node]
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The complete state, for a file; the inverse of :meth:`of_arrays`."""
        return {**self.nodes, "roots": self.roots, "base": np.array([self.base])}

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> MonotoneTrees:
        """The trees that :meth:`arrays` wrote."""
        return cls({f: arrays[f] for f in TYPES}, arrays["roots"], float(arrays["base"][0]))
