"""How much too good the values are that a search chose by: regression to the mean, by trainings with other seeds.

The best of fifty trainings owes part of its accuracy to its seed, and other seeds do not have that part. Trained again,
the chosen networks have it on average no more, and the difference is the search's bias of selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nastk.metrics import mean_ci


@dataclass(frozen=True)
class Retrained:
    """An objective of the front, trained again with other seeds.

    Args:
        rows: by network ``arch``, ``search`` (the search's value), ``values`` of the other seeds, their ``mean`` and
            ``std`` (None for a single one).
        too_good: by how much the search's values were better than the means of the other seeds, on average, in the
            objective's unit; below 0 where they were worse.
        interval: half-width of its 95 % interval over the networks, None for a single network.
        spread: standard deviation of one training of a network, from its other seeds; None for a single seed.
        of: how many trainings the search chose among.
    """

    rows: list[dict[str, object]]
    too_good: float
    interval: float | None
    spread: float | None
    of: int

    @classmethod
    def of_rows(cls, told: Sequence[tuple[str, float, Sequence[float]]], sign: float, of: int) -> Retrained:
        """From the text, the search's value and the other seeds' values of each network.

        Args:
            sign: +1 where the objective is minimised, -1 where it is maximised.
            of: how many trainings the search chose among.
        """
        rows: list[dict[str, object]] = []
        differences, variances = [], []
        for arch, search, values in told:
            mean = float(np.mean(values)) if len(values) else None
            std = float(np.std(values, ddof=1)) if len(values) > 1 else None
            rows.append({"arch": arch, "search": search, "values": list(values), "mean": mean, "std": std})
            if mean is not None:
                differences.append(sign * (mean - search))
            if std is not None:
                variances.append((len(values) - 1, std**2))
        too_good, half = mean_ci(differences)
        freedom = sum(n for n, _ in variances)
        spread = float(np.sqrt(sum(n * v for n, v in variances) / freedom)) if freedom else None
        return cls(rows, too_good, None if np.isnan(half) else half, spread, of)
