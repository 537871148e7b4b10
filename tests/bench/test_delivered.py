"""The benchmark of deliveries: what it counts, what it measures together, and how it is resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.bench import delivered as bench
from nastk.cli import run
from nastk.errors import InvalidValue

SPACE = """
import nastk

class Wide(nastk.SearchSpace):
    name = "wide"
    choices = tuple(nastk.Choice(f"c{i}", tuple("abcde")) for i in range(3))

    def build(self, arch, **options):
        import torch
        return torch.nn.Linear(2, 1)

    def input_shape(self, **options):
        return (2,)

    def statics(self, archs, **options):
        return {"params": 1.0 + archs.sum(axis=1), "flops": 1.0 + archs.sum(axis=1)}
"""


def ms(text: str) -> float:
    """Of a network, 1 ms a step of each choice."""
    return 1.0 + sum("abcde".index(option) for option in text.split("_"))


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bench.Setting:
    """A benchmark whose measurements and searches take no time; later the machine is 2 % slower."""
    (tmp_path / "wide.py").write_text(SPACE, encoding="utf-8")
    calls: list[list[str]] = []
    searches: list[tuple[float, int]] = []

    def measure(setting: Any, space: Any, texts: Any) -> dict[str, float]:
        calls.append(list(texts))
        return {text: ms(text) * (1.02 if "slower" in marks else 1.0) for text in texts}

    def search(setting: Any, limit: float, seed: int) -> bench.Searched:
        searches.append((limit, seed))
        best = next(t for t in ("e_e_e", "e_e_a", "e_a_a", "a_a_a") if ms(t) <= limit)
        given = {bench.METHODS[0]: ["a_a_a", best], bench.METHODS[1]: ["e_e_e"] if seed else []}
        texts = ["a_a_a", best, "e_e_e"]
        marks.add("slower")
        told = {"a_b_c": 4.0, "a_a_e": 9.0, "a_c_e": 5.0}
        again = {t: ms(t) for t in texts}
        return bench.Searched(seed, limit, given, again, told, ["e_d_a"], 2, "steady", time.time())

    marks: set[str] = set()
    monkeypatch.setattr(bench, "_measure", measure)
    monkeypatch.setattr(bench, "_search", search)
    monkeypatch.setattr(bench.Setting, "calls", calls, raising=False)
    monkeypatch.setattr(bench.Setting, "searches", searches, raising=False)
    return bench.Setting(f"{tmp_path}/wide.py:Wide", "max:params", seeds=2, quantiles=(0.5,), sample=20)


def value(rows: list[dict[str, Any]], method: int, metric: str) -> float:
    (row,) = [r for r in rows if r["method"] == bench.METHODS[method] and r["metric"] == metric]
    return float(row["mean"])


def test_shares_within_the_limit_and_the_hypervolume(setting: Any) -> None:
    waited: list[float] = []
    rows = bench.compare(setting, 3.0, wait=waited.append)
    assert sum(waited) > 2.0, "time passes before all is measured again"
    limit = setting.searches[0][0]
    best = max(t for t in ("e_a_a", "e_e_a") if ms(t) <= limit)
    assert value(rows, 0, "within_limit_at_once") == 1.0
    assert value(rows, 0, "within_3_percent_later") == 1.0
    assert value(rows, 0, "within_limit_later") == (1.0 if 1.02 * ms(best) <= limit else 0.5)
    assert value(rows, 1, "within_limit_at_once") == 0.0
    assert value(rows, 0, "delivered_nothing") == 0.0
    assert value(rows, 1, "delivered_nothing") == 0.5
    assert value(rows, 1, "hypervolume_of_best_feasible") == 0.0
    assert 0.0 < value(rows, 0, "hypervolume_of_best_feasible") <= 1.0
    last = setting.calls[-1]
    assert {"a_a_a", best, "e_e_e", "e_d_a", "a_b_c"} <= set(last)
    assert "a_a_e" not in last, "what was measured far from the front is not measured again"


def test_one_tiny_network_has_no_hypervolume(setting: Any) -> None:
    space = bench.run.compose(setting.describe(5.0, 0)).searcher
    objective = space.objectives[0]
    found = bench.Searched(0, 8.0, {}, {}, {}, [], 0, "", 0.0)
    last = {text: ms(text) for text in ("a_a_a", "e_a_a", "e_c_a")}
    assert bench._volume_share(objective, found, ["a_a_a"], last) == 0.0
    assert bench._volume_share(objective, found, list(last), last) == pytest.approx(1.0)
    assert np.isnan(bench._volume_share(objective, found, [], {"e_e_e": 13.0}))


def test_the_last_measurement_can_be_left_to_a_later_call(setting: Any, tmp_path: Path) -> None:
    assert bench.compare(setting, 600.0, tmp_path / "out", wait=None) == []
    before = len(setting.calls)
    rows = bench.compare(setting, 0.0, tmp_path / "out", wait=None)
    assert rows
    assert len(setting.calls) == before + 1
    assert len(setting.searches) == 2
    again = bench.compare(setting, 600.0, tmp_path / "out", wait=None)
    assert [repr(row) for row in again] == [repr(row) for row in rows], "it is measured once"


def test_a_benchmark_is_resumed_and_is_the_same(setting: Any, tmp_path: Path) -> None:
    first = bench.compare(setting, 0.0, tmp_path / "out")
    done = len(setting.searches), len(setting.calls)
    again = bench.compare(setting, 0.0, tmp_path / "out")
    assert [repr(row) for row in again] == [repr(row) for row in first]
    assert (len(setting.searches), len(setting.calls)) == done, "nothing is searched or measured twice"
    (tmp_path / "out" / "search-1-0.5.json").unlink()
    bench.compare(setting, 0.0, tmp_path / "out")
    assert len(setting.searches) == done[0] + 1
    other = bench.Setting(setting.space, "max:params", seeds=3, quantiles=(0.5,), sample=20)
    with pytest.raises(InvalidValue, match="holds another benchmark"):
        bench.compare(other, 0.0, tmp_path / "out")


def test_the_command_refuses_what_it_cannot_measure(
    setting: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["bench", "delivered", "--space", setting.space]
    assert run([*common, "--limits", "20,100"]) == 2
    assert "percentiles are from 1 to 99" in capsys.readouterr().err
    assert run([*common, "--objective", "peak_memory", "--out", str(tmp_path / "other")]) == 2
    assert "not free to evaluate" in capsys.readouterr().err
