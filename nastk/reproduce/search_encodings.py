"""Search with one predictor on different encodings (Multi-Predict, Section 5 and Figure 10): Vec against ZCP.

Ten random networks, then rounds of the ten best predictions of a predictor that is refitted before each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nastk.bench import search
from nastk.metrics import mean_ci
from nastk.report.curves import Curve, Panel
from nastk.reproduce.items import Setting

SEARCHER = "multi-predict"
NAMES = {"vec": "Vec", "zcp": "ZCP"}
"""Encodings compared, and the paper's names."""
PREDICTOR = "transfer-mlp"


@dataclass(frozen=True)
class EncodingSearch:
    """The search on one space, once for each encoding.

    Args:
        space: of a table with accuracies; only its architectures with zero-cost proxies are searched.
        budget: networks trained.
        seeds: random seeds, from 0.
        candidates: most architectures that are scored in a round.
    """

    space: str
    budget: int
    seeds: int
    candidates: int = 20_000

    @property
    def commands(self) -> list[str]:
        """Lines that can be typed, one for each encoding."""
        objective = ACCURACY.get(self.space, "val_accuracy")
        return [
            f"nastk bench search --space {self.space} --objective {objective} --searchers {SEARCHER} "
            f"--predictor {PREDICTOR}@{encoding} --budgets {self.budget} --seeds {self.seeds} --with-proxies "
            f"--candidates {self.candidates}"
            for encoding in NAMES
        ]

    def run(self, setting: Setting) -> dict[str, search.Comparison]:
        """Finished searches by encoding; those that the folder holds are not repeated."""
        return {
            encoding: search.compare(
                space=self.space,
                searchers=[SEARCHER],
                budget=self.budget,
                seeds=self.seeds,
                objectives=[ACCURACY.get(self.space, "val_accuracy")],
                with_proxies=True,
                predictor=f"{PREDICTOR}@{encoding}",
                workers=setting.workers,
                progress=setting.progress,
                journal=setting.folder / "search.jsonl",
                candidates=self.candidates,
            )
            for encoding in NAMES
        }

    def panel(self, found: dict[str, search.Comparison]) -> Panel:
        """Regret by networks trained, one curve for each encoding."""
        counts = range(5, self.budget + 1, 5)
        curves = []
        for encoding, one in found.items():
            points = [mean_ci(one.values("regret", SEARCHER, one.problems[0], n)) for n in counts]
            curves.append(Curve(NAMES[encoding], counts, [m for m, _ in points], [h for _, h in points]))
        return Panel(self.space, curves)

    def lines(self, found: dict[str, search.Comparison]) -> list[dict[str, Any]]:
        """Regret at some budgets, and the median number of networks until within 0.1 of the best."""
        rows: list[dict[str, Any]] = []
        for encoding, one in found.items():
            budgets = _budgets(self.budget)
            metrics = {(r["metric"], r["samples"]): r for r in one.rows(budgets)}
            line: dict[str, Any] = {"space": self.space, "encoding": NAMES[encoding], "seeds": self.seeds}
            for n in budgets:
                row = metrics["regret", n]
                line |= {f"regret @{n}": row["mean"], f"± @{n}": row["ci95"]}
            line["within 0.1 of the best after"] = metrics["median_evaluations_to_0.1", self.budget]["mean"]
            rows.append(line)
        return rows


ACCURACY = {"nasbench201": "test_accuracy"}
"""The accuracy that is searched for, where it is not the validation accuracy."""


def _budgets(most: int) -> Sequence[int]:
    return [n for n in (20, 40, 100) if n < most] + [most]
