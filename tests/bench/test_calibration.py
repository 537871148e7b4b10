"""Whether intervals hold, and what a wrong prior costs: the arithmetic, the protocol, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.bench import accuracy, calibration, wrong_prior
from nastk.cli import run as command
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import spearman
from nastk.oracles.base import Values
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.reproduce import accuracy_figures


class Known(Predictor):
    """Knows the middle and the spread of its samples, and says that its intervals go up to one spread above."""

    def fit(self, task: Task) -> Predictor:
        self.task_ = task
        return self

    def predict(self, archs: Any) -> Prediction:
        n = len(self._checked(archs))
        return Prediction(np.full(n, np.median(self.task_.values)), np.full(n, self.task_.values.std()))

    def interval(self, archs: Any, level: float = 0.95) -> tuple[Values, Values]:
        found = self.predict(archs)
        return found.mean - 100.0, found.mean + found.std


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "predictor", lambda name, **options: Known())
    accuracy._pretrained.cache_clear()
    yield
    accuracy._pretrained.cache_clear()


@pytest.mark.usefixtures("known", "suite_home")
def test_coverage_width_and_score_are_those_of_the_intervals(tmp_path: Path) -> None:
    name = "nasbench301/svhn"
    rows = calibration.run(["ridge"], [name], [8, 20], seeds=2, workers=1, journal=tmp_path / "kept.jsonl")
    cell = {(r["dataset"], r["samples"], r["metric"]): r for r in rows}
    assert len(cell) == len(rows) == 2 * 2 * len(calibration.Held._fields)
    task = accuracy.sources_and_targets()[name]
    wanted: list[list[float]] = []
    for draw in (0, 1):
        order = accuracy.prepared("nasbench301", "ridge", draw, task, 20)[1]
        seen, others = task.values[order[:20]], task.values[np.sort(order[20:])]
        low, high = np.median(seen) - 100.0, np.median(seen) + seen.std()
        beyond = np.maximum(others - high, 0.0)
        score = (high - low + 2.0 / 0.05 * beyond).mean() / task.values.std()
        wanted.append([(others <= high).mean(), (high - low) / task.values.std(), score])
    for metric, values in zip(calibration.Held._fields, np.transpose(wanted), strict=False):
        assert cell["svhn", 20, metric]["mean"] == pytest.approx(values.mean(), rel=1e-6)
    assert cell["*", 20, "coverage"]["least"] == cell["svhn", 20, "coverage"]["mean"]
    stated = cell["svhn", 20, "stated_width"]["mean"]
    assert stated == pytest.approx(2 * 1.96 * np.mean([w[1] - 100.0 / task.values.std() for w in wanted]), rel=1e-4)
    assert calibration.run(["ridge"], [name], [8, 20], seeds=2, workers=1, journal=tmp_path / "kept.jsonl") == rows
    ((title, lines),) = accuracy_figures.tables(rows)
    assert "95 %" in title
    assert [line["samples"] for line in lines] == [8, 20]


@pytest.mark.usefixtures("suite_home")
def test_intervals_of_gp_bma_hold_better_than_its_own_deviation() -> None:
    rows = calibration.run(["gp-bma-no-prior"], ["nasbench301"], [25], seeds=1, workers=1)
    found = {r["metric"]: r["mean"] for r in rows if r["dataset"] == "*"}
    assert found["coverage"] > 0.88
    assert abs(found["coverage"] - 0.95) < abs(found["stated_coverage"] - 0.95)


def test_methods_that_differ_in_their_samples_share_what_was_pretrained() -> None:
    alike = {name: accuracy._alike(name) for name in ("gp-bma", "gp-bma-random", "gp-bma-no-prior", "gp@vec")}
    assert alike == {name: "gp-bma" if name == "gp-bma-random" else name for name in alike}


def test_what_cannot_be_compared_is_refused(suite_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidValue, match="votes only ranks"):
        calibration.run(["votes"])
    with pytest.raises(InvalidValue, match="at least 5"):
        calibration.run(["ridge"], samples=[3])
    with pytest.raises(UnknownName, match="nasbench301"):
        calibration.run(["ridge"], ["nasbench302"])
    with pytest.raises(InvalidValue, match="no space with the edges of nasbench301"):
        wrong_prior.run("nasbench301", ["negated-cells"])
    with pytest.raises(UnknownName, match="negated"):
        wrong_prior.run("nasbench301", ["negate"])
    for wrong, cure in (
        (["--calibration", "--wrong-prior"], "one experiment"),
        (["--calibration", "--experiment", "transfer"], "one experiment"),
        (["--calibration", "--sources", "nasbench301"], "--sources"),
        (["--wrong-prior", "--methods", "negate"], "negated"),
    ):
        assert command(["reproduce", "accuracy", *wrong]) == 2
        assert cure in capsys.readouterr().err


def test_wrong_priors_read_wrong_proxies(suite_home: Path) -> None:
    task = accuracy.targets("nasbench301")["svhn"]
    right, negated, permuted, other = (
        wrong_prior._context("nasbench301", prior, task).proxies
        for prior in ("right", "negated", "permuted", "another-space")
    )
    assert right is not None
    assert negated is not None
    assert permuted is not None
    assert other is not None
    values = right(task.archs)
    assert np.array_equal(negated(task.archs), -values, equal_nan=True)
    moved = permuted(task.archs)
    known = np.isfinite(values).all(axis=1) & np.isfinite(moved).all(axis=1)
    assert abs(spearman(moved[known, 0], values[known, 0])) < 0.3
    assert set(other.names) != set(right.names) or not np.array_equal(other(task.archs), values)
    assert wrong_prior._context("nasbench301", "none", task).proxies is None


def test_a_wrong_prior_costs_little_after_thirty(
    suite_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.json"
    line = ["--wrong-prior", "--space", "nasbench301", "--methods", "right,negated", "--samples", "30"]
    assert command(["reproduce", "accuracy", *line, "--seeds", "1", "--workers", "1", "--json", str(file)]) == 0
    rows = {(r["prior"], r["samples"], r["metric"]): r for r in json.loads(file.read_text()) if r["dataset"] == "*"}
    row = rows["negated", 30, "spearman"]
    assert row["over_none"] == pytest.approx(row["mean"] - rows["none", 30, "spearman"]["mean"])
    assert row["mean"] > rows["right", 30, "spearman"]["mean"] - 0.02, "the prior's sign is found out"
    assert rows["right", 0, "spearman"]["mean"] == pytest.approx(-rows["negated", 0, "spearman"]["mean"], abs=0.1)
    assert "over none" in capsys.readouterr().out
